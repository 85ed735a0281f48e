; NVMe: each active namespace is a disk, and has its share of the controller's I/O queues.
;
; A queue's memory comes from the program:
;
;     0       submission queue     128 commands of 64 bytes
;     12,160  struct ring          the part of it that NVMe has
;     12,288  completion queue     128 completions of 16 bytes: at the address that routines have
;     14,336  slots                1,024 bytes for each operation in flight: its completion, should it succeed, and its
;                                  list of pages
;
; A queue has twice as many entries as operations can be in flight, so that it is never full. A command's identifier is its
; slot's number, with a bit above it. So no completion's last dword is 0, and it is made 0 when the completion is taken: what
; is not 0 is new, whatever the phase. Which slots are free is a mask: whatever a device completes, none is freed twice.
;
; Admin commands are given one at a time, when a disk is opened or closed: disks of one controller are not opened or
; closed by two cores at once. A controller that has not answered one is reset before that disk's call returns, which takes
; its queues from all its disks; if it does not answer then either, the next call tries again.
;
; SPEC  NVM Express 1.4 §3.1 (registers), §4 (queues), §4.3 (page lists), §5 (admin commands), §6 (NVM commands), §7.6.1

NVME_CLASS              equ 0x010802
NVME_REGISTERS_SHIFT    equ 13                  ; of their bytes, at least
NVME_CAP_UNUSABLE       equ 0x000f000f          ; upper half: doorbells that are not packed, pages of more than 4 KiB
NVME_CAP_TIMEOUT_BIT    equ 24                  ; first of the field, which has units of 500 ms
NVME_CC_ENABLE          equ 4 << 20 | 6 << 16 | 1       ; completions of 16 bytes, commands of 64
NVME_ADMIN_DELETE       equ 0                   ; a submission queue, and with NVME_ADMIN_OTHER a completion queue
NVME_ADMIN_CREATE       equ 5                   ; the other way round
NVME_ADMIN_OTHER        equ 4
NVME_ADMIN_IDENTIFY     equ 6
NVME_ADMIN_SET_FEATURES equ 9
NVME_FEATURE_QUEUES     equ 7
NVME_READ               equ 2
NVME_KIND               equ 9                   ; the bits of disk_op.kind that are those of the command, but for NVME_READ
NVME_DISCARD_BIT        equ 4                   ; cdw11: deallocate
NVME_DEPTH_MAX          equ 64
NVME_PAGES_MAX          equ (DISK_SLOT_BYTES - completion_size) / 8 - 1  ; of an operation, and the one it begins in
NVME_ID_MARK            equ 1 << 15
NVME_STATUS_SHIFT       equ 17                  ; in the last dword of a completion
NVME_NAMESPACE_PHYS     equ BOOT_DISK_PHYS      ; what it is asked for at boot, in the order of the numbers of that
NVME_CONTROLLER_PHYS    equ BOOT_DISK_PHYS + (1 << BOOT_NVME_SHIFT)

struc nvme_registers
.cap:                   resq 1
                        resd 3
.cc:                    resd 1
                        resd 1
.csts:                  resd 1
                        resd 1
.aqa:                   resd 1
.asq:                   resq 1
.acq:                   resq 1
                        resb 0x1000 - $
.doorbells:                                     ; submission tail, completion head, of each queue
endstruc

struc nvme_command
.opcode:                resw 1
.id:                    resw 1
.namespace:             resd 1
                        resq 2
.prp1:                  resq 1
.prp2:                  resq 1
.cdw10:                 resd 1
.cdw11:                 resd 1
.cdw12:                 resd 1
                        resd 3
endstruc
NVME_COMMAND_SHIFT      equ 6

struc nvme_completion
.result:                resd 1
                        resd 2
.id:                    resw 1
.status:                resw 1                  ; bit 0: phase
endstruc

; A controller: two pages, of which the first begins with the admin completion queue and the second with the submission
; queue. Both have two entries. Routines have the address of this struct, behind the completions.
struc nvme_controller, -(2 << COMPLETION_SHIFT)
.completions:           resb 2 << COMPLETION_SHIFT
.function:              resd 1
.patience_us:           resd 1
.doorbells:             resq 1
.next:                  resd 1                  ; the command to give next; 0: it has not answered
.queues:                resd 1                  ; that namespaces have
                        resb PAGE_BYTES - 24 - (2 << COMPLETION_SHIFT)
