; UEFI: the head of a PE32+ file - EFI/BOOT/BOOTX64.EFI - whose one section is the loader, the core and the program.
;
; Firmware puts the file anywhere. While its services are there, the loader copies all of it to RAM below 4 GiB, asks for
; screen, ACPI and memory map, and leaves them. Then nothing of the firmware is needed any more: paging goes off, the core
; goes to its place in 32-bit mode, and on to core_enter as every loader does. The program's file stays in the copy.
; SPEC  UEFI 2.10 §2.3.4 (calls), §4.3 (system table), §4.6 (configuration table), §7.2 (memory), §7.4.6 (exit), §12.9 (GOP)

UEFI_MAP_BYTES      equ 0x10000                 ; for the firmware's memory map, and at its end what the core gets:
UEFI_MAP_FREE       equ 256
UEFI_HANDOFF        equ -128                    ; struct handoff, and behind it the copy of the RSDP
UEFI_MAP            equ UEFI_HANDOFF - 12       ; descriptors: first, end, bytes of each
RSDP_BYTES          equ 36
UEFI_ALIGN          equ 32                      ; of headers and sections
UEFI_TRIES          equ 8                       ; of ExitBootServices
UEFI_LOAD_ERROR     equ 1                       ; with the highest bit set
UEFI_ANY_BELOW      equ 1                       ; AllocateMaxAddress
UEFI_LOADER_CODE    equ 1                       ; which firmware leaves executable
UEFI_USABLE         equ 1 << 1 | 1 << 2 | 1 << 3 | 1 << 4 | 1 << 7      ; types: loader, boot services, free
UEFI_SHOWN_US       equ 10000000                ; how long an error is shown before the firmware goes on

struc uefi_system
                resb 64
.console:       resq 1
                resb 24
.services:      resq 1
.tables:        resq 1      ; how many
.table:         resq 1      ; 16 bytes of name, address
endstruc

struc uefi_services
                resb 40
.allocate:      resq 1
                resq 1
.memory_map:    resq 1
                resb 168
.exit:          resq 1
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
.map_version:   resd 2
.address:       resq 1
.tries:         resq 1
endstruc

uefi_pe:        db      "MZ", 0, 0              ; up to the last field of this header all is free
uefi_gop:       dd      0x9042a9de
                dw      0x23dc, 0x4a38
                db      0x96, 0xfb, 0x7a, 0xde, 0xd0, 0x80, 0x51, 0x6a
uefi_acpi:      dd      0xeb9d2d30              ; ACPI 1.0
                dw      0x2d88, 0x11d3
                db      0x9a, 0x16, 0x00, 0x90, 0x27, 0x3f, 0xc1, 0x4d
                dd      0x8868e871              ; ACPI 2.0
                dw      0xe4f1, 0x11d3
                db      0xbc, 0x22, 0x00, 0x80, 0xc7, 0x3c, 0x88, 0x81
uefi_text_name: db      "exo16: ", 0
                times 60 - ($ - uefi_pe) db 0
                dd      uefi_pe.pe - uefi_pe
uefi_pe.pe:     db      "PE", 0, 0
                dw      0x8664, 1               ; x86-64, one section
                dd      0, 0, 0
                dw      uefi_pe.sections - uefi_pe.optional, 0x22     ; executable, all addresses
uefi_pe.optional: dw      0x20b, 0
uefi_types:     db      2, 2, 1, 1, 1, 2, 2, 1, 2, 3, 4         ; E820's, by UEFI's; LOADER_CODE holds the program's file
UEFI_TYPES          equ $ - uefi_types
                times 12 - UEFI_TYPES db 0
                dd      uefi_start - uefi_pe, uefi_pe.head_end - uefi_pe
                dq      0
                dd      UEFI_ALIGN, UEFI_ALIGN
                dd      0, 0, 0, 0
uefi_pe.image_bytes: dd      0                       ; written with the image
                dd      uefi_pe.head_end - uefi_pe, 0
                dw      10, 0                   ; an application
uefi_text_exit: db      "the firmware does not let go", 13, 10, 0      ; firmware does not look at these sizes
                times 32 - ($ - uefi_text_exit) db 0
                dd      0, 6
                dq      0, 0, 0, 0, 0
                dd      uefi_pe.relocations - uefi_pe, 12
