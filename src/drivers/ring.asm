; Rings in the program's memory: what the drivers have in common. Routines have an address inside a ring's memory, and reach
; struct ring below it with short offsets. NVMe and AHCI have other fields in the places of some of these.

ENTRY_SHIFT             equ 5                   ; struct frame and struct disk_op
COMPLETION_SHIFT        equ 4                   ; struct completion; a frame's is one more

struc ring, -128                                ; the first nine in the order in which drivers fill them in
.mask:                  resd 1                  ; descriptors - 1
.not_slot:              resd 1                  ; bits that no slot's number has
.free_end:              resd 1                  ; indices count on without end
.number:                resd 1                  ; of the device's, and of its MSI-X entry
.record:                resq 1                  ; nic_record or disk_record
.used:                  resq 1                  ; used ring
.desc:                  resq 1                  ; descriptors
.slots:                 resq 1                  ; what the driver notes of each operation in flight
.doorbell:              resq 1
.op:                                            ; the entry that the operation begins with which is being built; of a disk
.entry_control:         resq 1                  ; whose driver does not build so: what ring_route found
.stack:                 resq 1                  ; rsp in the call
.avail_index:           resd 1
.used_index:            resd 1
.routed_core:           resd 1                  ; core + 1 that its interrupt goes to
.op_free_end:           resd 1                  ; free_end when the operation began,
.op_bytes:              resd 1                  ; and its bytes so far
.data_flags:            resd 1                  ; of its data descriptors: DESC_WRITE where frames arrive, with JOINS in parts too,
                                                ; SENDS where they go, 0 of a disk
.slot_bytes:            resd 1                  ; of virtio: from one number of a slot to the next
                        resd 3
.bytes_min:             resd 1                  ; of a frame
.bytes_span:            resd 1                  ; from the shortest to the longest frame
.features:              resd 1                  ; that its frames may use: as agreed, of a receive ring none
.quiet:                 resd 1                  ; avail.flags where it is not to interrupt: 0 with event indices
endstruc

; -----------------------------------------------------------------------------
; Ends what ring_begin began: the result is how many entries were dealt with. ring_end_slots also stores r9 as free_end, all
; 64 bits of it, which are free slots then (src/drivers/disk/disk.asm).
;
; IN    rdx behind the last entry, cl bytes of an entry, as a power of two
; OUT   rax
ring_end_slots:
                mov     [rsi + ring.free_end], r9
ring_end:
                pop     rax
                sub     edx, eax
                xchg    eax, edx
                shr     eax, cl
                pop     rbp
                pop     rbx
                ret

; -----------------------------------------------------------------------------
; Begins a call on a ring: the registers that its routines share.
;
; IN    r8 device, rsi ring, rdx entries, ecx count
; OUT   rsi ring, r9d free_end and in the upper half number, r10d avail_index, rbx descriptors, rbp slots, r11 end of the entries
;       three registers on the stack, for ring_end to take off
; USES  rax
ring_begin:
                pop     rax
                push    rbx
                push    rbp
                push    rdx
                mov     [rsi + ring.stack], rsp
                mov     rbx, [rsi + ring.desc]
                mov     rbp, [rsi + ring.slots]
                mov     r9, [rsi + ring.free_end]
                mov     r10d, [rsi + ring.avail_index]
                mov     r11d, ecx
                shl     r11, ENTRY_SHIFT
                add     r11, rdx
                jmp     rax

; -----------------------------------------------------------------------------
; Makes a ring interrupt this core, unless it does so already. Returns from the caller itself, with -unsupported, if that
; cannot be.
;
; IN    r8 device, rsi ring, edi MSI-X entry, or what else irq_route takes
; OUT   ring.entry_control, unless it did already or there is none: of the MSI-X entry, which may interrupt now
; USES  rax rcx rdx rdi r9 to r11
ring_route:
                xor     eax, eax
                mov     edx, [gs:rax + core_local.index]
                lea     ecx, [rdx + 1]
                cmp     ecx, [rsi + ring.routed_core]
                je      .done
                push    r8
                push    rcx
                push    rsi
                mov     rax, [r8 + device.record]
                mov     esi, edi
                mov     edi, [rax]              ; function
                push    event_queue
                pop     rcx
                call    irq_route
                pop     rsi
                pop     rcx
                pop     r8
                cmp     eax, 1
                je      .done                   ; a line: to be unmasked each time
                test    eax, eax
                js      .unsupported
                mov     [rsi + ring.routed_core], ecx
                mov     [rsi + ring.entry_control], rdi
.done:
                ret
.unsupported:
                pop     rcx
                push    -error_unsupported
                pop     rax
                ret
