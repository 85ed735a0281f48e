; NIC and disk calls: they check what every device needs checked, and go to the driver through its table.
;
; Drivers get the device in r8 and a ring in rsi: a queue's receive ring, or its only one, is device.rings[2 * queue], its
; transmit ring the next. They return as the call does and keep the rules of System V, but open keeps r8 and may change rbx,
; rbp.

DEVICE_MAX          equ 16
DEVICE_QUEUES_MAX   equ 127
DEPTH_MIN           equ 16
MTU_DEFAULT         equ 1500
ETHERNET_HEADER_BYTES equ 14
NIC_OPEN_LONG_BIT   equ 16                      ; nic_open_long

; A device the core drives, one page of the arena. Its record begins with the PCI function and ends with queue_max,
; depth_max, depth_bytes, interrupts.
struc device
.driver:        resq 1      ; nic_driver or disk_driver
.record:        resq 1      ; nic_record or disk_record
.queues:        resq 1      ; open queues, 0: closed
.own:           resb 88     ; the driver's
.rings:         resq 2 * DEVICE_QUEUES_MAX
endstruc

struc nic_driver            ; offsets of routines in the core
.open:          resw 1      ; esi queues, edx and ebp depth, rcx memory, r11d -1: for long frames too, 0: not
.close:         resw 1
.post:          resw 1      ; rsi ring, rdx frames, ecx count
.reap:          resw 1
.arm:           resw 1      ; rsi ring
.link:          resw 1
endstruc

struc disk_driver
.open:          resw 1
.close:         resw 1
.submit:        resw 1
.reap:          resw 1
.arm:           resw 1
endstruc

; What the calls push for device_call: twice the routine's offset in the driver's table, and
TRANSMIT            equ 1
WITH_ARRAY          equ 2                       ; rdx has to be an array

; -----------------------------------------------------------------------------
; i64 nic_open(u32 nic, u32 queues, u32 depth, void *memory, u64 bytes)  slot 16
; i64 disk_open(u32 disk, u32 queues, u32 depth, void *memory, u64 bytes)  slot 24
;
; Resets and starts the device with rings in memory, which belongs to the device until it is closed.
;
; IN    edi  device     esi  queues  1 .. queue_max, of a NIC with nic_long nic_open_long may be added
;       edx  depth      16 .. depth_max, a power of two
;       rcx  memory     page aligned                    r8   bytes  queues * depth * depth_bytes at least
; OUT   rax  0, or -no_such, -busy, -range, -pointer, -memory, -timeout, -unsupported (also nic_open_long), -io
; USES  scratch       CORE any, one at a time       IRQ any
nic_open:
                push    nic_driver.open
                jmp     nic_call
disk_open:
                push    disk_driver.open
                jmp     disk_call

; -----------------------------------------------------------------------------
; i64 nic_close(u32 nic)                                                slot 17
; i64 disk_close(u32 disk)                                              slot 25
;
; OUT   rax  0, or -no_such, -closed, -timeout (the device is not to be trusted with the memory it had)
; USES  scratch       CORE any, one at a time       IRQ any
nic_close:
                xor     esi, esi
                push    2 * nic_driver.close
                jmp     nic_call
disk_close:
                xor     esi, esi
                push    2 * disk_driver.close
                jmp     disk_call

; -----------------------------------------------------------------------------
; i64 nic_tx(u32 nic, u32 queue, frame const *frames, u32 count)        slot 18
;
; The device reads frames in place: keep them unchanged until their cookies come back. The entries may change at once.
; Each entry takes one of the ring's depth; a frame of which not all entries fit is not begun.
;
; IN    edi nic, esi queue, rdx frames, ecx count
; OUT   rax  entries taken, from the first on; or -no_such, -closed, -pointer, -range (length, or more at the end),
;            -unsupported (an offload that the NIC does not have): then none was taken
; USES  scratch       CORE owner of the queue       IRQ any
nic_tx:
                push    2 * nic_driver.post + WITH_ARRAY + TRANSMIT
                jmp     nic_call

