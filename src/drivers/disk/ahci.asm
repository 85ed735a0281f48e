; AHCI: SATA disks. Every port with an ATA disk is a disk of one queue; ATAPI drives and port multipliers are left alone.
;
; An operation takes one of the port's 32 command slots, and that slot's command table in the program's memory. Command
; list and received FIS lie in the device's own page, so only commands make a port write to the program's memory. A slot's
; way, each step a bit of a field of struct ahci:
;
;     free -> ready -> issued -> finished -> free
;
; Reads and writes are NCQ commands: all that are ready are issued at once. A flush, and every command of a disk without
; NCQ, is `plain`: the disk takes it only while it has no other. Such a one waits in `ready` until nothing is issued, and
; nothing else is issued before it; each call that may change this, submit and reap, issues what can go. So a flush neither
; stops a core nor waits for ever.
;
; After an error a disk has given up all NCQ commands (SATA 3.0 §13.6.4): the port is reset, and what the disk had not done
; fails. After an error of the link it is done again. A port that does not come back fails all.
;
; The firmware has brought up links and disks. The HBA is not reset at boot, since they would take seconds for it again: a
; port that has no link by then is empty and costs no time.
;
; SPEC  AHCI 1.3.1 §3 (registers), §4 (memory), §6.2 (errors), §10.1 (initialization), §10.4.2 (port reset),
;       §10.6.3 (firmware hand-off); ATA8-ACS §7.16 (IDENTIFY DEVICE); SATA 3.0 §13.6 (NCQ)

AHCI_CLASS              equ 0x010601
AHCI_BAR                equ 5
AHCI_WAIT_US            equ 2000000
AHCI_RESET_US           equ 1000

HBA_CAP                 equ 0x00
HBA_CAP_NEEDED          equ 1 << 31 | 1 << 30 | 31 << 8 ; 64-bit addresses, NCQ, 32 command slots
HBA_GHC                 equ 0x04
HBA_GHC_AHCI            equ 1 << 31
HBA_GHC_INTERRUPTS      equ 1 << 1
HBA_IS                  equ 0x08
HBA_PI                  equ 0x0c
HBA_BOHC                equ 0x28                ; reserved, and 0, where there is no hand-off
HBA_BOHC_OWN            equ 2
HBA_BOHC_FIRMWARE_BIT   equ 0
HBA_PORTS               equ 0x100
HBA_BYTES               equ 0x1000              ; of the registers of 30 ports; no more are looked for
PORT_BYTES              equ 0x80

; Registers are counted from PxSSTS: so the number of most of their bits is a signed byte, which is what ahci_wait takes.
PORT_ORIGIN             equ 0x28
PORT_CLB                equ 0x00 - PORT_ORIGIN  ; 64 bits, as the next
PORT_FB                 equ 0x08 - PORT_ORIGIN
PORT_IS                 equ 0x10 - PORT_ORIGIN
PORT_IS_ERRORS          equ 0x79000000          ; task file, host bus fatal and data, interface fatal, overflow
PORT_IS_FIS             equ 0x3f                ; a command has ended
PORT_IE                 equ 0x14 - PORT_ORIGIN
PORT_CMD                equ 0x18 - PORT_ORIGIN
PORT_CMD_ST             equ 1
PORT_CMD_FRE            equ 1 << 4
PORT_CMD_ON             equ 1 << 28 | 1 << 2 | 1 << 1   ; link active, power, spin up
PORT_CMD_FR             equ PORT_CMD * 8 + 14
PORT_CMD_CR             equ PORT_CMD * 8 + 15
PORT_TFD                equ 0x20 - PORT_ORIGIN
PORT_TFD_ERR            equ 1
PORT_TFD_DRQ            equ PORT_TFD * 8 + 3
PORT_TFD_BSY            equ PORT_TFD * 8 + 7
PORT_SIG                equ 0x24 - PORT_ORIGIN
PORT_SSTS               equ 0x28 - PORT_ORIGIN
PORT_SSTS_LINK_BIT      equ 1                   ; DET: of its values only 3, device and link, has it
PORT_SCTL               equ 0x2c - PORT_ORIGIN
PORT_SCTL_RESET         equ 0x301               ; COMRESET, and no power saving
PORT_SCTL_RESET_BIT     equ PORT_SCTL * 8
PORT_SCTL_RUN           equ 0x300
PORT_SERR               equ 0x30 - PORT_ORIGIN
PORT_SACT               equ 0x34 - PORT_ORIGIN
PORT_CI                 equ 0x38 - PORT_ORIGIN