uefi_pe.sections: db      ".exo16", 0, 0
                dd      0, uefi_pe.head_end - uefi_pe  ; bytes: written with the image
                dd      0, uefi_pe.head_end - uefi_pe  ; the same
                dd      0, 0, 0
                dd      0xe0000020              ; code, for all access
                align   UEFI_ALIGN, db 0
uefi_pe.head_end:
uefi_pe.relocations:   dd      0, 12, 0                ; none, but some firmware wants to see a list

uefi_text_nx:   db      "NX is switched off: turn it on in the firmware's setup", 13, 10, 0
uefi_text_room: db      "too little free memory below 4 GiB", 13, 10, 0
uefi_text_kept: db      "the firmware keeps memory between 1 and 2 MiB", 13, 10, 0
uefi_text_torn: db      "this file is cut off or holds no program; copy it again", 13, 10, 0

; -----------------------------------------------------------------------------
; IN    rcx  image handle      rdx  system table      64-bit mode, memory mapped to itself, the firmware's stack
; OUT   returns to the firmware with an error, after it has said what is wrong; or not
                bits 64
uefi_start:
        push    rbx
        push    rbp
        push    rsi
        push    rdi
        push    r12
        push    r13
        push    r14
        push    r15
        sub     rsp, uefi_locals_size + 15 & -16 | 8
        mov     r12, rcx
        mov     r13, rdx
        mov     r14, [rdx + uefi_system.services]

        lea     rdi, [uefi_text_nx]
        mov     eax, 0x80000001
        cpuid
        test    edx, CPU_NX
        jz      .failed
        mov     r15d, [uefi_pe.image_bytes]
        lea     rsi, [uefi_pe]
        lea     rdi, [uefi_text_torn]
        mov     eax, [rsi + IMAGE_CORE_BYTES + program_header.bytes]
        test    eax, eax
        jz      .failed
        add     rax, IMAGE_CORE_BYTES + program_header_size
        cmp     rax, r15
        ja      .failed
        lea     rdi, [uefi_text_room]
        mov     ecx, 0xa0000 - 1                ; for the other cores
        mov     edx, PAGE_BYTES
        call    .allocate
        push    rax
        pop     rbp
        mov     ecx, 0xffffffff
        lea     edx, [r15 + UEFI_MAP_BYTES + PAGE_BYTES - 1]
        call    .allocate
        cmp     rax, PROGRAM_LOWEST
        jb      .failed                         ; where the core goes
        lea     rbx, [rax + UEFI_MAP_BYTES]     ; the copy
        lea     rdi, [rbx + UEFI_MAP]
        push    -UEFI_MAP
        pop     rcx
        xor     eax, eax
        rep     stosb
        mov     ecx, r15d
        rep     movsb
        mov     [rbx + UEFI_HANDOFF + handoff.trampoline], ebp

        lea     rcx, [uefi_gop]
        xor     edx, edx
        lea     r8, [rsp + uefi_locals.address]
        call    [r14 + uefi_services.locate]
        test    rax, rax
        jnz     .no_screen
        mov     rax, [rsp + uefi_locals.address]
        mov     rax, [rax + 24]                 ; mode
        mov     rdx, [rax + 8]                  ; its information
        mov     ecx, screen_rgbx
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
        mov     [rbx + UEFI_HANDOFF + handoff.screen_width], di
        mov     [rbx + UEFI_HANDOFF + handoff.screen_height], si
        mov     eax, [rdx + 32]                 ; pixels from a row to the next
        shl     eax, 2
        mov     [rbx + UEFI_HANDOFF + handoff.screen_pitch], eax
.no_screen:
        lea     rdx, [uefi_acpi]
        call    .acpi
        lea     rdx, [uefi_acpi + 16]
        call    .acpi

        mov     byte [rsp + uefi_locals.tries], UEFI_TRIES
