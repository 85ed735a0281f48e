; virtio-blk: several queues, reads, writes, flushes, discards, zeroes, indirect descriptors.
;
; The device counts in sectors of 512 bytes whatever its block size is; struct disk_op counts in blocks.
; SPEC  virtio 1.2 §5.2

VIRTIO_BLK_F_SEG_MAX    equ 1 << 2
VIRTIO_BLK_F_RO_BIT     equ 5
VIRTIO_BLK_F_BLK_SIZE   equ 1 << 6
VIRTIO_BLK_F_FLUSH_BIT  equ 9
VIRTIO_BLK_F_TOPOLOGY   equ 1 << 10
VIRTIO_BLK_F_MQ         equ 1 << 12
VIRTIO_BLK_F_DISCARD_BIT equ 13
VIRTIO_BLK_F_ZEROES_BIT equ 14
VIRTIO_BLK_FEATURES     equ VIRTIO_BLK_F_SEG_MAX | 1 << VIRTIO_BLK_F_RO_BIT | VIRTIO_BLK_F_BLK_SIZE | \
                            1 << VIRTIO_BLK_F_FLUSH_BIT | VIRTIO_BLK_F_TOPOLOGY | VIRTIO_BLK_F_MQ | \
                            1 << VIRTIO_BLK_F_DISCARD_BIT | 1 << VIRTIO_BLK_F_ZEROES_BIT | \
                            1 << VIRTIO_F_INDIRECT_BIT | 1 << VIRTIO_F_EVENT_IDX_BIT
BLK_SECTOR_BYTES        equ 512
BLK_SLOT_SHIFT          equ 2                   ; four descriptors
BLK_SLOT_DESCS          equ 1 << BLK_SLOT_SHIFT
BLK_STATUS              equ 2                   ; the third of them
BLK_STATUS_PENDING      equ 0xff                ; never a device's answer

struc virtio_blk_config
.sectors:               resq 1
                        resd 1
.entry_max:             resd 1
                        resd 1
.block_bytes:           resd 1
                        resd 1
.optimal_blocks:        resd 1
                        resb 2
.queues:                resw 1
endstruc

struc virtio_blk_header
.kind:                  resd 1                  ; the numbers of disk_op.kind, but BLK_RANGE_KIND
                        resd 1
.sector:                resq 1
endstruc

; What a discard or zeroes has as data; it lies behind struct slot, which has the room of four descriptors.
struc virtio_blk_range, slot.status + 1
.sector:                resq 1
.sectors:               resd 1
.flags:                 resd 1
endstruc
VIRTIO_BLK_RANGE_BYTES  equ 16
VIRTIO_BLK_GET_ID       equ 8
BLK_RANGE_KIND          equ 29                  ; less twice disk_discard (9) or disk_zero (8): VIRTIO_BLK_T_DISCARD (11), _WRITE_ZEROES (13)

                dd      VIRTIO_BLK_FEATURES, VIRTIO_F_VERSION_1         ; struct virtio_driver
                db      DESC_NEXT, virtio_blk_header_size, BLK_SLOT_DESCS, 0
virtio_blk_driver:                              ; struct disk_driver
                dw      virtio_start - core_start_phys, virtio_close - core_start_phys
                dw      virtio_blk_submit - core_start_phys, virtio_reap - core_start_phys
                dw      virtio_arm - core_start_phys

; -----------------------------------------------------------------------------
; Registers a disk.
;
; IN    r12  pci_record     rbp  near_variables
; USES  all but r12
virtio_blk_start:
                lea     edi, [VAR(info + machine_info.disks)]
                mov     edx, virtio_blk_driver
                call    virtio_probe
                push    rbx
                xor     eax, eax
                bt      ecx, VIRTIO_BLK_F_ZEROES_BIT
                adc     eax, eax
                bt      ecx, VIRTIO_BLK_F_DISCARD_BIT
                adc     eax, eax                ; disk_can_zero, disk_can_discard
                bt      ecx, VIRTIO_BLK_F_FLUSH_BIT
                adc     eax, eax
                bt      ecx, VIRTIO_BLK_F_RO_BIT
                adc     eax, eax                ; disk_write_cache, disk_read_only
                stosd
                mov     ebx, BLK_SECTOR_BYTES
                test    cl, VIRTIO_BLK_F_BLK_SIZE
                jz      .size
                mov     eax, [rsi + virtio_blk_config.block_bytes]
                lea     edx, [rax - 1]
                test    eax, edx
                jnz     .size                   ; no power of two: not to be believed
                cmp     eax, ebx
                cmova   ebx, eax
.size:
                push    rbx
                shr     ebx, 9                  ; BLK_SECTOR_BYTES
                mov     eax, [rsi + virtio_blk_config.sectors + 4]      ; 32 bits at a time (§4.1.3.1)
                shl     rax, 32
                mov     edx, [rsi + virtio_blk_config.sectors]
                or      rax, rdx
                xor     edx, edx
                div     rbx
                stosq
                pop     rax
                stosd
                test    ch, VIRTIO_BLK_F_TOPOLOGY >> 8
                jz      .topology
                imul    eax, [rsi + virtio_blk_config.optimal_blocks]
                mov     [rdi], eax