.commands:
endstruc

; The driver's part of struct device, and of struct ring
struc nvme
                        resb device.own
.controller:            resd 1
                        resd 1
.read:                  resd 1                  ; first 8 bytes of a read command, but for the slot's number
.namespace:             resd 1
.first:                 resd 1                  ; the queue before its first one
endstruc
NVME_FREE               equ ring.free_end       ; bits of the slots that are free: r9
NVME_DOORBELL           equ ring.record         ; these in the order in which nvme_open fills them in
NVME_NUMBER             equ ring.used
NVME_SLOT_MASK          equ ring.used + 4       ; slots - 1
NVME_ARMED              equ ring.mask

; A queue's memory, from the address that routines have. A slot's completion is followed by the address of its operation's
; first page, and that by the list of the others.
struc nvme_queue, -12288
.commands:              resb NVME_DEPTH_MAX * 2 << NVME_COMMAND_SHIFT
                        resb -$                 ; struct ring at the end
.completions:           resb NVME_DEPTH_MAX * 2 << COMPLETION_SHIFT
.slots:
endstruc
NVME_LIST               equ 8                   ; from the first page's address, where routines have a slot's
NVME_TAIL_SHIFT         equ NVME_COMMAND_SHIFT - 3      ; tails and heads are kept in units of eight bytes
NVME_TAIL_END_BIT       equ 10
NVME_HEAD_SHIFT         equ COMPLETION_SHIFT - 3        ; where the queue ends a head's byte overflows
NVME_DEPTH_SHIFT        equ DISK_SLOT_SHIFT + 1 ; of the least depth that is room for all of it, in whole pages
NVME_DEPTH_BYTES        equ 1 << NVME_DEPTH_SHIFT

%if nvme_queue.slots - nvme_queue.commands + DEPTH_MIN * DISK_SLOT_BYTES > DEPTH_MIN * NVME_DEPTH_BYTES
%error a queue of the least depth has no room for its slots
%endif
%if NVME_DEPTH_MAX * 2 << NVME_TAIL_SHIFT != 1 << NVME_TAIL_END_BIT || NVME_DEPTH_MAX * 2 << NVME_HEAD_SHIFT != 1 << 8
%error tails or heads do not go back to 0 where a queue ends
%endif

nvme_driver:                                    ; struct disk_driver
                dw      nvme_open - core_start_phys, nvme_close - core_start_phys
                dw      nvme_submit - core_start_phys, nvme_reap - core_start_phys
                dw      nvme_arm - core_start_phys

; -----------------------------------------------------------------------------
; Starts a controller and registers its namespaces.
;
; IN    r12, rbx  pci_record     edi  its function     rbp  near_variables
; USES  all but r12
nvme_start:
                call    pci_use_registers
                dw      PCI_REGISTERS(0, NVME_REGISTERS_SHIFT)
                movzx   r14d, word [rbx + pci_record.msix_count]
                dec     r14d                    ; so many queues have one, at most
                jle     short .none
                test    dword [rsi + nvme_registers.cap + 4], NVME_CAP_UNUSABLE
                jnz     .none
                mov     edx, [rsi + nvme_registers.cap]
                cmp     dx, 2 * NVME_DEPTH_MAX - 1      ; entries of a queue - 1
                jb      .none
                call    arena_page
                call    arena_page              ; the one before that
                lea     edi, [rax - nvme_controller]
                mov     eax, [rbx + pci_record.function]
                mov     ebx, edi
                stosd
                bts     edx, NVME_CAP_TIMEOUT_BIT       ; half a second at least
                shr     edx, NVME_CAP_TIMEOUT_BIT - 19  ; 2^19 microseconds are not less than the unit
                xchg    eax, edx
                stosd                           ; patience_us
                xchg    rax, rsi
                or      ah, nvme_registers.doorbells >> 8       ; they lie at a multiple of their size
                stosq
                call    nvme_enable
                js      .none
                movzx   edx, word [rsi + nvme_completion.result - nvme_completion.id]   ; submission queues - 1
                inc     edx                     ; there are as many completion queues
                cmp     r14d, edx
                cmova   r14d, edx
                inc     ecx                     ; the controller
                call    nvme_identify_all
                mov     cl, 2                   ; the active namespaces
                call    nvme_identify_all
                lea     r15d, [rsi - 4]         ; before the list
                mov     ecx, r14d
                push    rcx
                lea     edi, [rsi + 4]          ; (a list of none counts as one)
                repne   scasd
                mov     [rdi - 4], eax          ; there is none behind these
                pop     rax
                sub     ecx, eax
                neg     ecx
                cdq
                div     ecx
                xchg    r14d, eax               ; queues of each
