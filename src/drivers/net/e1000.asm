; Intel e1000: one queue pair of legacy descriptors, which all of Intel's gigabit NICs have in common: 82544 to 82547,
; 82571 to 82583, those of the chipsets (I217 to I219), and 82575 to 82580, I350, I210.
;
; A ring's memory, 64 bytes for a frame of depth, comes from the program: descriptors, then as many struct e1000_kept.
; There are twice as many as frames may be in flight, so a full ring does not look like an empty one. The device takes
; and returns descriptors in order, so two counters are all that a ring needs, and an entry that the device did not get is
; none that it can return. What has to be known of an entry stands in e1000_kept, which the device has no reason to touch:
; of a descriptor that it wrote, only length, status and errors count.
;
; The device fills up to E1000_BUFFER_BYTES of a receive buffer whatever its size, so buffers have to be that long.
; It passes on all frames, whoever they are for. One with an error comes back with 0 bytes.
; SPEC  PCI/PCI-X Family of Gigabit Ethernet Controllers Software Developer's Manual (8254x) §3, §13; 82574 datasheet
;       §7, §10; I210 datasheet §7.1.4.1, §7.2.2.1 (legacy descriptors)

E1000_VENDOR            equ 0x8086
E1000_82574             equ 0x10d3
E1000_REGISTERS_BYTES   equ 0x20000
E1000_RESET_US          equ 20000               ; after which the EEPROM has been read again
E1000_BUFFER_BYTES      equ 1522                ; longest frame without RCTL.LPE: two VLAN tags, or one and the FCS
E1000_FRAME_MIN         equ 17                  ; shorter ones are not padded (82574 §10.2.6.1, TCTL.PSP)
E1000_DEPTH_MAX         equ 2048
E1000_DEPTH_BYTES       equ 2 * 2 * (e1000_desc_size + e1000_kept_size)

E1000_CTRL              equ 0x0000
E1000_CTRL_LINK         equ 1 << 6 | 1 << 5     ; SLU, ASDE: up, at the speed that the PHY says
E1000_CTRL_RST_BIT      equ 26
E1000_STATUS            equ 0x0008
E1000_STATUS_LU         equ 1 << 1
E1000_STATUS_SPEED      equ 3 << 6              ; 10, 100, 1000, 1000
E1000_ICR               equ 0x00c0
E1000_IMS               equ 0x00d0
E1000_IMC               equ 0x00d8
E1000_IVAR              equ 0x00e4
E1000_IVAR_ONE          equ 8 << 8 | 8          ; both rings' causes to MSI-X entry 0
E1000_CAUSE_RX          equ 1 << 7 | 1 << 20    ; RXT0, and with MSI-X RxQ0
E1000_CAUSE_TX          equ 1 << 0 | 1 << 22    ; TXDW, and with MSI-X TxQ0
E1000_RCTL              equ 0x0100
E1000_RCTL_RUN          equ 1 << 1 | 1 << 3 | 1 << 4 | 1 << 15 | 1 << 26        ; EN, UPE, MPE, BAM, SECRC: all frames, no FCS
E1000_TCTL              equ 0x0400
E1000_TCTL_RUN          equ 1 << 1 | 1 << 3 | 0x0f << 4 | 0x40 << 12    ; EN, PSP, CT, COLD of full duplex
E1000_TIPG              equ 0x0410
E1000_TIPG_COPPER       equ 8 | 8 << 10 | 6 << 20
E1000_RAL               equ 0x5400
E1000_RAH               equ 0x5404
E1000_RINGS             equ 0x2800              ; receive; transmit E1000_RING_STEP higher
E1000_RING_STEP         equ 0x1000
E1000_BASE_LOW          equ 0x00
E1000_BASE_HIGH         equ 0x04
E1000_LENGTH            equ 0x08
E1000_HEAD              equ 0x10
E1000_TAIL              equ 0x18
E1000_DCTL              equ 0x28
E1000_DCTL_ENABLE_BIT   equ 25                  ; of 82575 and later, the others do not care

