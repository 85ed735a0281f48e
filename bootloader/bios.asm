; BIOS loader: A20, memory map, program to RAM, and by way of protected mode into the core.
;
; Runs behind the boot sector in real mode, ds = es = ss = 0. The core follows it in memory and is copied to its place.
; SPEC  ACPI 6.5 §15.1 (INT 15h E820h)

bits 16

CHUNK_SECTORS       equ 64                      ; a read of 32 KiB fits every BIOS and the disk buffer
CURSOR_PHYS         equ 0x450                   ; BIOS data area: column, row
VIDEO_MODE_PHYS     equ 0x449
VGA_TEXT_PHYS       equ 0xb8000
VBE_DONE            equ 0x004f
VBE_LINEAR          equ 1 << 0 | 1 << 4 | 1 << 7        ; there, graphics, linear
VBE_MODE            equ 512                     ; the second buffer, behind struct vbe

struc vbe
                resb 14
.modes:         resd 1      ; far pointer
endstruc

struc vbe_mode
.attributes:    resw 1
                resb 14
.pitch:         resw 1
.width:         resw 1
.height:        resw 1
                resb 3
.bits:          resb 1
                resb 6
.red:           resb 1      ; its lowest bit
                resb 7
.address:       resd 1
endstruc

bios_start:
        mov     si, text_cpu
        mov     eax, 0x80000000
        cpuid
        cmp     eax, 0x80000001
        jb      .fail
        mov     eax, 0x80000001
        cpuid
        not     edx
        test    edx, CPU_LONG_MODE | CPU_NX
        jnz     .fail

        call    boot_a20
        mov     si, text_a20
        jne     .fail

        mov     cx, handoff_size / 2
        xor     ax, ax
        rep     stosw

        mov     bx, HANDOFF_PHYS
        mov     si, PROGRAM_HEADER_PHYS
        lodsd
        cmp     eax, "EXO1"
        jne     .none
        lodsd
        cmp     eax, "6PRG"
        jne     .none
        lodsd
        cmp     dword [si], 0                   ; 4 GiB of it or more
        jne     .none
        test    eax, eax
        jnz     .program
.none:
        mov     si, text_program
.fail:
        jmp     boot_fail
.program:
        mov     word [bx + handoff.memory_map], MEMORY_MAP_PHYS
        mov     dword [bx + handoff.header], PROGRAM_PHYS - program_header_size
        mov     dword [bx + handoff.command_line], PROGRAM_PHYS - program_header_size + program_header.command_line
        mov     word [bx + handoff.trampoline], TRAMPOLINE_PHYS
        cmp     byte [VIDEO_MODE_PHYS], 3
        jne     .no_text
        mov     dword [bx + handoff.screen], VGA_TEXT_PHYS
        mov     dword [bx + handoff.screen_width], 25 << 16 | 80
        mov     byte [bx + handoff.screen_pitch], 2 * 80
        mov     al, 80
        mul     byte [CURSOR_PHYS + 1]
        add     al, [CURSOR_PHYS]
        adc     ah, 0
        mov     [bx + handoff.screen_cursor], ax
.no_text:

; Memory map. One of its RAM ranges has to hold the whole program file at PROGRAM_PHYS.
        xor     bp, bp                          ; ranges that do
        xor     ebx, ebx
        mov     di, MEMORY_MAP_PHYS
.map:
        mov     eax, 0xe820
        mov     ecx, e820.type + 4              ; without the attributes
        mov     edx, "PAMS"
        int     0x15
        jc      .map_end                        ; some BIOSes end the list so
        cmp     eax, "PAMS"
        jne     .map_end
        inc     word [HANDOFF_PHYS + handoff.memory_count]
        cmp     byte [di + e820.type], E820_RAM
        jne     .map_next
        cmp     dword [di + e820.first + 4], 0
        jne     .map_next
        mov     eax, PROGRAM_PHYS
        sub     eax, [di + e820.first]
        jb      .map_next                       ; begins above
        add     eax, [PROGRAM_HEADER_PHYS + program_header.bytes]
        jc      .map_next
        cmp     [di + e820.bytes], eax
        jae     .fits
        cmp     dword [di + e820.bytes + 4], 0
        je      .map_next
