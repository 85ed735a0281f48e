; The end of the machine: power off, reset, halt; how calls return errors; and the sentences that the core can say.
;
; SPEC  ACPI 6.5 §4.8.3.2 (PM1 control), §4.8.3.7 (sleep control), §7.4.2 (sleeping states), §4.8.3.6 (reset register)

BOCHS_SHUTDOWN_PORT equ 0x8900
RESET_PORT          equ 0xcf9
KEYBOARD_PORT       equ 0x64
KEYBOARD_RESET      equ 0xfe
SLEEP_ENABLE        equ 1 << 13
SLEEP_TYPE_SHIFT    equ 10
AML_PACKAGE         equ 0x12
AML_BYTE            equ 0x0a

; -----------------------------------------------------------------------------
; void sys_reboot(void)                                                  slot 1
;
; Tries ACPI's reset register, the chipset's port, the keyboard controller, and at last a triple fault.
;
;       CORE any       IRQ any
sys_reboot:
                mov     ecx, [acpi_fadt]
                jrcxz   .port
                test    byte [rcx + FADT_FLAGS + 1], FADT_RESET_SUPPORTED >> 8
                jz      .port
                mov     al, [rcx + FADT_RESET_VALUE]
                mov     rdx, [rcx + FADT_RESET_REG + 4]
                cmp     byte [rcx + FADT_RESET_REG], 1
                jb      .memory
                jne     .port
                out     dx, al
                jmp     .port
.memory:
                mov     [rdx], al
.port:
                mov     dx, RESET_PORT
                mov     al, 2
                out     dx, al
                mov     al, 6
                out     dx, al
                mov     al, KEYBOARD_RESET
                out     KEYBOARD_PORT, al
                push    0                       ; an IDT without entries
                lidt    [rsp]
                ud2

text_shutdown:  db      "Shutdown"              ; to Bochs
SHUTDOWN_BYTES      equ $ - text_shutdown
text_exo16:     db      "exo16: ", 0
text_dead:      db      " does not answer", 10, 0

; -----------------------------------------------------------------------------
; Prints the text that follows the call, and goes on behind it.
;
; USES  rax rdi
system_say:
                pop     rdi
                call    console_text
                jmp     rdi

; -----------------------------------------------------------------------------
; Says what is wrong with machine or image, and ends. Called, not jumped to: the sentence follows the call, without "exo16: ".
boot_error:
                pop     rdi
                call    console_text.name
                push    EXIT_BOOT
                pop     rdi

; Ends the line, and the machine with status edi.
system_end:
                mov     al, 10
                call    console_put

; -----------------------------------------------------------------------------
; void sys_exit(u32 status)                                              slot 0
;
; Ends an emulator with the status; else powers off. From EXIT_BOOT on, errors of the machine, it halts: what is on the
; screen is to be read.
;
; IN    edi  status, 0 to 255
;       CORE any       IRQ any
sys_exit:
                mov     eax, edi
                out     STATUS_PORT, al
                out     EXIT_PORT, al
                mov     esi, text_shutdown
                mov     dx, BOCHS_SHUTDOWN_PORT
                push    SHUTDOWN_BYTES
                pop     rcx
                rep     outsb
                cmp     edi, EXIT_BOOT
                jae     system_halt

                call    acpi_dsdt               ; power off: the type of S5 stands in the DSDT as a package
                jrcxz   system_halt
                xchg    eax, esi                ; FADT
                mov     edi, ecx
                mov     ecx, [rdi + acpi_table.length]
.search:
                inc     edi
                cmp     dword [rdi], "_S5_"
                loopne  .search
                jne     system_halt
                cmp     byte [rdi + 4], AML_PACKAGE
                jne     system_halt
                mov     ah, [rdi + 7]           ; behind its length and count: a byte, or the constants 0 and 1
                cmp     ah, AML_BYTE
                jne     .type
                mov     ah, [rdi + 8]
.type:
                shl     ah, SLEEP_TYPE_SHIFT - 8
                or      ah, SLEEP_ENABLE >> 8
                mov     al, 0
                mov     edx, [rsi + FADT_PM1A_CONTROL]
                test    edx, edx
                jnz     .fixed
                cmp     dword [rsi + acpi_table.length], FADT_SLEEP_CONTROL + 12
                jb      system_halt
                mov     rdx, [rsi + FADT_SLEEP_CONTROL + 4]     ; hardware-reduced: a byte with the same bits
                mov     al, ah
                cmp     byte [rsi + FADT_SLEEP_CONTROL], 1
                je      .port
                mov     [rdx], al
                jmp     system_halt
.fixed:
                out     dx, ax
                jmp     system_halt
.port:
                out     dx, al

system_halt:
                cli
                hlt
                jmp     system_halt

; -----------------------------------------------------------------------------
; Errors of several files' calls. Elsewhere a routine has its own of these three lines: they are shorter than a jump here.
error_return:
.range:
                push    -error_range
                pop     rax
                ret
.pointer:
                push    -error_pointer
                pop     rax
                ret