struc command_header
.flags:                 resd 1                  ; FIS in dwords, HEADER_WRITE; PRDT entries in the upper half
.bytes:                 resd 1
.table:                 resq 1
                        resd 4
endstruc
HEADER_FIS              equ 5
HEADER_WRITE_SHIFT      equ 6

struc command_table
.command:               resd 1                  ; register FIS: type, flags, command, features 7:0
.lba:                   resd 1                  ; LBA 23:0, device
.lba_upper:             resd 1                  ; LBA 47:24, features 15:8
.count:                 resd 1
                        resd 1
.cookie:                resq 1                  ; the HBA fetches the FIS, and nothing from here to the PRDT
.bytes:                 resd 1                  ; that a read writes to memory
                        resb 128 - 32
.prdt:
endstruc
struc prd
.address:               resq 1
                        resd 1
.bytes:                 resd 1                  ; - 1
endstruc
AHCI_TABLE_SHIFT        equ 10
AHCI_TABLE_BYTES        equ 1 << AHCI_TABLE_SHIFT
AHCI_ENTRY_MAX          equ (AHCI_TABLE_BYTES - command_table_size) / prd_size
AHCI_BYTES_MAX          equ 0x400000            ; of an entry (§4.2.3.3), and so of an operation

FIS_COMMAND             equ 0x8027              ; register FIS that carries a command
FIS_LBA                 equ 0x40                ; device
ATA_IDENTIFY            equ 0xec
ATA_READ_NCQ            equ 0x60                ; the write's is the next
ATA_READ                equ 0x25                ; the write's is 16 more
ATA_FLUSH               equ 0xea
IDENTIFY_WORD           equ 2 * 106
%define IDENTIFY(word)  rdx + 2 * (word) - IDENTIFY_WORD

; The driver's part of struct device. Its page has room behind what a disk of one queue uses.
struc ahci
                        resb device.own
.tables:                resq 1
.port:                  resd 1                  ; registers
.no_ncq:                resd 1                  ; not 0: the disk has no NCQ
.free:                  resd 1                  ; bits of slots, see above
.ready:                 resd 1
.issued:                resd 1
.finished:              resd 1
.failed:                resd 1                  ; of the finished ones
.plain:                 resd 1                  ; of the ready and issued ones
                        resb 0x400 - $
.fis:                   resb 256                ; received
                        resb 0x580 - $
.identify:              resb 512
.table:                 resb 128                ; IDENTIFY's; its PRDT is the list's first entry, its command slot 1
.list:                  resb 32 * command_header_size
endstruc

ahci_driver:                                    ; struct disk_driver
                dw      ahci_open - core_start_phys, ahci_close - core_start_phys
                dw      ahci_submit - core_start_phys, ahci_reap - core_start_phys
                dw      ahci_arm - core_start_phys