.fits:
        inc     bp
.map_next:
        add     di, e820_size
        cmp     di, MEMORY_MAP_PHYS + MEMORY_MAP_MAX * e820_size
        je      .map_end
        test    ebx, ebx
        jnz     .map
.map_end:
        mov     si, text_room
        test    bp, bp
        jz      .fail
        call    bios_pixels

        mov     ebp, [PROGRAM_HEADER_PHYS + program_header.bytes]
        dec     ebp
        shr     ebp, 9
        inc     ebp                             ; sectors left
        mov     word [packet.segment], DISK_BUFFER_PHYS / 16
        mov     edi, PROGRAM_PHYS
.load:
        mov     ecx, CHUNK_SECTORS
        cmp     ebp, ecx
        jae     .chunk
        mov     cx, bp
.chunk:
        call    boot_read
        sub     ebp, ecx
        shl     cx, 9 - 2
        call    boot_protect                    ; each time: a BIOS call may put the 64 KiB limits back
        mov     esi, DISK_BUFFER_PHYS
        a32 rep movsd
        test    ebp, ebp
        jz      .loaded
        dec     ax
        mov     cr0, eax
        xor     ax, ax
        mov     ds, ax
        mov     es, ax
        sti
        jmp     .load
.loaded:
        jmp     dword SELECTOR_CODE32:boot_core

; -----------------------------------------------------------------------------
; Gives the program the screen of pixels that it asks for, if the BIOS has that: 32 bits a pixel, linear.
;
; USES  all
; SPEC  VBE 3.0 §4.3 (4F00h), §4.4 (4F01h), §4.5 (4F02h)
bios_pixels:
        mov     ebx, [PROGRAM_HEADER_PHYS + program_header.screen_width]
        test    ebx, ebx
        jz      .done
        push    word DISK_BUFFER_PHYS / 16
        pop     es
        xor     di, di
        mov     ax, 0x4f00
        int     0x10
        cmp     ax, VBE_DONE
        jne     .end
        lfs     si, [es:vbe.modes]
        mov     di, VBE_MODE
.mode:
        fs lodsw
        xchg    ax, cx
        cmp     cx, -1
        je      .end
        mov     ax, 0x4f01
        int     0x10
        mov     al, [es:di + vbe_mode.attributes]
        and     al, VBE_LINEAR
        cmp     al, VBE_LINEAR
        jne     .mode
        cmp     byte [es:di + vbe_mode.bits], 32
        jne     .mode
        cmp     [es:di + vbe_mode.width], ebx   ; and height
        jne     .mode
        push    ebx
        mov     bx, cx
        or      bh, 0x40                        ; linear
        mov     ax, 0x4f02
        int     0x10
        pop     ebx
        cmp     ax, VBE_DONE
        jne     .end
        mov     si, HANDOFF_PHYS
        mov     [si + handoff.screen_width], ebx
        mov     eax, [es:di + vbe_mode.address]
        mov     [si + handoff.screen], eax
        mov     ax, [es:di + vbe_mode.pitch]
        mov     [si + handoff.screen_pitch], ax
        cmp     byte [es:di + vbe_mode.red], 16
        setne   al
        inc     ax
        mov     [si + handoff.screen_format], al        ; screen_bgrx, screen_rgbx
        and     word [si + handoff.screen_cursor], 0
.end:
        push    0
        pop     es
.done:
        ret

text_cpu:       db "this CPU has no 64-bit mode, or NX is switched off", 10, 0
text_room:      db "the BIOS memory map has no RAM for the program", 10, 0
