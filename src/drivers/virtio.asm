; virtio, modern interface, split rings: what NIC and disk have in common; virtio_registers.asm reaches the registers.
;
; A ring's memory, 64 bytes per descriptor, comes from the program:
;
;     struct ring | available ring | used ring | descriptors | slots
;
; The routines have the address of the available ring, and reach struct ring below it with short offsets.
;
; Each entry in flight takes a slot: a few neighbouring descriptors - [header, data] for a frame, [header, data, status,
; not used] for a disk operation - and as many bytes of struct slot. Its number is that of its first descriptor, so one
; offset serves both. An operation of several entries strings the data descriptors of several slots together.
;
; The free slots stand in the available ring itself, in the part that the device has not been told of: from avail_index
; on to free_end. Handing out the next one is to say one more is available; the further slots of an operation come from
; the other end, and finished ones go there. A slot that is not in flight is marked as free, so that whatever a device
; returns, none is freed twice.
;
; SPEC  virtio 1.2 §2.7 (split virtqueues), §3.1 (initialization), §4.1 (PCI)

VIRTIO_VENDOR_CAP       equ 9
VIRTIO_CAP_COMMON       equ 1
VIRTIO_CAP_NOTIFY       equ 2
VIRTIO_CAP_ISR          equ 3
VIRTIO_CAP_CONFIG       equ 4
VIRTIO_ACKNOWLEDGE      equ 1
VIRTIO_DRIVER           equ 2
VIRTIO_DRIVER_OK        equ 4
VIRTIO_FEATURES_OK      equ 8
VIRTIO_AGREED           equ VIRTIO_ACKNOWLEDGE | VIRTIO_DRIVER | VIRTIO_FEATURES_OK
VIRTIO_RUN              equ VIRTIO_AGREED | VIRTIO_DRIVER_OK
VIRTIO_WAIT_US          equ 1000000
VIRTIO_F_EVENT_IDX_BIT  equ 29
VIRTIO_F_VERSION_1      equ 1 << 0              ; of the upper 32

; The driver's part of struct device.
struc virtio
                        resb device.own
.places:                resb 16                 ; by kind of capability: address, and the fifth field
.common:                resq 2                  ; with MMIO
.notify:                resq 1                  ; with MMIO
.notify_step:           resd 1                  ; bytes from one queue's doorbell to the next
.notify_end:            resd 1                  ; of all doorbells
.isr:                   resq 1                  ; what lets go of its interrupt line, with MMIO; 0: it has messages
.gsi:                   resq 1                  ; of the line, where it is no PCI function's; else 0
.config:                resq 2
.features:              resq 1                  ; as agreed at open
endstruc
VIRTIO_PLACES_NEEDED    equ 1 << VIRTIO_CAP_COMMON | 1 << VIRTIO_CAP_NOTIFY | 1 << VIRTIO_CAP_ISR | \
                          1 << VIRTIO_CAP_CONFIG

; What virtio_open has to know of a driver; it lies before the driver's table of routines.
struc virtio_driver, -12
.features:              resq 1                  ; feature bits that it can use
.flags:                 resb 1                  ; of the slots' header descriptors, and what changes from ring to ring
.header_bytes:          resb 1
.slot_descs:            resb 1                  ; descriptors of a slot, 2 or 4
.flags_change:          resb 1
endstruc

struc desc
.address:               resq 1
.bytes:                 resd 1
.flags:                 resw 1
.next:                  resw 1
endstruc
DESC_SHIFT              equ 4
DESC_NEXT               equ 1
DESC_WRITE              equ 2                   ; by the device
DATA                    equ desc_size           ; a slot's second descriptor
SENDS                   equ 1 << 16             ; a next descriptor that does not count without DESC_NEXT
JOINS                   equ 1 << 31             ; likewise: frames of several buffers arrive, see .part of virtio_reap
PARTS_LEFT              equ ring.op_bytes       ; of the frame that is arriving there, where no operation is built

