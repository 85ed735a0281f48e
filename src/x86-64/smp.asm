; Cores: what each one has of its own, how they come up, and how programs start, wake and idle them.

SMP_WAIT_US         equ 1000000                 ; for all cores together
SMP_INIT_DELAY      equ 200                     ; writes to port 0x80, about a microsecond each
DELAY_PORT          equ 0x80
HALT_FOR_GOOD       equ 0xfdebf4                ; hlt, and a jump back to it
SMP_GENERATION      equ 1                       ; the page_generation that cores come up with

; -----------------------------------------------------------------------------
; Creates this core's record, block and stacks, and makes the CPU use them.
;
; USES  all
core_create_first:
                call    core_self
                call    core_create.new
                inc     dword [rbx + core_record.started]       ; drivers may route interrupts here
                mov     edi, edx

; -----------------------------------------------------------------------------
; Puts this core into the state that programs find: descriptor tables, GS, SSE and AVX.
;
; IN    rdi  core_block
; USES  rax rbx rcx rdx rsi rdi
; SPEC  SDM Vol. 1 §13.5.1 (XCR0), Vol. 3A §2.5
cpu_init:
                lea     eax, [rdi + core_block.gdt]
                push    rax
                push    word SELECTOR_TSS + 15
                lgdt    [rsp]
                push    idt
                push    word IDT_GATES * 16 - 1
                lidt    [rsp]
                add     rsp, 2 * (8 + 2)
                push    SELECTOR_DATA           ; a null selector leaves some CPUs the old base
                pop     rax
                mov     fs, eax
                mov     al, SELECTOR_TSS
                ltr     ax
                xchg    eax, edi
                xor     edx, edx
                mov     ecx, MSR_GS_BASE
                wrmsr
                mov     eax, PAT_TYPES          ; twice: PTE_PAT makes no difference
                mov     edx, eax
                mov     ecx, MSR_PAT
                wrmsr

                xor     eax, eax
                mov     cr8, rax
                cpuid
                xchg    eax, esi                ; highest leaf
                push    1
                pop     rax
                cpuid
                mov     edi, CR4_PAE | CR4_MCE | CR4_OSFXSR | CR4_OSXMMEXCPT
                bt      ecx, 26                 ; XSAVE
                jnc     .no_xsave
                bts     edi, CR4_OSXSAVE_BIT
.no_xsave:
                cmp     esi, 7
                jb      .set
                push    7
                pop     rax
                xor     ecx, ecx
                cpuid
                shr     ebx, 1                  ; FSGSBASE
                jnc     .set
                bts     edi, CR4_FSGSBASE_BIT
.set:
                mov     cr4, rdi
                mov     ebx, FXSAVE_BYTES
                bt      edi, CR4_OSXSAVE_BIT
                jnc     .done
                push    13
                pop     rax
                xor     ecx, ecx
                cpuid
                and     eax, XCR0_KNOWN
                xor     ecx, ecx
                cdq
                xsetbv
                mov     al, 13
                cpuid                           ; ebx: bytes for what is on now
.done:
                mov     [xsave_bytes], ebx
                fninit
                push    MXCSR_START
                ldmxcsr [rsp]
                pop     rax
                ret

; -----------------------------------------------------------------------------
; Creates a core's record, block and stacks, unless there is one of that APIC id.
;
; IN    edi  APIC id     rbp  near_variables
; OUT   edx  core_block, if it is new
; USES  all but rbp and r12 to r15
core_create:
                call    core_search
                jne     .new
                ret
.new:
                push    rdi
                lea     edi, [VAR(info + machine_info.cores)]
                push    core_record_size
                pop     rcx
                call    info_append
                xchg    eax, ebx
                pop     qword [rbx + core_record.apic_id]
                mov     edi, [VAR(stack_bytes)]
                mov     [rbx + core_record.stack_bytes], edi
                call    stack_create
                mov     [rbx + core_record.stack_end], eax
                mov     edi, TRAP_STACK_BYTES
                call    stack_create
                push    rax
                mov     edi, CRITICAL_STACK_BYTES
                call    stack_create            ; the block lies above the smallest one

                sub     eax, core_block_size + 15 & -16
                mov     [rbx + core_record.local], eax
                mov     edx, eax
                xchg    eax, edi
                xor     eax, eax
                mov     ecx, core_block_size / 4
                rep     stosd
                mov     [rdx + core_local.self], rdx
                dec     qword [rdx + core_block.deadline]
                mov     eax, [VAR(info + machine_info.cores + list.count)]
                dec     eax
                mov     [rdx + core_local.index], eax

                lea     edi, [rdx + core_block.gdt]
                mov     esi, gdt
                mov     cl, GDT_BYTES
                rep     movsb
                lea     eax, [rdi + core_block.tss - core_block.gdt - GDT_BYTES]
                pop     qword [rax + tss.ist1]
                mov     [rax + tss.ist2], edx
                mov     byte [rdi], tss_size - 1
                mov     [rdi + 2], eax
                shr     eax, 24
                mov     byte [rdi + 5], 0x89    ; 64-bit TSS, available
                mov     [rdi + 7], al
                ret

