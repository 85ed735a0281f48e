; Time: how fast TSC and APIC timer count, and the one timer of each core.
;
; The rates come from CPUID, or from a reference clock - HPET, else PIT - read first early at boot and last at its end.
; Boot itself is the measured interval. It is prolonged until the uncertainty of the reads is under a 1,024th of it.
; SPEC  SDM Vol. 3B §18.17.4 (CPUID leaf 15H), §11.5.4 (APIC timer); IA-PC HPET 1.0a §2.3; Intel 8254 data sheet

HPET_PERIOD         equ 4                       ; high half of the capabilities: femtoseconds per tick
HPET_CONFIG         equ 0x10
HPET_COUNTER        equ 0xf0
PIT_PERIOD          equ 838095345               ; femtoseconds
PIT_COMMAND         equ 0x43
PIT_CHANNEL_2       equ 0x42
PIT_GATE            equ 0x61
TIME_PRECISION_SHIFT equ 10
TIME_PRECISION      equ 1 << TIME_PRECISION_SHIFT
TIME_TRIES          equ 4                       ; the best of so many reads is a sample
TIME_SAMPLES_MAX    equ 1 << 18                 ; some seconds: a reference that does not count is given up
TSC_HZ_UNKNOWN      equ 1000000000
TSC_HZ_MOST_BYTE    equ 0xee                    ; 3.99 GHz, by the fourth byte, until the rate is known: waits may be longer than asked for
FEMTOSECONDS        equ 1000000000000000

struc sample
.width:         resq 1      ; TSC ticks that the read took
.tsc:           resq 1
.reference:     resd 1
.apic:          resd 1
endstruc

; -----------------------------------------------------------------------------
; Makes the APIC timer interrupt at a TSC deadline, or some time before: trap_entry arms it again then.
;
; IN    rdi  TSC; all ones: never
; USES  rax rcx rdx rdi
timer_arm:
                test    byte [info + machine_info.features], machine_tsc_deadline
                jnz     .deadline
                xor     eax, eax
                inc     rdi
                jz      .write
                call    time_now
                sub     rdi, rax
                push    1
                pop     rax
                jbe     .write                  ; passed already
                imul    rdi, [time_apic]        ; of the ticks until then, what the counter's 32 bits hold
                shr     rdi, 32
                xchg    eax, edi
                or      al, 1                   ; 0 would stop it
.write:
                push    LAPIC_TIMER_INITIAL
                pop     rcx
                jmp     lapic_write
.deadline:
                mov     rdx, rdi
                shr     rdx, 32
                xchg    eax, edi
                or      al, 1                   ; 0 would turn it off
                mov     ecx, MSR_TSC_DEADLINE
                wrmsr
                ret

; -----------------------------------------------------------------------------
; i64 timer_set(u64 deadline)                                            slot 7
;
; Sets this core's timer: at the deadline, at once if it has passed, comes its timer event.
;
; IN    rdi  TSC; 0: no deadline
; OUT   rax  0
; USES  scratch       CORE any       IRQ any
timer_set:
                xor     eax, eax
                dec     rdi                     ; 0 becomes the last one of all
                mov     [gs:rax + core_block.deadline], rdi
                call    timer_arm
                xor     eax, eax
                ret

; -----------------------------------------------------------------------------
; Starts the reference clock and the APIC timer, and takes the first sample, the best of several.
;
; IN    rbp  near_variables
; USES  all but rbp
time_start:
                mov     byte [VAR(info + machine_info.tsc_hz + 3)], TSC_HZ_MOST_BYTE
                or      eax, -1
                call    timer_arm.write         ; its interrupt is ignored: no deadline is set
                mov     ecx, [VAR(acpi_hpet)]
                jrcxz   .pit
                cmp     dword [rcx + HPET_ADDRESS + 4], 0
                jne     .pit
                mov     edi, [rcx + HPET_ADDRESS]
                mov     [VAR(time_reference)], edi
                or      dword [rdi + HPET_CONFIG], 1
                mov     eax, [rdi + HPET_PERIOD]
                or      byte [VAR(info + machine_info.features)], machine_hpet
                jmp     .first
.pit:
                in      al, PIT_GATE            ; gate on, speaker off
                and     al, ~2
                or      al, 1
                out     PIT_GATE, al
                mov     al, 0xb4                ; channel 2, low and high byte, rate generator
                out     PIT_COMMAND, al
                mov     al, 0                   ; from 65,536
                out     PIT_CHANNEL_2, al
                out     PIT_CHANNEL_2, al
                mov     eax, PIT_PERIOD