struc avail
.flags:                 resw 1
.index:                 resw 1
.ring:
endstruc
USED_EVENT              equ avail.ring + 2      ; behind the last entry, from twice the ring's mask on
AVAIL_NO_INTERRUPT      equ 1

struc used
.flags:                 resw 1
.index:                 resw 1
.id:                    resd 1
.bytes:                 resd 1
endstruc
USED_NO_NOTIFY          equ 1
AVAIL_EVENT             equ used.id + 8         ; likewise, from eight times the mask on

struc slot
.frame:                 resd 1                  ; last 16 bytes of struct frame: length, then the virtio-net header; of a
                                                ; receive buffer and of a disk operation all that the device may write
.header:                resb 16                 ; 12 bytes of it for a frame
.cookie:                resq 1
.link:                  resw 1                  ; data descriptor of the operation's next slot
.status:                resb 1                  ; only of a disk
                        resb 1
endstruc
SLOT_FREE               equ 0                   ; links that are none: and makes a link the one, or the other, which is
SLOT_LAST               equ -1                  ; shorter than mov
NET_HEADER_BYTES        equ 12
NET_HEADER_BUFFERS      equ 10                  ; num_buffers
DEPTH_BYTES             equ 256                 ; per frame two rings of two descriptors, per disk operation four

; -----------------------------------------------------------------------------
; Adds the device and finds its registers. Returns from the driver's start routine itself if it is no modern device, or
; there is no room.
;
; IN    r12  pci_record     edi  list in info
; OUT   rbx  device, rdi second field of its record, rsi config, rbp common, ecx features offered
; USES  all but r12
virtio_probe:
                call    device_add
                jc      .none
                push    rdi
                mov     edi, [r12 + pci_record.function]
%ifdef DIRECT_BOOT
                test    edi, edi
                js      .mmio
%endif
                xor     esi, esi
                xor     ebp, ebp                ; kinds found
                push    PCI_CAPABILITY_MAX
                pop     r10
.capability:
                dec     r10d
                js      .end                    ; a loop
                mov     dl, VIRTIO_VENDOR_CAP
                call    pci_capability
                jc      .end
                shr     eax, 24
                xchg    edx, eax                ; kind
                call    pci_next
                movzx   ecx, al                 ; BAR
                call    pci_next
                mov     r9d, eax                ; offset
                call    pci_next
                mov     r8d, eax                ; length
                lea     r11, [r9 + rax]         ; end
                call    pci_next                ; only the doorbells' has this one
                sub     esi, 16
                cmp     edx, VIRTIO_CAP_CONFIG
                ja      .capability
                cmp     ecx, 5
                ja      .capability
                lea     ecx, [r12 + rcx * 8]
                cmp     r11, [rcx + pci_record.bar_bytes]
                ja      .capability
                test    byte [rcx + pci_record.bar_bytes], 1
                jnz     .capability             ; I/O ports
                test    r9b, MMIO
                jnz     .capability             ; no address of a register
                bts     ebp, edx
                jc      .capability             ; the first of a kind counts (§4.1.4.1)
                add     r9, [rcx + pci_record.bar]
                shl     edx, 4
                add     edx, ebx
                mov     [rdx + virtio.places], r9
                mov     [rdx + virtio.places + 8], eax
                mov     [rdx + virtio.places + 12], r8d
                jmp     .capability
.end:
                not     ebp
                test    bpl, VIRTIO_PLACES_NEEDED
                jz      .use
                pop     rdi
.none:
                pop     rax
                ret
.use:
                call    pci_use
                xor     eax, eax
%ifdef DIRECT_BOOT
                mov     [rbx + virtio.gsi], eax
%endif
                cmp     [r12 + pci_record.msix_count], ax
                je      .line
                mov     [rbx + virtio.isr], rax
.line:
                pop     rdi