; -----------------------------------------------------------------------------
; i64 nic_tx_reap(u32 nic, u32 queue, completion *out, u32 count)       slot 19
;
; Also ends what nic_arm began.
;
; OUT   rax  completions written, 0 when there is none yet; or -no_such, -closed, -pointer
; USES  scratch       CORE owner of the queue       IRQ any
nic_tx_reap:
                push    2 * nic_driver.reap + WITH_ARRAY + TRANSMIT
                jmp     nic_call

; -----------------------------------------------------------------------------
; i64 nic_rx_post(u32 nic, u32 queue, frame const *buffers, u32 count)  slot 20
;
; IN    buffers  of mtu + 22 bytes at least, over all entries of one; a NIC may take buffers of one entry only. With
;                nic_open_long of 2048 bytes at least, and one entry
; OUT   rax  as nic_tx
; USES  scratch       CORE owner of the queue       IRQ any
nic_rx_post:
                push    2 * nic_driver.post + WITH_ARRAY
                jmp     nic_call

; -----------------------------------------------------------------------------
; i64 nic_rx_reap(u32 nic, u32 queue, frame *out, u32 count)            slot 21
;
; Also ends what nic_arm began. A buffer of several entries comes back as one, with the first one's address and cookie.
; One of 0 bytes had a frame with an error. With nic_open_long a frame of several buffers comes as so many entries, in order
; and all but the last with frame_more, maybe in several calls; address is where its part begins, at most 12 bytes into the
; buffer. An error then is a last part of 0 bytes.
;
; OUT   rax  frames written, 0 when there is none yet; or -no_such, -closed, -pointer
; USES  scratch       CORE owner of the queue       IRQ any
nic_rx_reap:
                push    2 * nic_driver.reap + WITH_ARRAY
                jmp     nic_call

; -----------------------------------------------------------------------------
; i64 nic_link(u32 nic)                                                 slot 23
;
; OUT   rax  its speed in Mbit/s, 1: up and it does not say, 0: down; or -no_such, -closed
; USES  scratch       CORE any       IRQ any
nic_link:
                xor     esi, esi
                push    2 * nic_driver.link
                jmp     nic_call

; -----------------------------------------------------------------------------
; i64 disk_submit(u32 disk, u32 queue, disk_op const *ops, u32 count)   slot 26
;
; An operation takes one of the queue's depth, or one for each of its entries; it is not begun if they do not all fit.
;
; IN    edi disk, esi queue, rdx ops, ecx count
; OUT   rax  entries taken, from the first on; or -no_such, -closed, -pointer (also of an entry), -range (blocks beyond
;            the end, bytes no whole blocks, kind, flags, more at the end, too many entries or bytes, entries that do
;            not join at pages), -unsupported (write to a read-only disk, flush of one that has no cache to flush,
;            discard or zero of one that cannot): then none was taken
; USES  scratch       CORE owner of the queue       IRQ any
disk_submit:
                push    2 * disk_driver.submit + WITH_ARRAY
                jmp     disk_call

; -----------------------------------------------------------------------------
; i64 disk_reap(u32 disk, u32 queue, completion *out, u32 count)        slot 27
;
; Also ends what disk_arm began. Operations finish in any order.
;
; OUT   rax  completions written, 0 when there is none yet; or -no_such, -closed, -pointer
; USES  scratch       CORE owner of the queue       IRQ any
disk_reap:
                push    2 * disk_driver.reap + WITH_ARRAY
                jmp     disk_call

; -----------------------------------------------------------------------------
; i64 disk_arm(u32 disk, u32 queue)                                     slot 28
;
; OUT   rax  0 armed, 1 work is there: reap it; or -no_such, -closed, -unsupported
; USES  scratch       CORE owner of the queue       IRQ any
disk_arm:
                push    2 * disk_driver.arm
                jmp     disk_call