struc e1000_desc
.address:               resq 1
.length:                resw 1
.checksum:              resb 1
.command:               resb 1                  ; transmit
.status:                resb 1
.errors:                resb 1                  ; receive
.special:               resw 1
endstruc
E1000_COMMAND           equ (1 << 1 | 1 << 3) << 24     ; IFCS, RS; EOP is 1
E1000_DD                equ 1 << 0              ; status
E1000_RX_EOP            equ 1 << 1              ; status
E1000_RX_FAILED         equ 0x97 << 8           ; errors CE, SE, SEQ, CXE, RXE; not those of checksums

struc e1000_kept
.address:               resq 1                  ; 0: more entries of its frame follow
.cookie:                resq 1                  ; the first entry's
endstruc

; The driver's part of struct device.
struc e1000
                        resb device.own
.registers:             resq 1
.armed_core:            resd 1                  ; core + 1 that its interrupt goes to, 0: none yet
.rings:
endstruc
E1000_RING_SHIFT        equ 6

struc e1000_ring, e1000.rings                   ; receive, then transmit, 1 << E1000_RING_SHIFT bytes each
.desc:                  resq 1
.to_kept:               resq 1                  ; from a descriptor to its e1000_kept
.tail:                  resq 1
.mask:                  resd 1                  ; descriptors - 1
.depth:                 resd 1
.posted:                resd 1                  ; entries ever
.reaped:                resd 1
.armed:                 resd 1                  ; its causes, or 0
.cause:                 resd 1                  ; from here on as in e1000_ring_rows
.command:               resd 1
.bytes_min:             resd 1                  ; of a frame
.bytes_span:            resd 1                  ; from the shortest to the longest frame
.flags_none:            resd 1                  ; flags that no entry may have
endstruc
%if e1000_ring_size != 1 << E1000_RING_SHIFT
%error one ring has to follow the other
%endif

e1000_ring_rows:
                dd      E1000_CAUSE_RX, 0, E1000_BUFFER_BYTES, ~E1000_BUFFER_BYTES, ~0
                dd      E1000_CAUSE_TX, E1000_COMMAND, E1000_FRAME_MIN
                dd      MTU_DEFAULT + ETHERNET_HEADER_BYTES - E1000_FRAME_MIN, ~frame_more

e1000_driver:                                   ; struct nic_driver
                dw      e1000_open - core_start_phys, e1000_close - core_start_phys
                dw      e1000_post - core_start_phys, e1000_reap - core_start_phys
                dw      e1000_arm - core_start_phys, e1000_link - core_start_phys

; Device ids, ascending: how many not to take, then how many to take, 8 bits each.
;   E1000_IDS 0x1026, 0x1028    behind E1000_IDS 0x101d, 0x101e becomes   db 7, 3
%macro E1000_IDS 2
%rep (%1 - e1000_next_id - 1) / 255
                db      255, 0
%assign e1000_next_id e1000_next_id + 255
%endrep
                db      %1 - e1000_next_id, %2 + 1 - %1