.next:
                add     r15d, 4
                xor     ecx, ecx
                mov     edx, [r15]
                test    edx, edx
                jnz     .identify
.none:
                ret
.identify:
                call    nvme_identify
                mov     al, [rsi + 26]          ; the format it has
                and     al, 15                  ; (eax was 0)
                or      al, 128 / 4
                mov     ecx, [rsi + rax * 4]
                bswap   ecx
                shr     ecx, 8                  ; the block's size, as a power of two; above it bytes of metadata
                lea     eax, [rcx - 9]
                cmp     eax, 12 - 9
                ja      .next
                mov     edx, nvme_driver
                call    disk_add
                jc      .none
                mov     [rdx + nvme.controller], ebx
                mov     dword [rdx + nvme.read], NVME_ID_MARK << 16 | NVME_READ
                mov     eax, [r15]
                mov     [rdx + nvme.namespace], eax
                mov     eax, r14d
                xadd    [rbx + nvme_controller.queues], eax
                mov     [rdx + nvme.first], eax
                mov     edx, NVME_CONTROLLER_PHYS + 512
                movzx   eax, byte [rdx + 520 - 512]     ; optional commands
                and     al, disk_can_zero | disk_can_discard
                test    byte [rdx + 525 - 512], 1
                jz      .no_cache
                or      al, disk_write_cache
.no_cache:
                shr     byte [rsi + 99], 1      ; write protected
                adc     al, disk_pages          ; and disk_read_only
                stosd
                movsq                           ; blocks
                xor     eax, eax
                bts     eax, ecx
                stosd                           ; block_bytes
                movzx   eax, word [rsi + 46 - 8]        ; optimal boundary
                shl     eax, cl
                stosd                           ; optimal_bytes
                push    3
                pop     rax
                stosd                           ; address_mask
                mov     al, NVME_PAGES_MAX
                stosd                           ; entry_max
                mov     dh, NVME_CONTROLLER_PHYS >> 8 & 0xff
                mov     cl, [rdx + 77]          ; pages of a transfer, as a power of two
                dec     cl                      ; 0: any
                cmp     cl, 6
                jae     .bytes
                mov     al, 2
                shl     eax, cl
.bytes:
                shl     eax, 12
                stosd                           ; bytes_max
                lea     esi, [rdx + 4]
                mov     cl, (20 + 40) / 4       ; (the other bytes are 0)
                rep     movsd                   ; serial, model
                mov     eax, r14d
                mov     cl, NVME_DEPTH_MAX
                cdq
                mov     dh, NVME_DEPTH_BYTES >> 8
                call    device_limits_first     ; the admin queue's, which so may wake this core for nothing; MSI-X is on now
                jmp     .next

; -----------------------------------------------------------------------------
; Identifies something at boot. If that fails, returns from nvme_start itself.
;
; IN    rbx  controller     ecx  what, which is what of namespace edx; nvme_identify_all: of no namespace, eax 0
; OUT   rsi  what it found out     eax, ecx 0
; USES  rdx rdi r9
nvme_identify_all:
                cdq
nvme_identify:
                lea     esi, [rcx + (BOOT_DISK_PHYS >> BOOT_NVME_SHIFT)]
                shl     esi, BOOT_NVME_SHIFT
                push    NVME_ADMIN_IDENTIFY
                pop     rax
                push    rsi
                call    nvme_admin
                pop     rsi
                jns     nvme_wait.done
                pop     rax

; Enables a controller that has been left without an answer. IN, OUT and USES as nvme_enable
nvme_revive:
                xor     eax, eax
                cmp     [rbx + nvme_controller.next], eax
                jne     nvme_wait.done

