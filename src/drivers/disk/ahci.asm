; AHCI: SATA disks. Every port with an ATA disk is a disk of one queue; ATAPI drives and port multipliers are left alone.
;
; An operation takes one of the port's 32 command slots, and that slot's command table in the program's memory:
;
;     command FIS | cookie and length | PRDT of AHCI_ENTRY_MAX entries | a block for a discard's range
;
; Command list and received FIS lie in the device's own page, so a port can write to the program's memory only by a
; command. A slot's way, each step one bit of a field of struct ahci:
;
;     free -> ready -> issued -> finished -> free
;
; Reads and writes are NCQ commands: all that are ready are issued at once. Commands of another kind, and all of a disk
; without NCQ, are `plain`: the disk takes them only while it has no other. So an operation may have to go alone: it waits
; in `ready` until nothing is issued, nothing else is issued before it, and each call that may change this, submit and
; reap, issues what can go. No core waits for it.
;
; After an error a disk has given up all NCQ commands without saying which one failed. So the port is reset, and what was
; issued is done again, each alone: what then fails is the culprit, and everything else succeeds. The same happens when the
; link had an error. A port that does not come back fails all its operations.
;
; The firmware has brought up links and disks. The HBA is not reset at boot, since they would take seconds for it again: a
; port that has no link by then is empty and costs no time.
;
; SPEC  AHCI 1.3.1 §3 (registers), §4 (memory), §5.3.1 (error recovery), §10.1 (initialization), §10.4.2 (port reset),
;       §10.6.3 (firmware hand-off); ATA8-ACS §7.16 (IDENTIFY DEVICE); SATA 3.0 §13.6 (NCQ)

AHCI_CLASS              equ 0x010601
AHCI_BAR                equ 5
AHCI_WAIT_US            equ 2000000
AHCI_COMRESET_US        equ 1000

HBA_CAP                 equ 0x00
HBA_CAP_SLOTS_SHIFT     equ 8                   ; command slots - 1, five bits
HBA_CAP_NCQ_BIT         equ 30
HBA_CAP_64              equ 1 << 31
HBA_GHC                 equ 0x04
HBA_GHC_AHCI            equ 1 << 31
HBA_GHC_INTERRUPTS      equ 2
HBA_IS                  equ 0x08
HBA_PI                  equ 0x0c
HBA_CAP2                equ 0x24
HBA_CAP2_HANDOFF        equ 1
HBA_BOHC                equ 0x28
HBA_BOHC_FIRMWARE       equ 1
HBA_BOHC_OWN            equ 2
HBA_PORTS               equ 0x100
PORT_BYTES              equ 0x80

PORT_CLB                equ 0x00
PORT_CLBU               equ 0x04
PORT_FB                 equ 0x08
PORT_FBU                equ 0x0c
PORT_IS                 equ 0x10
PORT_IS_ERRORS          equ 0x79000000          ; task file, host bus fatal and data, interface fatal, overflow
PORT_IE                 equ 0x14
PORT_CMD                equ 0x18
PORT_CMD_ST             equ 1
PORT_CMD_FRE            equ 1 << 4
PORT_CMD_ON             equ 1 << 28 | 1 << 2 | 1 << 1   ; link active, power, spin up
PORT_CMD_FR             equ 0x40                ; of the second byte
PORT_CMD_CR             equ 0x80                ; of the second byte
PORT_TFD                equ 0x20
PORT_TFD_ERR            equ 1
PORT_TFD_BUSY           equ 0x88                ; BSY, DRQ
PORT_SIG                equ 0x24
PORT_SIG_ATA            equ 0x101
PORT_SSTS               equ 0x28
PORT_SSTS_LINK_BIT      equ 1                   ; DET: of its values only 3, device and link, has it
PORT_SSTS_LINK          equ 1 << PORT_SSTS_LINK_BIT
PORT_SCTL               equ 0x2c
PORT_SCTL_RESET         equ 0x301               ; COMRESET, and no power saving
PORT_SCTL_RUN           equ 0x300
PORT_SERR               equ 0x30
PORT_SACT               equ 0x34
PORT_CI                 equ 0x38

struc command_header
.flags:                 resd 1                  ; FIS in dwords, HEADER_WRITE; PRDT entries in the upper half
.bytes:                 resd 1
.table:                 resq 1
                        resd 4
endstruc
HEADER_FIS              equ 5
HEADER_WRITE_SHIFT      equ 6