; -----------------------------------------------------------------------------
; i64 nic_arm(u32 nic, u32 queue, u32 rings)                            slot 22
;
; The next completion raises event_queue on this core. Reaping disarms.
;
; IN    edi nic, esi queue     edx  ring_rx, ring_tx or both
; OUT   rax  0 armed, 1 work is there: reap it; or -no_such, -closed, -range, -unsupported
; USES  scratch       CORE owner of the queue       IRQ any
nic_arm:
                lea     eax, [rdx - 1]
                cmp     eax, ring_rx + ring_tx
                jae     device_call.range
                shr     edx, 1                  ; ring_rx
                jnc     .transmit
                push    rdi
                push    rsi
                push    rdx
                call    .receive
                pop     rdx
                pop     rsi
                pop     rdi
                test    eax, eax
                jnz     .done
                test    edx, edx                ; ring_tx
                jz      .done
.transmit:
                push    2 * nic_driver.arm + TRANSMIT
                jmp     nic_call
.receive:
                push    2 * nic_driver.arm
                jmp     nic_call
.done:
                ret

; -----------------------------------------------------------------------------
; Checks what the calls on a device have in common, and goes to the driver's routine.
;
; IN    edi device, esi queue, rdx array; on the stack which routine, and flags
; OUT   r8 device, rsi ring, rdx and rcx kept; for open r9 what was in r8, r10d bytes of the device's record
disk_call:
                mov     eax, info + machine_info.disks
                jmp     device_call
nic_call:
                mov     eax, info + machine_info.nics
device_call:
                cmp     edi, [rax + list.count]
                mov     r10d, [rax + list.stride]
                lea     eax, [rax + rdi]
                pop     rdi
                jae     .no_such
                mov     r9, [rax * 8 + DEVICE_OF_LIST]
                xchg    r8, r9
                test    edi, edi
                jz      .open
                mov     eax, [r8 + device.queues]
                cmp     esi, eax
                jae     .no_queue
                shr     edi, 1                  ; TRANSMIT
                adc     esi, esi
                mov     rsi, [r8 + device.rings + rsi * 8]      ; (of no use to close and link)
                shr     edi, 1                  ; WITH_ARRAY
                jnc     .go
                test    rdx, rdx
                jz      .pointer
                test    dl, 7
                jnz     .pointer
.go:
                mov     eax, [r8 + device.driver]
                movzx   eax, word [rax + rdi * 2]
                add     eax, CORE_PHYS
                jmp     rax
.range:
                push    -error_range
                pop     rax
                ret
.no_queue:
                test    eax, eax
                jz      .closed
.no_such:
                push    -error_no_such
                pop     rax
                ret
.pointer:
                push    -error_pointer
                pop     rax
                ret
.closed:
                push    -error_closed
                pop     rax
                ret
.busy:
                push    -error_busy
                pop     rax
                ret
.memory:
                push    -error_memory
                pop     rax
                ret
.unsupported:
                push    -error_unsupported
                pop     rax
                ret