; -----------------------------------------------------------------------------
; Resets and enables a controller, whatever state it is in: it leaves all memory alone that it has known so far. It is to
; have as many queues as it can, which a reset makes it forget (§5.21.1.7).
;
; IN    rbx  controller
; OUT   rax  0, or -timeout, -io; SF with it     rsi  identifier in the completion that says how many     ecx  0 with rax
; USES  rdx rdi r9
nvme_enable:
                mov     rsi, [rbx + nvme_controller.doorbells]
                xor     si, nvme_registers.doorbells ^ nvme_registers.csts      ; (as above)
                and     dword [rsi + nvme_registers.cc - nvme_registers.csts], 0
                call    nvme_wait
                js      nvme_wait.done
                lea     rdi, [rsi + nvme_registers.aqa - nvme_registers.csts]
                mov     eax, 0x10001            ; two entries each
                stosd
                lea     eax, [rbx + nvme_controller.commands]
                mov     [rbx + nvme_controller.next], eax
                stosq
                lea     eax, [rbx + nvme_controller.completions]
                stosq
                mov     dword [rsi + nvme_registers.cc - nvme_registers.csts], NVME_CC_ENABLE
                dec     r9d                     ; (0 since nvme_wait)
                call    nvme_wait.ready
                js      nvme_wait.done
                push    NVME_FEATURE_QUEUES
                pop     rcx
                mov     r9d, (DEVICE_QUEUES_MAX - 1) * 0x10001
                mov     al, NVME_ADMIN_SET_FEATURES
                cdq
                jmp     nvme_admin

; -----------------------------------------------------------------------------
; Waits until bit 0 of a dword is 0, for as long as the controller may take; nvme_wait.ready until it is as r9d says.
;
; IN    rsi  its address     rbx  controller
; OUT   rax  0, or -timeout and the controller is named; SF with it     r9d 0 (nvme_wait)
; USES  rcx rdx rdi, and rsi if the controller is named
nvme_wait:
                xor     r9d, r9d
.ready:
                xor     eax, eax
                mov     edi, [rbx + nvme_controller.patience_us]
                call    device_wait
                js      .silent
.done:
                ret
.silent:
                mov     [rbx + nvme_controller.next], edi       ; the bit's number
                mov     eax, [rbx + nvme_controller.function]
                jmp     device_silent

; -----------------------------------------------------------------------------
; Gives the two admin commands that make the queues of a ring, or delete them: both have to do with a submission and a
; completion queue of the same number. What one of them has no use for is reserved. If the first one fails, so does the
; second, unless it deletes.
;
; IN    rbx  controller     r10  ring     r11  its memory     eax  opcode of the first; the other's differs by NVME_ADMIN_OTHER
; OUT   rax  as nvme_admin, of the second
; USES  rcx rdx rsi rdi r9
nvme_queues:
                push    rax
                mov     rsi, r10
                call    .one
                pop     rax
                xor     al, NVME_ADMIN_OTHER
                mov     rsi, r11
.one:
                mov     ecx, (2 * NVME_DEPTH_MAX - 1) << 16
                mov     cl, [r10 + NVME_NUMBER]
                mov     r9d, ecx
                shl     r9d, 16                 ; its interrupt, or its completion queue
                mov     r9b, 3                  ; interrupts are on; contiguous
                cdq

; -----------------------------------------------------------------------------
; Gives an admin command and waits for its end. After one that was not answered, others fail until nvme_enable.
;
; IN    rbx  controller     eax opcode, edx namespace, rsi first page, ecx cdw10, r9d cdw11
; OUT   rax  0, or -io, -timeout; SF with it     rsi  identifier in its completion     ecx  0 with rax
; USES  rcx rdx rsi rdi r9
nvme_admin:
                mov     edi, [rbx + nvme_controller.next]
                test    edi, edi
                jz      device_timeout          ; not enabled
                mov     [rdi + nvme_command.opcode], eax        ; and identifier: 0
                mov     [rdi + nvme_command.namespace], edx
                mov     [rdi + nvme_command.prp1], rsi
                mov     [rdi + nvme_command.cdw10], ecx
                mov     [rdi + nvme_command.cdw11], r9d
                btc     dword [rbx + nvme_controller.next], NVME_COMMAND_SHIFT  ; they begin a page: CF is this one's number
                setc    al                      ; (opcodes are small)
                imul    esi, eax, nvme_completion_size
                lea     esi, [rbx + rsi + nvme_controller.completions + nvme_completion.id]
                or      byte [rsi], 1           ; so that it is seen to come
                mov     rdi, [rbx + nvme_controller.doorbells]
                xor     al, 1
                stosd                           ; submission tail
                push    rdi
                push    rax
                call    nvme_wait
                pop     rdx
                pop     rdi
                js      .done
                mov     [rdi], edx              ; completion head
                mov     ecx, [rsi]
                shr     ecx, NVME_STATUS_SHIFT
                jz      .done
                or      rax, -error_io
