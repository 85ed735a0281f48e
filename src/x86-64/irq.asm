; Interrupts of devices: by message (MSI-X, else MSI), else over a line to an IOAPIC.
;
; A line is level-triggered: it interrupts for as long as a device on it wants something, and the handlers here ask no
; device. So a line is masked as it interrupts, and each irq_route unmasks it. No wake is lost by that: whatever a device
; wants meanwhile still holds the line when it is unmasked, and interrupts then.
;
; A line may be shared by devices that different cores wait for, but an IOAPIC sends it to one of them: the last to wait.
; So each irq_route leaves a waiter, and the core that is interrupted sends the others of the same line their vectors. A
; line is not masked exactly while a waiter has the core and the vector that the IOAPIC has: both change under pci_lock.
;
; SPEC  PCI Local Bus 3.0 §6.2.4 (line and pin), §6.8; Intel 82093AA (IOAPIC) §3; ACPI 6.5 §5.2.12.3, §5.2.12.5 (MADT)

MSIX_ENABLE_BIT     equ 31                      ; in a capability's first dword
MSIX_MASK_BIT       equ 30
MSIX_BIR            equ 7
MSIX_ENTRY_SHIFT    equ 4
MSIX_ENTRY_CONTROL  equ 12
PCI_CAP_MSI         equ 5
MSI_ENABLE_BIT      equ 16                      ; likewise
MSI_COUNT           equ 7 << 20
MSI_64_BIT          equ 23
MSI_ADDRESS         equ 0xfee00000
MSI_APIC_SHIFT      equ 12

ISA_IRQS            equ 16
IOAPICS_MAX         equ 16
IOAPIC_DATA         equ 0x10                    ; the register that was chosen at offset 0; IOAPICs lie at multiples of 256
IOAPIC_VERSION      equ 1
IOAPIC_PIN          equ 0x10                    ; two registers each
PIN_LEVEL           equ 1 << 15
PIN_LOW             equ 1 << 13
PIN_MASKED          equ 1 << 16

; Who waits for a line. The first one with local 0 ends the list; those with pin 0 are free.
struc waiter
.local:         resd 1      ; its core_block
.vector:        resd 1
.apic:          resd 1      ; APIC id
.pin:           resd 1      ; IOAPIC + register of the pin
endstruc
WAITERS_MAX         equ 64

