; virtio-net: queue pairs, receive-side scaling, checksum and segmentation offload, mergeable buffers, indirect descriptors.
;
; The header of each frame lies in its slot; the last twelve bytes of struct frame have the same order. Opened for long
; frames, buffers have it in front of what is received, and it is only the first of a frame's that has it (§5.1.6.4): a slot
; then is one descriptor.
; SPEC  virtio 1.2 §5.1

VIRTIO_NET_F_CSUM       equ 1 << 0
VIRTIO_NET_F_GUEST_CSUM equ 1 << 1
VIRTIO_NET_F_MTU        equ 1 << 3
VIRTIO_NET_F_MAC        equ 1 << 5
VIRTIO_NET_F_GUEST_TSO  equ 3 << 7              ; of IPv4 and IPv6
VIRTIO_NET_F_TSO4_BIT   equ 11                  ; HOST_TSO4, and HOST_TSO6 is the next
VIRTIO_NET_F_MRG_RXBUF  equ 1 << 15
VIRTIO_NET_LONG         equ VIRTIO_NET_F_GUEST_TSO | VIRTIO_NET_F_MRG_RXBUF
VIRTIO_NET_F_STATUS     equ 1 << 16
VIRTIO_NET_F_CTRL_VQ    equ 1 << 17
VIRTIO_NET_F_MQ_BIT     equ 22                  ; which goes with CTRL_VQ (§5.1.3.1)
VIRTIO_NET_FEATURES     equ VIRTIO_NET_F_CSUM | VIRTIO_NET_F_GUEST_CSUM | VIRTIO_NET_F_MTU | VIRTIO_NET_F_MAC | \
                            3 << VIRTIO_NET_F_TSO4_BIT | VIRTIO_NET_F_STATUS | VIRTIO_NET_F_CTRL_VQ | \
                            1 << VIRTIO_NET_F_MQ_BIT | 1 << VIRTIO_F_INDIRECT_BIT | 1 << VIRTIO_F_EVENT_IDX_BIT | \
                            VIRTIO_NET_LONG
VIRTIO_NET_F_RSS        equ 1 << 28             ; of the upper 32, as is
VIRTIO_NET_F_SPEED      equ 1 << 31             ; the sign of all 64
VIRTIO_NET_CTRL_MQ      equ 4                   ; class 4, command 0: number of pairs
VIRTIO_NET_CTRL_MQ_RSS  equ 1                   ; command 1: that, and which flow goes where
RSS_TYPES               equ 63                  ; IP, TCP and UDP, of both versions
RSS_ENTRIES             equ 128                 ; which every device has (§5.1.4.1)
RSS_KEY                 equ 0x676a676a          ; of a period of 16 bits: both directions of a flow go to one queue
RSS_KEY_BYTES           equ 40                  ; likewise
CONTROL_RING            equ 3072                ; in struct device; one slot, whose status follows its header
CONTROL_USED            equ BLK_SLOT_DESCS * 4  ; from its available ring on
CONTROL_DESC            equ CONTROL_USED + BLK_SLOT_DESCS * desc_size
FRAME_MORE_BIT          equ 7                   ; frame_more
SEGMENTED_MAX_BYTES     equ 0xffff
LONG_BUFFER_BYTES       equ 2048
NET_SLOT_SHIFT          equ 1                   ; two descriptors

struc virtio_net_config
.mac:                   resb 6
.status:                resw 1
.pairs:                 resw 1
.mtu:                   resw 1
.speed:                 resd 1                  ; Mbit/s; negative: it does not say
                        resd 1
.hash_types:            resd 1                  ; that the device knows
endstruc

struc virtio_net_rss                            ; a command
                        resw 1                  ; class, command
.hash_types:            resd 1
.mask:                  resw 1                  ; of the table's entries
.unclassified:          resw 1                  ; queue for what has no hash
.table:                 resw RSS_ENTRIES
.pairs:                 resw 1
.key_bytes:             resb 1
.key:                   resb RSS_KEY_BYTES
endstruc

                dd      VIRTIO_NET_FEATURES, VIRTIO_F_VERSION_1 | VIRTIO_NET_F_RSS | VIRTIO_NET_F_SPEED
                                                ; struct virtio_driver: receive rings are even, transmit rings odd
                db      DESC_NEXT, NET_HEADER_BYTES, 1 << NET_SLOT_SHIFT, DESC_WRITE
virtio_net_driver:                              ; struct nic_driver
                dw      virtio_net_open - core_start_phys, virtio_close - core_start_phys
                dw      virtio_net_post - core_start_phys, virtio_reap - core_start_phys
                dw      virtio_arm - core_start_phys, virtio_net_link - core_start_phys

; -----------------------------------------------------------------------------
; IN    r8 device, rsi ring, rdx entries, ecx count
; OUT   rax as nic_tx and nic_rx_post
virtio_net_post:
                call    ring_begin
                call    virtio_room_free
                je      virtio_publish
                mov     ecx, [rsi + ring.data_flags]