.done:
                ret

; -----------------------------------------------------------------------------
; IN    r8 device, esi queues, ebp depth, rcx memory
; OUT   rax 0, or -timeout, -io
nvme_open:
                mov     r11, rcx
                mov     ebx, [r8 + nvme.controller]
                push    rsi
                call    nvme_revive
                pop     rsi
                js      nvme_admin.done
.queue:
                push    rsi
                lea     r10, [r11 - nvme_queue]
                mov     ecx, ebp
                shl     ecx, NVME_DEPTH_SHIFT - 3
                mov     rdi, r11
                xor     eax, eax
                rep     stosq
                push    rdi                     ; the next queue's memory
                lea     rdi, [r10 + NVME_FREE]
                dec     rax
                sub     ecx, ebp                ; (both from 0)
                shr     rax, cl
                stosq                           ; NVME_FREE
                inc     dword [r8 + device.queues]
                mov     edx, [r8 + device.queues]
                lea     eax, [rdx + rdx]        ; the queue has two places there
                mov     [r8 + device.rings - 16 + rax * 8], r10
                add     edx, [r8 + nvme.first]
                mov     rax, [rbx + nvme_controller.doorbells]
                lea     rax, [rax + rdx * 8]
                stosq                           ; NVME_DOORBELL
                xchg    eax, edx
                stosd                           ; NVME_NUMBER
                lea     eax, [rbp - 1]
                stosd                           ; NVME_SLOT_MASK
                lea     rax, [r10 + nvme_queue.slots + completion_size]
                stosq                           ; ring.desc
                push    NVME_ADMIN_CREATE
                pop     rax
                call    nvme_queues
                pop     r11
                pop     rsi
                js      .failed
                cmp     [r8 + device.queues], esi
                jb      .queue
                ret
.failed:
                push    rax
                call    nvme_close
                pop     rax
                ret

; -----------------------------------------------------------------------------
; Deletes the queues of a disk: what they had in flight is given up. One that is not there, since the controller was
; enabled anew meanwhile, is as good as deleted.
;
; IN    r8  device
; OUT   rax 0, or -timeout, -io
nvme_close:
                push    rbx
                mov     ebx, [r8 + nvme.controller]
                xor     eax, eax
                xchg    eax, [r8 + device.queues]
.queue:
                dec     eax
                js      .deleted
                push    rax
                add     eax, eax                ; as above
                mov     r10, [r8 + device.rings + rax * 8]
                mov     rcx, [r10 + ring.entry_control]
                jrcxz   .quiet
                or      dword [rcx], 1          ; masked
.quiet:
                xor     eax, eax                ; NVME_ADMIN_DELETE
                call    nvme_queues
                pop     rax
                jmp     .queue
.deleted:
                call    nvme_revive
                pop     rbx
                ret

; -----------------------------------------------------------------------------
; Disarms the ring, and returns what is finished.
;
; IN    r8 device, rsi ring, rdx completions, ecx count
; OUT   rax how many
nvme_reap:
                call    ring_begin
                shr     byte [rsi + NVME_ARMED], 1
                jnc     .disarmed
                mov     rdi, [rsi + ring.entry_control]
                or      dword [rdi], 1          ; masked
.disarmed:
                mov     ebp, [rsi + ring.used_index]
                call    disk_completions
                jmp     short .end
.finished:
                lea     rdi, [rsi + rbp * 8 + nvme_queue.completions + nvme_completion.id]
                mov     ecx, [rdi]
                jrcxz   .looked                 ; no new one, and CF is set
                and     dword [rdi], 0
                add     bpl, 1 << NVME_HEAD_SHIFT
                mov     eax, ecx
                shr     ecx, NVME_STATUS_SHIFT
                and     eax, [rsi + NVME_SLOT_MASK]
.looked:
                ret
.end:
                mov     cl, NVME_HEAD_SHIFT
                push    4
                pop     rdi

