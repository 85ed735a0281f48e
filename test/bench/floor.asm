; The least that a machine can do: an ELF file for direct boot that prints one line to COM1 and halts.
                org     0x100000
                bits 32
elf:            db      0x7f, "ELF", 1, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0
                dw      2, 3
                dd      1, start, .segments - elf, 0, 0
                dw      52, 32, 2, 0, 0, 0
.segments:      dd      1, 0, elf, elf, end - elf, end - elf, 7, 4096
                dd      4, note - elf, note, note, start - note, start - note, 4, 4
note:           dd      4, 4, 18                ; XEN_ELFNOTE_PHYS32_ENTRY
                db      "Xen", 0
                dd      start
start:          mov     edx, 0x3f8
                mov     al, '.'
                out     dx, al
                mov     al, 10
                out     dx, al
.halt:          hlt
                jmp     .halt
end:
