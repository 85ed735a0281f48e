; AHCI: SATA disks. Every port with an ATA disk is a disk of one queue; ATAPI drives and port multipliers are left alone.
;
; An operation takes one of the port's 32 command slots, and that slot's command table in the program's memory. Command
; list and received FIS lie in the device's own page, so only commands make a port write to the program's memory. A slot's
; way, each step a bit of a field of struct ahci:
;
;     free -> ready -> issued -> finished -> free
;
; Reads and writes are NCQ commands: all that are ready are issued at once. A flush is `plain`: the disk takes it only while
; it has no other command. It waits in `ready` until nothing is issued, and nothing else is issued before it; each call that
; may change this, submit and reap, issues what can go. So a flush neither stops a core nor waits for ever. Of several the
; HBA gives the disk one after the other.
;
; After an error a disk has given up all NCQ commands (SATA 3.0 §13.6.4): the port is reset, and what was issued has failed.
; If the port does not come back, so has what was ready.
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
HBA_SHIFT               equ 9                   ; the registers of two ports; there are 32 at most, as many as the BAR reaches
PORT_BYTES              equ 0x80

; Registers are counted from PxSSTS: so the number of most of their bits is a signed byte, which is what ahci_wait takes.
PORT_ORIGIN             equ 0x28
PORT_CLB                equ 0x00 - PORT_ORIGIN  ; 64 bits, as the next
PORT_FB                 equ 0x08 - PORT_ORIGIN
PORT_IS                 equ 0x10 - PORT_ORIGIN
PORT_IS_ERRORS          equ PORT_IS + 3         ; this byte: task file, host bus fatal and data, interface, overflow
PORT_IS_FIS             equ 0x3f                ; a command has ended
PORT_IE                 equ 0x14 - PORT_ORIGIN
PORT_IE_WANTED          equ 0x79 << 24 | PORT_IS_FIS            ; and errors but interface non-fatal
PORT_CMD                equ 0x18 - PORT_ORIGIN
PORT_CMD_ST             equ 1
PORT_CMD_FRE            equ 1 << 4
PORT_CMD_FR             equ PORT_CMD * 8 + 14
PORT_CMD_CR             equ PORT_CMD * 8 + 15
PORT_TFD                equ 0x20 - PORT_ORIGIN
PORT_TFD_DRQ            equ PORT_TFD * 8 + 3
PORT_TFD_BSY            equ PORT_TFD * 8 + 7
PORT_SIG                equ 0x24 - PORT_ORIGIN
PORT_SSTS               equ 0x28 - PORT_ORIGIN
PORT_SSTS_LINK          equ 2                   ; DET: of its values only 3, device and link, has it
PORT_SCTL               equ 0x2c - PORT_ORIGIN
PORT_SCTL_RESET         equ 0x301               ; COMRESET; and no power saving, which SERR would tell of
PORT_SCTL_RESET_BIT     equ PORT_SCTL * 8
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
                        resb 12                 ; the HBA fetches the FIS, and nothing from here to the PRDT
.completion:            resb completion_size    ; should it succeed
                        resb 128 - 48
.prdt:
endstruc
struc prd
.address:               resq 1
                        resd 1
.bytes:                 resd 1                  ; - 1
endstruc
AHCI_COMPLETED          equ command_table.completion + completion_size
AHCI_TABLE_SHIFT        equ DISK_SLOT_SHIFT
AHCI_TABLE_BYTES        equ DISK_SLOT_BYTES
AHCI_ENTRY_MAX          equ (AHCI_TABLE_BYTES - command_table_size) / prd_size
AHCI_BYTES_MAX          equ 0x400000            ; of an entry (§4.2.3.3), and so of an operation

FIS_COMMAND             equ 0x8027              ; register FIS that carries a command
FIS_LBA                 equ 0x40                ; device
ATA_IDENTIFY            equ 0xec
ATA_READ_NCQ            equ 0x60                ; the write's is the next
ATA_FLUSH               equ 0xea
IDENTIFY_WORD           equ 2 * 74              ; words 10 to 118 are in reach of a signed byte
%define IDENTIFY(word)  rdx + 2 * (word) - IDENTIFY_WORD

