; Direct boot: the head of an ELF file that a virtual machine monitor starts without firmware, by its PVH note.
;
; The file has three segments: the core, this loader, and the program header with the program's file.
; SPEC  Xen, x86/HVM direct boot ABI (struct hvm_start_info); System V gABI ch. 4 and 5; x86-64 psABI §4.1

PVH_NOTE            equ 18                      ; XEN_ELFNOTE_PHYS32_ENTRY
PVH_SEGMENTS        equ 4
PVH_DEVICES_PHYS    equ DIRECT_MAP_PHYS - 64 * handoff_mmio_size        ; behind the handoff and the command line

struc start_info
.magic:         resd 1
.version:       resd 1      ; from 1 on with a memory map
.flags:         resd 1
.modules:       resd 1
.module_list:   resq 1
.command_line:  resq 1
.rsdp:          resq 1
.memory_map:    resq 1      ; entries as of E820, 24 bytes each
.memory_count:  resd 1
endstruc

pvh_elf:        db      0x7f, "ELF", 2, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0
                dw      2, 62                   ; executable, x86-64
                dd      1
                dq      pvh_start, .segments - pvh_elf, 0
                dd      0
                dw      64, 56, PVH_SEGMENTS, 0, 0, 0
%macro PVH_SEGMENT 4                             ; type, offset in the file, physical address, bytes
                dd      %1, 7
                dq      %2, %3, %3, %4, %4, 4
%endmacro
.segments:
                PVH_SEGMENT 4, .note - pvh_elf, .note, .note_end - .note
                PVH_SEGMENT 1, LOADER_BYTES, CORE_PHYS, core_end - core_start_phys
                PVH_SEGMENT 1, 0, DIRECT_PHYS, LOADER_BYTES
                PVH_SEGMENT 1, IMAGE_CORE_BYTES, PROGRAM_PHYS - program_header_size, 0  ; bytes: written with the image
.note:          dd      4, 4, PVH_NOTE
                db      "Xen", 0
                dd      pvh_start
.note_end:

; -----------------------------------------------------------------------------
; IN    32-bit protected mode, no paging, flat segments, interrupts off       ebx  struct start_info
                bits 32
pvh_start:
        cld
        mov     edi, DIRECT_HANDOFF_PHYS
        mov     ecx, handoff_size / 4
        xor     eax, eax
        rep     stosd
        rdtsc
        mov     [DIRECT_HANDOFF_PHYS + handoff.loader_tsc], eax
        mov     [DIRECT_HANDOFF_PHYS + handoff.loader_tsc + 4], edx
        mov     esp, BOOT_STACK_PHYS
        SERIAL_SETUP edx
        mov     ebp, ebx
        mov     esi, .text_cpu
        mov     eax, 0x80000000
        cpuid
        cmp     eax, 0x80000001
        jb      .fail
        mov     eax, 0x80000001
        cpuid
        not     edx
        test    edx, CPU_LONG_MODE | CPU_NX
        jnz     .fail
        mov     esi, .text_map
        cmp     dword [ebp + start_info.version], 1
        jb      .fail
        mov     ecx, [ebp + start_info.memory_count]
        lea     eax, [ecx - 1]
        cmp     eax, DIRECT_MAP_MAX
        jae     .fail

        mov     ebx, DIRECT_HANDOFF_PHYS
        mov     [ebx + handoff.memory_count], ecx
        imul    ecx, ecx, e820_size / 4
        mov     esi, [ebp + start_info.memory_map]
        mov     edi, DIRECT_MAP_PHYS
        mov     [ebx + handoff.memory_map], edi
        rep     movsd

        mov     esi, .text_room                 ; a range of RAM has to hold the whole of the program's file
        mov     edx, PROGRAM_PHYS
        add     edx, [PROGRAM_PHYS - program_header_size + program_header.bytes]
        jc      .fail
        mov     ecx, [ebx + handoff.memory_count]
.range:
        sub     edi, e820_size
        cmp     byte [edi + e820.type], E820_RAM
        jne     .next
        cmp     dword [edi + e820.first + 4], 0
        jne     .next
        mov     eax, [edi + e820.first]
        cmp     eax, PROGRAM_PHYS
        ja      .next
        add     eax, [edi + e820.bytes]         ; below 4 GiB no PC has RAM up to its end
        cmp     eax, edx
        jae     .fits
.next:
        loop    .range
        jmp     .fail
.fits:
        mov     esi, .text_program
        cmp     dword [PROGRAM_PHYS - program_header_size], "EXO1"
        jne     .fail
        mov     edi, [ebp + start_info.rsdp]
        test    edi, edi
        jnz     .rsdp
        push    ebx
        call    rsdp_find
        pop     ebx