.first:
                mov     [VAR(time_period)], eax
                push    TIME_TRIES
                pop     r8
                or      qword [VAR(time_first + sample.width)], -1
.try:
                call    time_sample
                lea     edi, [VAR(time_first)]
                cmp     rax, [rdi + sample.width]
                jae     .worse
                stosq
                xchg    rax, rbx
                stosq
                xchg    eax, esi
                stosd
                xchg    eax, ecx
                stosd
.worse:
                dec     r8d
                jnz     .try
                ret

; -----------------------------------------------------------------------------
; Reads all clocks at once.
;
; IN    rbp near_variables
; OUT   rbx tsc, rax width, esi reference, ecx apic (it counts down); edi is 0 if the reference has but 16 bits
; USES  rdx
time_sample:
                call    time_now
                xchg    rax, rbx
                mov     edi, [VAR(time_reference)]
                test    edi, edi
                jz      .pit
                mov     esi, [rdi + HPET_COUNTER]
                jmp     .apic
.pit:
                mov     al, 0x80                ; latch channel 2
                out     PIT_COMMAND, al
                in      al, PIT_CHANNEL_2
                mov     ah, al
                in      al, PIT_CHANNEL_2
                xchg    al, ah
                xchg    eax, esi
                neg     esi                     ; it counts down
.apic:
                mov     ecx, [lapic_base]
                jrcxz   .x2apic
                mov     ecx, [rcx + LAPIC_TIMER_CURRENT * 16]
                jmp     .end
.x2apic:
                mov     ecx, MSR_X2APIC + LAPIC_TIMER_CURRENT
                rdmsr
                xchg    eax, ecx
.end:
                call    time_now
                sub     rax, rbx
                ret

; -----------------------------------------------------------------------------
; Takes last samples until one is precise enough, and computes the rates.
;
; IN    rbp  near_variables
; USES  all but rbp
time_finish:
                mov     r9d, TIME_SAMPLES_MAX
                cmp     dword [VAR(time_reference)], 0
                jne     .again
.anew:                                          ; the PIT's 16 bits may have wrapped
                shr     r9d, 1
                call    time_start
.again:
                call    time_sample
                lea     edx, [VAR(time_first)]
                sub     rbx, [rdx + sample.tsc]
                mov     r8d, [rdx + sample.apic]
                sub     r8d, ecx
                dec     r9d
                jle     .dead
                sub     esi, [rdx + sample.reference]
                test    edi, edi
                jnz     .wide
                movsx   esi, si
                test    esi, esi
                js      .anew
.wide:
                cmp     esi, TIME_PRECISION
                jb      .again
                add     rax, [rdx + sample.width]
                shl     rax, TIME_PRECISION_SHIFT
                cmp     rax, rbx
                ja      .again

                mov     eax, [VAR(time_period)]      ; tsc_hz = ticks * 10^15 / (reference ticks * period)
                mul     rsi
                xchg    rax, rcx
                mov     rax, FEMTOSECONDS
                mul     rbx
                div     rcx
                jmp     .hz
.dead:
                call    system_say
                db      EXO16, "no clock; TSC taken as 1 GHz", 10, 0
                mov     eax, TSC_HZ_UNKNOWN
.hz:
                mov     [VAR(info + machine_info.tsc_hz)], rax
                mov     eax, r8d
                shl     rax, 32
                xor     edx, edx
                div     rbx
                mov     [time_apic], rax

                xor     eax, eax                ; the CPU's own word on its TSC, where it gives one
                cpuid
                cmp     eax, 0x15
                jb      .done
                push    0x15
                pop     rax
                cpuid                           ; TSC = crystal ecx * ebx / eax
                xchg    eax, esi
                xchg    eax, ecx
                mul     rbx
                test    rax, rax
                jz      .done
                test    esi, esi
                jz      .done
                div     rsi
                mov     [VAR(info + machine_info.tsc_hz)], rax
.done:
                ret

; -----------------------------------------------------------------------------
; OUT   rax  TSC
; USES  rdx
time_now:
                rdtsc
                shl     rdx, 32
                or      rax, rdx
                ret

; -----------------------------------------------------------------------------
; The TSC some time from now.
;
; IN    edi  microseconds
; OUT   rax
; USES  rdx rcx
time_after:
                mov     rax, [info + machine_info.tsc_hz]
                mul     rdi
                mov     ecx, 1000000
                div     rcx
                xchg    rax, rcx
                call    time_now
                add     rax, rcx
                ret