.exit:
        lea     rdi, [uefi_text_exit]
        dec     byte [rsp + uefi_locals.tries]
        jz      .failed
        lea     rcx, [rsp + uefi_locals.map_bytes]
        mov     dword [rcx], UEFI_MAP_BYTES - UEFI_MAP_FREE
        and     dword [rcx + 4], 0
        lea     rdx, [rbx - UEFI_MAP_BYTES]
        lea     r8, [rsp + uefi_locals.map_key]
        lea     r9, [rsp + uefi_locals.map_step]
        lea     rax, [rsp + uefi_locals.map_version]
        mov     [rsp + uefi_locals.fifth], rax
        call    [r14 + uefi_services.memory_map]
        test    rax, rax
        jnz     .exit

        ; Core and what the boot uses have to be in RAM that is free after the exit. The program the core checks.
        lea     rdi, [uefi_text_kept]
        mov     r10d, CORE_PHYS                 ; so far
.covered:
        lea     rsi, [rbx - UEFI_MAP_BYTES]
        mov     rdx, rsi
        add     rdx, [rsp + uefi_locals.map_bytes]
        mov     [rbx + UEFI_MAP], esi
        mov     [rbx + UEFI_MAP + 4], edx
        mov     eax, [rsp + uefi_locals.map_step]
        mov     [rbx + UEFI_MAP + 8], eax
        cmp     r10, PROGRAM_LOWEST
        jae     .all_covered
.descriptor:
        cmp     rsi, rdx
        jae     .failed
        mov     eax, UEFI_USABLE
        mov     ecx, [rsi + uefi_descriptor.type]
        cmp     ecx, 31
        ja      .next
        bt      eax, ecx
        jnc     .next
        mov     rax, [rsi + uefi_descriptor.first]
        cmp     rax, r10
        ja      .next
        mov     rcx, [rsi + uefi_descriptor.pages]
        shl     rcx, 12
        add     rax, rcx
        cmp     rax, r10
        jbe     .next
        xchg    rax, r10
        jmp     .covered
.next:
        add     rsi, [rsp + uefi_locals.map_step]
        jmp     .descriptor
.all_covered:
        mov     rcx, r12
        mov     rdx, [rsp + uefi_locals.map_key]
        call    [r14 + uefi_services.exit]
        test    rax, rax
        jnz     .exit                           ; the map has changed: once more (§7.4.6)

        cli
        cld
        lea     rax, [rbx + LOADER_BYTES + (gdt - core_start_phys)]
        mov     [rsp + 2], rax
        mov     word [rsp], GDT_BYTES - 1
        lgdt    [rsp]
        lea     eax, [rbx + uefi_32]
        push    SELECTOR_CODE32
        push    rax
        retfq

; ecx: highest address; edx: bytes. OUT rax: pages there; goes to .failed if there are none.
.allocate:
        mov     [rsp + 8 + uefi_locals.address], rcx
        push    rdi
        mov     r8d, edx
        shr     r8d, 12
        push    UEFI_ANY_BELOW
        pop     rcx
        push    UEFI_LOADER_CODE
        pop     rdx
        lea     r9, [rsp + 16 + uefi_locals.address]
        sub     rsp, 32
        call    [r14 + uefi_services.allocate]
        add     rsp, 32
        pop     rdi
        test    rax, rax
        mov     rax, [rsp + 8 + uefi_locals.address]
        jz      .got
        pop     rax
.failed:                                        ; rdi: why
        mov     r12, rdi
        lea     rdi, [uefi_text_name]
        call    .print
        mov     rdi, r12
        call    .print
        mov     al, EXIT_BOOT                   ; under an emulator: end with a status
        out     STATUS_PORT, al
        out     EXIT_PORT, al
        mov     ecx, UEFI_SHOWN_US
        call    [r14 + uefi_services.stall]
        add     rsp, uefi_locals_size + 15 & -16 | 8
        mov     eax, UEFI_LOAD_ERROR
        bts     rax, 63
        pop     r15
        pop     r14
        pop     r13
        pop     r12
        pop     rdi
        pop     rsi
        pop     rbp
        pop     rbx
        ret

; rdi: text. Uses all that calls may.
.print_next:
        inc     rdi
        lea     rdx, [rsp + 32]                 ; two characters of 16 bits, the second is 0
        mov     [rdx], eax
        mov     rcx, [r13 + uefi_system.console]
        call    [rcx + 8]
        add     rsp, 32 + 8
.print:
        sub     rsp, 32 + 8
        movzx   eax, byte [rdi]
        test    eax, eax
        jnz     .print_next
        add     rsp, 32 + 8
        ret