; -----------------------------------------------------------------------------
; i64 irq_route(u32 function, u32 entry, u32 core, u32 event)           slot 15
;
; Makes a device raise an event: by its MSI-X entry, else by its one MSI, else over its line. Turns the function's bus
; mastering on, which carries the messages.
;
; A line is masked when it has raised its events; the next irq_route unmasks it. So call it each time before looking for
; work and idling, once the device's cause is cleared. A message stays routed.
;
; IN    edi  function    one of info.pci; all ones: a line that is none's, entry is its GSI, 1 or above
;       esi  entry       0 to its msix_count - 1; of a function without MSI-X 0
;       edx  core        started
;       ecx  event       event_queue to event_count - 1
; OUT   rax  0: by message, 1: over a line; or -no_such, -range, -unsupported (the function has no interrupt that the core
;            can reach, or its MSI-X table is none; the core's APIC id does not fit a message; more than 64 wait for lines)
; USES  scratch       CORE any       IRQ any
irq_route:
                lea     eax, [rcx - event_queue]
                cmp     eax, event_count - event_queue
                jae     .range
                lea     r10d, [rcx + event_vector]
                xchg    edi, edx
                call    core_find
                mov     edi, edx
                mov     r8d, ecx
                cmp     r9d, APIC_ID_ALL
                jae     .unsupported
                shl     r9d, MSI_APIC_SHIFT
                or      r9d, MSI_ADDRESS
                push    rsi
                mov     esi, info + machine_info.pci
                call    info_find
                mov     ecx, esi
                pop     rdx
                je      .function
                inc     edi
                jnz     .no_such
                call    pci_take
                mov     eax, edx
                mov     ecx, PIN_LEVEL
                test    eax, eax
                jnz     irq_line
                jmp     irq_end.unsupported

.function:                                      ; ecx: its record, edx: entry
                call    pci_take
                movzx   esi, word [rcx + pci_record.msix]
                test    esi, esi
                jz      .no_table
                movzx   eax, word [rcx + pci_record.msix_count]
                cmp     edx, eax
                jae     irq_end.range
                push    rsi
                call    pci_next                ; table: BAR and offset
                mov     esi, eax
                and     esi, MSIX_BIR
                xor     eax, esi
                shl     edx, MSIX_ENTRY_SHIFT
                add     rdx, rax
                lea     rax, [rdx + (1 << MSIX_ENTRY_SHIFT)]
                lea     ecx, [rcx + rsi * 8]
                cmp     esi, 5
                pop     rsi
                ja      irq_end.unsupported
                cmp     rax, [rcx + pci_record.bar_bytes]
                ja      irq_end.unsupported
                test    byte [rcx + pci_record.bar_bytes], 1
                jnz     irq_end.unsupported     ; I/O ports
                mov     rcx, [rcx + pci_record.bar]
                test    rcx, rcx
                jz      irq_end.unsupported     ; no address was given to it
                add     rdx, rcx
                push    rsi
                call    pci_use
                pop     rsi
                call    pci_get
                bts     eax, MSIX_ENABLE_BIT
                btr     eax, MSIX_MASK_BIT
                call    pci_put
                mov     rdi, rdx
                push    1                       ; masked while it changes
                pop     rax
                mov     [rdi + MSIX_ENTRY_CONTROL], eax
                mov     eax, r9d
                stosd
                xor     eax, eax
                stosd
                xchg    eax, r10d
                stosd
                xor     eax, eax
                stosd
                jmp     pci_end
.range:
                push    -error_range
                pop     rax
                ret
.no_such:
                push    -error_no_such
                pop     rax
                ret
.unsupported:
                push    -error_unsupported
                pop     rax
                ret

.no_table:
                test    edx, edx
                jnz     irq_end.range
                mov     dl, PCI_CAP_MSI
                call    pci_capability
                jc      .line
                push    rax
                push    rsi
                call    pci_use
                pop     rsi
                pop     rcx
                mov     edx, esi
                add     esi, 4
                mov     eax, r9d
                call    pci_put
                bt      ecx, MSI_64_BIT
                jnc     .data
                add     esi, 4
                xor     eax, eax
                call    pci_put
.data:
                add     esi, 4
                xchg    eax, r10d
                call    pci_put
                xchg    esi, edx
                xchg    eax, ecx
                and     eax, ~MSI_COUNT
                bts     eax, MSI_ENABLE_BIT     ; last: now all of it is right
                call    pci_put
                xor     eax, eax
                jmp     pci_end

.line:
                push    PCI_INTERRUPT
                pop     rsi
                call    pci_get
                test    ah, ah
                jz      irq_end.unsupported     ; no pin
                movzx   eax, al                 ; the ISA IRQ that the firmware has routed it to; 0 and 255: none (§6.2.4)
                lea     ecx, [rax - 1]
                cmp     ecx, ISA_IRQS - 1
                jae     irq_end.unsupported
                push    rax
                call    pci_use
                pop     rax
                mov     ecx, PIN_LEVEL | PIN_LOW

; -----------------------------------------------------------------------------
; Adds a waiter for a line and unmasks it.
;
; IN    eax  ISA IRQ or GSI      ecx  trigger mode and polarity, where the MADT does not say another
;       r8d core_block, r9d APIC id << MSI_APIC_SHIFT, r10d vector; pci_take, r11 its flags
; OUT   rax  as irq_route
irq_line:
                cmp     eax, ISA_IRQS
                jae     .gsi
                mov     esi, [irq_overrides + rax * 4]
                test    esi, esi
                jz      .gsi
                mov     eax, [rsi + MADT_OVERRIDE_GSI]
                mov     dl, [rsi + MADT_OVERRIDE_FLAGS]
                and     dl, 3                   ; 0: as usual for the bus, 1: high, 3: low
                jz      .gsi
                and     ch, ~PIN_LOW >> 8 & 0xff
                and     dl, 2
                shl     dl, 4
                or      ch, dl
.gsi:
                mov     esi, irq_ioapics
.ioapic:
                mov     edi, [rsi]
                test    edi, edi
                jz      irq_end.unsupported
                mov     edx, eax
                sub     edx, [rsi + 4]          ; pin, if it is one of this
                add     esi, 8
                push    rax
                mov     dword [rdi], IOAPIC_VERSION
                mov     eax, [rdi + IOAPIC_DATA]
                shr     eax, 16
                movzx   eax, al                 ; its last one
                cmp     edx, eax
                pop     rax
                ja      .ioapic
                add     edx, edx
                add     edx, IOAPIC_PIN
                or      edi, edx
                mov     rax, r10
                shl     rax, 32
                or      rax, r8
                mov     esi, irq_waiters
.waiter:
                cmp     dword [rsi + waiter.pin], 0
                je      .free
                cmp     [rsi + waiter.pin], edi
                jne     .next
                cmp     [rsi + waiter.local], rax       ; and vector
                je      .free
.next:
                add     esi, waiter_size
                cmp     esi, irq_waiters_end
                jb      .waiter
                jmp     irq_end.unsupported
.free:
                mov     [rsi + waiter.local], rax
                shl     r9d, 24 - MSI_APIC_SHIFT        ; the address goes
                mov     eax, r9d
                shr     eax, 24
                mov     [rsi + waiter.apic], eax
                mov     [rsi + waiter.pin], edi
                xor     edi, edx
                mov     [rdi], edx
                mov     dword [rdi + IOAPIC_DATA], PIN_MASKED   ; and edge-triggered: ends what waits for an EOI
                inc     edx
                mov     [rdi], edx
                mov     [rdi + IOAPIC_DATA], r9d
                dec     edx
                mov     [rdi], edx
                or      ecx, r10d
                mov     [rdi + IOAPIC_DATA], ecx
                push    1
                jmp     irq_end.result
irq_end:
.range:
                push    -error_range
                jmp     .result
.unsupported:
                push    -error_unsupported
.result:
                pop     rax
                jmp     pci_end

; -----------------------------------------------------------------------------
; Tells a driver at boot whether its device can interrupt.
;
; IN    edi, esi  function and entry, as irq_route
; OUT   eax  1 or 0
; USES  scratch
irq_possible:
                xor     edx, edx
                push    event_queue
                pop     rcx
                call    irq_route
                not     eax
                shr     eax, 31
                ret

; -----------------------------------------------------------------------------
; Masks the lines that raise a vector here, before its EOI lets them interrupt again, and tells their other waiters.
;
; IN    ecx  vector; interrupts off
; USES  rax rdx
irq_raised:
                mov     eax, irq_waiters
                cmp     dword [rax + waiter.local], 0
                je      .none                   ; no line was ever routed
                push    rbx
                push    rsi
                push    rdi
                push    r11
                xchg    eax, ebx
                call    pci_take
                mov     eax, ecx
                shl     rax, 32
                xor     edx, edx
                or      rax, [gs:rdx + core_local.self]
.waiter:
                cmp     [rbx + waiter.local], rax
                jne     .next
                xor     edi, edi
                xchg    edi, [rbx + waiter.pin]
                test    edi, edi
                jz      .next
                movzx   edx, dil
                xor     edi, edx
                mov     [rdi], edx
                or      dword [rdi + IOAPIC_DATA], PIN_MASKED
                or      edi, edx
                mov     esi, irq_waiters
.other:
                cmp     [rsi + waiter.pin], edi
                jne     .not
                and     dword [rsi + waiter.pin], 0
                push    rax
                push    rdi
                mov     eax, [rsi + waiter.vector]
                or      ah, ICR_FIXED >> 8
                mov     edi, [rsi + waiter.apic]
                call    lapic_ipi
                pop     rdi
                pop     rax
.not:
                add     esi, waiter_size
                cmp     dword [rsi + waiter.local], 0
                jne     .other
.next:
                add     ebx, waiter_size
                cmp     dword [rbx + waiter.local], 0
                jne     .waiter
                call    pci_end
                pop     r11
                pop     rdi
                pop     rsi
                pop     rbx
.none:
                ret