.found:
                inc     dword [rdi + list.count]
                mov     edi, [rbx + device.record]
                add     edi, 4
                mov     rsi, [rbx + virtio.config]
                mov     rbp, [rbx + virtio.common]
                xchg    rbx, rbp
                xor     r9d, r9d
                call    virtio_say              ; reset: the firmware may have left it busy
                xor     eax, eax
                call    virtio_put
                dw      REG_DEVICE_SELECT
                call    virtio_get
                dw      REG_DEVICE_FEATURES
                xchg    rbx, rbp
                xchg    eax, ecx
                ret
%ifdef DIRECT_BOOT
.mmio:
                mov     rax, [r12 + pci_record.bar]
                add     rax, MMIO
                mov     [rbx + virtio.common], rax
                add     rax, VIRTIO_MMIO_DOORBELL
                mov     [rbx + virtio.notify], rax
                and     dword [rbx + virtio.notify_step], 0
                add     rax, VIRTIO_MMIO_CONFIG - VIRTIO_MMIO_DOORBELL - MMIO
                mov     [rbx + virtio.config], rax
                sub     rax, VIRTIO_MMIO_CONFIG - VIRTIO_MMIO_ISR - MMIO
                mov     [rbx + virtio.isr], rax
                mov     eax, [r12 + MMIO_GSI]
                mov     [rbx + virtio.gsi], eax
                pop     rdi
                jmp     .found
%endif

; -----------------------------------------------------------------------------
; Writes the fields that end both kinds of record: queue_max, depth_max, depth_bytes, interrupts.
;
; IN    rbp common, r12 pci_record, rdi queue_max, eax queues, edx queue whose size stands for all
;       cl  descriptors of a slot, as a power of two
; USES  all but rbp r12
virtio_record:
                push    rax
                mov     rbx, rbp
                xchg    eax, edx
                call    virtio_put
                dw      REG_QUEUE
                call    virtio_get
                dw      REG_QUEUE_MAX
                shr     eax, cl
                xchg    eax, ecx
                mov     edx, DEPTH_BYTES
                xor     esi, esi
                cmp     [r12 + pci_record.msix_count], si
                setne   sil                     ; entry 1: a queue that has none of its own has no interrupt
%ifdef DIRECT_BOOT
                cmp     dword [r12 + pci_record.function], 0
                cmovl   esi, [r12 + MMIO_GSI]
%endif
                pop     rax
                jmp     device_limits
virtio_open.failed:
                ret

; -----------------------------------------------------------------------------
; Resets the device, agrees on features and sets up its rings.
;
; IN    r8 device, esi rings, edx depth, rcx memory, r11d 0: without VIRTIO_NET_LONG, -1: also with them
; OUT   rax  0, or -timeout, -unsupported; SF with it     rbx  common
; USES  all but r8 r12 to r15
virtio_open:
                push    rcx
                push    rsi
                mov     ebp, edx
                call    virtio_close
                js      .silent
                mov     rbx, [r8 + virtio.common]
                mov     r9b, VIRTIO_ACKNOWLEDGE | VIRTIO_DRIVER
                call    virtio_say
                call    virtio_wait             ; a device that is gone may read as 0 for ever
.silent:
                pop     rsi
                pop     rcx
                js      .failed
                or      r11d, ~VIRTIO_NET_LONG  ; numbers that nothing else has here, in either half
                xor     r10d, r10d              ; the lower half of the features, then the upper one
.features:
                mov     eax, r10d
                call    virtio_put
                dw      REG_DEVICE_SELECT
                call    virtio_put
                dw      REG_DRIVER_SELECT
                call    virtio_get
                dw      REG_DEVICE_FEATURES
                mov     edx, [r8 + device.driver]
                and     eax, [rdx + virtio_driver.features + r10 * 4]
                and     eax, r11d
                mov     [r8 + virtio.features + r10 * 4], eax
                call    virtio_put
                dw      REG_DRIVER_FEATURES
                xor     r10d, 1
                jnz     .features
                shr     eax, 1                  ; VIRTIO_F_VERSION_1
                jnc     .unsupported
                mov     r9b, VIRTIO_AGREED
                call    virtio_say
                call    virtio_status
                test    al, VIRTIO_FEATURES_OK
                jz      .unsupported
                mov     rdi, rcx
                mov     eax, [r8 + device.driver]
                movzx   ecx, byte [rax + virtio_driver.slot_descs]
                mov     dx, [rax + virtio_driver.flags]