struc command_table
.fis:                                           ; register FIS, host to device
.command:               resd 1                  ; type, flags, command, features 7:0
.lba:                   resd 1                  ; LBA 23:0, device
.lba_upper:             resd 1                  ; LBA 47:24, features 15:8
.count:                 resd 1
                        resd 1
                        resb 64 - 20
                        resb 16                 ; ATAPI command
.cookie:                resq 1                  ; here the HBA has 48 bytes that it does not look at
.bytes:                 resd 1                  ; that a read writes to memory
                        resb 36
.prdt:
endstruc
struc prd
.address:               resq 1
                        resd 1
.bytes:                 resd 1                  ; - 1
endstruc
AHCI_TABLE_SHIFT        equ 10
AHCI_TABLE_BYTES        equ 1 << AHCI_TABLE_SHIFT
AHCI_RANGE              equ AHCI_TABLE_BYTES - 512      ; a discard's block: LBA and, from bit 48, count; the rest is 0
AHCI_ENTRY_MAX          equ (AHCI_RANGE - command_table_size) / prd_size
AHCI_BYTES_MAX          equ 0x400000            ; of an entry (§4.2.3.3), and so of an operation

FIS_COMMAND             equ 0x8027              ; register FIS that carries a command
FIS_LBA                 equ 0x40                ; device
ATA_IDENTIFY            equ 0xec
ATA_READ_NCQ            equ 0x60                ; the write's is the next
ATA_READ                equ 0x25                ; the write's is 16 more
ATA_FLUSH               equ 0xea
ATA_DISCARD             equ 0x06                ; DATA SET MANAGEMENT, with feature TRIM
IDENTIFY_SERIAL         equ 2 * 10
IDENTIFY_MODEL          equ 2 * 27
IDENTIFY_WORD           equ 2 * 106
%define TABLE(field)    command_table.%+field - command_table.prdt
%define IDENTIFY(word)  rdx + 2 * (word) - IDENTIFY_WORD

; The driver's part of struct device. Its page has room behind what a disk of one queue uses.
struc ahci
                        resb device.own
.port:                  resq 1                  ; registers
.tables:                resq 1
.free:                  resd 1                  ; bits of slots, see above
.ready:                 resd 1
.issued:                resd 1
.finished:              resd 1
.failed:                resd 1                  ; of the finished ones
.alone:                 resd 1                  ; of the ready and issued ones
.plain:                 resd 1                  ; of those
.no_ncq:                resd 1                  ; 1: the disk has no NCQ
                        resb 0x400 - $
.fis:                   resb 256                ; received
.table:                 resb command_table_size + prd_size      ; IDENTIFY's
                        resb 0x600 - $
.identify:              resb 512
.list:                  resb 32 * command_header_size
endstruc

ahci_driver:                                    ; struct disk_driver
                dw      ahci_open - core_start_phys, ahci_close - core_start_phys
                dw      ahci_submit - core_start_phys, ahci_reap - core_start_phys
                dw      ahci_arm - core_start_phys

; -----------------------------------------------------------------------------
; Registers the disks of every AHCI controller. A step of its own behind all others': the disk that the machine booted from
; is most often a SATA disk, and so comes after those that were given to the program.
;
; IN    rbp  near_variables
; USES  all
ahci_init:
                mov     r12d, [VAR(info + machine_info.pci + list.first)]
                mov     r13d, [VAR(info + machine_info.pci + list.count)]
.function:
                dec     r13d
                js      .done
                mov     eax, [r12 + pci_record.class_revision]
                shr     eax, 8
                cmp     eax, AHCI_CLASS
                jne     .next
                call    .controller
.next:
                add     r12d, pci_record_size
                jmp     .function

.controller:
                mov     r15, [r12 + pci_record.bar_bytes + AHCI_BAR * 8]
                test    r15b, 1
                jnz     .done                   ; I/O ports
                cmp     r15, HBA_PORTS
                jb      .done
                mov     edi, [r12 + pci_record.function]
                call    pci_use
                mov     rsi, [r12 + pci_record.bar + AHCI_BAR * 8]
                add     r15, rsi                ; end of the registers
                test    byte [rsi + HBA_CAP2], HBA_CAP2_HANDOFF
                jz      .own
                or      dword [rsi + HBA_BOHC], HBA_BOHC_OWN
                mov     eax, HBA_BOHC | HBA_BOHC_FIRMWARE << 8
                call    ahci_wait               ; in vain: the firmware does not answer, and loses it all the same
.own:
                or      dword [rsi + HBA_GHC], HBA_GHC_AHCI
                or      dword [rsi + HBA_GHC], HBA_GHC_INTERRUPTS
                mov     r14d, [rsi + HBA_CAP]
                test    r14d, r14d
                jns     .done                   ; HBA_CAP_64
                bt      r14d, HBA_CAP_SLOTS_SHIFT + 4
                jnc     .done                   ; 16 slots or fewer
                mov     ebx, [rsi + HBA_PI]
                add     rsi, HBA_PORTS
.port:
                lea     rax, [rsi + PORT_BYTES]
                cmp     rax, r15
                ja      .done
                shr     ebx, 1
                jnc     .port_next
                test    byte [rsi + PORT_SSTS], PORT_SSTS_LINK
                jz      .port_next
                push    rbx
                push    rsi
                call    ahci_probe
                pop     rsi
                pop     rbx
.port_next:
                add     rsi, PORT_BYTES
                test    ebx, ebx
                jnz     .port
.done:
                ret

; -----------------------------------------------------------------------------
; Registers the disk behind a port, if it is one.
;
; IN    rsi  port     r12 pci_record     r14d HBA_CAP     rbp near_variables
; USES  all but rbp r12 to r15
ahci_probe:
                push    rsi
                mov     edi, info + machine_info.disks
                call    device_add
                pop     rsi
                jc      .none
                lea     edi, [rbx + device.own]
                mov     ecx, (ahci_size - device.own) / 4
                xor     eax, eax
                rep     stosd
                mov     dword [rbx + device.driver], ahci_driver
                mov     [rbx + ahci.port], rsi
                mov     r8d, ebx
                and     dword [rsi + PORT_CMD], ~PORT_CMD_ST
                mov     eax, (PORT_CMD + 1) | PORT_CMD_CR << 8
                call    ahci_wait
                and     dword [rsi + PORT_CMD], ~PORT_CMD_FRE
                mov     eax, (PORT_CMD + 1) | PORT_CMD_FR << 8
                call    ahci_wait
                jnz     device_silent
                lea     eax, [rbx + ahci.list]
                mov     [rsi + PORT_CLB], eax
                and     dword [rsi + PORT_CLBU], 0
                lea     eax, [rbx + ahci.fis]
                mov     [rsi + PORT_FB], eax
                and     dword [rsi + PORT_FBU], 0
                or      dword [rsi + PORT_CMD], PORT_CMD_ON | PORT_CMD_FRE
                call    ahci_run
                jnz     .none
                cmp     dword [rsi + PORT_SIG], PORT_SIG_ATA
                jne     .none
                mov     dword [rbx + ahci.list + command_header.flags], HEADER_FIS | 1 << 16
                lea     eax, [rbx + ahci.table]
                mov     [rbx + ahci.list + command_header.table], eax
                mov     dword [rax], FIS_COMMAND | ATA_IDENTIFY << 16
                lea     edx, [rbx + ahci.identify]
                mov     [rax + command_table.prdt + prd.address], edx
                mov     word [rax + command_table.prdt + prd.bytes], 511
                push    1
                pop     rax
                mov     [rsi + PORT_CI], eax
                mov     eax, PORT_CI | 1 << 8
                call    ahci_wait
                jnz     device_silent

                mov     edi, [rbx + device.record]
                add     edi, disk_record.features
                lea     edx, [rbx + ahci.identify + IDENTIFY_WORD]
                test    byte [IDENTIFY(83) + 1], 1 << (10 - 8)
                jz      .none                   ; no 48-bit commands
                xor     eax, eax
                bt      dword [IDENTIFY(169)], 0
                adc     eax, eax
                bt      dword [IDENTIFY(85)], 5
                adc     eax, eax
                add     eax, eax
                stosd                           ; disk_can_discard, disk_write_cache
                mov     rax, [IDENTIFY(100)]
                shl     rax, 16
                shr     rax, 16
                stosq
                mov     ecx, 512
                mov     eax, [IDENTIFY(106)]
                and     ah, 0xd0                ; bits 15 and 14 are 0 and 1 in a valid word
                cmp     ah, 0x50                ; bit 12: larger blocks
                jne     .block
                mov     eax, [IDENTIFY(117)]
                lea     ecx, [rax + rax]
                lea     eax, [rcx - 1]
                test    eax, ecx
                jnz     .none                   ; no power of two: not to be believed
                cmp     ecx, 512
                jb      .none
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
                add     edi, disk_record.model - disk_record.optimal_bytes
                lea     esi, [rdx + IDENTIFY_MODEL - IDENTIFY_WORD]
                push    40 / 2
                pop     rcx
                call    .text
                mov     esi, edx
                sub     esi, IDENTIFY_WORD - IDENTIFY_SERIAL
                push    20 / 2
                pop     rcx
                call    .text
                push    1
                pop     rax
                stosd                           ; queue_max
                mov     ecx, r14d
                shr     ecx, HBA_CAP_SLOTS_SHIFT
                and     ecx, 31
                mov     eax, [IDENTIFY(75)]     ; deepest queue - 1
                and     eax, 31
                cmp     eax, ecx
                cmova   eax, ecx
                inc     eax
                bt      r14d, HBA_CAP_NCQ_BIT
                jnc     .plain
                test    byte [IDENTIFY(76) + 1], 1 << (8 - 8)
                jz      .plain
                cmp     al, DEPTH_MIN
                jae     .depth
