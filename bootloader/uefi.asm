; UEFI: the head of a PE32+ file - EFI/BOOT/BOOTX64.EFI - whose one section is the loader, the core and the program.
;
; Firmware puts the file anywhere. While its services are there, the loader copies all of it to RAM below 4 GiB, asks for
; screen, ACPI and memory map, and leaves them. Then nothing of the firmware is needed any more: paging goes off, the core
; goes to its place in 32-bit mode, and on to core_enter as every loader does. The program's file stays in the copy.
; SPEC  UEFI 2.10 §2.3.4 (calls), §4.3 (system table), §4.6 (configuration table), §7.2 (memory), §7.4.6 (exit), §12.9 (GOP)

UEFI_MAP_BYTES      equ 0x10000                 ; for the memory map, and at its end what the core gets:
UEFI_MAP_FREE       equ 256
UEFI_HANDOFF        equ -128                    ; struct handoff, and behind it the copy of the RSDP
RSDP_BYTES          equ 36
%if handoff_size + RSDP_BYTES > -UEFI_HANDOFF
%error no room behind the handoff
%endif
UEFI_ALIGN          equ 32                      ; of headers and sections
UEFI_TRIES          equ 8                       ; of ExitBootServices
UEFI_LOAD_ERROR     equ 1                       ; with the highest bit set
UEFI_ANY_BELOW      equ 1                       ; AllocateMaxAddress
UEFI_LOADER_CODE    equ 1                       ; which firmware leaves executable
UEFI_KEPT_CODE      equ 8                       ; E820's type of LOADER_CODE, which holds the program's file: not RAM, but
                                                ; the core may lie there
UEFI_SHOWN_US       equ 10000000                ; how long an error is shown before the firmware goes on

struc uefi_system
                resb 64
.console:       resq 1
                resb 24
.services:      resq 1
.tables:        resq 1      ; how many
.table:         resq 1      ; 16 bytes of name, address
endstruc

struc uefi_services, -128                       ; so that most are in reach of a short offset
                resb 40
.allocate:      resq 1
                resq 1
.memory_map:    resq 1
                resb 152
.exit:          resq 1      ; of the image
                resq 1
.leave:         resq 1      ; ExitBootServices
                resq 1
.stall:         resq 1
                resb 64
.locate:        resq 1
endstruc

struc uefi_descriptor
.type:          resq 1
.first:         resq 1
                resq 1
.pages:         resq 1
endstruc

struc uefi_locals                               ; on the stack, first what services expect there
                resq 4
.fifth:         resq 1
.map_bytes:     resq 1
.map_key:       resq 1
.map_step:      resq 1
.address:       resq 1
.tries:         resq 1
endstruc

uefi_pe:        db      "MZ"                    ; up to the last field of this header all is free
uefi_text_name: db      13, 10, "exo16: ", 0
uefi_gop:       dd      0x9042a9de
                dw      0x23dc, 0x4a38
                db      0x96, 0xfb, 0x7a, 0xde, 0xd0, 0x80, 0x51, 0x6a
uefi_acpi:      dd      0xeb9d2d30              ; ACPI 1.0
                dw      0x2d88, 0x11d3
                db      0x9a, 0x16, 0x00, 0x90, 0x27, 0x3f, 0xc1, 0x4d
                dd      0x8868e871              ; ACPI 2.0
                dw      0xe4f1, 0x11d3
                db      0xbc, 0x22, 0x00, 0x80, 0xc7, 0x3c, 0x88, 0x81
uefi_acpi_end:
                times 60 - ($ - uefi_pe) db 0
                dd      uefi_pe.pe - uefi_pe
uefi_pe.pe:     db      "PE", 0, 0
                dw      0x8664, 1               ; x86-64, one section
uefi_relocations:                               ; none, but some firmware wants to see a list; else without meaning
                dd      0, 12, 0
                dw      uefi_pe.sections - uefi_pe.optional, 0x22     ; executable, all addresses
