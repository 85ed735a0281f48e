; Intel e1000: one queue pair of legacy descriptors, which all of Intel's gigabit NICs have in common: 82544 to 82547,
; 82571 to 82583, those of newer chipsets (I217 to I219), and 82576, 82580, I350, I210.
;
; A ring's memory, 128 bytes for a frame of depth, comes from the program:
;
;     descriptors | struct ring, struct e1000_ring | not used | struct e1000_kept of each descriptor
;
; There are twice as many descriptors as frames may be in flight, so a full ring does not look like an empty one. The
; device takes and returns them in order, so all of a ring is between two indices, which count on without end in bytes of
; descriptors; an entry that the device did not get is none that it can return. What has to be known of an entry stands in
; e1000_kept, which the device has no reason to touch: of a descriptor that it wrote, only length, status and errors count.
;
; The device fills up to E1000_BUFFER_BYTES of a receive buffer whatever its size, so buffers have to be that long.
; It passes on all frames, whoever they are for. One with an error comes back with 0 bytes.
;
; Opened for long frames it takes those of up to 16 KiB (82544 to 82574), or 9,728 bytes (82576 and later: RLPML, as a reset
; leaves it), each in as many buffers as it needs: it fills E1000_PART_BYTES of each but the last. What a reset gives of its
; memory to frames that are sent (PBA, TXPBS) has room for one of E1000_LONG_BYTES. Chipset NICs do not offer it: 82577, 82578
; end at 4 KiB, and those since 82579 garble long frames unless MAC and PHY are set up against an erratum; nor do 82573E, V,
; which have no long frames. None of that has been tried but in QEMU: 82540, 82544, 82545, 82574.
; SPEC  PCI/PCI-X Family of Gigabit Ethernet Controllers Software Developer's Manual (8254x) §3, §13; 82574 datasheet
;       §7, §10; I210 datasheet §7.1.4.1, §7.2.2.1 (legacy descriptors)

E1000_VENDOR            equ 0x8086
E1000_REGISTERS_SHIFT   equ 17                  ; of their bytes
E1000_RESET_US          equ 20000               ; after which the EEPROM has been read again
E1000_BUFFER_BYTES      equ 1522                ; longest frame without RCTL.LPE: two VLAN tags, or one and the FCS
E1000_PART_BYTES        equ 2048                ; RCTL.BSIZE, as reset leaves it: 0
E1000_LONG_BYTES        equ 9014                ; longest frame to send, if opened for long ones
E1000_FRAME_MIN         equ 17                  ; shorter ones are not padded (82574 §10.2.6.1, TCTL.PSP)
E1000_DEPTH_MAX         equ 2048
E1000_DEPTH_BYTES       equ 256

E1000_CTRL              equ 0x0000
E1000_CTRL_LINK         equ 1 << 6 | 1 << 5     ; SLU, ASDE: up, at the speed that the PHY says
E1000_CTRL_RST_BIT      equ 26
E1000_STATUS            equ 0x0008
E1000_STATUS_LU         equ 1 << 1
E1000_STATUS_SPEED      equ 3 << 6              ; 10, 100, 1000, 1000
E1000_ICR               equ 0x00c0
E1000_IMS               equ 0x00d0
E1000_IMC               equ 0x00d8
E1000_CAUSE_RX          equ 1 << 7              ; RXT0
E1000_CAUSE_TX          equ 1 << 0              ; TXDW
E1000_RCTL              equ 0x0100
E1000_RCTL_RUN          equ 1 << 1 | 1 << 3 | 1 << 4 | 1 << 15 | 1 << 26        ; EN, UPE, MPE, BAM, SECRC: all frames, no FCS
E1000_RCTL_LPE          equ 1 << 5
E1000_TCTL              equ 0x0400
E1000_TCTL_RUN          equ 1 << 1 | 1 << 3 | 0x0f << 4 | 0x40 << 12    ; EN, PSP, CT, COLD of full duplex
E1000_TIPG              equ 0x0410
E1000_TIPG_COPPER       equ 8 | 8 << 10 | 6 << 20
E1000_RAL               equ 0x5400
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
E1000_COMMAND           equ (1 << 0 | 1 << 1 | 1 << 3) << 24    ; EOP, IFCS, RS
E1000_COMMAND_EOP       equ 1 << 0
E1000_DD                equ 1 << 0              ; status
E1000_RX_EOP            equ 1 << 1              ; status
E1000_RX_FAILED         equ 0x97 << 8           ; errors CE, SE, SEQ, CXE, RXE; not those of checksums