; The driver's part of struct device. Its page has room behind what a disk of one queue uses. What ring_begin takes of a
; ring lies here too: ahci_ring is where it takes that ring to be.
struc ahci
                        resb device.own
.free:                  resq 1                  ; as ring.free_end: r9
.ready:                 resd 1                  ; bits of slots, see above
.issued:                resd 1
.finished:              resd 1
.failed:                resd 1                  ; of the finished ones
.tables:                resq 1                  ; as ring.desc: rbx
.port:                  resq 1                  ; as ring.slots: rbp; registers
.plain:                 resd 1                  ; of the ready and issued ones
.hba:                   resd 1                  ; registers that all its ports share
                        resq 1                  ; ring.entry_control
                        resq 1                  ; ring.stack
                        resq 1
.routed:                resd 1                  ; as ring.routed_core
                        resb device.rings + 16 - $
                        resb 0x100 - $
.fis:                   resb 256                ; received
                        resb 0x580 - $
.identify:              resb 512
.table:                 resb 128                ; IDENTIFY's; its PRDT is the list's first entry, its command slot 1
.list:                  resb 32 * command_header_size
endstruc
AHCI_RING               equ ahci.free - ring.free_end
%define STATE(field)    rsi + ahci. %+ field - AHCI_RING
%if ahci.tables - AHCI_RING != ring.desc || ahci.port - AHCI_RING != ring.slots || ahci.free - AHCI_RING != ring.free_end
%error the fields are not where ring_begin takes them from
%endif
%if ahci.routed - AHCI_RING != ring.routed_core || ahci.fis != 0x100
%error ring_route or ahci_probe takes a field from elsewhere
%endif

ahci_driver:                                    ; struct disk_driver
                dw      ahci_open - core_start_phys, ahci_close - core_start_phys
                dw      ahci_submit - core_start_phys, ahci_reap - core_start_phys
                dw      ahci_arm - core_start_phys

; -----------------------------------------------------------------------------
; Registers the disks of a controller.
;
; IN    r12  pci_record     edi  its function     rbp  near_variables
; USES  all but r12
ahci_start:
                call    pci_use_registers
                dw      PCI_REGISTERS(AHCI_BAR, HBA_SHIFT)
                or      dword [rsi + HBA_BOHC], HBA_BOHC_OWN
                mov     eax, HBA_BOHC * 8 + HBA_BOHC_FIRMWARE_BIT
                call    ahci_wait_long          ; in vain: it does not answer, and loses it all the same
                or      dword [rsi + HBA_GHC], HBA_GHC_AHCI | HBA_GHC_INTERRUPTS
                or      dword [rsi + HBA_IS], -1        ; nothing that the firmware has waited for
                mov     eax, [rsi + HBA_CAP]
                not     eax
                test    eax, HBA_CAP_NEEDED
                jnz     .none
                test    eax, eax
                jz      .none                   ; all ones: it is gone
                mov     r15d, esi
                mov     r14d, [rsi + HBA_PI]
                mov     r13d, [r12 + pci_record.bar_bytes + AHCI_BAR * 8]
                add     r13d, esi               ; where the registers end
                add     esi, HBA_PORTS + PORT_ORIGIN
.port:
                push    rsi
                shr     r14d, 1
                jnc     .port_next
                test    byte [rsi + PORT_SSTS], PORT_SSTS_LINK
                jz      .port_next
                call    ahci_probe
.port_next:
                pop     rsi
                sub     esi, -PORT_BYTES
                cmp     esi, r13d
                jae     .none
                test    r14d, r14d
                jnz     .port
.none:
                ret

