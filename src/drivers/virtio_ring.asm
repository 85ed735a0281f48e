; virtio's rings at work: arm, reap, build, publish. virtio.asm draws them and sets them up.
;
; SPEC  virtio 1.2 §2.7 (split virtqueues)

; -----------------------------------------------------------------------------
; Lets a ring interrupt this core, unless work is there already.
;
; IN    r8 device, rsi ring
; OUT   rax 0, or 1, or -unsupported
; USES  scratch but r8
virtio_arm:
                mov     edi, [rsi + ring.number]
                mov     rax, [r8 + virtio.isr]
                test    rax, rax
                jz      .route
%ifdef DIRECT_BOOT
                mov     edi, [r8 + virtio.gsi]
                test    al, MMIO
                jnz     .mmio
%else
                xor     edi, edi
%endif
                mov     al, [rax]               ; (§4.1.5.3, §4.2.2)
%ifdef DIRECT_BOOT
                jmp     .route
.mmio:
                mov     dword [rax - MMIO], VIRTIO_ISR_ALL
%endif
.route:
                call    ring_route
                mov     rdx, [rsi + ring.used]
                mov     eax, [rsi + ring.mask]
                mov     ecx, [rsi + ring.used_index]
                mov     [rsi + USED_EVENT + rax * 2], cx
                xor     eax, eax
                xchg    [rsi + avail.flags], ax ; on, and then look (§2.7.7.1): a completion is seen here or interrupts
                mov     ax, [rdx + used.index]
                sub     ax, cx
                jz      .done
                mov     al, [rsi + ring.quiet]
                mov     [rsi + avail.flags], al
                push    1
                pop     rax
.done:
                ret                             ; (the upper half of rax is 0)

; -----------------------------------------------------------------------------
; Returns finished operations and disarms the ring.
;
; IN    r8 device, rsi ring, rdx completions, from a receive ring frames, ecx count
; OUT   rax how many
virtio_reap:
                call    ring_begin
                mov     al, [rsi + ring.quiet]
                mov     [rsi + avail.flags], al
                mov     r10d, [rsi + ring.used_index]
                mov     rax, [rsi + ring.used]
                movzx   eax, word [rax + used.index]
                sub     ax, r10w
                call    virtio_room
                mov     r11, [rsi + ring.used]
                je      .done
.next:
                mov     eax, r10d
                and     eax, [rsi + ring.mask]
                mov     edi, [r11 + used.id + rax * 8]
                mov     ecx, [r11 + used.bytes + rax * 8]
                mov     eax, r9d
                and     eax, [rsi + ring.mask]
                mov     [rsi + avail.ring + rax * 2], di        ; counts only if free_end goes past it
                test    edi, [rsi + ring.not_slot]
                jnz     .skip                   ; not to be believed
                imul    edi, [rsi + ring.slot_bytes]
                cmp     word [rbp + rdi + slot.link], SLOT_LAST
                jne     .odd
.free:
                and     word [rbp + rdi + slot.link], SLOT_FREE
                inc     r9d
                cmp     dword [rsi + ring.data_flags], DESC_WRITE
                jne     .completion
                movlps  xmm1, [rbx + rdi + DATA + desc.address]
                movhps  xmm1, [rbp + rdi + slot.cookie]
                movups  xmm0, [rbp + rdi + slot.frame]
                movups  [rdx + frame.address], xmm1
                movups  [rdx + frame.bytes], xmm0
                and     byte [rdx + frame.flags], frame_checksum | frame_checksum_good
                sub     ecx, NET_HEADER_BYTES   ; a frame without a header comes out as the whole buffer
                cmp     ecx, [rbp + rdi + slot.frame]
                cmova   ecx, [rbp + rdi + slot.frame]
.received:
                mov     [rdx + frame.bytes], ecx
                add     rdx, frame_size
.skip:
                inc     r10d
                cmp     r10d, r8d
                jne     .next
.done:
                mov     [rsi + ring.free_end], r9d
                mov     [rsi + ring.used_index], r10d
                mov     eax, [rsi + ring.mask]
                btc     r10d, 15                ; far from all that the device may be about to compare with it
                mov     [rsi + USED_EVENT + rax * 2], r10w
                mov     ecx, [rsi + ring.data_flags]
                shr     ecx, 1                  ; DESC_WRITE: they are frames
                add     ecx, COMPLETION_SHIFT
                jmp     ring_end