struc e1000_kept
.address:               resq 1                  ; 0: more entries of its frame follow
.cookie:                resq 1                  ; the first entry's
endstruc

struc e1000_ring                                ; behind struct ring
.cause:                 resd 1                  ; of its interrupt
.command:               resd 1                  ; of its descriptors; 0: it receives
.armed:                 resd 1                  ; its cause, or 0
endstruc

; The driver's part of struct device.
struc e1000
                        resb device.own
.registers:             resq 1
endstruc

e1000_ring_rows:                                ; bytes_min, bytes_span, struct e1000_ring
                dd      E1000_BUFFER_BYTES, ~E1000_PART_BYTES, E1000_CAUSE_RX, 0
                dd      E1000_FRAME_MIN, MTU_DEFAULT + ETHERNET_HEADER_BYTES - E1000_FRAME_MIN
                dd      E1000_CAUSE_TX, E1000_COMMAND

e1000_driver:                                   ; struct nic_driver
                dw      e1000_open - core_start_phys, e1000_close - core_start_phys
                dw      e1000_post - core_start_phys, e1000_reap - core_start_phys
                dw      e1000_arm - core_start_phys, e1000_link - core_start_phys

; Device ids, ascending: how many not to take, then how many to take and their offloads, 8 bits each.
;   E1000_IDS 0x1026, 0x1028    behind E1000_IDS 0x101d, 0x101e becomes   db 7, 3 + nic_long
%macro E1000_IDS 2-3 nic_long
%rep (%1 - e1000_next_id - 1) // 255
                db      255, 0
%assign e1000_next_id e1000_next_id + 255
%endrep
                db      %1 - e1000_next_id, %2 + 1 - %1 + %3
%assign e1000_next_id %2 + 1
%endmacro
E1000_ID_FIRST          equ 0x1000
%assign e1000_next_id E1000_ID_FIRST
e1000_ids:
                E1000_IDS 0x100c, 0x101a        ; 82544 (copper), 82540, 82545, 82546, 82541, 82547
                E1000_IDS 0x101d, 0x101e        ; 82546, 82540
                E1000_IDS 0x1026, 0x1028        ; 82545
                E1000_IDS 0x105e, 0x1060        ; 82571
                E1000_IDS 0x1075, 0x107f        ; 82547, 82541, 82546, 82572
                E1000_IDS 0x108a, 0x108a        ; 82546
                E1000_IDS 0x108b, 0x108c, 0     ; 82573E, 82573V
                E1000_IDS 0x109a, 0x109a        ; 82573L
                E1000_IDS 0x10a4, 0x10a5        ; 82571
                E1000_IDS 0x10b5, 0x10b5        ; 82546
                E1000_IDS 0x10b9, 0x10b9        ; 82572
                E1000_IDS 0x10c9, 0x10c9        ; 82576
                E1000_IDS 0x10d3, 0x10d3        ; 82574
                E1000_IDS 0x10d5, 0x10d5        ; 82571
                E1000_IDS 0x10d9, 0x10da        ; 82571
                E1000_IDS 0x10e6, 0x10e8        ; 82576
                E1000_IDS 0x10ea, 0x10eb, 0     ; PCH
                E1000_IDS 0x10ef, 0x10f0, 0
                E1000_IDS 0x10f6, 0x10f6        ; 82574
                E1000_IDS 0x1502, 0x1503, 0     ; PCH2
                E1000_IDS 0x150a, 0x150a        ; 82576
                E1000_IDS 0x150c, 0x1511        ; 82583, 82576, 82580
                E1000_IDS 0x1516, 0x1516        ; 82580
                E1000_IDS 0x1518, 0x1518        ; 82576
                E1000_IDS 0x1521, 0x1524        ; I350
                E1000_IDS 0x1526, 0x1527        ; 82576, 82580
                E1000_IDS 0x1533, 0x1533        ; I210
                E1000_IDS 0x1536, 0x1539        ; I210, I211
                E1000_IDS 0x153a, 0x153b, 0     ; I217
                E1000_IDS 0x1546, 0x1546        ; I350
                E1000_IDS 0x1559, 0x155a, 0     ; I218
                E1000_IDS 0x156f, 0x1570, 0     ; I219
                E1000_IDS 0x157b, 0x157c        ; I210
                E1000_IDS 0x15a0, 0x15a3, 0     ; I218
                E1000_IDS 0x15b7, 0x15b9, 0     ; I219
                E1000_IDS 0x15bb, 0x15be, 0
                E1000_IDS 0x15d6, 0x15d8, 0
                E1000_IDS 0x15df, 0x15e3, 0
                E1000_IDS 0x15f9, 0x15fc, 0