; -----------------------------------------------------------------------------
; Registers the disks of a controller.
;
; IN    r12  pci_record     rbp  near_variables
; USES  all but r12
ahci_start:
                cmp     dword [r12 + pci_record.bar_bytes + AHCI_BAR * 8], HBA_BYTES
                jb      .none                   ; I/O ports, or not what it claims to be
                mov     edi, [r12 + pci_record.function]
                call    pci_use
                mov     esi, [r12 + pci_record.bar + AHCI_BAR * 8]
                or      dword [rsi + HBA_BOHC], HBA_BOHC_OWN
                mov     eax, HBA_BOHC * 8 + HBA_BOHC_FIRMWARE_BIT
                call    ahci_wait_long          ; in vain: it does not answer, and loses it all the same
                or      dword [rsi + HBA_GHC], HBA_GHC_AHCI
                mov     eax, [rsi + HBA_CAP]
                not     eax
                test    eax, HBA_CAP_NEEDED
                jnz     .none
                push    1
                pop     r15
                mov     r14d, [rsi + HBA_PI]
                and     r14d, (1 << (HBA_BYTES - HBA_PORTS) / PORT_BYTES) - 1
                add     esi, HBA_PORTS + PORT_ORIGIN
.port:
                push    rsi
                shr     r14d, 1
                jnc     .port_next
                bt      dword [rsi + PORT_SSTS], PORT_SSTS_LINK_BIT
                jnc     .port_next
                call    ahci_probe
.port_next:
                pop     rsi
                sub     esi, -PORT_BYTES
                test    r14d, r14d
                jnz     .port
.none:
                ret

; -----------------------------------------------------------------------------
; Registers the disk behind a port, if it is one.
;
; IN    esi  port     r12 pci_record     rbp near_variables     r15d  1 for the controller's first disk
; OUT   r15d 0 if it is one
; USES  all but rbp r12 to r14
ahci_probe:
                push    rsi
                lea     edi, [VAR(info + machine_info.disks)]
                call    device_add
                pop     rsi
                jc      ahci_start.none
                lea     edi, [rbx + device.own]
                mov     ecx, (ahci_size - device.own) / 4
                xor     eax, eax
                rep     stosd
                mov     dword [rbx + device.driver], ahci_driver
                mov     [rbx + ahci.port], esi
                mov     r8d, ebx
                and     dword [rsi + PORT_CMD], ~PORT_CMD_ST
                mov     al, PORT_CMD_CR
                call    ahci_wait
                and     dword [rsi + PORT_CMD], ~PORT_CMD_FRE
                mov     al, PORT_CMD_FR
                call    ahci_wait
                lea     edi, [rbx + ahci.list]
                mov     [rsi + PORT_CLB], rdi
                lea     eax, [rbx + ahci.fis]
                mov     [rsi + PORT_FB], rax
                or      dword [rsi + PORT_CMD], PORT_CMD_ON | PORT_CMD_FRE
                call    ahci_run
                js      ahci_start.none
                mov     eax, [rsi + PORT_SIG]
                shr     eax, 16
                jnz     ahci_start.none         ; no ATA disk
                lea     edx, [rbx + ahci.identify]
                mov     [rdi], edx
                mov     word [rdi + prd.bytes], 511
                lea     eax, [rdi + ahci.table - ahci.list]
                mov     dword [rax], FIS_COMMAND | ATA_IDENTIFY << 16
                mov     [rdi + command_header_size + command_header.table], eax
                mov     dword [rdi + command_header_size], HEADER_FIS | 1 << 16
                push    1 << 1
                pop     rax
                mov     [rsi + PORT_CI], eax
                mov     eax, PORT_CI * 8 + 1
                call    ahci_wait_long
                jc      ahci_silent

                mov     edi, [rbx + device.record]
                scasd                           ; (over the function)
                lea     edx, [rbx + ahci.identify + IDENTIFY_WORD]
                test    byte [IDENTIFY(83) + 1], 1 << (10 - 8)
                jz      .none                   ; no 48-bit commands
                mov     eax, [IDENTIFY(85)]
                shr     eax, 4
                and     eax, disk_write_cache   ; bit 5
                stosd
                mov     rax, [IDENTIFY(100)]
                stosq
                mov     ecx, 512
                mov     eax, [IDENTIFY(106)]
                and     ah, 0xd0                ; bits 15 and 14 are 0 and 1 in a valid word
                cmp     ah, 0x50                ; bit 12: larger blocks
                jne     .block
                mov     ecx, [IDENTIFY(117)]    ; in words
                add     ecx, ecx
                jz      .none
                lea     eax, [rcx - 512]
                test    eax, ecx
                jnz     .none                   ; no power of two from 512 on: not to be believed