; -----------------------------------------------------------------------------
; Registers the disk behind a port, if it is one.
;
; IN    esi  port      r15d  the HBA's registers     r12 pci_record     rbp near_variables
; USES  all but rbp r12 to r15
ahci_probe:
                mov     edx, ahci_driver
                call    disk_add
                jc      ahci_start.none
                mov     ebx, edx
                mov     [rbx + ahci.port], esi
                mov     [rbx + ahci.hba], r15d
                lea     eax, [rbx + AHCI_RING]
                mov     [rbx + device.rings], eax
                mov     r8d, ebx
                call    ahci_halt
                and     dword [rsi + PORT_CMD], ~PORT_CMD_FRE
                mov     al, PORT_CMD_FR
                call    ahci_wait
                mov     eax, ebx                ; (a page's address)
                inc     ah                      ; ahci.fis
                mov     [rsi + PORT_FB], rax
                lea     edi, [rbx + ahci.list]
                mov     [rsi + PORT_CLB], rdi
                or      dword [rsi + PORT_CMD], PORT_CMD_FRE
                push    rdi
                call    ahci_run
                pop     rdi
                js      ahci_start.none
                cmp     byte [rsi + PORT_SIG + 3], 0
                jne     ahci_start.none         ; no ATA disk
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
                mov     al, PORT_CI * 8 + 1     ; (the rest of eax is 0)
                call    ahci_wait_long
                jc      ahci_silent

                mov     edi, [rbx + device.record]
                scasd                           ; (over the function)
                lea     edx, [rbx + ahci.identify + IDENTIFY_WORD]
                mov     eax, [IDENTIFY(85)]
                shr     eax, 4
                and     eax, disk_write_cache   ; bit 5
                stosd
                mov     rax, [IDENTIFY(100)]
                stosq
                mov     eax, 512
                test    byte [IDENTIFY(106) + 1], 1 << 12 - 8
                jz      .block
                shl     eax, 3                  ; larger blocks
                cmp     dword [IDENTIFY(117)], 4096 / 2 ; in words: no other size is known
                jne     .none
.block:
                stosd
                test    byte [IDENTIFY(76) + 1], 1 << 8 - 8
                jz      .none                   ; no NCQ
                mov     eax, [IDENTIFY(75)]     ; deepest queue - 1
                inc     eax
                and     eax, 0x30               ; 16 or 32 of them
                jz      .none
                push    rax
                scasd                           ; (over optimal_bytes)
                push    1                       ; address_mask: a PRDT's addresses are even
                pop     rax
                stosd
                mov     al, AHCI_ENTRY_MAX
                stosd
                mov     eax, AHCI_BYTES_MAX
                stosd
                lea     esi, [IDENTIFY(10)]
                push    (20 + 40) / 2           ; serial, and from word 27 on model
                pop     rcx
.text:
                lodsw
                xchg    al, ah
                stosw
                cmp     cl, 40 / 2 + 1
                jne     .text_next
                add     esi, 2 * (27 - 10 - 20 / 2)
.text_next:
                loop    .text
                pop     rcx
                push    1                       ; queue_max
                pop     rax
                mov     edx, AHCI_TABLE_BYTES
                jmp     device_limits_first     ; the controller's one message
.none:
                ret
ahci_silent:
                jmp     device_gone

; -----------------------------------------------------------------------------
; ahci_stop ends all commands of a port: HBA and disk know none any more (§10.4.2).
;
; IN    r8   device
; OUT   rax  0, or -timeout: it may still use the memory; SF with it      rsi  port
; USES  rcx rdx rdi r9
ahci_close:
                and     dword [r8 + device.queues], 0
ahci_stop:
                mov     esi, [r8 + ahci.port]
                call    ahci_halt
                jc      ahci_silent
                mov     word [rsi + PORT_SCTL], PORT_SCTL_RESET
                push    PORT_SCTL_RESET_BIT     ; stays set: time passes
                pop     rax
                mov     edi, AHCI_RESET_US
                call    ahci_wait_for
                dec     dword [rsi + PORT_SCTL] ; the bit only
                jmp     ahci_run.good

; -----------------------------------------------------------------------------
; Sets the command tables up and starts the port.
;
; IN    r8 device, edx depth, rcx memory
; OUT   rax  as disk_open
; USES  all but r8 r12 to r15
ahci_open:
                lea     rax, [rcx + AHCI_COMPLETED]
                mov     [r8 + ahci.tables], rax
                mov     rdi, rcx
                lea     esi, [r8 + ahci.list + command_header.table]
                xor     ecx, ecx
                xor     ebp, ebp
                xor     eax, eax
                mov     [r8 + ahci.ready], rax  ; and issued
                mov     [r8 + ahci.finished], rax       ; and failed
.slot:
                mov     [rsi], rdi
                add     esi, command_header_size
                mov     cl, AHCI_TABLE_BYTES / 8
                rep     stosq
                stc
                adc     ebp, ebp                ; as many bits as there are slots
                dec     edx
                jnz     .slot
                mov     [r8 + ahci.free], rbp

; -----------------------------------------------------------------------------
; Ends all commands of a port and starts it anew.
;
; IN    r8   device
; OUT   rax  0, or -timeout; SF with it
; USES  rcx rdx rsi rdi r9
ahci_restart:
                call    ahci_stop
                js      ahci_run.done

; -----------------------------------------------------------------------------
; Lets a port whose link is there process commands, once the disk is ready for them.
;
; IN    r8 device, rsi port
; OUT   rax  0, or -timeout; SF with it
; USES  rcx rdx rdi r9
ahci_run:
                mov     al, PORT_TFD_DRQ        ; set until there is a link, then BSY until there is a disk
                call    ahci_wait
                mov     al, PORT_TFD_BSY
                call    ahci_wait
                jc      ahci_silent
                test    byte [rsi + PORT_SSTS], PORT_SSTS_LINK
                jz      ahci_silent             ; the registers of a controller that is gone may read as 0
                or      eax, -1
                mov     [rsi + PORT_SERR], eax
                mov     [rsi + PORT_IS], eax
                or      dword [rsi + PORT_CMD], PORT_CMD_ST
.good:
                xor     eax, eax
.done:
                ret

; -----------------------------------------------------------------------------
; Stops a port from processing commands, and from interrupting.
;
; IN    rsi  port
; OUT   CF clear if it has
; USES  rax rcx rdx rdi r9
ahci_halt:
                and     dword [rsi + PORT_IE], 0
                and     dword [rsi + PORT_CMD], ~PORT_CMD_ST
                mov     al, PORT_CMD_CR

; -----------------------------------------------------------------------------
; Waits until a bit of a register is 0.
;
; IN    rsi  registers     al  number of the bit, from -128 (eax: any number, ahci_wait_long)
;       edi  microseconds (ahci_wait_for)
; OUT   CF clear if it is
; USES  rax rcx rdx rdi r9
ahci_wait:
                movsx   eax, al
ahci_wait_long:
                mov     edi, AHCI_WAIT_US
ahci_wait_for:
                xor     r9d, r9d
                jmp     device_wait

; -----------------------------------------------------------------------------
; IN    r8 device, rsi ring, rdx ops, ecx count
; OUT   rax  as disk_submit
ahci_submit:
                call    disk_operations
                jmp     short .end
.operation:
                sub     rdi, AHCI_COMPLETED
                xchg    eax, ecx                ; blocks
                movzx   eax, byte [rdx + disk_op.kind]
                push    rax
                btr     [STATE(plain)], ebp
                cmp     al, disk_write
                ja      .flush
                shl     eax, 16
                add     eax, FIS_COMMAND | ATA_READ_NCQ << 16
.fis:                                           ; eax command, ecx features
                stosd
                mov     [rdi - 1], cl
                mov     eax, [rdx + disk_op.block]
                stosd
                mov     byte [rdi - 1], FIS_LBA
                mov     eax, [rdx + disk_op.block + 3]
                stosd
                mov     [rdi - 1], ch
                mov     eax, ebp
                shl     eax, 3                  ; the tag, where others have a count: that stands in the features
                stosd
                add     rdi, command_table_size - command_table.count - 4
                pop     rcx
                and     ecx, disk_write
.entry:                                         ; (a flush has an entry too, which nobody reads)
                mov     rax, [rdx + disk_op.address]
                stosq
                scasd
                mov     eax, [rdx + disk_op.bytes]
                dec     eax
                stosd
                test    al, 1
                jz      disk_range              ; no even length
                add     rdx, disk_op_size
                cmp     byte [rdx - disk_op_size + disk_op.flags], 0
                jne     .entry
                shl     edi, 32 - AHCI_TABLE_SHIFT      ; (tables lie at multiples of their size)
                shr     edi, 32 - AHCI_TABLE_SHIFT - 12         ; bytes up to here, as 16ths in the upper half
                shl     ecx, HEADER_WRITE_SHIFT
                lea     eax, [rdi + rcx + HEADER_FIS - (command_table_size << 12)]
                shl     ebp, 5                  ; command_header_size
                mov     [STATE(list) + rbp + command_header.flags], eax
                ret
.end:
                mov     ebp, [STATE(port)]
                mov     eax, [STATE(free)]
                xor     eax, r9d
                or      [STATE(ready)], eax
                jmp     ahci_issue
.flush:
                xor     ecx, ecx
                mov     eax, FIS_COMMAND | ATA_FLUSH << 16
                bts     [STATE(plain)], ebp
                jmp     .fis

; -----------------------------------------------------------------------------
; Finds out which operations are finished. If there was an error, all that were issued have failed, and the port is started
; anew; if it does not come back, so have all that are ready.
;
; IN    r8 device, rsi ring, rbp port
; OUT   ZF set if none is
; USES  rax rcx rdi r9
ahci_poll:
                mov     ecx, [STATE(issued)]
                jrcxz   .none
                mov     edi, [rbp + PORT_SACT]
                or      edi, [rbp + PORT_CI]    ; what is not done yet
                movzx   eax, byte [rbp + PORT_IS_ERRORS]
                or      eax, [rbp + PORT_SERR]
                jnz     .trouble
                test    byte [rbp + PORT_SSTS], PORT_SSTS_LINK
                jz      .trouble
.finished:
                and     edi, ecx
                mov     [STATE(issued)], edi
                xor     ecx, edi
.none:
                or      [STATE(finished)], ecx
                ret
.trouble:
                push    rsi
                push    rdx
                push    rcx
                call    ahci_restart
                pop     rcx
                pop     rdx
                pop     rsi
                jns     .failed
                xor     eax, eax
                xchg    eax, [STATE(ready)]
                or      ecx, eax
.failed:
                or      [STATE(failed)], ecx
                xor     edi, edi
                jmp     .finished

; -----------------------------------------------------------------------------
; Returns finished operations, disarms the port, and issues what had to wait for them.
;
; IN    r8 device, rsi ring, rdx completions, ecx count
; OUT   rax how many
ahci_reap:
                call    ring_begin
                and     dword [rbp + PORT_IE], 0
                push    rcx
                call    ahci_poll
                pop     rcx
                mov     r9, [STATE(free)]       ; (which that may have changed)
                mov     r10d, [STATE(finished)]
                call    disk_completions
                jmp     short .end
.finished:
                bsf     eax, r10d
                jz      .none
                btr     r10d, eax
                bt      [STATE(failed)], eax
                sbb     ecx, ecx
                clc
                ret
.none:
                stc
                ret
.end:
                mov     [STATE(finished)], r10d
                and     [STATE(failed)], r10d

; -----------------------------------------------------------------------------
; Issues what is ready and may go.
;
; IN    rsi  ring     rbp  port
; USES  rax rcx rdi
ahci_issue:
                mov     ecx, [STATE(ready)]
                mov     eax, [STATE(issued)]
                mov     edi, ecx
                or      edi, eax
                and     edi, [STATE(plain)]
                jz      .ncq
                test    eax, eax
                jnz     .done
                xchg    ecx, edi
                jmp     .command
.ncq:
                jrcxz   .done
                mov     [rbp + PORT_SACT], ecx
.command:
                xor     [STATE(ready)], ecx
                or      [STATE(issued)], ecx
                mov     [rbp + PORT_CI], ecx
.done:
                ret

; -----------------------------------------------------------------------------
; Lets a port interrupt this core. A controller has one message or line for all its disks, and each may have another core
; that waits: so each calls irq_route each time, and one interrupt wakes all that have.
;
; What the port wants is cleared first, and the port is looked at last, with its interrupt on: a command that ends before
; that is seen, and one that ends later interrupts. HBA_IS is a latch, which keeps what ports want that are disarmed
; meanwhile: it is cleared too, and what other ports want now sets it again (§10.7.2).
;
; IN    r8 device, rsi ring
; OUT   rax 0, or 1, or -unsupported
ahci_arm:
                mov     edx, [STATE(port)]
                mov     byte [rdx + PORT_IS], PORT_IS_FIS
                mov     edx, [STATE(hba)]
                or      dword [rdx + HBA_IS], -1
                xor     edi, edi
                mov     [STATE(routed)], edi
                call    ring_route
                push    rbp
                mov     ebp, [STATE(port)]
                mov     dword [rbp + PORT_IE], PORT_IE_WANTED
                call    ahci_poll
                setnz   al
                movzx   eax, al
                pop     rbp
                ret
