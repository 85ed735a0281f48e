; Interrupts: events that only wake, faults, and the program's handlers of both.
;
; Every vector runs on a stack of its own (IST), so programs may use the red zone. With a handler set, the whole state
; is saved and the handler called; without one, an event is just noted, and a fault is reported and ends the machine.
; SPEC  SDM Vol. 3A ch. 6 (interrupts), Vol. 1 §13.7 (XSAVE)

EVENT_FLUSH_VECTOR  equ event_vector + event_count      ; page_finish's
SPURIOUS_VECTOR     equ trap_count                      ; the APIC's own: not one of a real interrupt, whose EOI Bochs ignores
IDT_GATES           equ SPURIOUS_VECTOR + 1
VECTORS_WITH_ERROR  equ 0x60227d00                      ; 8, 10 to 14, 17, 21, 29, 30
VECTORS_CRITICAL    equ 1 << 2 | 1 << 8 | 1 << 18       ; NMI, double fault, machine check
GATE_INTERRUPT      equ 0x8e
GATE_UPPER          equ CORE_PHYS & 0xffff0000 | GATE_INTERRUPT << 8 | IST_TRAP         ; second dword of a gate
PUSH_0_PUSH_BYTE    equ 0x006a006a                      ; push 0; push byte, which is the upper one
JUMP_NEAR           equ 0xe9
XSAVE_HEADER        equ 512
TRACE_MAX           equ 16
trap_stubs          equ core_end                        ; behind the text, in its pages
TRAP_STUB_BYTES     equ 9

; -----------------------------------------------------------------------------
; Fills the IDT, and writes what its gates lead to behind the core's text, before page_init protects that:
;
;       push 0          not where the CPU pushes an error code: there the gate leads to the next instruction
;       push vector
;       jmp trap_entry
;
; USES  all
trap_init:
                mov     edi, trap_stubs
                mov     ebx, idt
                mov     esi, VECTORS_WITH_ERROR
                mov     ebp, VECTORS_CRITICAL
                mov     eax, PUSH_0_PUSH_BYTE
                push    IDT_GATES
                pop     rcx
.vector:
                mov     [rbx], edi                      ; lower half of the address at 0, upper half at 6
                mov     word [rbx + 2], SELECTOR_CODE
                mov     dword [rbx + 4], GATE_UPPER
                shr     ebp, 1
                adc     byte [rbx + 4], 0               ; IST_CRITICAL is the next
                shr     esi, 1
                jnc     .stub
                add     word [rbx], 2
.stub:
                stosd
                add     eax, 1 << 24
                push    rax
                mov     al, JUMP_NEAR
                stosb
                mov     eax, trap_entry - 4
                sub     eax, edi
                stosd
                pop     rax
                add     ebx, 16
                loop    .vector
                ret

; -----------------------------------------------------------------------------
; Every vector: notes an event, or goes on to its handler; a fault goes there at once.
;
; IN    vector, error code or 0, and the CPU's frame on the stack
trap_entry:
                cmp     byte [rsp], event_vector
                jb      trap_save
                push    rax
                push    rcx
                push    rdx
                mov     ecx, [rsp + 24]
                call    irq_raised
                push    rcx
                push    LAPIC_EOI
                pop     rcx
                xor     eax, eax
                call    lapic_write
                pop     rcx
                cmp     cl, event_vector + event_timer
                je      .timer
                cmp     cl, EVENT_FLUSH_VECTOR
                jae     .flush                  ; spurious ones too: that does no harm
.note:
                xor     edx, edx
                cmp     cl, event_vector + event_wake   ; core_wake has set its bit: it may be taken already
                je      .noted
                lock bts [gs:rdx + core_local.events - event_vector / 8], ecx
.noted:
                cmp     qword [gs:rdx + core_block.handlers + rcx * 8], 0
                jne     .handler
.done:
                pop     rdx
                pop     rcx
                pop     rax
                add     rsp, 16
                iretq
.flush:
                call    page_sync
                jmp     .done
.timer:                                         ; the program's deadline, or only core_idle's?
                call    time_now
                xor     edx, edx
                cmp     rax, [gs:rdx + core_block.deadline]
                jb      .early
                or      qword [gs:rdx + core_block.deadline], -1
                jmp     .note
.early:
                push    rdi
                mov     rdi, [gs:rdx + core_block.deadline]
                call    timer_arm
                pop     rdi
                jmp     .done
.handler:
                pop     rdx
                pop     rcx
                pop     rax

; -----------------------------------------------------------------------------
; Saves the state as a trap_frame and calls the program's handler of the vector, else reports.
trap_save:
                push    rax
                push    rbx
                push    rcx
                push    rdx
                push    rsi
                push    rdi
                push    rbp
                push    r8
                push    r9
                push    r10
                push    r11
                push    r12
                push    r13
                push    r14
                push    r15
                mov     rbp, rsp                ; 8 bytes into the trap_frame
                mov     rax, cr2
                push    rax
                cld
                xor     edx, edx
                mov     ecx, [rbp + trap_frame.vector - 8]
                bts     dword [gs:rdx + core_block.trapped], 0
                jc      short trap_report       ; a fault in a handler
                mov     rbx, [gs:rdx + core_block.handlers + rcx * 8]
                test    rbx, rbx
                jz      trap_report
                mov     eax, [xsave_bytes]
                sub     rsp, rax
                and     rsp, -64
                cmp     eax, FXSAVE_BYTES
                je      .fxsave
                push    rsp
                pop     rdi
                xor     eax, eax
                push    (XSAVE_HEADER + 64) / 8 ; the header has to be 0; the rest may
                pop     rcx
                rep     stosq
                dec     eax
                cdq
                xsave64 [rsp]
                lea     rdi, [rbp - 8]
                call    rbx
                or      eax, -1
                cdq
                xrstor64 [rsp]
                jmp     .restore