.block:
                xchg    eax, ecx
                stosd
                push    AHCI_ENTRY_MAX
                pop     rax
                stosd
                mov     eax, AHCI_BYTES_MAX
                stosd
                push    1                       ; address_mask: a PRDT's addresses are even
                pop     rax
                stosd
                scasd                           ; (over optimal_bytes)
                lea     esi, [IDENTIFY(27)]
                push    (40 + 20) / 2           ; model, and from word 10 on serial
                pop     rcx
.text:
                lodsw
                xchg    al, ah
                stosw
                cmp     cl, 20 / 2 + 1
                jne     .text_next
                sub     esi, 2 * (27 + 40 / 2 - 10)
.text_next:
                loop    .text
                push    1
                pop     rax
                stosd                           ; queue_max
                mov     eax, [IDENTIFY(75)]     ; deepest queue - 1; in the upper half bit 8: NCQ
                bt      eax, 16 + 8
                jnc     .plain
                and     eax, 31
                inc     eax
                and     al, 0x30                ; 16 or 32 of them, or less than 16
                jnz     .depth
.plain:
                push    DEPTH_MIN
                pop     rax
                mov     [rbx + ahci.no_ncq], eax
.depth:
                stosd
                mov     eax, AHCI_TABLE_BYTES
                stosd
                push    rdi
                mov     edi, [r12 + pci_record.function]
                xor     esi, esi
                call    irq_possible
                pop     rdi
                and     eax, r15d
                stosd                           ; interrupts
                xor     r15d, r15d
                inc     dword [VAR(info + machine_info.disks + list.count)]
.none:
                ret

; -----------------------------------------------------------------------------
; Waits until a bit of a register is 0.
;
; IN    rsi  registers     al  number of the bit, from -128 (eax: any number, ahci_wait_long)
;       edi  microseconds (ahci_wait_for)
; OUT   CF clear if it is
; USES  rax rcx rdx rdi
ahci_wait:
                movsx   eax, al
ahci_wait_long:
                mov     edi, AHCI_WAIT_US
ahci_wait_for:
                push    rax
                call    time_after
                pop     rdi
                xchg    rax, rcx
.again:
                call    time_now
                bt      [rsi], edi
                jnc     .done
                pause
                cmp     rax, rcx
                jb      .again
                stc
.done:
                ret

; -----------------------------------------------------------------------------
; Sets the command tables up and starts the port.
;
; IN    r8 device, edx depth, rcx memory
; OUT   rax  as disk_open
; USES  all but r8 r12 to r15
ahci_open:
                push    rcx
                push    rdx
                call    ahci_stop
                pop     rbx
                pop     rdi
                js      ahci_run.done
                mov     [r8 + ahci.tables], rdi
                lea     edx, [r8 + ahci.list + command_header.table]
                xor     ebp, ebp
                xor     eax, eax
.slot:
                mov     [rdx], rdi
                add     edx, command_header_size
                mov     ecx, AHCI_TABLE_BYTES / 8
                rep     stosq
                lea     ebp, [rbp * 2 + 1]      ; as many bits as there are slots
                dec     ebx
                jnz     .slot
                lea     edi, [r8 + ahci.free]
                xchg    eax, ebp
                stosd
                xchg    eax, ebp
                stosq                           ; ready, issued
                stosq                           ; finished, failed