.plain:
                inc     dword [rbx + ahci.no_ncq]
                mov     al, DEPTH_MIN
.depth:
                and     al, 0x30                ; a power of two: 16 or 32
                stosd
                mov     eax, AHCI_TABLE_BYTES
                stosd
                inc     dword [info + machine_info.disks + list.count]
.none:
                ret

; Copies ecx words of text, whose bytes are swapped.
.text:
                lodsw
                xchg    al, ah
                stosw
                loop    .text
                ret

; -----------------------------------------------------------------------------
; Waits until some bits of a register are 0.
;
; IN    rsi  registers     eax  offset, bits of the byte there << 8
;       edi  microseconds (ahci_wait_for)
; OUT   ZF set if they are
; USES  rax rcx rdx rdi r10 r11
ahci_wait:
                mov     edi, AHCI_WAIT_US
ahci_wait_for:
                movzx   r10d, al
                shr     eax, 8
                xchg    eax, r11d
                call    time_after
                xchg    rax, rcx
.again:
                call    time_now
                test    [rsi + r10], r11b
                jz      .done
                pause
                cmp     rax, rcx
                jb      .again
                test    esp, esp                ; not 0
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
                mov     ebx, edx
                call    ahci_stop
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
                xor     eax, eax
                stosq                           ; ready, issued
                stosq                           ; finished, failed

; -----------------------------------------------------------------------------
; Lets a port whose link is there process commands, once the disk is ready for them.
;
; IN    r8 device, rsi port
; OUT   rax  0, or -timeout; SF with it
; USES  rcx rdx rdi r10 r11
ahci_run:
                mov     eax, PORT_TFD | PORT_TFD_BUSY << 8
                call    ahci_wait
                jnz     device_silent
                test    byte [rsi + PORT_SSTS], PORT_SSTS_LINK
                jz      device_silent           ; the registers of a controller that is gone may read as 0
                or      eax, -1
                mov     [rsi + PORT_SERR], eax
                mov     [rsi + PORT_IS], eax
                or      dword [rsi + PORT_CMD], PORT_CMD_ST
                xor     eax, eax
.done:
                ret

; -----------------------------------------------------------------------------
; ahci_stop ends all commands of a port: HBA and disk know none any more (§10.4.2).
;
; IN    r8   device
; OUT   rax  0, or -timeout: it may still use the memory; SF with it      rsi  port
; USES  rcx rdx rdi r10 r11
ahci_close:
                and     dword [r8 + device.queues], 0
ahci_stop:
                mov     rsi, [r8 + ahci.port]
                and     dword [rsi + PORT_IE], 0
                and     dword [rsi + PORT_CMD], ~PORT_CMD_ST
                mov     eax, (PORT_CMD + 1) | PORT_CMD_CR << 8
                call    ahci_wait
                jnz     device_silent
                mov     dword [rsi + PORT_SCTL], PORT_SCTL_RESET
                mov     edi, AHCI_COMRESET_US
                mov     eax, PORT_SCTL | 1 << 8 ; a bit that stays set: time passes
                call    ahci_wait_for
                mov     dword [rsi + PORT_SCTL], PORT_SCTL_RUN
                xor     eax, eax
                ret

; -----------------------------------------------------------------------------
; IN    r8 device, rdx ops, ecx count
; OUT   rax  as disk_submit
ahci_submit:
                push    rbx
                push    rbp
                push    rdx
                mov     r9, r8
                mov     r8, [r9 + device.record]
                mov     r11d, ecx
                shl     r11, ENTRY_SHIFT
                add     r11, rdx
                mov     ebx, [r9 + ahci.free]