; -----------------------------------------------------------------------------
; Takes a stack from the arena, with an unmapped page below it.
;
; IN    edi  bytes
; OUT   rax  first address above
; USES  rcx rdx rsi rdi r8 to r11
stack_create:
                add     edi, PAGE_BYTES
                call    arena_take
                add     edi, eax
                push    rdi
                xchg    eax, edi
                call    page_guard
                pop     rax
                ret

; -----------------------------------------------------------------------------
; Finds this core's record. Uses no stack but for the way back, so cores that have none yet may share one.
;
; OUT   edi  APIC id        rsi  record; ZF clear if there is none
; USES  rax rbx rcx rdx
core_self:
                xor     eax, eax
                cpuid
                xor     ebx, ebx
                cmp     eax, 11
                jb      .old
                push    11                      ; extended topology: the whole x2APIC id
                pop     rax
                xor     ecx, ecx
                cpuid
                test    ebx, ebx
                jnz     .id
.old:
                lea     eax, [rbx + 1]
                cpuid
                shr     ebx, 24
                mov     edx, ebx
.id:
                mov     edi, edx

; -----------------------------------------------------------------------------
; Finds the record of an APIC id.
;
; IN    edi  APIC id
; OUT   rsi  record; ZF clear if there is none
; USES  rcx rdx
core_search:
                mov     esi, info + machine_info.cores

; -----------------------------------------------------------------------------
; Finds a record by its first field: APIC id or PCI function.
;
; IN    edi  what it is     esi  struct list
; OUT   rsi  record; ZF clear if there is none
; USES  rcx rdx
info_find:
                mov     ecx, [rsi + list.count]
                mov     edx, [rsi + list.stride]
                mov     esi, [rsi + list.first]
                sub     esi, edx
                test    esp, esp                ; clears ZF
                jrcxz   .done
.next:
                add     esi, edx
                cmp     [rsi], edi
                loopne  .next
.done:
                ret

; -----------------------------------------------------------------------------
; Wakes all other cores from reset; they come up together while the boot goes on.
;
; USES  all
; SPEC  SDM Vol. 3A §9.4.4.1. The pause of 10 ms after INIT is for CPUs without 64-bit mode.
smp_start:
                inc     dword [page_generation]
                mov     esi, trampoline
                mov     edi, [VAR(trampoline_at)]
                push    TRAMPOLINE_BYTES
                pop     rcx
                rep     movsb
                mov     eax, ICR_INIT
                call    smp_send
                mov     cl, SMP_INIT_DELAY
.delay:
                out     DELAY_PORT, al
                loop    .delay
smp_startup:
                mov     eax, [VAR(trampoline_at)]
                shr     eax, PAGE_SHIFT
                mov     ah, ICR_STARTUP >> 8

; Sends command eax to all other cores; those that are up ignore it. Uses rcx (0 then) rdx rsi rdi.
smp_send:
                mov     esi, [VAR(info + machine_info.cores + list.first)]
                mov     ecx, [VAR(info + machine_info.cores + list.count)]
                jmp     .next
.core:
                add     esi, core_record_size
                mov     edi, [rsi + core_record.apic_id]
                call    lapic_ipi
.next:
                loop    .core
                ret

; -----------------------------------------------------------------------------
; Waits for the other cores, and names those that do not answer.
;
; IN    rbp  near_variables
; USES  all but rbp
smp_wait:
                call    smp_startup             ; once more to those who missed it
                mov     edi, SMP_WAIT_US
                call    time_after
                xchg    rax, r11
                mov     esi, [VAR(info + machine_info.cores + list.first)]
                mov     ebx, [VAR(info + machine_info.cores + list.count)]
.core:
                push    SMP_GENERATION
                pop     rdi
                call    page_wait
                js      .dead
                mov     [rsi + core_record.started], edi
                jmp     .next
.dead:
                call    system_say
                db      EXO16, "core ", 0
                mov     eax, [rsi + core_record.local]
                mov     eax, [rax + core_local.index]
                call    console_decimal
                call    console_dead
