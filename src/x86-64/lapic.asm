; Local APIC, memory-mapped or as x2APIC: the first core decides for all.
;
; SPEC  SDM Vol. 3A ch. 11 (APIC), §11.12 (x2APIC)

APIC_BASE_X2APIC    equ 1 << 10
APIC_BASE_ENABLE    equ 1 << 11
PIC_MASTER_MASK     equ 0x21
PIC_SLAVE_MASK      equ 0xa1
LAPIC_SPURIOUS_ON   equ 0x100
ICR_WAIT_POLLS      equ 0xff00                  ; or some more

; -----------------------------------------------------------------------------
; Finds out how APICs are reached and timers set here, and turns the first core's on.
;
; IN    rbp  near_variables
; USES  rax rbx rcx rdx
lapic_init:
                mov     al, 0xff                ; the old controllers first: what they hold must not stay pending
                out     PIC_MASTER_MASK, al
                out     PIC_SLAVE_MASK, al
                push    1
                pop     rax
                cpuid
                shl     ecx, 32 - 24            ; bit 24
                jnc     .no_deadline
                or      byte [VAR(info + machine_info.features)], machine_tsc_deadline
.no_deadline:
                shl     ecx, 24 - 21            ; bit 21
                jnc     lapic_enable
                or      byte [VAR(info + machine_info.features)], machine_x2apic

; -----------------------------------------------------------------------------
; Turns this core's local APIC on.
;
; USES  rax rbx rcx rdx
lapic_enable:
                mov     ebx, info + machine_info.features
                push    MSR_APIC_BASE
                pop     rcx
                rdmsr
                or      ah, APIC_BASE_ENABLE >> 8
                wrmsr                           ; enabled first: off to x2APIC in one step is not allowed
                test    byte [rbx], machine_x2apic
                jz      .memory
                or      ah, APIC_BASE_X2APIC >> 8
                wrmsr
                jmp     .registers
.memory:
                and     eax, -PAGE_BYTES
                mov     [lapic_base], eax
.registers:
                mov     cl, LAPIC_TIMER_DIVIDE
                xor     eax, eax                ; by 2
                call    lapic_write
                mov     cl, LAPIC_LVT_LINT0     ; and nothing more comes from them
                bts     eax, LVT_MASKED_BIT
                call    lapic_write
                mov     cl, LAPIC_SPURIOUS
                mov     eax, LAPIC_SPURIOUS_ON + SPURIOUS_VECTOR
                call    lapic_write
                mov     cl, LAPIC_LVT_TIMER
                push    event_vector + event_timer
                pop     rax
                test    byte [rbx], machine_tsc_deadline
                jz      lapic_write
                bts     eax, LVT_TSC_DEADLINE_BIT

; -----------------------------------------------------------------------------
; IN    ecx  register       eax  value
; USES  rdx
lapic_write:
                push    rcx
                mov     edx, [lapic_base]
                test    edx, edx
                jz      .x2apic
                shl     ecx, 4
                mov     [rdx + rcx], eax
                pop     rcx
                ret
.x2apic:                                        ; rdx: upper half of the value
                or      ch, MSR_X2APIC >> 8
                wrmsr
                pop     rcx
                ret

; -----------------------------------------------------------------------------
; Sends an interrupt to a core. Interrupts stay off between the two halves of the xAPIC's command.
;
; IN    edi  APIC id        eax  command
; USES  rdx rdi
lapic_ipi:
                push    rcx
                push    LAPIC_ICR
                pop     rcx
                mov     edx, [lapic_base]
                test    edx, edx
                jz      .x2apic
                pushfq
                cli
                or      dh, LAPIC_ICR * 16 >> 8
                mov     ch, ICR_WAIT_POLLS >> 8
.wait:
                test    dword [rdx], 1 << ICR_PENDING_BIT
                loopnz  .wait
                shl     edi, 24
                mov     [rdx + (LAPIC_ICR_HIGH - LAPIC_ICR) * 16], edi
                mov     [rdx], eax
                popfq
                pop     rcx
                ret
.x2apic:
                mfence                          ; the MSR is no serializing write (§11.12.3)
                mov     edx, edi
                jmp     lapic_write.x2apic