uefi_pe.optional: dw      0x20b, 0
uefi_types:     db      2, UEFI_KEPT_CODE, 1, 1, 1, 2, 2, 1, 2, 3, 4    ; E820's, by UEFI's
UEFI_TYPES          equ $ - uefi_types
                times 12 - UEFI_TYPES db 0
                dd      uefi_start - uefi_pe, uefi_pe.head_end - uefi_pe
                dq      0
                dd      UEFI_ALIGN, UEFI_ALIGN
                dd      0, 0, 0, 0
uefi_pe.image_bytes: dd      0                       ; written with the image
                dd      uefi_pe.head_end - uefi_pe, 0
                dw      10, 0                   ; an application
uefi_text_exit: db      "the firmware does not let go", 0      ; firmware does not look at these sizes
                times 32 - ($ - uefi_text_exit) db 0
                dd      0, 6
                dq      0, 0, 0, 0, 0
                dd      uefi_relocations - uefi_pe, 12
uefi_pe.sections: db      ".exo16", 0, 0
                dd      0, uefi_pe.head_end - uefi_pe  ; bytes: written with the image
                dd      0, uefi_pe.head_end - uefi_pe  ; the same
                dd      0, 0, 0
                dd      0xe0000020              ; code, for all access
                align   UEFI_ALIGN, db 0
uefi_pe.head_end:

; -----------------------------------------------------------------------------
; IN    rcx  image handle      rdx  system table      64-bit mode, memory mapped to itself, the firmware's stack
; OUT   exits to the firmware with an error, after it has said what is wrong; or not
                bits 64
uefi_start:
        sub     rsp, uefi_locals_size + 15 & -16 | 8
        mov     rbp, rsp
        mov     r12, rcx
        mov     r13, rdx
        mov     r14, [rdx + uefi_system.services]
        sub     r14, -128

        mov     eax, 0x80000001
        cpuid
        bt      edx, CPU_NX_BIT
        jc      .nx
        call    .failed
        db      "NX is off: turn it on in the firmware's setup", 0
.nx:
        lea     rsi, [uefi_pe]
        mov     ebx, [rsi + uefi_pe.image_bytes - uefi_pe]
        lea     rdx, [rbx - IMAGE_CORE_BYTES - program_header_size]
        mov     eax, [rsi + IMAGE_CORE_BYTES + program_header.bytes]
        dec     eax                             ; 0 is none
        cmp     rax, rdx
        jl      .whole
        call    .failed
        db      "this file is cut off or holds no program; copy it again", 0
.whole:
        mov     ecx, 0xa0000 - 1                ; for the other cores
        push    1
        pop     r8
        call    .allocate
        xchg    rax, rdi
        or      ecx, -1
        lea     r8d, [rbx + UEFI_MAP_BYTES + PAGE_BYTES - 1]
        shr     r8d, 12
        call    .allocate
        cmp     eax, PROGRAM_LOWEST
        jb      .no_room                        ; where the core goes
        mov     edx, ebx
        lea     rbx, [rax + UEFI_MAP_BYTES]     ; the copy
        push    rdi
        lea     rdi, [rbx + UEFI_HANDOFF]
        push    -UEFI_HANDOFF / 8
        pop     rcx
        xor     eax, eax
        rep     stosq
        mov     ecx, edx
        rep     movsb
        pop     qword [rbx + UEFI_HANDOFF + handoff.trampoline]
        lea     eax, [rbx + IMAGE_CORE_BYTES]
        mov     [rbx + UEFI_HANDOFF + handoff.header], eax
        add     eax, program_header.command_line
        mov     [rbx + UEFI_HANDOFF + handoff.command_line], eax

        lea     rcx, [rbx + uefi_gop - uefi_pe]
        xor     edx, edx
        lea     r8, [rbp + uefi_locals.address]
        call    [r14 + uefi_services.locate]
        test    eax, eax                        ; all errors have lower bits
        jnz     .no_screen
        mov     rax, [rbp + uefi_locals.address]
        mov     rax, [rax + 24]                 ; mode
        mov     rdx, [rax + 8]                  ; its information
        push    screen_rgbx
        pop     rcx
        sub     ecx, [rdx + 12]                 ; format 0: red first, 1: blue first
        jbe     .no_screen
        mov     rax, [rax + 24]
        test    rax, rax
        jz      .no_screen
        mov     edi, [rdx + 4]                  ; width, height
        mov     esi, [rdx + 8]
        cmp     edi, SCREEN_NARROW
        jb      .no_screen                      ; of no use
        cmp     esi, CELL_ROWS
        jb      .no_screen
        mov     [rbx + UEFI_HANDOFF + handoff.screen_format], ecx
        mov     [rbx + UEFI_HANDOFF + handoff.screen], rax
        mov     [rbx + UEFI_HANDOFF + handoff.screen_width], edi
        mov     [rbx + UEFI_HANDOFF + handoff.screen_height], esi       ; 16 bits of each: the next comes over the rest
        mov     eax, [rdx + 32]                 ; pixels from a row to the next
        shl     eax, 2
        mov     [rbx + UEFI_HANDOFF + handoff.screen_pitch], eax