; -----------------------------------------------------------------------------
; Lets a port whose link is there process commands, once the disk is ready for them.
;
; IN    r8 device, esi port
; OUT   rax  0, or -timeout; SF with it
; USES  rcx rdx
ahci_run:
                push    rdi
                mov     al, PORT_TFD_DRQ        ; set until there is a link, then BSY until there is a disk
                call    ahci_wait
                mov     al, PORT_TFD_BSY
                call    ahci_wait
                pop     rdi
                jc      ahci_silent
                bt      dword [rsi + PORT_SSTS], PORT_SSTS_LINK_BIT
                jnc     ahci_silent             ; the registers of a controller that is gone may read as 0
                or      eax, -1
                mov     [rsi + PORT_SERR], eax
                mov     [rsi + PORT_IS], eax
                or      dword [rsi + PORT_CMD], PORT_CMD_ST
                xor     eax, eax
                mov     [rsi + PORT_IE], eax
.done:
                ret
ahci_silent:
                mov     eax, [r8 + device.record]
                mov     eax, [rax]              ; function
                jmp     device_silent

; -----------------------------------------------------------------------------
; ahci_stop ends all commands of a port: HBA and disk know none any more (§10.4.2).
;
; IN    r8   device
; OUT   rax  0, or -timeout: it may still use the memory; SF with it      rsi  port
; USES  rcx rdx rdi
ahci_close:
                and     dword [r8 + device.queues], 0
ahci_stop:
                mov     esi, [r8 + ahci.port]
                and     dword [rsi + PORT_IE], 0
                and     dword [rsi + PORT_CMD], ~PORT_CMD_ST
                mov     al, PORT_CMD_CR
                call    ahci_wait
                jc      ahci_silent
                mov     dword [rsi + PORT_SCTL], PORT_SCTL_RESET
                push    PORT_SCTL_RESET_BIT     ; stays set: time passes
                pop     rax
                mov     edi, AHCI_RESET_US
                call    ahci_wait_for
                mov     byte [rsi + PORT_SCTL], PORT_SCTL_RUN & 0xff
                xor     eax, eax
                ret

; -----------------------------------------------------------------------------
; IN    r8 device, rdx ops, ecx count
; OUT   rax  as disk_submit
ahci_submit:
                push    rbx
                push    rbp
                push    rdx
                mov     ebx, r8d
                mov     r8d, [rbx + device.record]
                mov     r11d, ecx
                shl     r11, ENTRY_SHIFT
                add     r11, rdx
                mov     r9d, [rbx + ahci.free]
.op:
                cmp     rdx, r11
                jae     .end
                bsf     ebp, r9d
                jz      .end
                call    disk_check
                jc      .refused
                btr     r9d, ebp
                xchg    eax, ecx                ; blocks
                mov     edi, ebp
                shl     edi, AHCI_TABLE_SHIFT
                add     rdi, [rbx + ahci.tables]
                movzx   esi, byte [rdx + disk_op.kind]
                cmp     esi, disk_write
                sbb     eax, eax                ; all ones for a read
                and     eax, ecx
                imul    eax, [r8 + disk_record.block_bytes]
                mov     [rdi + command_table.bytes], eax
                mov     rax, [rdx + disk_op.cookie]
                mov     [rdi + command_table.cookie], rax
                mov     eax, esi
                cmp     al, disk_write
                ja      .special
                cmp     byte [rbx + ahci.no_ncq], 0
                jne     .no_ncq
                shl     eax, 16
                add     eax, FIS_COMMAND | ATA_READ_NCQ << 16
                mov     r10d, ebp
                shl     r10d, 3                 ; the tag, where others have a count: that stands in the features
                btr     [rbx + ahci.plain], ebp
.fis:                                           ; eax command, ecx features, r10d count
                stosd
                mov     [rdi - 1], cl
                mov     eax, [rdx + disk_op.block]
                stosd
                mov     byte [rdi - 1], FIS_LBA
                mov     eax, [rdx + disk_op.block + 3]
                stosd
                mov     [rdi - 1], ch
                xchg    eax, r10d
                stosd
                add     rdi, command_table_size - command_table.count - 4
                and     esi, disk_write