%assign e1000_next_id %2 + 1
%endmacro
E1000_ID_FIRST          equ 0x1000
%assign e1000_next_id E1000_ID_FIRST
e1000_ids:
                E1000_IDS 0x1008, 0x1009        ; 82544
                E1000_IDS 0x100c, 0x101a        ; 82544, 82540, 82545, 82546, 82541, 82547
                E1000_IDS 0x101d, 0x101e        ; 82546, 82540
                E1000_IDS 0x1026, 0x1028        ; 82545
                E1000_IDS 0x1049, 0x104d        ; ICH8
                E1000_IDS 0x105e, 0x1060        ; 82571
                E1000_IDS 0x1075, 0x107f        ; 82547, 82541, 82546, 82572
                E1000_IDS 0x108a, 0x108c        ; 82546, 82573
                E1000_IDS 0x1096, 0x1096        ; 80003
                E1000_IDS 0x1098, 0x109a        ; 80003, 82546, 82573
                E1000_IDS 0x10a4, 0x10a5        ; 82571
                E1000_IDS 0x10a7, 0x10a7        ; 82575
                E1000_IDS 0x10a9, 0x10a9
                E1000_IDS 0x10b5, 0x10b5        ; 82546
                E1000_IDS 0x10b9, 0x10bd        ; 82572, 80003, 82571, ICH9
                E1000_IDS 0x10bf, 0x10c0        ; ICH9
                E1000_IDS 0x10c2, 0x10c5        ; ICH9, ICH8
                E1000_IDS 0x10c9, 0x10c9        ; 82576
                E1000_IDS 0x10cb, 0x10ce        ; ICH9, ICH10
                E1000_IDS 0x10d3, 0x10d3        ; 82574
                E1000_IDS 0x10d5, 0x10d6        ; 82571, 82575
                E1000_IDS 0x10d9, 0x10da        ; 82571
                E1000_IDS 0x10de, 0x10df        ; ICH10
                E1000_IDS 0x10e5, 0x10e8        ; ICH9, 82576
                E1000_IDS 0x10ea, 0x10eb        ; PCH
                E1000_IDS 0x10ef, 0x10f0
                E1000_IDS 0x10f5, 0x10f6        ; ICH9, 82574
                E1000_IDS 0x1501, 0x1503        ; ICH8, PCH2
                E1000_IDS 0x150a, 0x150a        ; 82576
                E1000_IDS 0x150c, 0x1511        ; 82583, 82576, 82580
                E1000_IDS 0x1516, 0x1516        ; 82580
                E1000_IDS 0x1518, 0x1518        ; 82576
                E1000_IDS 0x1521, 0x1527        ; I350, ICH10, 82576, 82580
                E1000_IDS 0x1533, 0x1533        ; I210
                E1000_IDS 0x1536, 0x153b        ; I210, I211, I217
                E1000_IDS 0x1546, 0x1546        ; I350
                E1000_IDS 0x1559, 0x155a        ; I218
                E1000_IDS 0x156f, 0x1570        ; I219
                E1000_IDS 0x157b, 0x157c        ; I210
                E1000_IDS 0x15a0, 0x15a3        ; I218
                E1000_IDS 0x15b7, 0x15b9        ; I219
                E1000_IDS 0x15bb, 0x15be
                E1000_IDS 0x15d6, 0x15d8
                E1000_IDS 0x15df, 0x15e3
                E1000_IDS 0x15f9, 0x15fc
e1000_ids_end:

; -----------------------------------------------------------------------------
; Registers a NIC, if the function is one of these.
;
; IN    r12  pci_record     rbp  near_variables
; USES  all but r12
e1000_start:
                movzx   edx, word [r12 + pci_record.device]
                sub     edx, E1000_ID_FIRST
                xor     eax, eax
                mov     esi, e1000_ids
.range:
                lodsb
                sub     edx, eax
                jb      .none                   ; before a range: not in the list
                lodsb
                sub     edx, eax
                jb      .known
                cmp     esi, e1000_ids_end
                jb      .range
.none:
                ret
.known:
                cmp     qword [r12 + pci_record.bar_bytes], E1000_REGISTERS_BYTES
                jb      .none
                mov     edi, info + machine_info.nics
                call    device_add
                jc      .none
                inc     dword [rdi + list.count]
                mov     edi, [r12 + pci_record.function]
                call    pci_use
                mov     dword [rbx + device.driver], e1000_driver
                mov     rsi, [r12 + pci_record.bar]
                mov     [rbx + e1000.registers], rsi
                call    e1000_stop              ; the firmware may have left it busy
                mov     edi, [rbx + device.record]
                add     edi, nic_record.mac     ; offloads: none
                mov     eax, [rsi + E1000_RAL]
                stosd
                mov     eax, [rsi + E1000_RAH]
                stosw
                mov     eax, MTU_DEFAULT
                stosw
                push    1
                pop     rax
                stosd                           ; queue_max
                mov     ax, E1000_DEPTH_MAX
                stosd
                mov     eax, E1000_DEPTH_BYTES
                stosd
                xor     eax, eax
                cmp     word [r12 + pci_record.device], E1000_82574
                jne     .no_interrupts
                cmp     [r12 + pci_record.msix_count], ax
                setne   al