.frame:
                mov     eax, r10d
                and     eax, [rsi + ring.mask]
                movzx   edi, word [rsi + avail.ring + rax * 2]
                imul    edi, [rsi + ring.slot_bytes]
                cmp     qword [rdx + frame.address], 0
                je      virtio_pointer
                movups  xmm1, [rdx + frame.address]
                movups  xmm0, [rdx + frame.bytes]
                mov     eax, [rdx + frame.bytes]
                movlps  [rbx + rdi + DATA + desc.address], xmm1
                mov     [rbx + rdi + DATA + desc.bytes], eax
                mov     [rbx + rdi + DATA + desc.flags], ecx
                movhps  [rbp + rdi + slot.cookie], xmm1
                movups  [rbp + rdi + slot.frame], xmm0
                or      word [rbp + rdi + slot.link], SLOT_LAST
                cmp     word [rdx + frame.flags], 0
                jne     .special
.checked:
                sub     eax, [rsi + ring.bytes_min]
                cmp     eax, [rsi + ring.bytes_span]
                ja      .range
.taken:
                inc     r10d
                add     rdx, frame_size
                cmp     r10d, r8d
                jne     .frame
                jmp     virtio_publish

.special:                                       ; a checksum to fill in, segments to cut, or several entries
                movzx   eax, word [rdx + frame.flags]
                btr     eax, FRAME_MORE_BIT
                mov     [rbp + rdi + slot.header], al
                test    eax, eax
                jz      .agreed
                xor     ecx, ecx                ; the feature that it needs; all need frame_checksum
                dec     eax
                jz      .feature
                mov     cl, VIRTIO_NET_F_TSO4_BIT
                cmp     eax, frame_tcp4 << 8
                je      .feature
                inc     ecx
                cmp     eax, frame_tcp6 << 8
                jne     .unsupported
.feature:
                bt      [rsi + ring.features], ecx
                jnc     .unsupported
.agreed:
                mov     ecx, [rsi + ring.data_flags]
                test    ecx, ecx                ; JOINS
                js      .unsupported
                push    rdi
                call    virtio_entries
                pop     rdi
                mov     eax, [rsi + ring.op_bytes]
                mov     [rbp + rdi + slot.frame], eax
                mov     rdi, [rsi + ring.op]
                test    byte [rdi + frame.flags], frame_checksum
                jz      .no_checksum
                movzx   eax, word [rdi + frame.checksum_start]
                movzx   edi, word [rdi + frame.checksum_offset]
                lea     eax, [rax + rdi + 2]
                cmp     eax, [rsi + ring.op_bytes]
                ja      .range
.no_checksum:
                call    virtio_room_free        ; there may be fewer slots, and are fewer entries, than before
                mov     rdi, [rsi + ring.op]
                mov     eax, [rsi + ring.op_bytes]
                cmp     byte [rdi + frame.segment_kind], 0
                je      .checked
                cmp     eax, SEGMENTED_MAX_BYTES
                ja      .range
                cmp     ax, [rdi + frame.header_bytes]
                jbe     .range
                cmp     word [rdi + frame.segment_bytes], 0
                jne     .taken
.range:
                jmp     virtio_range
.unsupported:
                jmp     virtio_unsupported

; -----------------------------------------------------------------------------
; Registers a NIC.
;
; IN    r12  pci_record     rbp  near_variables
; USES  all but r12
virtio_net_start:
                lea     edi, [VAR(info + machine_info.nics)]
                mov     edx, virtio_net_driver
                call    virtio_probe
                mov     eax, ecx
                and     eax, VIRTIO_NET_F_CSUM | VIRTIO_NET_F_GUEST_CSUM        ; the same bits as nic_offload
                mov     edx, ecx
                shr     edx, VIRTIO_NET_F_TSO4_BIT - 2
                and     edx, nic_tcp4 | nic_tcp6
                or      eax, edx
                test    ch, VIRTIO_NET_F_MRG_RXBUF >> 8
                jz      .offloads
                or      al, nic_long
.offloads:
                stosd
                mov     ebx, ecx
                push    6
                pop     rcx
                rep     movsb                   ; mac, 8 bits at a time (§4.1.3.1)
                mov     ecx, ebx
                mov     ax, MTU_DEFAULT
                test    cl, VIRTIO_NET_F_MTU
                jz      .mtu
                mov     ax, [rsi + virtio_net_config.mtu - 6]
.mtu:
                stosw
                push    1
                pop     rax
                mov     edx, eax                ; the first transmit ring
                bt      ecx, VIRTIO_NET_F_MQ_BIT
                jnc     .pairs
                mov     ax, [rsi + virtio_net_config.pairs - 6]
.pairs:
                mov     cl, NET_SLOT_SHIFT
                jmp     virtio_record