e1000_ids_end:

; -----------------------------------------------------------------------------
; Registers a NIC, if the function is one of these.
;
; IN    r12  pci_record     edi  its function     rbp  near_variables
; USES  all but r12
e1000_start:
                movzx   edx, word [r12 + pci_record.device]
                sub     dh, E1000_ID_FIRST >> 8
                xor     eax, eax
                mov     esi, e1000_ids
                push    (e1000_ids_end - e1000_ids) / 2
                pop     rcx
.range:
                lodsb
                sub     edx, eax
                jb      .none                   ; before a range: not in the list
                lodsb
                and     al, nic_long - 1
                sub     edx, eax
                jb      .known
                loop    .range
.none:
                ret
.known:
                mov     bl, [rsi - 1]           ; with its offloads
                call    pci_use_registers
                dw      PCI_REGISTERS(0, E1000_REGISTERS_SHIFT)
                lea     edi, [VAR(info + machine_info.nics)]
                mov     edx, e1000_driver
                call    device_add
                jc      .none
                mov     [rdx + e1000.registers], rsi
                call    e1000_stop              ; the firmware may have left it busy
                xchg    eax, ebx
                and     eax, nic_long           ; at most
                stosd
                mov     si, E1000_RAL           ; see e1000_open
                movsd
                lodsd                           ; RAH
                stosw
                mov     ax, MTU_DEFAULT
                stosw
                push    1
                pop     rax
                mov     ecx, E1000_DEPTH_MAX
                mov     edx, E1000_DEPTH_BYTES
                xor     esi, esi
                mov     [r12 + pci_record.msix], esi    ; one ring pair needs one message: MSI, or the line. With MSI-X each
                                                ; family has causes of its own
                jmp     device_limits

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
e1000_open.silent:
                ret

; -----------------------------------------------------------------------------
; IN    r8 device, ebp depth, rcx memory, r11d -1: for long frames too, 0: not
; OUT   rax  0, or -timeout
; USES  all but r8 r12 to r15
e1000_open:
                mov     ebx, r11d
                push    rcx
                call    e1000_close
                pop     r9
                js      .silent
                shl     ebp, 5                  ; bytes of the descriptors
                mov     rdx, [r8 + e1000.registers]     ; they lie at a multiple of their size, 128 KiB or more:
                mov     dh, E1000_RINGS >> 8    ; parts of the address can be replaced
                mov     esi, e1000_ring_rows
                lea     r10, [r8 + device.rings]
