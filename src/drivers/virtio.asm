; virtio, modern interface, split rings: what NIC and disk have in common. This file finds the device, opens and closes it, and
; sets its rings up; virtio_ring.asm works with them, virtio_registers.asm reaches the registers.
;
; A ring's memory comes from the program, 64 bytes per descriptor, or with tables TABLE_DEPTH_BYTES:
;
;     struct ring | available ring | used ring | descriptors | slots
;     struct ring | available ring | used ring | descriptors | table and slot | table and slot | ...
;
; The routines have the address of the available ring, and reach struct ring below it with short offsets.
;
; Each entry in flight takes a slot: a few neighbouring descriptors - [header, data] for a frame, [header, data, status,
; not used] for a disk operation - and as many bytes of struct slot. Its number is that of its first descriptor, so one
; offset serves both. An operation of several entries strings the data descriptors of several slots together.
;
; With indirect descriptors, of disks and transmit rings, a slot's descriptors are a table with room for more: [header, data,
; data, ...] for a frame, [header, data, status, data, not used, data, ...] for a disk operation. The ring has one that leads
; there, whose number is the slot's. So what is in flight takes one slot however many entries it has, and of disk operations
; four times as many fit into the ring. A receive ring's buffers mostly are one entry, and have no table.
;
; The free slots stand in the available ring itself, in the part that the device has not been told of: from avail_index
; on to free_end. Handing out the next one is to say one more is available; the further slots of an operation come from
; the other end, and finished ones go there. A slot that is not in flight is marked as free, so that whatever a device
; returns, none is freed twice.
;
; SPEC  virtio 1.2 §2.7 (split virtqueues), §2.7.5.3 (indirect descriptors), §3.1 (initialization), §4.1 (PCI)

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
VIRTIO_F_INDIRECT_BIT   equ 28
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
DESC_INDIRECT           equ 4                   ; it leads to a table
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
SLOT_BYTES              equ 64                  ; of a disk operation: struct slot, and what a discard has as data
TABLE_SHIFT             equ 10                  ; of a table's and its slot's bytes
TABLE_BYTES             equ (1 << TABLE_SHIFT) - SLOT_BYTES
TABLE_ENTRY_MAX         equ TABLE_BYTES / (2 * desc_size)
RING_BYTES              equ 48                  ; per descriptor of a ring, with struct ring; slots, or tables, come to it
TABLE_DEPTH_BYTES       equ RING_BYTES + (1 << TABLE_SHIFT)     ; enough without tables, too
NET_DEPTH_BYTES         equ 2 * (RING_BYTES + desc_size) + TABLE_DEPTH_BYTES   ; a receive ring has two descriptors and no table

; -----------------------------------------------------------------------------
; Adds the device and finds its registers. Returns from the driver's start routine itself if it is no modern device, or
; there is no room.
;
; IN    r12  pci_record     edi  list in info     edx  driver
; OUT   rbx  device, rdi second field of its record, rsi config, rbp common, ecx features offered
; USES  all but r12
virtio_probe:
                call    device_add
                jc      .none
                push    rdi
                mov     ebx, edx
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
;       cl  descriptors of the ring that a slot takes, as a power of two
; USES  all but rbp r12
virtio_record:
                push    rax
                mov     rbx, rbp
                xchg    eax, edx
                call    virtio_put
                dw      REG_QUEUE
                call    virtio_get
                dw      REG_QUEUE_MAX
                mov     edx, NET_DEPTH_BYTES
                shr     eax, cl
                cmp     cl, NET_SLOT_SHIFT
                je      .depth
                mov     dx, TABLE_DEPTH_BYTES
.depth:
                xchg    eax, ecx
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
; IN    r8 device, esi rings, ebp depth, rcx memory, r11d 0: without VIRTIO_NET_LONG, -1: also with them
; OUT   rax  0, or -timeout, -unsupported; SF with it     rbx  common
; USES  all but r8 r12 to r15
virtio_open:
                push    rcx
                push    rsi
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
; Hands the first operation of a ring, in slot 0, to the device and waits for its end.
;
; IN    r10  ring       esi  its number       r8  device
; OUT   rax  0, or -timeout and the device is named; SF with it
; USES  rcx rdx rsi rdi r9
virtio_first:
                mov     byte [r10 + avail.index], 1
                mov     rdi, [r10 + ring.doorbell]
                mov     eax, esi
                call    virtio_notify
                mov     rdi, [r10 + ring.used]
                add     rdi, used.index
                mov     r9b, 1
                jmp     virtio_wait

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
                lea     r10, [rdi + ring_size]
                push    rcx
                push    desc_size
                pop     r11                     ; from one number of a slot to the next
                test    dl, DESC_WRITE
                jnz     .direct                 ; a receive ring
                cmp     ebp, 1
                je      .direct                 ; a control queue, which has no room for it
                bt      dword [r8 + virtio.features], VIRTIO_F_INDIRECT_BIT
                jnc     .direct
                mov     cl, 1                   ; a slot takes one descriptor of the ring
                shl     r11d, TABLE_SHIFT - DESC_SHIFT
.direct:
                mov     r9d, ebp
                imul    r9d, ecx                ; descriptors
                push    rcx
                lea     ecx, [r11 + RING_BYTES]
                imul    ecx, r9d
                shr     ecx, 3
                xor     eax, eax
                rep     stosq
                pop     rcx
                mov     [r10 + ring.slot_bytes], r11d
                push    rdi
                push    rsi
                push    rbx
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
                call    virtio_put_address
                dw      REG_QUEUE_DESC
                push    rax
                cmp     cl, 1
                jne     .slots
                add     rax, r9
                mov     r9d, TABLE_BYTES        ; from a table to the slot
.slots:
                stosq
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
                pop     rbx                     ; descriptors of the ring
                pop     rdx
                lea     rdi, [r10 + avail.ring]
                xor     eax, eax
.slot:
                stosw                           ; free
                push    rax
                cmp     cl, 1
                jne     .chain
                mov     [rbx], rsi
                mov     word [rbx + desc.bytes], TABLE_BYTES
                mov     byte [rbx + desc.flags], DESC_INDIRECT
                add     rbx, desc_size
                xor     eax, eax                ; a table's descriptors count from 0
.chain:
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
                mov     eax, ecx
                imul    eax, [r10 + ring.slot_bytes]
                add     rsi, rax
                pop     rax
                add     eax, ecx
                cmp     eax, [r10 + ring.mask]
                jbe     .slot
                pop     rbx
                pop     rsi
                pop     rdi
                pop     rcx
                ret