.ring:
                dec     esi
                call    virtio_ring
                mov     eax, esi                ; two places to a queue: NICs have two rings, of slots of two
                imul    eax, ecx                ; descriptors, disks one, of slots of four
                mov     [r8 + device.rings + rax * 4], r10
                mov     eax, [r8 + device.driver]
                xor     dl, [rax + virtio_driver.flags_change]
                test    esi, esi
                jnz     .ring
                xor     eax, eax
                ret
.unsupported:
                push    -error_unsupported
                pop     rax
                test    eax, eax
                ret

; -----------------------------------------------------------------------------
; virtio_start opens and starts; virtio_run starts the device, with all its rings set up (§3.1.1).
;
; IN    as virtio_open      rbx  common
; OUT   rax  0, or as virtio_open
virtio_start:
                call    virtio_open
                js      .done
virtio_run:
                mov     r9b, VIRTIO_RUN
                call    virtio_say
                xor     eax, eax
virtio_start.done:
                ret

; -----------------------------------------------------------------------------
; Closes: resets the device, so that it leaves all memory alone.
;
; IN    r8  device
; OUT   rax 0, or -timeout; SF with it      rdi  the device's status
; USES  rcx rdx rsi r9
virtio_close:
                push    rbx
                mov     rbx, [r8 + virtio.common]
                xor     r9d, r9d
                mov     [r8 + device.queues], r9d
                call    virtio_say
%ifdef DIRECT_BOOT
                and     ebx, MMIO
                add     rdx, rbx
%endif
                mov     rdi, rdx                ; the status
                pop     rbx

; -----------------------------------------------------------------------------
; Waits until a byte that the device writes has a value.
;
; IN    rdi  its address, with MMIO      r9b  value      r8  device
; OUT   rax 0, or -timeout and the device is named; SF with it
; USES  rcx rdx rsi, and rdi if the device is named
virtio_wait:
                push    rdi
                mov     edi, VIRTIO_WAIT_US
                call    time_after
                pop     rdi
                xchg    rcx, rax
.again:
                call    time_now
                xchg    rax, rsi
                call    virtio_status
                cmp     al, r9b
                je      .equal
                pause
                cmp     rsi, rcx
                jb      .again
                jmp     device_gone
.equal:
                xor     eax, eax
                ret
virtio_status:                                  ; al: the byte at rdi
%ifdef DIRECT_BOOT
                test    dil, MMIO
                jnz     .mmio
%endif
                mov     al, [rdi]
                ret
%ifdef DIRECT_BOOT
.mmio:
                mov     eax, [rdi - MMIO]
                ret
%endif

