; Interrupts of devices: by message (MSI-X, else MSI), else over a line to an IOAPIC.
;
; A line is level-triggered: it interrupts for as long as a device on it wants something, and the handlers here ask no
; device. So a line is masked as it interrupts, and each irq_route unmasks it. No wake is lost by that: whatever a device
; wants meanwhile still holds the line when it is unmasked, and interrupts then.
;
; A line may be shared by devices that different cores wait for, but an IOAPIC sends it to one of them: the last to wait.
; So each irq_route leaves a waiter, and the core that is interrupted sends the others of the same line their vectors. A
; line is unmasked only while a waiter has the core and the vector that the IOAPIC has: all of it changes under pci_lock.
;
; The one message of a function without MSI-X may be shared likewise, by cores that wait for parts of the function with the
; same event: it goes to the last to call irq_route, and once to the others that have called since the last message. It has
; waiters as a line has, and is never masked: memory stands where a line has its IOAPIC.
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
PIN_LOW             equ 1 << 13
PIN_REMOTE_IRR      equ 1 << 14
PIN_LEVEL_BIT       equ 15
PIN_LEVEL           equ 1 << PIN_LEVEL_BIT
PIN_MASKED_BIT      equ 16
PIN_APIC_SHIFT      equ 24

; Who waits for a line or an MSI. The first one with target 0 ends the list; those with pin 0 are free.
struc waiter
.target:        resd 1      ; number of its core << 8 | vector
.pin:           resd 1      ; IOAPIC + register of the pin; of an MSI irq_message_pins + lower byte of the function
.apic:          resd 1      ; APIC id << PIN_APIC_SHIFT
                resd 1
endstruc
WAITERS_MAX         equ 64

; -----------------------------------------------------------------------------
; i64 irq_route(u32 function, u32 entry, u32 core, u32 event)           slot 15
;
; Makes a device raise an event: by its MSI-X entry, else by its one MSI, else over its line. Turns the function's bus
; mastering on, which carries the messages.
;
; A message stays routed; cores that share an MSI call it each time, too. A line is masked when it has raised its events,
; and the next irq_route unmasks it: call it each time, when the device's cause is cleared, and then look for work before
; idling.
;
; IN    edi  function    one of info.pci; all ones: a line that is none's, entry is its GSI, 1 or above
;       esi  entry       0 to its msix_count - 1; of a function without MSI-X 0
;       edx  core        started
;       ecx  event       event_queue to event_count - 1
; OUT   rax  0: by message, 1: over a line; or -no_such, -range, -unsupported (the function has no interrupt that reaches
;            that core, or its MSI-X table lies nowhere, or more than 64 wait for lines and MSIs)
; USES  scratch       CORE any       IRQ any
irq_route:
                lea     r10d, [rcx + event_vector]
                xchg    edi, edx
                call    core_find
                shl     edi, 8
                lea     r8d, [rdi + r10]
                mov     edi, edx
                call    pci_take
                lea     eax, [r10 - event_vector - event_queue]
                cmp     eax, event_count - event_queue
                jae     .range
                cmp     r9d, APIC_ID_ALL
                jae     .unsupported
                shl     r9d, MSI_APIC_SHIFT
                or      r9d, MSI_ADDRESS
                push    rsi
                mov     esi, info + machine_info.pci
                call    info_find
                mov     ecx, esi                ; its record
                pop     rdx                     ; entry
                je      .function
                inc     edi
                jnz     .no_such
                mov     ecx, PIN_LEVEL
                test    edx, edx
                jz      .unsupported
                jmp     irq_line
.no_such:
                push    -error_no_such
                jmp     .result
.unsupported:
                push    -error_unsupported
                jmp     .result
.range:
                push    -error_range
.result:
                pop     rax
                jmp     pci_end

.function:
                movzx   esi, word [rcx + pci_record.msix]
                test    esi, esi
                jz      .no_table
                movzx   eax, word [rcx + pci_record.msix_count]
                cmp     edx, eax
                jae     .range
                push    rsi
                call    pci_next                ; table: BAR and offset
                mov     esi, eax
                and     esi, MSIX_BIR
                xor     eax, esi
                lea     ecx, [rcx + rsi * 8]
                shl     edx, MSIX_ENTRY_SHIFT
                add     rdx, rax
                lea     rax, [rdx + (1 << MSIX_ENTRY_SHIFT)]
                cmp     esi, 5
                pop     rsi
                ja      .unsupported
                cmp     rax, [rcx + pci_record.bar_bytes]
                ja      .unsupported
                test    byte [rcx + pci_record.bar_bytes], 1
                jnz     .unsupported            ; I/O ports
                mov     rcx, [rcx + pci_record.bar]
                jrcxz   .unsupported            ; it was given no address
                push    rsi
                call    pci_use
                pop     rsi
                call    pci_get
                bts     eax, MSIX_ENABLE_BIT
                btr     eax, MSIX_MASK_BIT
                call    pci_put
                lea     rdi, [rcx + rdx]
                push    1                       ; masked while it changes
                pop     rax
                mov     [rdi + MSIX_ENTRY_CONTROL], eax
                xchg    eax, r9d
                stosd
                xor     eax, eax
                stosd
                xchg    eax, r10d
                stosd
                xor     eax, eax
                mov     [rdi], eax
                push    rax
                jmp     .result

.no_table:
                test    edx, edx
                jnz     .range
                mov     dl, PCI_CAP_MSI
                call    pci_capability
                mov     edx, esi
                xchg    eax, ecx
                push    PCI_INTERRUPT
                pop     rsi
                jc      .line
                call    pci_use
                mov     esi, edx
                mov     eax, r9d
                call    pci_put_next
                bt      ecx, MSI_64_BIT
                jnc     .data
                xor     eax, eax
                call    pci_put_next
