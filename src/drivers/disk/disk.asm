; Disks: what every driver has to check of an operation, whatever a program passes; and what those have in common whose
; rings have a mask of free slots, NVMe and AHCI.
;
; A slot is what such a driver keeps of an operation in flight: DISK_SLOT_BYTES in the program's memory, with the completion
; that the program gets should the operation succeed. ring.desc is the address behind that of slot 0, and the bits of r9,
; which ring_begin has from ring.free_end, are the slots that are free.

DISK_SLOT_SHIFT         equ 10
DISK_SLOT_BYTES         equ 1 << DISK_SLOT_SHIFT
DISK_COMPLETION         equ -completion_size

; -----------------------------------------------------------------------------
; A submit call, but for its driver's part. Takes operations one after the other, as long as slots are free: checks them,
; fills in their completions, and has the driver build them. Then the driver tells the device. If one is refused, that is
; the call's result, and nothing of what was built is to count.
;
; The two bytes behind the call are a jump to the routine that tells the device:
;   IN    rsi ring, r9 slots that are free now, r8, r10, r11 as the driver has them
;   USES  rax rcx rdi rbx rbp r8, r10, r11
; Behind them is the routine that builds an operation:
;   IN    rdx  first entry     ebp  slot     rdi  behind its completion     eax  blocks, of a flush 1     r8  disk_record
;         flags  of the comparison of its kind with disk_write     rsi, r9 to r11 as from ring_begin
;   OUT   rdx  behind its last entry
;   USES  rax rcx rdi rbx rbp, and r10
;
; IN    r8 device, rsi ring, rdx ops, ecx count
; OUT   rax  as disk_submit
disk_operations:
                pop     rdi
                call    ring_begin
                mov     r8, [r8 + device.record]
                push    ENTRY_SHIFT
                push    rdi
                add     edi, 2
                push    rdi
                jmp     .next
.operation:
                call    disk_check
                jc      disk_refused
                btr     r9, rbp
                mov     ecx, edi
                imul    edi, ebp, DISK_SLOT_BYTES
                add     rdi, [rsi + ring.desc]
                cmp     byte [rdx + disk_op.kind], disk_write
                jb      .read
                mov     ecx, 0                  ; (leaves the flags)
.read:
                mov     [rdi + DISK_COMPLETION + completion.bytes], ecx
                push    qword [rdx + disk_op.cookie]
                pop     qword [rdi + DISK_COMPLETION + completion.cookie]
                call    [rsp]
.next:
                cmp     rdx, r11
                jae     .end
                bsf     rbp, r9
                jnz     .operation
.end:
                jmp     disk_completions.end

; Ends a submit call with an error, rax, from anywhere in it; disk_range with that.
disk_range:
                push    -error_range
                pop     rax
disk_refused:
                mov     rsp, [rsi + ring.stack]
                pop     rdx
                pop     rbp
                pop     rbx
                ret

; -----------------------------------------------------------------------------
; The loop of a reap call: returns the completions of operations that the device has finished, unless there is none in
; flight in its slot, which is free then. Ends the call as disk_operations does.
;
; The two bytes behind the call are a jump to the routine that tells the device. Behind them is the routine that finds what
; is finished:
;   IN    CF set
;   OUT   eax  slot     rcx  0: it has succeeded     CF clear; or set: no more is
;   USES  rdi rbp r10
;
; IN    ecx  count     rdx  completions     rsi, rbx, r9 as from ring_begin
; OUT   rax  as disk_reap
disk_completions:
                pop     rdi
                mov     r11d, ecx
                push    COMPLETION_SHIFT
                push    rdi
                add     edi, 2
                push    rdi
                jmp     .next
.finished:
                call    [rsp]
                jc      .end
                bts     r9, rax
                jc      .next                   ; not to be believed
                shl     eax, DISK_SLOT_SHIFT
                movups  xmm0, [rbx + rax + DISK_COMPLETION]
                movups  [rdx], xmm0
                jrcxz   .good
                or      dword [rdx + completion.status], -error_io
                and     dword [rdx + completion.bytes], 0
.good:
                add     rdx, completion_size
.next:
                add     r11d, -1                ; CF set unless it is 0
                jc      .finished
.end:
                pop     rax
                pop     rax
                call    rax
                pop     rcx
                jmp     ring_end_slots

; -----------------------------------------------------------------------------
; Checks the operation at the front, as disk_submit promises: kind, flags, addresses, whole blocks inside the disk, and
; how many entries and bytes it has, and where they join.
;
; A driver calls it for each operation before anything of it reaches the device. If CF is set, the driver takes back what it
; has built since the call began, rings no doorbell, and returns rax.
;
; IN    rdx  first entry      r11  end of the entries, above rdx      r8  disk_record
; OUT   rax  blocks, 1 for a flush      edi  bytes, 0 for a flush      CF clear
;       or CF set and rax  -range, -pointer, -unsupported
; USES  rcx
disk_check:
                mov     rcx, rdx
                xor     edi, edi                ; bytes
                cmp     byte [rdx + disk_op.kind], disk_write
                jb      .entry
                jne     .special
                test    byte [r8 + disk_record.features], disk_read_only
                jnz     .unsupported
.entry:
                mov     rax, [rcx + disk_op.address]
                test    rax, rax
                jz      .pointer
                test    [r8 + disk_record.address_mask], eax
                jnz     .pointer
                mov     eax, [rcx + disk_op.bytes]
                add     rdi, rax
                test    eax, eax
                jz      .range
                cmp     byte [rcx + disk_op.flags], 0
                je      .inside
                cmp     byte [rcx + disk_op.flags], disk_more
                jne     .range
                add     rcx, disk_op_size
                mov     eax, ecx
                sub     eax, edx
                shr     eax, ENTRY_SHIFT
                cmp     eax, [r8 + disk_record.entry_max]
                jae     .range
                cmp     rcx, r11
                jae     .range
                test    byte [r8 + disk_record.features], disk_pages
                jz      .entry
                mov     eax, [rcx - disk_op_size + disk_op.address]
                add     eax, [rcx - disk_op_size + disk_op.bytes]
                or      eax, [rcx + disk_op.address]
                shl     eax, 32 - 12
                jz      .entry
.range:
                push    -error_range
                jmp     .refused
.pointer:
                push    -error_pointer
                jmp     .refused
.unsupported:
                push    -error_unsupported
.refused:
                pop     rax
                stc
                ret
.special:
                mov     al, [rdx + disk_op.kind]
                cmp     [rdx + disk_op.flags], dil
                jne     .range
                cmp     al, disk_flush
                jne     .no_flush
                test    byte [r8 + disk_record.features], disk_write_cache
                jz      .unsupported
                push    1
                pop     rax
                ret
.no_flush:
                test    byte [r8 + disk_record.features], disk_read_only
                jnz     .unsupported
                mov     cl, disk_can_discard
                cmp     al, disk_discard
                je      .discard
                mov     cl, disk_can_zero
                cmp     al, disk_zero
                jne     .range
.discard:
                test    [r8 + disk_record.features], cl
                jz      .unsupported
                or      edi, [rdx + disk_op.bytes]
                jz      .range
.inside:
                mov     eax, [r8 + disk_record.bytes_max]
                cmp     rax, rdi
                jb      .range
                mov     eax, edi
                bsf     ecx, [r8 + disk_record.block_bytes]
                ror     rax, cl                 ; bytes that are no whole blocks make more than any disk has
                mov     rcx, [r8 + disk_record.blocks]
                sub     rcx, [rdx + disk_op.block]
                jb      .range
                cmp     rcx, rax
                jb      .range
                ret