.completion:
                mov     rax, [rbp + rdi + slot.cookie]
                mov     [rdx + completion.cookie], rax
                ja      .sent                   ; SENDS
                movzx   eax, byte [rbp + rdi + slot.status]
                neg     eax
                sbb     eax, eax
                and     eax, -error_io
                dec     ecx                     ; not the status byte
                cmp     ecx, [rbp + rdi + slot.frame]
                cmova   ecx, [rbp + rdi + slot.frame]
                mov     [rdx + completion.status], eax
                mov     [rdx + completion.bytes], ecx
                add     rdx, completion_size
                inc     r10d                    ; as at .skip, one jump less
                cmp     r10d, r8d
                jne     .next
                jmp     .done
.sent:
                js      .part                   ; JOINS
                and     qword [rdx + completion.status], 0      ; and bytes
                add     rdx, completion_size
                inc     r10d                    ; likewise
                cmp     r10d, r8d
                jne     .next
                jmp     .done
.part:                                          ; of a frame, the first with a header before it (§5.1.6.4)
                mov     [rdx + frame.cookie], rax
                mov     rax, [rbx + rdi + DATA + desc.address]
                cmp     ecx, [rbp + rdi + slot.frame]
                cmova   ecx, [rbp + rdi + slot.frame]
                xorps   xmm0, xmm0
                mov     edi, [rsi + PARTS_LEFT]
                test    edi, edi
                jnz     .placed
                sub     ecx, NET_HEADER_BYTES
                cmovb   ecx, edi
                jb      .placed                 ; no header: 0 bytes
                movups  xmm0, [rax]
                pslldq  xmm0, frame.flags - frame.bytes
                movzx   edi, word [rax + NET_HEADER_BUFFERS]
                add     rax, NET_HEADER_BYTES
.placed:
                movups  [rdx + frame.bytes], xmm0
                mov     [rdx + frame.address], rax
                and     byte [rdx + frame.flags], frame_checksum | frame_checksum_good
                test    ecx, ecx
                cmovz   edi, ecx                ; an error ends the frame
                sub     edi, 1
                adc     edi, 0                  ; 0 buffers are one
                mov     [rsi + PARTS_LEFT], edi
                jz      .last
                or      byte [rdx + frame.flags], frame_more
.last:
                jmp     .received
.odd:                                           ; free already, or of several slots: free those behind the first here
                movzx   eax, word [rbp + rdi + slot.link]
                test    eax, eax
                jz      .skip                   ; SLOT_FREE
                push    rdi
.link:
                inc     r9d
                lea     edi, [rax - 1]
                mov     eax, r9d
                and     eax, [rsi + ring.mask]
                mov     [rsi + avail.ring + rax * 2], di
                imul    edi, [rsi + ring.slot_bytes]
                movzx   eax, word [rbp + rdi + slot.link]
                and     word [rbp + rdi + slot.link], SLOT_FREE
                cmp     ax, SLOT_LAST
                jne     .link
                pop     rdi
                jmp     .free

; -----------------------------------------------------------------------------
; How far a batch can go: virtio_room_free as far as slots are free.
;
; IN    rdx next entry, r11 end, r10d index, rax how many can be taken
; OUT   r8d index to stop at; ZF set if that is now
; USES  rax
virtio_room_free:
                mov     eax, r9d
                sub     eax, r10d
virtio_room:
                mov     r8, r11
                sub     r8, rdx
                shr     r8, ENTRY_SHIFT
                cmp     r8, rax
                cmova   r8, rax
                add     r8d, r10d
                cmp     r8d, r10d
                ret

; -----------------------------------------------------------------------------
; Builds an operation from all its entries: the data descriptors of as many slots. Ends the call with what came before
; if there are not so many free ones.
;
; IN    rdx first entry, edi its slot's offset, ecx flags and next of the data descriptors
; OUT   rdx last entry; op and op_bytes in the ring
; USES  rax rdi
virtio_entries:
                mov     [rsi + ring.op], rdx
                mov     [rsi + ring.op_free_end], r9d
                and     dword [rsi + ring.op_bytes], 0
.slot:
                or      word [rbp + rdi + slot.link], SLOT_LAST