.topology:
                scasq                           ; (over optimal_bytes and address_mask)
                push    1
                pop     rax
                mov     ebx, eax
                test    cl, VIRTIO_BLK_F_SEG_MAX
                jz      .entries
                mov     eax, [rsi + virtio_blk_config.entry_max]
.entries:
                push    TABLE_ENTRY_MAX
                pop     rdx
                cmp     eax, edx
                cmova   eax, edx
                stosd
                or      dword [rdi], -1         ; bytes_max
                add     edi, disk_record.queue_max - disk_record.bytes_max
                xchg    eax, ebx
                test    ch, VIRTIO_BLK_F_MQ >> 8
                jz      .queues
                mov     ax, [rsi + virtio_blk_config.queues]
.queues:
                xor     edx, edx
                bt      ecx, VIRTIO_F_INDIRECT_BIT
                setnc   cl
                add     cl, cl                  ; BLK_SLOT_SHIFT; 0 with tables
                call    virtio_record
                pop     r8
                mov     ecx, BOOT_DISK_PHYS     ; a serial number takes a request (§5.2.6): it is opened for that
                push    1
                pop     rsi
                push    4                       ; slots: with fewer the available ring does not have its room
                pop     rbp
                xor     r11d, r11d
                call    virtio_start
                js      .done
                mov     rdi, [r10 + ring.slots]
                mov     byte [rdi + slot.header + virtio_blk_header.kind], VIRTIO_BLK_GET_ID
                mov     rdi, [r10 + ring.desc]
                mov     eax, [r8 + device.record]
                add     eax, disk_record.serial
                mov     [rdi + DATA + desc.address], rax
                mov     byte [rdi + DATA + desc.bytes], 20
                mov     dword [rdi + DATA + desc.flags], BLK_STATUS << 16 | DESC_NEXT | DESC_WRITE
                call    virtio_first
                jmp     virtio_close
.done:
                ret

; -----------------------------------------------------------------------------
; IN    r8 device, rsi ring, rdx ops, ecx count
; OUT   rax as disk_submit
virtio_blk_submit:
                call    ring_begin
                mov     r8, [rsi + ring.record]
                jmp     .next
.refused:
                push    rax
                jmp     virtio_fail
.op:
                cmp     r10d, r9d
                je      .publish                ; no slot is free
                call    disk_check
                jc      .refused
                mov     ecx, edi
                mov     eax, r10d
                and     eax, [rsi + ring.mask]
                movzx   edi, word [rsi + avail.ring + rax * 2]
                imul    edi, [rsi + ring.slot_bytes]
                mov     [rbp + rdi + slot.frame], ecx
                mov     ecx, [rbx + rdi + BLK_STATUS * desc_size + desc.flags]  ; DESC_WRITE, and next, the status itself:
                                                ; every data descriptor leads to it, until one comes between
                mov     rax, [rdx + disk_op.cookie]
                mov     [rbp + rdi + slot.cookie], rax
                or      dword [rbp + rdi + slot.link], -1       ; SLOT_LAST; and status, BLK_STATUS_PENDING
                mov     eax, [r8 + disk_record.block_bytes]
                imul    rax, [rdx + disk_op.block]
                shr     rax, 9                  ; BLK_SECTOR_BYTES
                mov     [rbp + rdi + slot.header + virtio_blk_header.sector], rax
                movzx   eax, byte [rdx + disk_op.kind]
                mov     [rbp + rdi + slot.header + virtio_blk_header.kind], eax
                cmp     al, disk_write
                ja      .special
                xor     al, disk_write
                lea     ecx, [rcx + rax * 2 - DESC_WRITE + DESC_NEXT]   ; and DESC_WRITE for a read
                call    virtio_entries
.queue:
                inc     r10d
                add     rdx, disk_op_size
.next:
                cmp     rdx, r11
                jb      .op
.publish:
                jmp     virtio_publish
.special:
                movups  xmm0, [rbx + rdi + BLK_STATUS * desc_size]      ; of a flush the status stands in the data's place
                movups  [rbx + rdi + DATA], xmm0
                cmp     al, disk_flush
                je      .queue
                imul    eax, eax, -2
                add     eax, BLK_RANGE_KIND
                mov     [rbp + rdi + slot.header + virtio_blk_header.kind], eax
                dec     ecx                     ; DESC_NEXT instead of DESC_WRITE
                mov     [rbx + rdi + DATA + desc.flags], ecx
                mov     dword [rbx + rdi + DATA + desc.bytes], VIRTIO_BLK_RANGE_BYTES
                lea     rax, [rbp + rdi + virtio_blk_range.sector]
                mov     [rbx + rdi + DATA + desc.address], rax
                mov     rcx, [rbp + rdi + slot.header + virtio_blk_header.sector]
                mov     [rax], rcx
                mov     ecx, [rdx + disk_op.bytes]
                shr     ecx, 9                  ; BLK_SECTOR_BYTES
                mov     [rax + virtio_blk_range.sectors - virtio_blk_range.sector], rcx     ; flags: 0
                jmp     .queue