.no_interrupts:
                stosd
                ret

; -----------------------------------------------------------------------------
; Stops interrupts, receiving and sending.
;
; IN    rsi  registers
; OUT   eax  0
e1000_stop:
                or      eax, -1
                mov     [rsi + E1000_IMC], eax
                inc     eax
                mov     [rsi + E1000_RCTL], eax
                mov     [rsi + E1000_TCTL], eax
                ret

; -----------------------------------------------------------------------------
; IN    r8 device, edx depth, rcx memory
; OUT   rax  0, or -timeout
; USES  all but r8 r12 to r15
e1000_open:
                push    rdx
                push    rcx
                call    e1000_close
                pop     r9
                pop     rdx
                js      .done
                mov     rbx, [r8 + e1000.registers]
                lea     rcx, [rbx + E1000_RINGS]
                lea     edi, [r8 + e1000.armed_core]
                stosd
                mov     esi, e1000_ring_rows
                imul    ebp, edx, 2 * e1000_desc_size
                mov     r11b, 2
.ring:                                          ; fills in struct e1000_ring
                mov     rax, r9
                stosq                           ; desc
                mov     [rcx + E1000_BASE_LOW], eax
                shr     rax, 32
                mov     [rcx + E1000_BASE_HIGH], eax
                mov     [rcx + E1000_LENGTH], ebp
                mov     eax, ebp
                stosq                           ; to_kept
                lea     r9, [r9 + rbp * 2]
                lea     rax, [rcx + E1000_TAIL]
                stosq                           ; tail
                lea     eax, [rdx + rdx - 1]
                stosd                           ; mask
                mov     eax, edx
                stosd                           ; depth
                xor     eax, eax
                stosd                           ; posted
                stosd                           ; reaped
                stosd                           ; armed
                mov     [rcx + E1000_HEAD], eax
                mov     [rcx + E1000_TAIL], eax
                movsd                           ; cause
                movsd                           ; command
                movsd                           ; bytes_min
                movsd                           ; bytes_span
                movsd                           ; flags_none
                bts     dword [rcx + E1000_DCTL], E1000_DCTL_ENABLE_BIT
                add     rcx, E1000_RING_STEP
                dec     r11b
                jnz     .ring
                mov     dword [rbx + E1000_TIPG], E1000_TIPG_COPPER
                mov     dword [rbx + E1000_TCTL], E1000_TCTL_RUN
                or      dword [rbx + E1000_CTRL], E1000_CTRL_LINK
                mov     dword [rbx + E1000_RCTL], E1000_RCTL_RUN
.done:
                ret

; -----------------------------------------------------------------------------
; Resets the device, and gives it the time to be one again.
;
; IN    r8  device
; OUT   rax  0, or -timeout and the device is named; SF with it
; USES  scratch but r8
e1000_close:
                mov     rsi, [r8 + e1000.registers]
                call    e1000_stop
                mov     [r8 + device.queues], eax
                bts     dword [rsi + E1000_CTRL], E1000_CTRL_RST_BIT
                mov     edi, E1000_RESET_US
                call    time_after
                xchg    rcx, rax
.wait:                                          ; its registers are not to be read now (I219 hangs)
                pause
                call    time_now
                cmp     rax, rcx
                jb      .wait
                bt      dword [rsi + E1000_CTRL], E1000_CTRL_RST_BIT
                jc      device_silent           ; all ones: it is gone
                xor     eax, eax
                ret

; -----------------------------------------------------------------------------
; IN    r8 device, esi ring, rdx entries, ecx count
; OUT   rax as nic_tx and nic_rx_post
; USES  scratch
e1000_post:
                shl     esi, E1000_RING_SHIFT
                add     rsi, r8
                mov     ecx, ecx
                push    rdx
                mov     r10d, [rsi + e1000_ring.posted]
                mov     r9d, [rsi + e1000_ring.reaped]
                add     r9d, [rsi + e1000_ring.depth]   ; the first for which there is no room