.op:
                cmp     rdx, r11
                jae     .end
                bsf     ebp, ebx
                jz      .end
                call    disk_check
                jc      .refused
                btr     ebx, ebp
                xchg    eax, ecx                ; blocks
                mov     esi, ebp
                shl     esi, AHCI_TABLE_SHIFT
                add     rsi, [r9 + ahci.tables]
                mov     rax, [rdx + disk_op.cookie]
                mov     [rsi + command_table.cookie], rax
                sub     rsi, -command_table.prdt        ; (of eight bits)
                mov     r10, rdx
                cmp     byte [rdx + disk_op.kind], disk_write
                ja      .special
.entry:
                mov     rax, [rdx + disk_op.address]
                mov     [rsi + prd.address], rax
                mov     eax, [rdx + disk_op.bytes]
                dec     eax
                mov     [rsi + prd.bytes], eax
                test    al, 1
                jz      .range                  ; no even length
                add     rsi, prd_size
                add     rdx, disk_op_size
                cmp     rdx, rdi
                jb      .entry
                mov     edi, edx
                sub     edi, r10d
                shr     edi, 1                  ; bytes of the PRDT
                sub     rsi, rdi
                shl     edi, 16 - 4             ; entries, in the upper half
                cmp     byte [r10 + disk_op.kind], disk_write
                sbb     eax, eax                ; all ones for a read
                and     eax, ecx
                imul    eax, [r8 + disk_record.block_bytes]
                mov     [rsi + TABLE(bytes)], eax
                movzx   eax, byte [r10 + disk_op.kind]
                shl     eax, HEADER_WRITE_SHIFT
                lea     edi, [rdi + rax + HEADER_FIS]
                mov     r10, [r10 + disk_op.block]
                cmp     byte [r9 + ahci.no_ncq], 0
                jne     .no_ncq
                shl     eax, 16 - HEADER_WRITE_SHIFT
                add     eax, FIS_COMMAND | ATA_READ_NCQ << 16
                mov     [rsi + TABLE(command)], eax
                mov     eax, ebp
                shl     eax, 3                  ; the tag, where other commands have a count: that stands in the features
                btr     [r9 + ahci.alone], ebp
                btr     [r9 + ahci.plain], ebp
.fis:                                           ; r10 LBA, eax count, ecx features, edi flags of the header
                mov     [rsi + TABLE(count)], eax
                mov     [rsi + TABLE(command) + 3], cl
                mov     [rsi + TABLE(lba)], r10d
                mov     byte [rsi + TABLE(lba) + 3], FIS_LBA
                shr     r10, 24
                mov     [rsi + TABLE(lba_upper)], r10d
                mov     [rsi + TABLE(lba_upper) + 3], ch
                shl     ebp, 5                  ; command_header_size
                mov     [r9 + rbp + ahci.list + command_header.flags], edi
                jmp     .op
.no_ncq:
                shl     eax, 20 - HEADER_WRITE_SHIFT
                add     eax, FIS_COMMAND | ATA_READ << 16
                mov     [rsi + TABLE(command)], eax
                mov     eax, ecx
                xor     ecx, ecx
.plain:
                bts     [r9 + ahci.alone], ebp
                bts     [r9 + ahci.plain], ebp
                jmp     .fis
.special:
                mov     rdx, rdi
                push    HEADER_FIS
                pop     rdi
                mov     eax, FIS_COMMAND | ATA_FLUSH << 16
                jrcxz   .no_range
                shl     rcx, 48
                or      rcx, [r10 + disk_op.block]
                lea     rax, [rsi + AHCI_RANGE - command_table.prdt]
                mov     [rax], rcx
                mov     [rsi + prd.address], rax
                mov     dword [rsi + prd.bytes], 511
                mov     edi, HEADER_FIS | disk_write << HEADER_WRITE_SHIFT | 1 << 16
                mov     eax, FIS_COMMAND | ATA_DISCARD << 16
                push    1
                pop     rcx                     ; TRIM, and one block of ranges
.no_range:
                mov     [rsi + TABLE(command)], eax
                mov     eax, ecx
                xor     r10d, r10d
                mov     [rsi + TABLE(bytes)], r10d
                jmp     .plain
.range:
                push    -error_range
                pop     rax
.refused:                                       ; nothing is ready that was not before
                pop     rdx
                jmp     .leave