.ring:                                          ; fills in struct ring
                lea     rdi, [r9 + rbp]
                lea     eax, [rbp - e1000_desc_size]
                stosd                           ; mask
                stosd
                mov     eax, ebp
                shr     eax, 1
                stosd                           ; free_end
                add     rdi, ring.desc - ring.number
                mov     [rdx + E1000_LENGTH], ebp
                mov     rax, r9
                mov     [rdx + E1000_BASE_LOW], eax
                stosq                           ; desc
                shr     rax, 32
                mov     [rdx + E1000_BASE_HIGH], eax
                lea     rax, [r9 + rbp * 2]
                stosq                           ; slots: struct e1000_kept
                lea     r9, [rax + rbp * 2]
                lea     rax, [rdx + E1000_TAIL]
                stosq                           ; doorbell
                xor     eax, eax
                mov     [rdx + E1000_HEAD], eax
                mov     [rdx + E1000_TAIL], eax
                push    (ring.bytes_min - ring.op) / 4
                pop     rcx
                rep     stosd
                movsd                           ; bytes_min
                movsd                           ; bytes_span
                scasq
                mov     [r10], rdi
                movsd                           ; cause
                movsd                           ; command
                stosd                           ; armed
                bts     dword [rdx + E1000_DCTL], E1000_DCTL_ENABLE_BIT
                add     r10, 8
                add     dh, E1000_RING_STEP >> 8
                cmp     dh, E1000_RINGS + 2 * E1000_RING_STEP >> 8
                jne     .ring
                mov     dh, E1000_TCTL >> 8
                mov     dword [rdx + E1000_TIPG - E1000_TCTL], E1000_TIPG_COPPER
                mov     dword [rdx], E1000_TCTL_RUN
                mov     dh, E1000_CTRL >> 8
                or      dword [rdx], E1000_CTRL_LINK
                mov     dh, E1000_RCTL >> 8
                mov     eax, E1000_RCTL_RUN
                test    ebx, ebx
                jz      .run
                or      al, E1000_RCTL_LPE
                mov     word [rdi - e1000_ring_size + ring.bytes_span], E1000_LONG_BYTES - E1000_FRAME_MIN
                mov     rdi, [r8 + device.rings]
                mov     word [rdi + ring.bytes_min], E1000_PART_BYTES
.run:
                mov     [rdx], eax
                sub     eax, [rdx]
                jne     e1000_close.gone        ; it may read as 0 for ever
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
                jc      .gone                   ; all ones
                xor     eax, eax
                ret
.gone:
                jmp     device_gone

; -----------------------------------------------------------------------------
; IN    r8 device, rsi ring, rdx entries, ecx count
; OUT   rax as nic_tx and nic_rx_post
; USES  scratch
e1000_post:
                call    ring_begin
                jmp     .frame
.publish:
                mov     rdx, r8
                mov     eax, [rsi + ring.op_free_end]
                cmp     eax, [rsi + ring.avail_index]
                je      .end
                mov     [rsi + ring.avail_index], eax
                and     eax, [rsi + ring.mask]
                shr     eax, 4
                mov     rdi, [rsi + ring.doorbell]
                mov     [rdi], eax
.end:
                mov     cl, ENTRY_SHIFT
                jmp     ring_end
.frame:
                mov     r8, rdx                 ; its first entry
                mov     [rsi + ring.op_free_end], r10d  ; and where it begins
                xor     ecx, ecx                ; its bytes
                cmp     rdx, r11
                je      .publish
.entry:
                cmp     r10d, r9d
                je      .publish                ; up to the frame before
                mov     edi, r10d
                and     edi, [rsi + ring.mask]
                add     r10d, e1000_desc_size
                mov     rax, [rdx + frame.address]
                test    rax, rax
                jz      .pointer
                mov     [rbx + rdi + e1000_desc.address], rax
                mov     eax, [rdx + frame.bytes]
                add     ecx, eax
                jc      .range
                or      eax, [rsi + e1000_ring.command]
                mov     [rbx + rdi + e1000_desc.length], rax    ; and no status
                movzx   eax, word [rdx + frame.flags]
                test    eax, eax
                jnz     .special
                movlps  xmm0, [rdx + frame.address]
                movhps  xmm0, [r8 + frame.cookie]
                movups  [rbp + rdi], xmm0       ; struct e1000_kept
                add     rdx, frame_size
                sub     ecx, [rsi + ring.bytes_min]
                cmp     ecx, [rsi + ring.bytes_span]
                jbe     .frame
.range:
                push    -error_range
                jmp     .refused
.pointer:
                push    -error_pointer
                jmp     .refused
.special:
                xor     al, frame_more          ; the only one there is, and
                jnz     .unsupported
                cmp     [rsi + e1000_ring.command], eax
                je      .unsupported            ; not of a buffer
                jrcxz   .range                  ; an empty entry
                and     byte [rbx + rdi + e1000_desc.command], ~E1000_COMMAND_EOP
                and     qword [rbp + rdi + e1000_kept.address], 0
                add     rdx, frame_size
                cmp     rdx, r11
                je      .range                  ; nothing follows
                cmp     dword [rdx + frame.bytes], 0
                jne     .entry
                jmp     .range
.unsupported:
                push    -error_unsupported
.refused:                                       ; the tail has not moved: the device knows of none
                pop     rax
                pop     rdx
                pop     rbp
                pop     rbx
                ret