.next:
                add     esi, core_record_size
                dec     ebx
                jnz     .core
                mov     eax, [VAR(trampoline_at)]
                mov     dword [rax], HALT_FOR_GOOD      ; for those that come later
                ret

; -----------------------------------------------------------------------------
; Every other core's first 64-bit instruction. It finds its record, and waits there for core_start. Until it has its own
; stack, all of them use one and write the same to it. A core that is not listed sleeps for good.
smp_entry:
                mov     esp, [trampoline_at]
                sub     esp, -128               ; of a page that begins with the trampoline, which is shorter
                call    core_self
                jne     .not_listed
                mov     esp, [rsi + core_record.stack_end]
                mov     edi, [rsi + core_record.local]
                call    cpu_init
                call    lapic_enable
                call    page_sync               ; tells smp_wait
                sti
.idle:
                or      rdi, -1
                call    core_idle
                xor     ebx, ebx
                xchg    rbx, [gs:rbx + core_block.entry]
                test    rbx, rbx
                jz      .idle
                call    page_sync
                xor     ebp, ebp                ; end of a backtrace
                mov     rdi, [gs:rbp + core_block.argument]
                call    rbx
                cld
                xor     eax, eax
                mov     [gs:rax + core_local.running], eax
                jmp     .idle
.not_listed:
                hlt
                jmp     .not_listed

; -----------------------------------------------------------------------------
; i64 core_start(u32 core, entry_fn entry, void *argument)               slot 4
;
; IN    edi  core      not this one, started, and idle
;       rsi  entry     runs on the core's own stack
; OUT   rax  0, or -no_such, -pointer, -busy
; USES  scratch       CORE any       IRQ any
core_start:
                call    core_find
                test    rsi, rsi
                jz      .pointer
                lock bts dword [rcx + core_local.running], 0
                jc      .busy
                mov     [rcx + core_block.argument], rdx
                mov     [rcx + core_block.entry], rsi   ; last: the core looks at it whatever wakes it
                jmp     core_wake.wake
.pointer:
                push    -error_pointer
                pop     rax
                ret
.busy:
                push    -error_busy
                pop     rax
                ret

; -----------------------------------------------------------------------------
; i64 core_wake(u32 core)                                                slot 5
;
; The other side is core_idle: it says halted before it looks at the events; this sets the event before it looks at
; halted. So one of the two sees the other.
;
; OUT   rax  0, or -no_such
; USES  scratch       CORE any       IRQ any
core_wake:
                call    core_find
.wake:
                lock or byte [rcx + core_local.events], 1 << event_wake
                cmp     dword [rcx + core_block.halted], 0
                je      .done
                mov     edi, r9d
                mov     eax, ICR_FIXED + event_vector + event_wake
                call    lapic_ipi
.done:
                xor     eax, eax
                ret

; -----------------------------------------------------------------------------
; Finds a core for a call; returns from that call with -no_such if there is none or it did not start.
;
; IN    edi  core
; OUT   rcx  core_block     r9d  APIC id
; USES  rax
core_find:
                mov     ecx, info + machine_info.cores
                cmp     edi, [rcx + list.count]
                jae     .none
                imul    eax, edi, core_record_size
                add     eax, [rcx + list.first]
                mov     ecx, [rax + core_record.local]
                mov     r9d, [rax + core_record.apic_id]
                cmp     dword [rax + core_record.started], 0
                je      .none
                ret
.none:
                pop     rax
                push    -error_no_such
                pop     rax
                ret

; -----------------------------------------------------------------------------
; i64 core_idle(u64 deadline)                                            slot 6
;
; IN    rdi  TSC; 0: only collect events; all ones: no deadline
; OUT   rax  event bits, now cleared; 0 when the deadline came first; -busy in a trap handler
; USES  scratch       CORE any       IRQ turned on
core_idle:
                mov     r8, rdi
                xor     esi, esi
                cmp     [gs:rsi + core_block.trapped], esi
                jne     core_start.busy         ; the next event would take the handler's own stack
.again:
                cli                             ; from the look at the events to the halt nothing may come between
                lea     eax, [rsi + 1]
                xchg    eax, [gs:rsi + core_block.halted]
                xor     eax, eax
                xchg    rax, [gs:rsi + core_local.events]
                test    rax, rax
                jnz     .done
                call    time_now
                cmp     rax, r8
                mov     eax, esi
                jae     .done
                mov     rdi, [gs:rsi + core_block.deadline]
                cmp     rdi, r8
                cmova   rdi, r8
                call    timer_arm
                sti                             ; takes effect after the next instruction
                hlt
                jmp     .again
.done:
                mov     [gs:rsi + core_block.halted], esi
                sti
                ret