; Tells the device, if it is news, where a queue's tail (edi 0) or head (edi 4) is now. IN rsi ring, ebp in units of cl
nvme_tell:
                cmp     ebp, [rsi + rdi + ring.avail_index]
                mov     [rsi + rdi + ring.avail_index], ebp     ; or used_index
                je      .told
                shr     ebp, cl
                mov     rax, [rsi + NVME_DOORBELL]
                mov     [rax + rdi], ebp
.told:
                ret
nvme_submit.end:
                mov     cl, NVME_TAIL_SHIFT
                mov     ebp, r10d
                xor     edi, edi
                jmp     nvme_tell

; -----------------------------------------------------------------------------
; IN    r8 device, rsi ring, rdx ops, ecx count
; OUT   rax as disk_submit
nvme_submit:
                movlps  xmm1, [r8 + nvme.read]
                call    disk_operations
                jmp     short .end
.operation:
                lea     rbx, [rsi + r10 * 8 + nvme_queue.commands]      ; (no flag changes up to jb)
                movlps  [rbx + nvme_command.opcode], xmm1       ; and namespace
                mov     [rbx + nvme_command.id], bpl
                lea     rbp, [rdi + NVME_LIST + 8]      ; behind the list's first entry
                push    qword [rdx + disk_op.block]
                pop     qword [rbx + nvme_command.cdw10]
                dec     eax                     ; the field counts from 0
                mov     [rbx + nvme_command.cdw12], eax
                jb      .entry                  ; a read; (dec leaves CF)
                mov     al, [rdx + disk_op.kind]
                and     al, NVME_KIND
                mov     [rbx + nvme_command.opcode], al
                dec     al
                jnz     .other
.entry:
                mov     rax, [rdx + disk_op.address]
                mov     ecx, [rdx + disk_op.bytes]
                add     rcx, rax
.page:
                stosq
                or      ax, PAGE_BYTES - 1
                inc     rax
                cmp     rax, rcx
                js      .page                   ; (also where addresses end)
.built:
                add     rdx, disk_op_size
                cmp     byte [rdx - disk_op_size + disk_op.flags], 0
                jne     .entry
                movups  xmm0, [rbp - NVME_LIST - 8]
                movups  [rbx + nvme_command.prp1], xmm0 ; and prp2: right for two pages
                cmp     rdi, rbp
                jbe     .queued
                sub     rbp, 8
                mov     [rbx + nvme_command.prp2], rbp
.queued:
                add     r10d, 1 << NVME_TAIL_SHIFT
                btr     r10d, NVME_TAIL_END_BIT
                ret
.other:
                cmp     al, disk_discard - 1
                jne     .built                  ; disk_zero, or a flush, which needs nothing of what it gets
                lea     rax, [rdi + 16]         ; one range lies there: no attributes, blocks, the first block
                stosq
                xor     eax, eax
                stosq                           ; no second page
                push    rdi
                stosd
                xchg    [rbx + nvme_command.cdw12], eax
                inc     eax
                stosd
                xor     eax, eax
                xchg    [rbx + nvme_command.cdw10], rax ; ranges - 1, and cdw11
                mov     byte [rbx + nvme_command.cdw11], NVME_DISCARD_BIT
                stosq
                pop     rdi
                jmp     .built

; -----------------------------------------------------------------------------
; Lets a ring interrupt this core, unless work is there already.
;
; While its MSI-X entry is masked, a completion makes the entry pending, and it interrupts when it is unmasked. So whether
; a completion comes before the entry is unmasked, before the look at the queue or after it: it is seen here or
; interrupts. One that was polled while the entry was masked may interrupt too, once and for nothing.
;
; IN    r8 device, rsi ring
; OUT   rax 0, or 1, or -unsupported
; USES  scratch but r8
nvme_arm:
                mov     edi, [rsi + NVME_NUMBER]
                call    ring_route
                mov     rdi, [rsi + ring.entry_control]
                xor     eax, eax
                mov     [rdi], eax              ; unmasked
                mov     byte [rsi + NVME_ARMED], 1
                mov     ecx, [rsi + ring.used_index]
                cmp     eax, [rsi + rcx * 8 + nvme_queue.completions + nvme_completion.id]
                adc     eax, eax                ; not 0: a new one
                ret