.frame:
                mov     r11, rdx                ; its first entry
                xor     r8d, r8d                ; its bytes
                jrcxz   .publish
.entry:
                cmp     r10d, r9d
                je      .publish                ; up to the frame before
                call    e1000_place
                inc     r10d
                mov     rax, [rdx + frame.address]
                test    rax, rax
                jz      .pointer
                mov     [rdi + e1000_desc.address], rax
                mov     eax, [rdx + frame.bytes]
                test    eax, eax
                jz      .range
                add     r8d, eax
                jc      .range
                or      eax, [rsi + e1000_ring.command]
                mov     [rdi + e1000_desc.length], rax  ; and no status
                movzx   eax, word [rdx + frame.flags]
                test    [rsi + e1000_ring.flags_none], eax
                jnz     .unsupported
                cmp     al, frame_more
                sbb     rax, rax                ; all ones: this is the last entry
                sub     [rdi + e1000_desc.command], al  ; EOP
                add     rdi, [rsi + e1000_ring.to_kept]
                and     rax, [rdx + frame.address]
                mov     [rdi + e1000_kept.address], rax
                dec     ecx
                add     rdx, frame_size
                test    rax, rax
                jz      .more
                mov     rax, [r11 + frame.cookie]
                mov     [rdi + e1000_kept.cookie], rax
                sub     r8d, [rsi + e1000_ring.bytes_min]
                cmp     r8d, [rsi + e1000_ring.bytes_span]
                jbe     .frame
.range:
                push    -error_range
                jmp     .refused
.pointer:
                push    -error_pointer
                jmp     .refused
.unsupported:
                push    -error_unsupported
.refused:                                       ; the tail has not moved: the device knows of none
                pop     rax
                pop     rdx
                ret
.more:
                jrcxz   .range                  ; nothing follows
                jmp     .entry
.publish:
                pop     rax
                sub     r11, rax
                shr     r11, ENTRY_SHIFT
                jz      .none
                add     [rsi + e1000_ring.posted], r11d
                mov     eax, [rsi + e1000_ring.posted]
                and     eax, [rsi + e1000_ring.mask]
                mov     rdi, [rsi + e1000_ring.tail]
                mov     [rdi], eax
.none:
                xchg    eax, r11d
                ret

; -----------------------------------------------------------------------------
; IN    rsi ring, r10d entry
; OUT   rdi its descriptor
e1000_place:
                mov     edi, r10d
                and     edi, [rsi + e1000_ring.mask]
                shl     edi, 4
                add     rdi, [rsi + e1000_ring.desc]
                ret

; -----------------------------------------------------------------------------
; Returns finished entries and disarms the ring. Reads no register of the device.
;
; IN    r8 device, esi ring, rdx completions, from the receive ring frames, ecx count
; OUT   rax how many
; USES  scratch
e1000_reap:
                mov     rdi, [r8 + e1000.registers]
                shl     esi, E1000_RING_SHIFT
                add     rsi, r8
                xor     eax, eax
                xchg    [rsi + e1000_ring.armed], eax
                test    eax, eax
                jz      .disarmed
                mov     [rdi + E1000_IMC], eax
.disarmed:
                mov     ecx, ecx
                mov     r9d, ecx
                mov     r10d, [rsi + e1000_ring.reaped]
.next:
                jrcxz   .done
                cmp     r10d, [rsi + e1000_ring.posted]
                je      .done
                call    e1000_place
                mov     eax, [rdi + e1000_desc.status]  ; and errors
                test    al, E1000_DD
                jz      .done
                inc     r10d
                movzx   r8d, word [rdi + e1000_desc.length]
                add     rdi, [rsi + e1000_ring.to_kept]
                cmp     qword [rdi + e1000_kept.address], 0
                je      .next
                dec     ecx
                cmp     dword [rsi + e1000_ring.command], 0
                jne     .sent
                movups  xmm0, [rdi]             ; address, cookie
                movups  [rdx + frame.address], xmm0
                and     eax, E1000_RX_FAILED | E1000_RX_EOP
                cmp     eax, E1000_RX_EOP
                jne     .bad
                cmp     r8d, E1000_BUFFER_BYTES
                jbe     .good