.rsdp:
        mov     [ebx + handoff.rsdp], edi
        lea     edi, [ebx + handoff_size]       ; the image's command line, then the protocol's
        mov     [ebx + handoff.command_line], edi
        mov     ecx, COMMAND_LINE_BYTES
        mov     esi, PROGRAM_PHYS - program_header_size + program_header.command_line
        call    .line
        mov     esi, [ebp + start_info.command_line]
        test    esi, esi
        jz      .no_line
        mov     byte [edi - 1], ' '
        call    .line
.no_line:
        mov     byte [edi - 1], 0               ; also if it was cut off
        call    pvh_devices
        mov     dword [ebx + handoff.header], PROGRAM_PHYS - program_header_size
        mov     dword [ebx + handoff.trampoline], TRAMPOLINE_PHYS
        jmp     core_enter
.line:                                          ; from esi to edi, ecx bytes at most
        jecxz   .line_end
        lodsb
        stosb
        test    al, al
        loopnz  .line
.line_end:
        ret
.fail:
        mov     ecx, 0x10000                    ; bounded wait for the serial port
        mov     edx, COM1 + 5
.wait:
        in      al, dx
        test    al, 0x20
        loopz   .wait
        mov     dl, COM1 & 0xff
        lodsb
        test    al, al
        jz      .end
        out     dx, al
        jmp     .fail
.end:
        mov     al, EXIT_BOOT
        out     STATUS_PORT, al
        out     EXIT_PORT, al
.halt:
        hlt
        jmp     .halt

; -----------------------------------------------------------------------------
; Notes the devices in the command line whose words are the monitor's, and takes these out, since the line is the program's:
;
;       virtio_mmio.device=512@0xfeb00e00:12            bytes, address, interrupt
;
; IN    ebx  handoff
; USES  eax ecx edx esi edi ebp
pvh_devices:
        push    ebx
        mov     ebp, PVH_DEVICES_PHYS
        mov     [ebx + handoff.mmio], ebp
        mov     ebx, [ebx + handoff.command_line]
.next:
        cmp     byte [ebx - 1], ' '             ; (a 0 lies before the first word)
        ja      .skip
        mov     esi, .name
        mov     edi, ebx
        push    PVH_DEVICE_NAME_BYTES
        pop     ecx
        repe    cmpsb
        je      .word
.skip:
        inc     ebx
        cmp     byte [ebx - 1], 0
        jne     .next
        pop     ebx
        ret
.word:
        call    .take
        jc      .next
        cmp     al, '@'
        jne     .word
        xor     edi, edi                        ; the address
        xor     edx, edx
        xor     esi, esi                        ; the interrupt
.digit:
        call    .take
        jc      .note
        cmp     al, 'x'
        je      .digit                          ; behind a 0
        or      al, 0x20
        sub     al, '0'
        cmp     al, 9
        jbe     .value
        sub     al, 'a' - '0' - 10
        cmp     al, 15
        ja      .rest
.value:
        movzx   eax, al
        shld    edx, edi, 4
        shl     edi, 4
        or      edi, eax
        jmp     .digit
.rest:
        call    .take
        jc      .note
        sub     al, '0'
        movzx   eax, al
        cmp     al, 9
        ja      .id
        imul    esi, esi, 10
        add     esi, eax
        jmp     .rest
.id:                                            ; a number that a device may have besides
        call    .take
        jnc     .id
.note:
        cmp     ebp, DIRECT_MAP_PHYS
        jae     .next                           ; no room
        mov     [ebp + handoff_mmio.address], edi
        mov     [ebp + handoff_mmio.address + 4], edx
        mov     [ebp + handoff_mmio.interrupt], esi
        add     ebp, handoff_mmio_size
        inc     dword [DIRECT_HANDOFF_PHYS + handoff.mmio_count]
        jmp     .next

; Takes a character out of the word; CF set at its end. OUT al
.take:
        mov     al, [ebx]
        cmp     al, ' ' + 1
        jb      .done
        mov     byte [ebx], ' '
        inc     ebx                             ; (leaves CF)
.done:
        ret
.name:  db      "virtio_mmio."
PVH_DEVICE_NAME_BYTES equ $ - .name

pvh_start.text_cpu: db "exo16: this CPU has no 64-bit mode, or NX is switched off", 10, 0
pvh_start.text_program: db "exo16: this file holds no program; build it again", 10, 0
pvh_start.text_room: db "exo16: the memory map has no RAM for the program", 10, 0
pvh_start.text_map: db "exo16: the monitor gives no memory map", 10, 0