.fxsave:
                fxsave64 [rsp]
                lea     rdi, [rbp - 8]
                call    rbx
                fxrstor64 [rsp]
.restore:
                xor     eax, eax
                mov     [gs:rax + core_block.trapped], eax
                mov     rsp, rbp
                pop     r15
                pop     r14
                pop     r13
                pop     r12
                pop     r11
                pop     r10
                pop     r9
                pop     r8
                pop     rbp
                pop     rdi
                pop     rsi
                pop     rdx
                pop     rcx
                pop     rbx
                pop     rax
                add     rsp, 16
                iretq

; -----------------------------------------------------------------------------
; Reports a fault on every output and ends the machine. Only the first core that faults reports.
;
; IN    rsp  trap_frame        ecx  vector
trap_report:
                mov     edi, trap_reporting
                lock bts dword [rdi], 0
                jc      system_halt
                mov     ebx, ecx
                mov     rbp, [rsp + trap_frame.rbp]
                or      dword [rdi + console_lock - trap_reporting], 1  ; by force
                mov     byte [rdi + screen_state - trap_reporting], 1 << SCREEN_STALE_BIT
                call    system_say
                db      10, EXO16, "fault ", 0
                cmp     ebx, TRAP_NAMES
                jae     .number
                movzx   eax, word [trap_names + rbx * 2]
                shl     eax, 8
                mov     al, '#'
                call    trap_letters
.number:
                call    system_say
                db      " vector ", 0
                mov     eax, ebx
                call    console_decimal
                call    system_say
                db      " core ", 0
                xor     eax, eax
                mov     eax, [gs:rax + core_local.index]
                call    console_decimal

                mov     esi, trap_labels
.register:                                      ; three to a line, in the order of trap_frame
                test    byte [rsi], 0x80
                jz      .same_line
                call    system_say
                db      10, "exo16:", 0
.same_line:
                mov     eax, [rsi - 1]
                add     esi, 3
                and     eax, 0x7f7f7f00
                mov     al, ' '
                call    trap_letters
                pop     rax
                call    console_hex
                cmp     byte [rsi], 0
                jne     .register

                call    system_say              ; return addresses, as far as rbp leads up this core's stack
                db      10, EXO16, "trace", 0
                xor     eax, eax
                imul    eax, [gs:rax + core_local.index], core_record_size
                add     eax, [info + machine_info.cores + list.first]
                mov     edx, [rax + core_record.stack_end]
                mov     edi, edx
                sub     rdi, [rax + core_record.stack_bytes]
                sub     edx, 16
                push    TRACE_MAX
                pop     rsi
.frame:
                cmp     rbp, rdi
                jb      .traced
                cmp     rbp, rdx
                ja      .traced
                mov     rax, [rbp + 8]
                call    console_hex
                lea     rdi, [rbp + 16]         ; only upwards
                mov     rbp, [rbp]
                dec     esi
                jnz     .frame
.traced:
                mov     edi, ebx
                sub     edi, -EXIT_FAULT
                jmp     system_end

; Prints the letters in rax, the lowest first, up to a 0. Uses rax rdi.
trap_letters:
                push    rax
                push    rsp
                pop     rdi
                call    console_text
                pop     rax
                ret

trap_names:     db      "DEDBNIBPOFBRUDNMDFCSTSNPSSGPPF..MFACMCXMVECP"
TRAP_NAMES      equ ($ - trap_names) / 2
trap_labels:                                    ; a set upper bit begins a line
%define LINE |0x80
                db      'c' LINE, "r2r15r14", 'r' LINE, "13r12r11", 'r' LINE, "10r9 r8 ", 'r' LINE, "bprdirsi"
                db      'r' LINE, "dxrcxrbx", 'r' LINE, "axvecerr", 'r' LINE, "ipcs flg", 'r' LINE, "spss ", 0

; -----------------------------------------------------------------------------
; i64 trap_set(u32 vector, trap_fn handler)                             slot 12
;
; The handler runs with interrupts off on this core's trap stack (16 KiB); a fault in it ends the machine.
;
; IN    edi  vector      0 to trap_count - 2, but not NMI, double fault, machine check
;       rsi  handler     null: none
; OUT   rax  0, or -no_such
; USES  scratch       CORE any       IRQ any
trap_set:
                cmp     edi, trap_count - 1
                jae     .no_such
                mov     edi, edi
                mov     eax, VECTORS_CRITICAL
                bt      rax, rdi
                jc      .no_such
                xor     eax, eax
                mov     [gs:rax + core_block.handlers + rdi * 8], rsi
                ret
.no_such:
                push    -error_no_such
                pop     rax
                ret