; rdx: name of a configuration table. Copies its 36 bytes if there is one. Uses rax rcx rsi rdi r8.
.acpi:
        mov     rsi, [r13 + uefi_system.table]
        mov     ecx, [r13 + uefi_system.tables]
.table:
        dec     ecx
        js      .got
        lodsq
        mov     rdi, rax
        lodsq
        mov     r8, rax
        lodsq
        cmp     rdi, [rdx]
        jne     .table
        cmp     r8, [rdx + 8]
        jne     .table
        xchg    rax, rsi
        lea     rdi, [rbx + UEFI_HANDOFF + handoff_size]
        mov     ecx, RSDP_BYTES
        rep     movsb
        mov     dword [rbx + UEFI_HANDOFF + handoff.rsdp], DIRECT_HANDOFF_PHYS + handoff_size
.got:
        ret

; -----------------------------------------------------------------------------
; In the copy, without the firmware.
;
; IN    ebx  the copy
                bits 32
uefi_32:
        mov     eax, SELECTOR_DATA
        mov     ds, eax
        mov     es, eax
        mov     ss, eax
        mov     eax, cr0
        btr     eax, 31                         ; CR0_PG
        mov     cr0, eax
        mov     esp, BOOT_STACK_PHYS
        rdtsc
        mov     [ebx + UEFI_HANDOFF + handoff.loader_tsc], eax
        mov     [ebx + UEFI_HANDOFF + handoff.loader_tsc + 4], edx
        SERIAL_SETUP edx

        mov     esi, [ebx + UEFI_MAP]
        mov     edi, DIRECT_MAP_PHYS - e820_size        ; the last entry so far
        mov     dword [edi + e820.type], 0
.descriptor:
        cmp     esi, [ebx + UEFI_MAP + 4]
        jae     .map_done
        mov     eax, [esi + uefi_descriptor.pages]
        mov     edx, [esi + uefi_descriptor.pages + 4]
        shld    edx, eax, 12
        shl     eax, 12                         ; bytes
        mov     ecx, [esi + uefi_descriptor.type]
        cmp     ecx, UEFI_TYPES
        jb      .type
        xor     ecx, ecx
.type:
        movzx   ecx, byte [ebx + uefi_types + ecx]
        cmp     ecx, [edi + e820.type]
        jne     .new
        push    eax                             ; does it go on where the last one ends?
        push    edx
        mov     eax, [edi + e820.first]
        mov     edx, [edi + e820.first + 4]
        add     eax, [edi + e820.bytes]
        adc     edx, [edi + e820.bytes + 4]
        sub     eax, [esi + uefi_descriptor.first]
        sub     edx, [esi + uefi_descriptor.first + 4]
        or      eax, edx
        pop     edx
        pop     eax
        jz      .longer
.new:
        add     edi, e820_size
        mov     [edi + e820.type], ecx
        mov     ecx, [esi + uefi_descriptor.first]
        mov     [edi + e820.first], ecx
        mov     ecx, [esi + uefi_descriptor.first + 4]
        mov     [edi + e820.first + 4], ecx
        and     dword [edi + e820.bytes], 0
        and     dword [edi + e820.bytes + 4], 0
        inc     dword [ebx + UEFI_HANDOFF + handoff.memory_count]
.longer:
        add     [edi + e820.bytes], eax
        adc     [edi + e820.bytes + 4], edx
        add     esi, [ebx + UEFI_MAP + 8]
        jmp     .descriptor
.map_done:
        mov     dword [ebx + UEFI_HANDOFF + handoff.memory_map], DIRECT_MAP_PHYS
        lea     eax, [ebx + IMAGE_CORE_BYTES]
        mov     [ebx + UEFI_HANDOFF + handoff.header], eax

        lea     esi, [ebx + LOADER_BYTES]
        mov     edi, CORE_PHYS
        mov     ecx, CORE_TEXT_BYTES / 4
        rep     movsd
        lea     esi, [ebx + UEFI_HANDOFF]
        mov     edi, DIRECT_HANDOFF_PHYS
        mov     ecx, (handoff_size + RSDP_BYTES) / 4
        rep     movsd
        mov     ebx, DIRECT_HANDOFF_PHYS
        mov     eax, core_enter
        jmp     eax