.entry:                                         ; (a flush has an entry too, which nobody reads)
                mov     rax, [rdx + disk_op.address]
                stosq
                scasd
                mov     eax, [rdx + disk_op.bytes]
                dec     eax
                stosd
                test    al, 1
                jz      .range                  ; no even length
                add     rdx, disk_op_size
                cmp     byte [rdx - disk_op_size + disk_op.flags], 0
                jne     .entry
                shl     edi, 32 - AHCI_TABLE_SHIFT
                shr     edi, 32 - AHCI_TABLE_SHIFT - 12         ; bytes up to here, as 16ths in the upper half
                shl     esi, HEADER_WRITE_SHIFT
                lea     eax, [rdi + rsi + HEADER_FIS - (command_table_size << 12)]
                shl     ebp, 5                  ; command_header_size
                mov     [rbx + rbp + ahci.list + command_header.flags], eax
                jmp     .op
.no_ncq:
                shl     eax, 20
                add     eax, FIS_COMMAND | ATA_READ << 16
                mov     r10d, ecx
                xor     ecx, ecx
                jmp     .plain
.special:                                       ; a flush: its blocks are 0
                mov     eax, FIS_COMMAND | ATA_FLUSH << 16
                xor     r10d, r10d
.plain:
                bts     [rbx + ahci.plain], ebp
                jmp     .fis
.range:
                push    -error_range
                pop     rax
.refused:                                       ; nothing is ready that was not before
                pop     rdx
                jmp     .leave
.end:
                mov     eax, r9d
                xchg    eax, [rbx + ahci.free]
                xor     eax, r9d
                or      [rbx + ahci.ready], eax
                xchg    rdi, rdx
                call    ahci_issue
                xchg    eax, edi
                pop     rcx
                sub     eax, ecx
                shr     eax, ENTRY_SHIFT
.leave:
                pop     rbp
                pop     rbx
                ret

; -----------------------------------------------------------------------------
; Issues what is ready and may go.
;
; IN    rbx  device
; USES  rax rcx rdx rsi
ahci_issue:
                mov     esi, [rbx + ahci.port]
                mov     ecx, [rbx + ahci.issued]
                mov     edx, [rbx + ahci.plain]
                test    edx, ecx
                jnz     .done
                mov     eax, [rbx + ahci.ready]
                and     edx, eax
                jz      .ncq
                test    ecx, ecx
                jnz     .done
                mov     eax, edx
                neg     eax
                and     eax, edx                ; one of them
                jmp     .command
.ncq:
                test    eax, eax
                jz      .done
                mov     [rsi + PORT_SACT], eax
.command:
                xor     [rbx + ahci.ready], eax
                or      [rbx + ahci.issued], eax
                mov     [rsi + PORT_CI], eax
.done:
                ret

; -----------------------------------------------------------------------------
; Returns finished operations, disarms the port, and issues what had to wait for them.
;
; IN    r8 device, rdx completions, ecx count
; OUT   rax how many
ahci_reap:
                push    rbx
                push    rbp
                push    rdx
                mov     ebx, r8d
                mov     ebp, ecx
                mov     esi, [rbx + ahci.port]
                mov     ecx, [rbx + ahci.issued]
                and     dword [rsi + PORT_IE], 0
                jrcxz   .take
                mov     edx, [rsi + PORT_SACT]
                or      edx, [rsi + PORT_CI]    ; what is not done yet
                mov     edi, [rsi + PORT_IS]
                and     edi, PORT_IS_ERRORS
                bt      dword [rsi + PORT_SSTS], PORT_SSTS_LINK_BIT
                cmc
                sbb     eax, eax
                or      edx, eax                ; without a link nothing is
                or      eax, edi
                or      eax, [rsi + PORT_SERR]
                jnz     .trouble
                not     edx
                and     edx, ecx
                xor     [rbx + ahci.issued], edx
                or      [rbx + ahci.finished], edx
.take:
                mov     edx, [rbx + ahci.finished]
                mov     rdi, [rsp]