; -----------------------------------------------------------------------------
; Sets up a ring and tells the device.
;
; IN    r8 device, rbx common, rdi memory, esi number, ebp slots, ecx descriptors of a slot
;       dl  flags of the slots' header descriptors      dh  their bytes
; OUT   rdi  behind its memory       r10 ring       r11  the last slot's status
; USES  rax r9
virtio_ring:
                mov     r9d, ebp
                imul    r9d, ecx                ; descriptors
                lea     r10, [rdi + ring_size]
                push    rcx
                mov     ecx, r9d
                shl     ecx, 3
                xor     eax, eax
                rep     stosq                   ; 64 bytes each
                pop     rcx
                push    rdi
                push    rsi
                push    rdx
                mov     eax, esi
                call    virtio_put
                dw      REG_QUEUE
                call    virtio_put
                dw      REG_QUEUE_VECTOR
                mov     eax, r9d
                call    virtio_put
                dw      REG_QUEUE_SIZE
                lea     rdi, [r10 + ring]
                lea     eax, [r9 - 1]
                stosd
                not     eax
                lea     eax, [rax + rcx - 1]    ; with the bits below a slot's number
                stosd
                mov     eax, ebp
                stosd
                mov     eax, esi
                stosd
                mov     rax, [r8 + device.record]
                stosq
                lea     rax, [r10 + r9 * 4]
                stosq
                call    virtio_put_address
                dw      REG_QUEUE_USED
                or      word [r10 + avail.ring + r9 * 2], -1    ; its event index: no completion so far
                shl     r9d, DESC_SHIFT         ; also from a descriptor to the slot
                add     rax, r9
                stosq
                call    virtio_put_address
                dw      REG_QUEUE_DESC
                mov     rsi, rax
                add     rax, r9
                stosq
                call    virtio_get
                dw      REG_QUEUE_NOTIFY
                imul    eax, [r8 + virtio.notify_step]
                cmp     eax, [r8 + virtio.notify_end]
                sbb     edx, edx
                and     eax, edx                ; one that lies elsewhere is not written
                add     rax, [r8 + virtio.notify]
                stosq
                mov     eax, [r8 + virtio.features]
                shr     eax, VIRTIO_F_EVENT_IDX_BIT     ; the last one that is agreed on
                xor     al, AVAIL_NO_INTERRUPT
                mov     [r10 + ring.quiet], eax
                mov     [r10 + avail.flags], al
                mov     rax, r10
                call    virtio_put_address
                dw      REG_QUEUE_AVAIL
                push    1
                pop     rax
                call    virtio_put
                dw      REG_QUEUE_ENABLE
                pop     rdx
                lea     rdi, [r10 + avail.ring]
                xor     eax, eax
.slot:
                stosw                           ; free
                inc     eax
                mov     [rsi + desc.next], ax
                mov     [rsi + desc.flags], dl
                mov     [rsi + desc.bytes], dh
                lea     r11, [rsi + r9 + slot.header]
                mov     [rsi + desc.address], r11
                add     r11, slot.status - slot.header
                mov     [rsi + 2 * DATA + desc.address], r11    ; of a NIC's slot that is the next one's first, to
                mov     byte [rsi + 2 * DATA + desc.bytes], 1   ; be written next; of the last the first slot's frame
                mov     byte [rsi + 2 * DATA + desc.flags], DESC_WRITE
                inc     eax
                mov     [rsi + 2 * DATA + desc.next], ax        ; itself: what a disk's data descriptors take over
                lea     eax, [rax + rcx - 2]
                lea     rsi, [rsi + rcx * 8]
                lea     rsi, [rsi + rcx * 8]
                cmp     eax, [r10 + ring.mask]
                jb      .slot
                pop     rsi
                pop     rdi
                ret

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
                shl     edi, DESC_SHIFT
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
                shl     edi, DESC_SHIFT
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
.entry:
                mov     rax, [rdx + frame.address]
                test    rax, rax
                jz      virtio_pointer
                mov     [rbx + rdi + DATA + desc.address], rax
                mov     eax, [rdx + frame.bytes]
                mov     [rbx + rdi + DATA + desc.bytes], eax
                mov     [rbx + rdi + DATA + desc.flags], ecx
                or      word [rbp + rdi + slot.link], SLOT_LAST
                test    eax, eax
                jz      virtio_range
                add     [rsi + ring.op_bytes], eax
                jc      virtio_range
                test    byte [rdx + frame.flags], frame_more
                jz      .done
                add     rdx, frame_size
                cmp     rdx, r11
                jae     virtio_range            ; nothing follows
                lea     eax, [r10 + 1]
                cmp     eax, r9d
                je      virtio_full
                dec     r9d
                mov     eax, r9d
                and     eax, [rsi + ring.mask]
                movzx   eax, word [rsi + avail.ring + rax * 2]
                inc     eax                     ; its data descriptor
                mov     [rbp + rdi + slot.link], ax
                or      byte [rbx + rdi + DATA + desc.flags], DESC_NEXT
                mov     [rbx + rdi + DATA + desc.next], ax
                lea     edi, [rax - 1]
                shl     edi, DESC_SHIFT
                jmp     .entry
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
                shl     edi, DESC_SHIFT
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