.open:
                cmp     [r8 + device.queues], edi
                jne     .busy
                mov     rax, [r8 + device.record]
                add     r10, rax                ; end of queue_max, depth_max, depth_bytes, interrupts
                btr     esi, NIC_OPEN_LONG_BIT
                sbb     r11d, r11d
                jz      .limits
                test    byte [rax + nic_record.offloads], nic_long      ; (a disk's features have no such bit)
                jz      .unsupported
.limits:
                lea     eax, [rsi - 1]
                cmp     eax, [r10 - 16]
                jae     .range
                cmp     edx, [r10 - 12]
                ja      .range
                cmp     edx, DEPTH_MIN
                jb      .range
                lea     eax, [rdx - 1]
                test    eax, edx
                jnz     .range
                test    rcx, rcx
                jz      .pointer
                test    cx, PAGE_BYTES - 1
                jnz     .pointer
                mov     eax, [r10 - 8]
                imul    eax, edx
                imul    eax, esi                ; below 4 GiB at the most queues and depth
                cmp     rax, r9
                ja      .memory
                push    rbx
                push    rbp
                push    rsi
                mov     ebp, edx
                call    .go
                pop     rsi
                test    eax, eax
                jnz     .failed
                mov     [r8 + device.queues], esi
.failed:
                pop     rbp
                pop     rbx
                ret

; -----------------------------------------------------------------------------
; Takes a page for one more of the disks, or of the NICs or disks. The driver fills in the record, and what of the device is
; its own; device_limits ends that, and then it is there.
;
; IN    edi  list in info: nics or disks (device_add)     edx  driver     r12  pci_record     rbp  near_variables
; OUT   rdx  device, the driver's part of it 0     rdi  second field of its record; CF set if there is no room
; USES  rax r9
disk_add:
                lea     edi, [VAR(info + machine_info.disks)]
device_add:
                mov     [device_list], edi
                mov     eax, [rdi + list.count]
                cmp     eax, DEVICE_MAX
                cmc
                jc      .done
                lea     r9d, [rdi + rax]
                imul    eax, [rdi + list.stride]
                add     eax, [rdi + list.first]
                push    rax
                call    arena_page
                pop     rdi
                mov     [r9 * 8 + DEVICE_OF_LIST], rax
                mov     [rax + device.driver], edx
                mov     [rax + device.record], edi
                xchg    edx, eax
                mov     eax, [r12 + pci_record.function]
                stosd
.done:
                ret                             ; (arena_page has cleared CF)

; -----------------------------------------------------------------------------
; Writes the fields that end both kinds of record: queue_max, depth_max, depth_bytes, interrupts. So the device is one more
; of the list that device_add had. device_limits_first is for a device whose first interrupt stands for all.
;
; IN    rdi  queue_max     eax  its value, of which DEVICE_QUEUES_MAX count     ecx  depth_max     edx  depth_bytes
;       esi  entry of an interrupt, as irq_route takes it     r12  pci_record
; USES  scratch
device_limits_first:
                xor     esi, esi
device_limits:
                cmp     eax, DEVICE_QUEUES_MAX
                jbe     .queues
                push    DEVICE_QUEUES_MAX
                pop     rax
.queues:
                stosd
                xchg    eax, ecx
                stosd
                xchg    eax, edx
                stosd
                push    rdi
                mov     edi, [r12 + pci_record.function]
                xor     edx, edx
                push    event_queue
                pop     rcx
                call    irq_route               ; can it interrupt?
                not     eax
                shr     eax, 31
                pop     rdi
                stosd
                mov     eax, [device_list]
                inc     dword [rax + list.count]
                ret

; -----------------------------------------------------------------------------
; Waits until a bit of a register or of memory is as wanted.
;
; IN    rsi  address     eax  number of the bit from there, signed     r9d  0 or -1: what it has to be
;       edi  microseconds
; OUT   eax  0, or if it is not -1; SF and CF with it     edi  the number
; USES  rcx rdx
device_wait:
                push    rax
                call    time_after
                pop     rdi
                xchg    rax, rcx
.again:
                call    time_now
                bt      [rsi], edi
                sbb     edx, edx
                cmp     edx, r9d
                je      .done
                pause
                cmp     rax, rcx
                jb      .again
                stc
.done:
                sbb     eax, eax
                ret

; -----------------------------------------------------------------------------
; Says that a device does not answer: that in r8, or with PCI function eax.
;
; OUT   rax  -timeout; SF with it
; USES  rcx rdx rsi rdi
device_gone:
                mov     rax, [r8 + device.record]
                mov     eax, [rax]              ; function
device_silent:
                push    rax
                call    system_say
                db      EXO16, "device", 0
                pop     rax
                call    console_hex
                call    console_dead
device_timeout:
                push    -error_timeout
                pop     rax
                test    eax, eax
                ret

; A device's address is at eight times the sum of its list's address and its number, plus this: one list lies behind the
; other in info, and so do their devices.
%if machine_info.disks - machine_info.nics != DEVICE_MAX
%error a list has to have as many bytes as there are devices of a kind
%endif
NICS_PHYS           equ CORE_DATA_PHYS + (info - variables) + machine_info.nics
DEVICE_OF_LIST      equ CORE_DATA_PHYS + (devices - variables) - 8 * NICS_PHYS