.next:
                bsf     esi, edx
                jz      .done
                dec     ebp
                js      .done
                btr     edx, esi
                bt      [rbx + ahci.failed], esi
                sbb     ecx, ecx
                shl     esi, AHCI_TABLE_SHIFT
                add     rsi, [rbx + ahci.tables]
                mov     rax, [rsi + command_table.cookie]
                stosq
                mov     eax, ecx
                and     eax, -error_io
                stosd
                not     ecx
                and     ecx, [rsi + command_table.bytes]
                xchg    eax, ecx
                stosd
                jmp     .next
.done:
                and     [rbx + ahci.failed], edx
                mov     eax, edx
                xchg    eax, [rbx + ahci.finished]
                xor     eax, edx
                or      [rbx + ahci.free], eax
                call    ahci_issue
                xchg    eax, edi
                pop     rcx
                sub     eax, ecx
                shr     eax, COMPLETION_SHIFT
                pop     rbp
                pop     rbx
                ret
.trouble:                                       ; ecx issued, edx not done, edi errors
                test    [rbx + ahci.plain], ecx
                jz      .ncq
                mov     edx, ecx                ; the error is this one's, even if the HBA has taken it off the list
.ncq:
                and     edx, ecx
                or      [rbx + ahci.finished], ecx
                xor     [rbx + ahci.finished], edx
                and     dword [rbx + ahci.issued], 0
                mov     eax, [rsi + PORT_TFD]
                and     eax, PORT_TFD_ERR
                or      eax, edi
                jz      .again                  ; the link's: they are done again
                or      [rbx + ahci.failed], edx
                or      [rbx + ahci.finished], edx
                xor     edx, edx
.again:
                or      [rbx + ahci.ready], edx
                call    ahci_stop
                js      .dead
                call    ahci_run
                jns     .take
.dead:
                xor     eax, eax
                xchg    eax, [rbx + ahci.ready]
                or      [rbx + ahci.finished], eax
                or      [rbx + ahci.failed], eax
                jmp     .take

; -----------------------------------------------------------------------------
; Lets a port interrupt this core. A controller has one message for all its disks, which goes to one core: so only its first
; disk can.
;
; What the port wants is cleared first, and the port is looked at last, with its interrupt on: a command that ends before
; that is seen, and one that ends later interrupts.
;
; IN    r8 device
; OUT   rax 0, or 1, or -unsupported
ahci_arm:
                mov     edi, [r8 + device.record]
                cmp     byte [rdi + disk_record.interrupts], 0
                je      irq_route.unsupported
                push    rbx
                mov     ebx, r8d
                mov     esi, [rbx + ahci.port]
                push    PORT_IS_FIS
                pop     rax
                mov     [rsi + PORT_IS], eax
                mov     ecx, esi
                shr     ecx, 7                  ; PORT_BYTES; (modulo 32: the number of the port, and two)
                xor     eax, eax
                bts     eax, ecx
                ror     eax, (HBA_PORTS + PORT_ORIGIN) / PORT_BYTES
                and     esi, -HBA_BYTES
                mov     [rsi + HBA_IS], eax
                or      dword [rsi + HBA_GHC], HBA_GHC_INTERRUPTS
                mov     edi, [rdi]              ; function
                xor     esi, esi
                xor     eax, eax
                mov     edx, [gs:rax + core_local.index]
                push    event_queue
                pop     rcx
                call    irq_route
                test    eax, eax
                js      .done
                mov     esi, [rbx + ahci.port]
                mov     dword [rsi + PORT_IE], PORT_IS_FIS | PORT_IS_ERRORS
                mov     ecx, [rsi + PORT_SACT]
                or      ecx, [rsi + PORT_CI]
                not     ecx
                and     ecx, [rbx + ahci.issued]
                or      ecx, [rbx + ahci.finished]
                mov     eax, [rsi + PORT_IS]
                and     eax, PORT_IS_ERRORS
                or      eax, ecx
                or      eax, [rsi + PORT_SERR]
                neg     eax
                sbb     eax, eax
                neg     eax
.done:
                pop     rbx
                ret