.bad:
                xor     r8d, r8d
.good:
                mov     [rdx + frame.bytes], r8         ; and no flags
                and     qword [rdx + frame.bytes + 8], 0
                add     rdx, frame_size
                jmp     .next
.sent:
                mov     rax, [rdi + e1000_kept.cookie]
                mov     [rdx + completion.cookie], rax
                and     qword [rdx + completion.status], 0      ; and bytes
                add     rdx, completion_size
                jmp     .next
.done:
                mov     [rsi + e1000_ring.reaped], r10d
                sub     r9d, ecx
                xchg    eax, r9d
                ret

; -----------------------------------------------------------------------------
; Lets rings interrupt this core, unless work is there already. No completion is lost:
;
; The causes of before are cleared, then their interrupt is turned on, then the next descriptor is looked at. The device
; writes a descriptor before it sets the cause. So if the look misses it, its cause comes after that, and finds the
; interrupt on, or pending when that is turned on. A cause that is cleared has its descriptor seen: the read between waits
; for both, the clearing and what the device wrote before (PCI Local Bus 3.0 §3.2.5).
;
; IN    r8 device, edx rings
; OUT   rax as nic_arm
; USES  scratch
e1000_arm:
                mov     rdi, [r8 + device.record]
                push    -error_unsupported
                pop     rax
                cmp     dword [rdi + nic_record.interrupts], 0
                je      .done
                xor     ecx, ecx
                mov     ecx, [gs:rcx + core_local.index]
                inc     ecx
                cmp     ecx, [r8 + e1000.armed_core]
                je      .routed
                push    r8
                push    rdx
                push    rcx
                lea     edx, [rcx - 1]
                mov     edi, [rdi]              ; function
                xor     esi, esi
                push    event_queue
                pop     rcx
                call    irq_route
                pop     rcx
                pop     rdx
                pop     r8
                test    eax, eax
                js      .done
                mov     [r8 + e1000.armed_core], ecx
                mov     rdi, [r8 + e1000.registers]
                mov     dword [rdi + E1000_IVAR], E1000_IVAR_ONE
.routed:
                mov     rsi, r8
                mov     r8, [r8 + e1000.registers]
.ring:
                shr     edx, 1
                jnc     .next
                mov     ecx, [rsi + e1000_ring.cause]
                mov     [rsi + e1000_ring.armed], ecx
                mov     [r8 + E1000_ICR], ecx
                mov     eax, [r8 + E1000_STATUS]
                mov     [r8 + E1000_IMS], ecx
                mov     r10d, [rsi + e1000_ring.reaped]
                cmp     r10d, [rsi + e1000_ring.posted]
                je      .next
                call    e1000_place
                test    byte [rdi + e1000_desc.status], E1000_DD
                jnz     .pending
.next:
                add     rsi, 1 << E1000_RING_SHIFT
                test    edx, edx
                jnz     .ring
                xor     eax, eax
.done:
                ret
.pending:
                mov     [r8 + E1000_IMC], ecx
                and     dword [rsi + e1000_ring.armed], 0
                push    1
                pop     rax
                ret

; -----------------------------------------------------------------------------
; IN    r8 device
; OUT   rax as nic_link
; USES  rcx rdx
e1000_link:
                mov     rdx, [r8 + e1000.registers]
                mov     edx, [rdx + E1000_STATUS]
                xor     eax, eax
                lea     ecx, [rdx + 1]
                jrcxz   .done                   ; all ones: it is gone
                test    dl, E1000_STATUS_LU
                jz      .done
                mov     al, 10
                test    dl, E1000_STATUS_SPEED
                jz      .done
                mov     al, 100
                jns     .done
                mov     ax, 1000                ; two values say so
.done:
                ret