.end:
                mov     r8, r9
                mov     eax, [r8 + ahci.free]
                mov     [r8 + ahci.free], ebx
                xor     eax, ebx
                or      [r8 + ahci.ready], eax
                call    ahci_issue
                pop     rax
                sub     edx, eax
                shr     edx, ENTRY_SHIFT
                xchg    eax, edx
.leave:
                pop     rbp
                pop     rbx
                ret

; -----------------------------------------------------------------------------
; Issues what is ready and may go.
;
; IN    r8  device
; USES  rax rcx rsi rdi
ahci_issue:
                mov     rsi, [r8 + ahci.port]
                mov     ecx, [r8 + ahci.issued]
                test    [r8 + ahci.alone], ecx
                jnz     .done
                mov     eax, [r8 + ahci.ready]
                mov     edi, [r8 + ahci.alone]
                and     edi, eax
                jz      .issue
                test    ecx, ecx
                jnz     .done
                mov     eax, edi
                neg     eax
                and     eax, edi                ; one of them
.issue:
                test    eax, eax
                jz      .done
                xor     [r8 + ahci.ready], eax
                or      [r8 + ahci.issued], eax
                mov     ecx, [r8 + ahci.plain]
                not     ecx
                and     ecx, eax
                jz      .plain
                mov     [rsi + PORT_SACT], ecx
.plain:
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
                mov     rbx, rdx
                mov     ebp, ecx
                mov     rsi, [r8 + ahci.port]
                mov     ecx, [r8 + ahci.issued]
                jrcxz   .take
                mov     edx, [rsi + PORT_SACT]
                or      edx, [rsi + PORT_CI]    ; what is not done yet
                mov     r9d, [rsi + PORT_IS]
                and     r9d, PORT_IS_ERRORS
                bt      dword [rsi + PORT_SSTS], PORT_SSTS_LINK_BIT
                cmc
                sbb     eax, eax
                or      edx, eax                ; without a link nothing is
                or      eax, r9d
                or      eax, [rsi + PORT_SERR]
                jnz     .trouble
                not     edx
                and     edx, ecx
                xor     [r8 + ahci.issued], edx
                or      [r8 + ahci.finished], edx
.take:
                mov     edx, [r8 + ahci.finished]
.next:
                bsf     ecx, edx
                jz      .done
                dec     ebp
                js      .done
                btr     edx, ecx
                mov     edi, ecx
                shl     edi, AHCI_TABLE_SHIFT
                add     rdi, [r8 + ahci.tables]
                mov     rax, [rdi + command_table.cookie]
                mov     [rbx + completion.cookie], rax
                bt      [r8 + ahci.failed], ecx
                sbb     eax, eax
                mov     ecx, eax
                not     ecx
                and     ecx, [rdi + command_table.bytes]
                mov     [rbx + completion.bytes], ecx
                and     eax, -error_io
                mov     [rbx + completion.status], eax
                add     rbx, completion_size
                jmp     .next
.done:
                mov     eax, [r8 + ahci.finished]
                mov     [r8 + ahci.finished], edx
                and     [r8 + ahci.failed], edx
                xor     eax, edx
                or      [r8 + ahci.free], eax
                call    ahci_issue
                pop     rax
                sub     ebx, eax
                shr     ebx, COMPLETION_SHIFT
                xchg    eax, ebx
                pop     rbp
                pop     rbx
                ret
.trouble:                                       ; ecx issued, edx not done, r9d errors
                lea     eax, [rcx - 1]
                test    eax, ecx
                jnz     .again                  ; there are more than this one
                movzx   eax, byte [rsi + PORT_TFD]
                and     al, PORT_TFD_ERR
                or      eax, r9d
                jz      .again
                or      [r8 + ahci.failed], ecx
                xor     edx, edx
.again:
                and     edx, ecx
                xor     ecx, edx
                or      [r8 + ahci.finished], ecx
                or      [r8 + ahci.ready], edx
                or      [r8 + ahci.alone], edx
                and     dword [r8 + ahci.issued], 0
                call    ahci_stop
                js      .dead
                call    ahci_run
                jns     .take
.dead:
                xor     eax, eax
                xchg    eax, [r8 + ahci.ready]
                or      [r8 + ahci.finished], eax
                or      [r8 + ahci.failed], eax
                jmp     .take

; -----------------------------------------------------------------------------
; IN    r8 device
; OUT   rax 0, or 1, or -unsupported
ahci_arm:
                push    -error_unsupported
                pop     rax
                ret