.no_screen:
        lea     rdx, [rbx + uefi_acpi - uefi_pe]        ; both names, the better one last
.acpi:
        mov     rsi, [r13 + uefi_system.table]
        mov     ecx, [r13 + uefi_system.tables]
.table:
        dec     ecx
        js      .searched
        lodsq
        cmp     rax, [rdx]
        lodsq
        jne     .other
        cmp     rax, [rdx + 8]
.other:
        lodsq
        jne     .table
        xchg    rax, rsi
        lea     rdi, [rbx + UEFI_HANDOFF + handoff_size]
        mov     [rbx + UEFI_HANDOFF + handoff.rsdp], edi
        push    RSDP_BYTES
        pop     rcx
        rep     movsb
.searched:
        add     rdx, 16
        cmp     dl, uefi_acpi_end - uefi_pe     ; (the copy begins at a page)
        jb      .acpi

        mov     byte [rbp + uefi_locals.tries], UEFI_TRIES
.leave:
        lea     rdi, [uefi_text_exit]
        dec     byte [rbp + uefi_locals.tries]
        jz      .failed_text
        lea     rcx, [rbp + uefi_locals.map_bytes]
        mov     qword [rcx], UEFI_MAP_BYTES - UEFI_MAP_FREE
        lea     rdi, [rbx - UEFI_MAP_BYTES]
        lea     rsi, [rdi + e820_size]
        mov     rdx, rsi
        lea     r8, [rbp + uefi_locals.map_key]
        lea     r9, [rbp + uefi_locals.map_step]
        mov     [rbp + uefi_locals.fifth], rdi  ; the version: nobody asks
        call    [r14 + uefi_services.memory_map]
        test    eax, eax
        jnz     .leave

; The map becomes the core's, in its own place: entries are shorter than descriptors. Core and what the boot uses have to
; be in RAM that is free after the exit; the program the core checks.
%if CORE_PHYS * 2 != PROGRAM_LOWEST
%error the one is made from the other
%endif
        mov     [rbx + UEFI_HANDOFF + handoff.memory_map], esi
        mov     [rbx + UEFI_HANDOFF + handoff.memory_count], eax
        mov     [rdi + e820.type], eax          ; the last entry so far is none
        add     [rbp + uefi_locals.map_bytes], rsi      ; its end
        mov     r10d, PROGRAM_LOWEST - CORE_PHYS        ; not seen so far (descriptors do not overlap, §7.2.3)
.descriptor:
        mov     rdx, [rsi + uefi_descriptor.first]
        mov     rax, [rsi + uefi_descriptor.pages]
        shl     rax, 12
        mov     ecx, [rsi + uefi_descriptor.type]
        cmp     ecx, UEFI_TYPES
        jb      .type
        xor     ecx, ecx
.type:
        movzx   ecx, byte [rbx + rcx + uefi_types - uefi_pe]
        test    cl, ~(E820_RAM | UEFI_KEPT_CODE)
        jnz     .not_free
        mov     r8d, PROGRAM_LOWEST
        lea     r9, [rdx + rax]
        cmp     r9, r8
        cmova   r9, r8
        shr     r8d, 1                          ; CORE_PHYS
        cmp     r8, rdx
        cmovb   r8, rdx
        sub     r9, r8
        jbe     .not_free
        sub     r10d, r9d