; -----------------------------------------------------------------------------
; Opens; then tells the device how many pairs to use if it is more than one: a command on the control queue, a ring in
; the device's page. The command and the number fill a slot's header, and the status follows straight.
;
; IN    r8 device, esi queues, ebp depth, rcx memory, r11d whether for long frames
; OUT   rax 0, or -timeout, -unsupported, -io
; USES  all but r12 to r15
; SPEC  virtio 1.2 §5.1.6.5.5
virtio_net_open:
                push    rsi
                add     esi, esi
                call    virtio_open
                pop     rcx
                jns     .opened
                ret
.opened:
                push    rcx
                mov     rsi, [r8 + device.record]
                movzx   edx, word [rsi + nic_record.mtu]
                lea     edi, [rdx + ETHERNET_HEADER_BYTES]
                mov     ebp, [r8 + virtio.features]
                test    bp, bp                  ; VIRTIO_NET_F_MRG_RXBUF
                jns     .rings
                mov     edi, LONG_BUFFER_BYTES
.rings:
                lea     rsi, [r8 + device.rings]
.pair:
                lodsq                           ; a receive buffer holds any frame, or a part
                mov     byte [rax + ring.data_flags], DESC_WRITE
                mov     [rax + ring.bytes_min], edi
                mov     [rax + ring.bytes_span], edi
                not     dword [rax + ring.bytes_span]
                test    bp, bp
                jns     .transmit
                or      byte [rax + ring.data_flags + 3], JOINS >> 24
                sub     qword [rax + ring.desc], DATA   ; the slot's first descriptor has the data
.transmit:
                lodsq
                mov     [rax + ring.features], ebp
                mov     byte [rax + ring.bytes_min], ETHERNET_HEADER_BYTES
                mov     [rax + ring.bytes_span], edx
                mov     byte [rax + ring.data_flags + 2], SENDS >> 16
                loop    .pair
                pop     rcx
                cmp     ecx, 1
                je      virtio_run
                push    rcx
                mov     rsi, [r8 + virtio.config]
                movzx   esi, word [rsi + virtio_net_config.pairs]
                add     esi, esi                ; the queue behind all pairs
                lea     rdi, [r8 + CONTROL_RING]
                push    1
                pop     rbp
                push    BLK_SLOT_DESCS
                pop     rcx
                mov     dx, DESC_NEXT | 4 << 8
                call    virtio_ring
                pop     rcx
                call    virtio_run
                mov     byte [r11 + slot.header - slot.status], VIRTIO_NET_CTRL_MQ
                mov     [r11 + slot.header - slot.status + 2], cx
                mov     byte [r11], BLK_STATUS_PENDING
                mov     byte [r10 + CONTROL_DESC + desc.next], BLK_STATUS
                test    byte [r8 + virtio.features + 7], VIRTIO_NET_F_RSS >> 24
                jz      .command
                mov     [r10 + CONTROL_DESC + desc.address], rdi
                mov     word [r10 + CONTROL_DESC + desc.bytes], virtio_net_rss_size
                mov     ax, VIRTIO_NET_CTRL_MQ | VIRTIO_NET_CTRL_MQ_RSS << 8
                stosw
                mov     rax, [r8 + virtio.config]
                mov     eax, [rax + virtio_net_config.hash_types]
                and     eax, RSS_TYPES
                stosd
                mov     al, RSS_ENTRIES - 1     ; what has no hash goes to queue 0
                stosd
                cdq
                xchg    eax, edx
.entry:                                         ; all queues, over and over again
                dec     eax
                jns     .queue
                lea     eax, [rcx - 1]
.queue:
                stosw
                dec     dl
                jns     .entry
                mov     eax, ecx
                stosw
                mov     al, RSS_KEY_BYTES
                stosb
                mov     eax, RSS_KEY
                mov     cl, RSS_KEY_BYTES / 4
                rep     stosd
.command:
                call    virtio_first
                js      .failed
                cmp     [r11], al
                je      .done
                push    -error_io
                pop     rax
.failed:
                push    rax                     ; it must not go on with the rings
                call    virtio_close
                pop     rax
                test    eax, eax
.done:
                ret

; -----------------------------------------------------------------------------
; IN    r8 device
; OUT   rax as nic_link
virtio_net_link:
                push    1
                pop     rax
                mov     rdx, [r8 + virtio.config]
                test    byte [r8 + virtio.features + 2], VIRTIO_NET_F_STATUS >> 16
                jz      .up
                and     al, [rdx + virtio_net_config.status]
                jz      .done
.up:
                cmp     byte [r8 + virtio.features + 7], 0      ; VIRTIO_NET_F_SPEED
                jns     .done
                mov     ecx, [rdx + virtio_net_config.speed]
                cmp     ecx, eax
                cmovg   eax, ecx
.done:
                ret
