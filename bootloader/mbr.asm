; Boot sector: reads loader, core and program header, and goes to the loader; and what else fits into its sector.
;
; IN    dl  BIOS drive      CS:IP 0:0x7c00 or 0x7c0:0
; OUT   sp = 0x7c00, ds = es = ss = 0, the serial port at 115200 8N1; jumps to bios_start
; SPEC  BIOS Boot Specification 1.01; Enhanced Disk Drive 3.0 §8 (AH=42h); 16550A data sheet

bits 16

CORE_LOW_PHYS       equ BOOT_PHYS + LOADER_BYTES
DISK_TRIES          equ 3

mbr_start:
        jmp     0:.flat
.flat:
        xor     ax, ax
        mov     ss, ax                          ; no interrupt comes before the next instruction
        mov     sp, BOOT_PHYS
        mov     ds, ax
        mov     es, ax
        sti
        cld
        mov     [boot_drive], dl

        SERIAL_SETUP dx

        mov     ecx, IMAGE_CORE_BYTES / IMAGE_SECTOR_BYTES
        call    boot_read
        jmp     bios_start

; -----------------------------------------------------------------------------
; Reads the next sectors of 512 bytes, with tries; does not return on failure.
;
; IN    ecx  count, 127 at most; on a CD all but the last are a multiple of 4       [packet.segment]  where to
; USES  eax si, flags
boot_read:
        mov     eax, ecx
        push    cx
        mov     cl, [boot_shift]
        neg     ax                              ; rounded up
        sar     ax, cl
        neg     ax
        pop     cx
        mov     si, DISK_TRIES
.again:
        mov     [packet.count], ax              ; the BIOS writes back what it read
        pushad
        mov     ah, 0x42
        mov     dl, [boot_drive]
        mov     si, packet
        int     0x13
        popad
        jnc     .done
        dec     si
        jnz     .again
        mov     si, text_read

; -----------------------------------------------------------------------------
; Prints a sentence on screen and serial port, and halts.
;
; IN    si  text, ends with 0
boot_fail:
        push    si
        mov     si, text_name
        call    .print
        pop     si
        call    .print
        mov     al, EXIT_BOOT                   ; under an emulator: end with a status
        out     STATUS_PORT, al
        out     EXIT_PORT, al
.halt:
        hlt
        jmp     .halt
.next:
        mov     cx, 0x2000                      ; bounded wait for the serial port
        mov     dx, COM1 + 5
        mov     ah, al
.wait:
        in      al, dx
        test    al, 0x20
        loopz   .wait
        mov     al, ah
        mov     dl, COM1 & 0xff
        out     dx, al
        mov     ah, 0x0e
        mov     bx, 7
        int     0x10
.print:
        lodsb
        test    al, al
        jnz     .next
        ret

boot_read.done:
        add     [packet.sector], eax
        ret

; -----------------------------------------------------------------------------
; From real to protected mode with flat data segments; code goes on in 16 bits.
;
; USES  ax bx
boot_protect:
        cli
        lgdt    [boot_gdt]
        mov     eax, cr0
        inc     ax                              ; PE
        mov     cr0, eax
        mov     bx, SELECTOR_DATA
        mov     ds, bx
        mov     es, bx
        ret

; -----------------------------------------------------------------------------
; Core and program header to their places, and on to core_enter.
;
; IN    protected mode, flat, interrupts off
                bits 32
boot_core:
                rdtsc
                mov     [HANDOFF_PHYS + handoff.loader_tsc], eax
                mov     [HANDOFF_PHYS + handoff.loader_tsc + 4], edx
                call    rsdp_find
                mov     [HANDOFF_PHYS + handoff.rsdp], edi
                mov     esi, CORE_LOW_PHYS
                mov     edi, CORE_PHYS
                mov     ecx, IMAGE_CORE_BYTES / 4
                rep     movsd
                mov     esi, PROGRAM_HEADER_PHYS
                mov     edi, PROGRAM_PHYS - program_header_size
                mov     cl, program_header_size / 4
                rep     movsd
                mov     ebx, HANDOFF_PHYS
                jmp     core_enter
                bits 16

; -----------------------------------------------------------------------------
; A20: by the BIOS, and by port 0x92 if that does not have it on.
;
; OUT   ZF clear if it is off      USES  ax di fs
boot_a20:
        mov     ax, 0x2401
        int     0x15
        in      al, 0x92
        test    al, 2
        jnz     .on
        xor     al, 2
        and     al, ~1                          ; bit 0 resets the machine
        out     0x92, al
.on:
        mov     di, HANDOFF_PHYS
        mov     ax, 0xffff
        mov     fs, ax
        mov     al, [fs:di + 0x10]
        not     byte [di]
        cmp     al, [fs:di + 0x10]              ; changed with it?
        ret

text_name:      db "exo16: ", 0
text_read:      db "the boot disk cannot be read; write the image again or use another", 10, 0

text_a20:       db "A20 stays off", 10, 0
text_program:   db "the image holds no program; build it again", 10, 0

boot_drive:     db 0
boot_gdt:                                       ; the core's GDT in the copy that the disk read left below
        dw      GDT_BYTES - 1
        dd      CORE_LOW_PHYS + (gdt - core_start_phys)

        times 423 - ($ - mbr_start) db 0        ; the assembler refuses a negative count
boot_shift:     db 0                            ; the disk's sectors are this power of 2 larger; written with a CD's image
packet:         db 16, 0                        ; disk address packet
.count:         dw 0
                dw 0
.segment:       dw (BOOT_PHYS + IMAGE_SECTOR_BYTES) / 16
.sector:        dq 1                            ; written with a CD's image
        times 440 - ($ - mbr_start) db 0
        dd      0x36314f58, 0                   ; disk signature
        times 510 - ($ - mbr_start) db 0        ; partition table, written with the image
        dw      0xaa55