; -----------------------------------------------------------------------------
; Returns finished entries and disarms the ring. Reads no register of the device.
;
; IN    r8 device, rsi ring, rdx completions, from the receive ring frames, ecx count
; OUT   rax how many
; USES  scratch
e1000_reap:
                call    ring_begin
                xor     eax, eax
                xchg    [rsi + e1000_ring.armed], eax
                test    eax, eax
                jz      .disarmed
                mov     rdi, [r8 + e1000.registers]
                mov     dil, E1000_IMC
                mov     [rdi], eax
.disarmed:
                mov     r9d, [rsi + ring.used_index]
                mov     ecx, ecx
                jrcxz   .done
.next:
                cmp     r9d, r10d
                je      .done
                mov     edi, r9d
                and     edi, [rsi + ring.mask]
                mov     eax, [rbx + rdi + e1000_desc.status]    ; and errors
                test    al, E1000_DD
                jz      .done
                add     r9d, e1000_desc_size
                cmp     qword [rbp + rdi + e1000_kept.address], 0
                je      .next
                cmp     dword [rsi + e1000_ring.command], 0
                jne     .sent
                movups  xmm0, [rbp + rdi]       ; address, cookie
                movups  [rdx + frame.address], xmm0
                and     eax, E1000_RX_FAILED | E1000_RX_EOP
                xor     eax, E1000_RX_EOP
                jnz     .part
                mov     ax, [rbx + rdi + e1000_desc.length]
.bytes:
                cmp     eax, [rsi + ring.bytes_min]
                jbe     .good
.bad:
                xor     eax, eax
.good:
                movq    xmm0, rax
                movups  [rdx + frame.bytes], xmm0       ; and flags
                add     rdx, frame_size
                loop    .next
                jmp     .done
.part:
                test    al, E1000_RX_EOP
                jz      .bad                    ; it is there: an error
                mov     ax, E1000_PART_BYTES    ; more than any buffer has if not opened for long frames
                cmp     ax, [rbx + rdi + e1000_desc.length]
                jne     .bad
                bts     rax, 8 * (frame.flags - frame.bytes) + FRAME_MORE_BIT
                jmp     .bytes
.sent:
                movq    xmm0, [rbp + rdi + e1000_kept.cookie]
                movups  [rdx + completion.cookie], xmm0 ; status and bytes: 0
                add     rdx, completion_size
                loop    .next
.done:
                mov     eax, r9d
                xchg    [rsi + ring.used_index], eax
                sub     r9d, eax
                add     [rsi + ring.free_end], r9d
                cmp     dword [rsi + e1000_ring.command], 1     ; CF: they are frames
                mov     cl, COMPLETION_SHIFT
                adc     cl, 0
                jmp     ring_end

; -----------------------------------------------------------------------------
; Lets a ring interrupt this core, unless work is there already. No completion is lost:
;
; The causes of before are cleared, then their interrupt is turned on, then the next descriptor is looked at. The device
; writes a descriptor before it sets the cause. So if the look misses it, its cause comes after that, and finds the
; interrupt on, or pending when that is turned on. A cause that is cleared has its descriptor seen: the read between waits
; for both, the clearing and what the device wrote before (PCI Local Bus 3.0 §3.2.5).
;
; A line is unmasked after the device has let go of it (irq_route).
;
; IN    r8 device, rsi ring
; OUT   rax as nic_arm
; USES  scratch
e1000_arm:
                mov     rdx, [r8 + e1000.registers]
                mov     eax, [rsi + e1000_ring.cause]
                mov     [rsi + e1000_ring.armed], eax
                mov     dl, E1000_ICR
                mov     [rdx], eax
                mov     ecx, [rdx + E1000_IMS - E1000_ICR]
                mov     [rdx + E1000_IMS - E1000_ICR], eax
                xor     edi, edi                ; its one message
                call    ring_route
                xor     eax, eax
                mov     ecx, [rsi + ring.used_index]
                cmp     ecx, [rsi + ring.avail_index]
                je      .none
                and     ecx, [rsi + ring.mask]
                add     rcx, [rsi + ring.desc]
                mov     al, [rcx + e1000_desc.status]
                and     al, E1000_DD            ; reaping disarms
.none:
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