.data:
                xchg    eax, r10d
                call    pci_put_next
                xchg    eax, ecx
                and     eax, ~MSI_COUNT
                bts     eax, MSI_ENABLE_BIT     ; last: now all of it is right
                mov     esi, edx
                call    pci_put
                movzx   edx, dil                ; (on another bus is another function with this pin: both wake)
                lea     edi, [rdx + irq_message_pins]
                xor     ecx, ecx
                jmp     irq_line.pin

.no_line:
                jmp     .unsupported

.line:
                call    pci_get
                test    ah, ah
                jz      .no_line                ; no pin
                movzx   edx, al                 ; the ISA IRQ that the firmware has routed it to; 0 and 255: none (§6.2.4)
                lea     ecx, [rdx - 1]
                cmp     ecx, ISA_IRQS - 1
                jae     .no_line
                call    pci_use
                mov     ecx, PIN_LEVEL | PIN_LOW

; -----------------------------------------------------------------------------
; Adds a waiter for a line and unmasks it; ends irq_route. At .pin it does as much for an MSI, edi and edx as a pin's.
;
; IN    edx  ISA IRQ or GSI      ecx  trigger mode and polarity, where the MADT says nothing else
;       r8d target, r9d message address; pci_take's lock and flags
irq_line:
                xchg    eax, edx
                cmp     eax, ISA_IRQS
                jae     .gsi
                mov     esi, [irq_overrides + rax * 4]
                test    esi, esi
                jz      .gsi
                mov     eax, [rsi + MADT_OVERRIDE_GSI]
                mov     ch, [rsi + MADT_OVERRIDE_FLAGS]
                shl     ch, 4                   ; polarity to the pin's bit; the lower bits are read-only there
                or      ch, PIN_LEVEL >> 8
.gsi:
                mov     esi, irq_ioapics
.ioapic:
                mov     edi, [rsi]
                test    edi, edi
                jz      irq_route.no_line
                mov     edx, eax
                sub     edx, [rsi + 4]          ; pin, if it is one of this
                add     esi, 8
                push    rax
                mov     dword [rdi], IOAPIC_VERSION
                mov     eax, [rdi + IOAPIC_DATA]
                shr     eax, 16                 ; its last one
                cmp     edx, eax
                pop     rax
                ja      .ioapic
                add     edx, edx
                add     edx, IOAPIC_PIN
                or      edi, edx
.pin:
                mov     esi, irq_waiters - waiter_size
.waiter:
                add     esi, waiter_size
                cmp     esi, irq_waiters_end
                jae     irq_route.no_line
                mov     eax, [rsi + waiter.pin]
                test    eax, eax
                jz      .free
                cmp     eax, edi
                jne     .waiter
                cmp     [rsi + waiter.target], r8d
                jne     .waiter
.free:
                shl     r9d, PIN_APIC_SHIFT - MSI_APIC_SHIFT    ; and MSI_ADDRESS goes
                mov     [rsi + waiter.target], r8d
                mov     [rsi + waiter.pin], edi
                mov     [rsi + waiter.apic], r9d
                xor     edi, edx
                mov     [rdi], edx
                mov     eax, [rdi + IOAPIC_DATA]
                and     eax, PIN_REMOTE_IRR     ; interrupts of it wait for an EOI, which a new vector would not get: edge-
                add     eax, eax                ; triggered for a moment ends that, and the core in question tells all
                xor     eax, PIN_LEVEL | 1 << PIN_MASKED_BIT
                mov     [rdi + IOAPIC_DATA], eax
                inc     edx
                mov     [rdi], edx
                mov     [rdi + IOAPIC_DATA], r9d
                dec     edx
                mov     [rdi], edx
                movzx   eax, r8b
                or      eax, ecx
                mov     [rdi + IOAPIC_DATA], eax
                shr     ecx, PIN_LEVEL_BIT
                push    rcx                     ; 1, or 0
                jmp     irq_route.result

; -----------------------------------------------------------------------------
; Masks the lines that raise a vector here, before its EOI lets them interrupt again, and tells their other waiters.
;
; IN    ecx  vector; interrupts off
; USES  rax rdx
irq_raised:
                mov     eax, irq_waiters
                xor     edx, edx
                cmp     [rax + waiter.target], edx
                je      .none                   ; no line was ever routed
                push    rbx
                push    rsi
                push    rdi
                push    r11
                xchg    eax, ebx
                call    pci_take
                mov     eax, [gs:rdx + core_local.index]
                shl     eax, 8
                mov     al, cl
.waiter:
                cmp     [rbx + waiter.target], eax
                jne     .next
                xor     edi, edi
                xchg    edi, [rbx + waiter.pin]
                test    edi, edi
                jz      .next
                movzx   edx, dil
                xor     edi, edx
                mov     [rdi], edx
                bts     dword [rdi + IOAPIC_DATA], PIN_MASKED_BIT
                or      edx, edi
                mov     esi, irq_waiters
.other:
                cmp     [rsi + waiter.pin], edx
                jne     .not
                and     dword [rsi + waiter.pin], 0
                push    rax
                push    rdx
                movzx   eax, byte [rsi + waiter.target]
                or      ah, ICR_FIXED >> 8
                mov     edi, [rsi + waiter.apic]
                shr     edi, PIN_APIC_SHIFT
                call    lapic_ipi
                pop     rdx
                pop     rax
.not:
                add     esi, waiter_size
                cmp     dword [rsi + waiter.target], 0
                jne     .other
.next:
                add     ebx, waiter_size
                cmp     dword [rbx + waiter.target], 0
                jne     .waiter
                call    pci_end
                pop     r11
                pop     rdi
                pop     rsi
                pop     rbx
.none:
                ret