.entry:
                mov     rax, [rdx + frame.address]
                test    rax, rax
                jz      virtio_pointer
                mov     [rbx + rdi + DATA + desc.address], rax
                mov     eax, [rdx + frame.bytes]
                mov     [rbx + rdi + DATA + desc.bytes], eax
                mov     [rbx + rdi + DATA + desc.flags], ecx
                test    eax, eax
                jz      virtio_range
                add     [rsi + ring.op_bytes], eax
                jc      virtio_range
                test    byte [rdx + frame.flags], frame_more
                jz      .done
                add     rdx, frame_size
                cmp     rdx, r11
                jae     virtio_range            ; nothing follows
                or      byte [rbx + rdi + DATA + desc.flags], DESC_NEXT
                cmp     byte [rsi + ring.slot_bytes], desc_size
                jne     .table
                lea     eax, [r10 + 1]
                cmp     eax, r9d
                je      virtio_full
                dec     r9d
                mov     eax, r9d
                and     eax, [rsi + ring.mask]
                movzx   eax, word [rsi + avail.ring + rax * 2]
                inc     eax                     ; its data descriptor
                mov     [rbp + rdi + slot.link], ax
                mov     [rbx + rdi + DATA + desc.next], ax
                lea     edi, [rax - 1]
                shl     edi, DESC_SHIFT
                jmp     .slot
.table:                                         ; of a disk the next but one (2: BLK_STATUS), of a NIC the next (1: SENDS)
                mov     eax, ecx
                shr     eax, 16 - DESC_SHIFT
                add     eax, edi
                push    rax
                add     eax, DATA
                shr     eax, DESC_SHIFT
                and     eax, (1 << TABLE_SHIFT >> DESC_SHIFT) - 1
                mov     [rbx + rdi + DATA + desc.next], ax
                pop     rdi
                cmp     al, TABLE_BYTES >> DESC_SHIFT
                jb      .entry
                jmp     virtio_range            ; (a disk's entries are few enough)
.done:
                ret

; -----------------------------------------------------------------------------
; Ends a call with an error: what it has taken is free again, the device was told nothing.
;
; IN    rsi ring, rbp slots
virtio_pointer:
                push    -error_pointer
                jmp     virtio_fail
virtio_unsupported:
                push    -error_unsupported
                jmp     virtio_fail
virtio_range:
                push    -error_range
virtio_fail:
                pop     rax
                mov     rsp, [rsi + ring.stack]
                mov     r10d, [rsi + ring.avail_index]
                mov     r9d, [rsi + ring.free_end]
                call    virtio_undo
                pop     rdx
                pop     rbp
                pop     rbx
                ret

; Marks the slots from r10d to r9d as free; uses rcx rdi.
virtio_undo:
                mov     ecx, r10d
.next:
                mov     edi, ecx
                and     edi, [rsi + ring.mask]
                movzx   edi, word [rsi + avail.ring + rdi * 2]
                imul    edi, [rsi + ring.slot_bytes]
                and     word [rbp + rdi + slot.link], SLOT_FREE
                inc     ecx
                cmp     ecx, r9d
                jne     .next
                ret

; -----------------------------------------------------------------------------
; Ends a call that hands entries to the device: publishes them, and rings the doorbell if the device wants it.
; virtio_full first takes back the operation of which not all entries fit.
;
; IN    rsi ring, r9d, r10d, rdx behind the last entry taken
; OUT   rax entries taken
virtio_full:
                mov     rsp, [rsi + ring.stack]
                mov     r9d, [rsi + ring.op_free_end]
                call    virtio_undo
                mov     rdx, [rsi + ring.op]
virtio_publish:
                mov     cl, ENTRY_SHIFT
                mov     [rsi + ring.free_end], r9d
                cmp     [rsi + ring.avail_index], r10d
                je      ring_end
                mov     [rsi + ring.avail_index], r10d
                mov     eax, r10d
                xchg    [rsi + avail.index], ax ; also the barrier before the device's wish is read (§2.7.13.4.1)
                mov     rdi, [rsi + ring.used]
                cmp     byte [rsi + ring.quiet], AVAIL_NO_INTERRUPT
                je      .flag
                mov     r8d, [rsi + ring.mask]
                mov     di, [rdi + AVAIL_EVENT + r8 * 8]
                sub     eax, r10d               ; from the new index back to the old one, and to the event: is that one of
                sub     edi, r10d               ; those that are new (§2.7.10)?
                cmp     di, ax
                jb      ring_end
.doorbell:
                mov     rdi, [rsi + ring.doorbell]
                mov     eax, [rsi + ring.number]
                call    virtio_notify
                jmp     ring_end
.flag:
                test    byte [rdi + used.flags], USED_NO_NOTIFY
                jz      .doorbell
                jmp     ring_end

; Rings a doorbell: rdi, with MMIO; eax number of the queue.
virtio_notify:
%ifdef DIRECT_BOOT
                test    dil, MMIO
                jnz     .mmio
%endif
                mov     [rdi], ax
                ret
%ifdef DIRECT_BOOT
.mmio:
                mov     [rdi - MMIO], eax
                ret
%endif
