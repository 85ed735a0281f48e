; ACPI: finds the tables that the core needs, and the cores in one of them.
;
; Tables are checked before they are believed: signature, length, checksum. A bad one is named and left out.
; SPEC  ACPI 6.5 §5.2

struc acpi_table
.signature:     resd 1
.length:        resd 1
                resb 28
.body:
endstruc
ACPI_TABLE_MAX_BYTES equ 0x100000

MADT_ENTRIES        equ 44
MADT_X2APIC         equ 9                       ; type of an entry
MADT_ENABLED        equ 1
MADT_IOAPIC_ADDRESS equ 4
MADT_OVERRIDE_GSI   equ 4
MADT_OVERRIDE_FLAGS equ 8
APIC_ID_ALL         equ 255
MCFG_ENTRIES        equ 44
HPET_ADDRESS        equ 44
FADT_DSDT           equ 40
FADT_PM1A_CONTROL   equ 64
FADT_FLAGS          equ 112
FADT_RESET_REG      equ 116                     ; address space id, 3 bytes, address
FADT_RESET_VALUE    equ 128
FADT_RESET_SUPPORTED equ 1 << 10
FADT_X_DSDT         equ 140
FADT_SLEEP_CONTROL  equ 244                     ; as FADT_RESET_REG

; -----------------------------------------------------------------------------
; Finds the tables, and keeps those that the core reads.
;
; IN    rbx  handoff      rbp  near_variables
; USES  all but rbp
acpi_find:
                mov     rdi, [rbx + handoff.rsdp]
                test    rdi, rdi
                jnz     .root
                call    system_say
                db      EXO16, "no ACPI tables: one core", 10, 0
.done:
                ret
.root:
                or      byte [VAR(info + machine_info.features)], machine_acpi
                mov     esi, [rdi + 16]         ; RSDT
                push    4
                pop     rbx
                cmp     byte [rdi + 15], 2      ; revision
                jb      .list
                cmp     dword [rdi + 28], 0     ; XSDT
                jne     .list                   ; above what the boot tables map
                mov     ecx, [rdi + 24]
                jrcxz   .list                   ; none
                mov     esi, ecx
                add     ebx, ebx
.list:
                call    acpi_check
                jne     .done
                lea     edx, [rsi + acpi_table.body]
                mov     r8d, [rsi + acpi_table.length]
                add     r8d, esi
.entry:
                mov     esi, [rdx]
                cmp     ebx, 4
                je      .table
                mov     rsi, [rdx]
.table:
                add     edx, ebx
                cmp     edx, r8d
                ja      .done
                mov     rax, rsi
                shr     rax, 32
                jnz     .entry                  ; the boot tables reach 4 GiB
                mov     edi, acpi_names
                lea     ecx, [rax + ACPI_NAMES]
                mov     eax, [rsi + acpi_table.signature]
                repne   scasd
                jne     .entry
                push    rcx
                call    acpi_check
                pop     rcx
                jne     .entry
                mov     [VAR(acpi_tables) + rcx * 4], esi
                jmp     .entry

acpi_names:     db      "HPETMCFGAPICFACP"      ; last to first in acpi_tables
ACPI_NAMES      equ     4

; -----------------------------------------------------------------------------
; Checks a table's length and checksum, and names it if it is bad.
;
; IN    rsi  table, below 4 GiB
; OUT   ZF   set if it is good
; USES  rax rcx rdi, if it is bad rsi
acpi_check:
                mov     ecx, [rsi + acpi_table.length]
                lea     eax, [rcx - acpi_table.body]
                cmp     eax, ACPI_TABLE_MAX_BYTES
                ja      .bad
                xor     eax, eax
.byte:
                add     al, [rsi + rcx - 1]
                loop    .byte
                jz      .done
.bad:
                call    system_say
                db      EXO16, "ACPI table ", 0
                mov     eax, [rsi + acpi_table.signature]
                call    trap_letters
                call    system_say
                db      " is damaged", 10, 0
                or      al, 1                   ; clears ZF
.done:
                ret

; -----------------------------------------------------------------------------
; Finds the table of devices and sleeping states.
;
; OUT   ecx  DSDT and eax FADT, or ecx 0
acpi_dsdt:
                mov     ecx, [acpi_fadt]
                jrcxz   .done
                mov     eax, [rcx + FADT_DSDT]
                test    eax, eax
                jnz     .found
                cmp     dword [rcx + acpi_table.length], FADT_X_DSDT + 8
                jb      .found
                cmp     [rcx + FADT_X_DSDT + 4], eax
                jne     .found                  ; above 4 GiB
                mov     eax, [rcx + FADT_X_DSDT]
.found:
                xchg    eax, ecx
.done:
                ret

; -----------------------------------------------------------------------------
; Creates every core that the firmware lists as enabled, besides this one, and notes IOAPICs and overrides of ISA IRQs.
;
; IN    rbp  near_variables
; USES  all but rbp
acpi_cores:
                mov     ecx, [VAR(acpi_madt)]
                jrcxz   acpi_dsdt.done
                mov     edx, [rcx + acpi_table.length]
                add     edx, ecx
                lea     ebx, [rcx + MADT_ENTRIES]
                mov     r13d, irq_ioapics
.entry:
                mov     esi, ebx
                movzx   eax, byte [rsi + 1]     ; length
                cmp     al, 2                   ; an entry has two bytes at least
                jb      .end
                add     ebx, eax
                cmp     ebx, edx
                ja      .end
                lodsd                           ; type, length, 8 bits, APIC id or ISA IRQ
                movzx   ecx, al
                shr     eax, 24
                xchg    eax, edi
                lodsd
                jrcxz   .core                   ; 0: local APIC
                dec     ecx
                jz      .ioapic                 ; 1: IOAPIC
                dec     ecx
                jz      .override               ; 2: override
                cmp     cl, MADT_X2APIC - 2
                jne     .entry
                xchg    eax, edi
                lodsd
.core:
                test    al, MADT_ENABLED
                jz      .entry
                cmp     edi, APIC_ID_ALL
                jb      .create
                test    byte [VAR(info + machine_info.features)], machine_x2apic
                jz      .entry                  ; an xAPIC reaches no such id, and takes 255 for all cores
.create:
                push    rbx
                push    rdx
                call    core_create             ; nothing if it is there already
                pop     rdx
                pop     rbx
                jmp     .entry
.override:
                cmp     edi, ISA_IRQS
                jae     .entry
                sub     esi, 8
                mov     [irq_overrides + rdi * 4], esi
                jmp     .entry
.ioapic:
                cmp     r13d, irq_ioapics_end
                jae     .entry
                sub     esi, 8 - MADT_IOAPIC_ADDRESS            ; and first GSI
                xchg    edi, r13d
                movsq
                xchg    edi, r13d
                jmp     .entry
.end:
                ret