.not_free:
        mov     r8, [rdi + e820.first]          ; does it go on where the last one ends?
        add     r8, [rdi + e820.bytes]
        cmp     r8, rdx
        jne     .new
        cmp     [rdi + e820.type], ecx
        je      .longer
.new:
        add     rdi, e820_size
        mov     [rdi + e820.first], rdx
        and     qword [rdi + e820.bytes], 0
        mov     [rdi + e820.type], ecx
        inc     dword [rbx + UEFI_HANDOFF + handoff.memory_count]
.longer:
        add     [rdi + e820.bytes], rax
        add     rsi, [rbp + uefi_locals.map_step]
        cmp     rsi, [rbp + uefi_locals.map_bytes]
        jb      .descriptor
        test    r10d, r10d
        jz      .free
        call    .failed
        db      "the firmware keeps memory between 1 and 2 MiB", 0
.free:
        mov     rcx, r12
        mov     rdx, [rbp + uefi_locals.map_key]
        call    [r14 + uefi_services.leave]
        test    eax, eax
        jnz     .leave                          ; the map has changed: once more (§7.4.6)

        cli
        lea     eax, [rbx + LOADER_BYTES + (gdt - core_start_phys)]
        push    rax
        push    word GDT_BYTES - 1
        lgdt    [rsp]
        push    SELECTOR_DATA
        pop     rax
        mov     ds, eax
        mov     es, eax
        lea     ecx, [rbx + uefi_32]
        push    SELECTOR_CODE32
        push    rcx
        retfq

; ecx: highest address; r8: pages. OUT rax: their address; does not return if there are none.
.allocate:
        pop     r15                             ; the way back: services want their own place on the stack there
        lea     r9, [rbp + uefi_locals.address]
        mov     [r9], rcx
        push    UEFI_ANY_BELOW
        pop     rcx
        push    UEFI_LOADER_CODE
        pop     rdx
        call    [r14 + uefi_services.allocate]
        test    eax, eax
        mov     rax, [rbp + uefi_locals.address]
        jnz     .no_room
        jmp     r15
.no_room:
        call    .failed
        db      "too little free memory below 4 GiB", 0

; Says why there is no way on: the text behind the call, or at rdi.
.failed:
        pop     rdi
.failed_text:
        lea     rsi, [uefi_text_name]
        call    .print
        mov     rsi, rdi
        call    .print
        mov     al, EXIT_BOOT                   ; under an emulator: end with a status
        out     STATUS_PORT, al
        out     EXIT_PORT, al
        mov     ecx, UEFI_SHOWN_US
        call    [r14 + uefi_services.stall]
        mov     rcx, r12
        push    UEFI_LOAD_ERROR << 1 | 1
        pop     rdx
        ror     rdx, 1
        xor     r8d, r8d                        ; no data
        xor     r9d, r9d
        call    [r14 + uefi_services.exit]

; rsi: text. Uses all that calls may.
.print_next:
        push    rax                             ; two characters of 16 bits, the second is 0
        mov     rdx, rsp
        mov     rcx, [r13 + uefi_system.console]
        sub     rsp, 32
        call    [rcx + 8]
        add     rsp, 32 + 8
.print:
        xor     eax, eax
        lodsb
        test    al, al
        jnz     .print_next
        ret

; -----------------------------------------------------------------------------
; In the copy, without the firmware.
;
; IN    ebx  the copy      eax  SELECTOR_DATA
                bits 32
uefi_32:
        mov     al, CR0_PE                      ; and no paging
        mov     cr0, eax
        rdtsc
        mov     [ebx + UEFI_HANDOFF + handoff.loader_tsc], eax
        mov     [ebx + UEFI_HANDOFF + handoff.loader_tsc + 4], edx
        SERIAL_SETUP edx

        lea     esi, [ebx + LOADER_BYTES]
        mov     edi, CORE_PHYS
        mov     ecx, CORE_TEXT_BYTES / 4
        rep     movsd
        add     ebx, UEFI_HANDOFF
        mov     eax, core_enter
        jmp     eax
