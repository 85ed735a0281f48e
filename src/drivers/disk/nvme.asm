; NVMe: each active namespace is a disk, and has its share of the controller's I/O queues.
;
; A queue's memory comes from the program: depth * 1,024 bytes, d being the depth,
;
;     0      submission queue     2 d commands of 64 bytes
;     128 d  slots                16 bytes for each operation in flight: its completion, should it succeed
;     192 d  struct ring, and behind its address the offsets of the free slots, 16 bits each
;     256 d  completion queue     2 d completions of 16 bytes
;     512 d  page lists           512 bytes for each slot
;
; The queues have twice the depth, so that neither is ever full. A command's identifier is its slot's offset. A slot that
; is not in flight is marked as free: whatever a device completes, none is freed twice.
;
; Admin commands are given one at a time, when a disk is opened or closed: disks of one controller are not opened or
; closed by two cores at once. A controller that does not answer one is disabled, which takes its queues from all its
; disks; the next disk that is opened enables it again.
;
; SPEC  NVM Express 1.4 §3.1 (registers), §4 (queues), §4.3 (page lists), §5 (admin commands), §6 (NVM commands), §7.6.1

NVME_CLASS              equ 0x010802
NVME_REGISTERS_BYTES    equ 0x2000              ; at least
NVME_CAP_UNUSABLE       equ 0x000f000f          ; upper half: doorbells that are not packed, pages of more than 4 KiB
NVME_CAP_TIMEOUT_US     equ 500000
NVME_CC_ENABLE          equ 4 << 20 | 6 << 16 | 1       ; completions of 16 bytes, commands of 64
NVME_ADMIN_DELETE_SQ    equ 0
NVME_ADMIN_CREATE_SQ    equ 1
NVME_ADMIN_DELETE_CQ    equ 4
NVME_ADMIN_CREATE_CQ    equ 5
NVME_ADMIN_IDENTIFY     equ 6
NVME_ADMIN_SET_FEATURES equ 9
NVME_FEATURE_QUEUES     equ 7
NVME_FLUSH              equ 0
NVME_WRITE              equ 1
NVME_READ               equ 2
NVME_ZERO               equ 8
NVME_DEPTH_SHIFT        equ 10
NVME_DEPTH_MAX          equ 128                 ; half of what every controller's queues can have
NVME_LIST_SHIFT         equ 9
NVME_BYTES_MAX          equ (1 << NVME_LIST_SHIFT) / 8 * PAGE_BYTES     ; of an operation: the first page and a full list
NVME_PHASE_BIT          equ 16                  ; in the last dword of a completion
NVME_STATUS_SHIFT       equ 17                  ; likewise
NVME_IDENTIFIED         equ CORE_END_PHYS       ; namespace, controller, list of namespaces: pages that are free at boot

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

; A controller: two pages, of which the first begins with the admin submission queue and the second with the completion
; queue. Both have two entries. Routines have the address of this struct, behind the commands.
struc nvme_controller, -(2 << NVME_COMMAND_SHIFT)
.commands:              resb 2 << NVME_COMMAND_SHIFT
.function:              resd 1
.patience_us:           resd 1
.registers:             resq 1
.next:                  resd 1                  ; offset of the command to give next; below 0: it has to be enabled
                        resb PAGE_BYTES - 20 - (2 << NVME_COMMAND_SHIFT)
.completions:
endstruc
NVME_ADMIN_ID_BIT       equ 16                  ; in the first dword of a command and the last one of a completion

; The driver's part of struct device, and of struct ring
struc nvme
                        resb device.own
.controller:            resq 1
.namespace:             resd 1
.first:                 resd 1                  ; its first queue
endstruc
NVME_LISTS              equ ring.op
NVME_PHASE              equ ring.data_flags     ; phase bit of the completions to come
NVME_READ_ALL           equ ring.op_free_end    ; first 8 bytes of a read command
NVME_ARMED              equ ring.bytes_min
NVME_MASK               equ ring.bytes_span     ; control word of its MSI-X entry

nvme_driver:                                    ; struct disk_driver
                dw      nvme_open - core_start_phys, nvme_close - core_start_phys
                dw      nvme_submit - core_start_phys, nvme_reap - core_start_phys
                dw      nvme_arm - core_start_phys

; -----------------------------------------------------------------------------
; Starts a controller and registers its namespaces.
;
; IN    r12  pci_record     rbp  near_variables
; USES  all but r12
nvme_start:
                mov     edi, [r12 + pci_record.function]
                call    pci_use
                movzx   r14d, word [r12 + pci_record.msix_count]
                sub     r14d, 2
                jb      .none
                movzx   esi, word [r12 + pci_record.msix]
                call    pci_get
                bts     eax, MSIX_ENABLE_BIT    ; or no queue can have an interrupt; its entries are masked
                call    pci_put
                mov     rsi, [r12 + pci_record.bar]
                cmp     dword [r12 + pci_record.bar_bytes], NVME_REGISTERS_BYTES
                jb      .none                   ; (ports have bit 0 set and are few)
                test    dword [rsi + nvme_registers.cap + 4], NVME_CAP_UNUSABLE
                jnz     .none
                mov     edx, [rsi + nvme_registers.cap]
                cmp     dx, 2 * NVME_DEPTH_MAX - 1      ; entries of a queue - 1
                jb      .none
                push    rdi
                mov     edi, 2 * PAGE_BYTES
                call    arena_take
                xchg    edi, eax
                xor     eax, eax
                push    (2 << NVME_COMMAND_SHIFT) / 4
                pop     rcx
                rep     stosd
                mov     ebx, edi
                pop     rax
                stosd                           ; function
                shr     edx, 24                 ; timeout
                inc     edx
                imul    eax, edx, NVME_CAP_TIMEOUT_US
                stosd                           ; patience_us
                xchg    rax, rsi
                stosq                           ; registers
                call    nvme_enable
                js      .none
                push    1                       ; the controller
                pop     rcx
                call    .identify
                push    2                       ; the active namespaces
                pop     rcx
                call    .identify
                mov     r13d, esi
                push    NVME_FEATURE_QUEUES
                pop     rcx
                mov     r9d, (DEVICE_QUEUES_MAX - 1) * 0x10001
                push    NVME_ADMIN_SET_FEATURES
                pop     rax
                call    .command
                movzx   eax, dx                 ; submission queues - 1; of the other kind there are no fewer
                cmp     eax, r14d
                cmova   eax, r14d
                push    DEVICE_QUEUES_MAX - 1
                pop     rdx
                cmp     eax, edx
                cmova   eax, edx
                inc     eax
                xor     r11d, r11d
.count:
                cmp     dword [r13 + r11 * 4], 1
                jb      .counted
                inc     r11d
                cmp     r11d, eax
                jb      .count
.counted:
                test    r11d, r11d
                jz      .none
                xor     edx, edx
                div     r11d
                xchg    r14d, eax               ; queues of each
                push    1
                pop     r15                     ; first queue
                jmp     .namespace

; Gives a command; if it fails, disables the controller and returns from nvme_start itself. .identify: IN ecx what, edx whose; OUT esi the answer.
.identify:
                lea     esi, [rcx + NVME_IDENTIFIED / PAGE_BYTES]
                shl     esi, 12
                push    NVME_ADMIN_IDENTIFY
                pop     rax
.command:
                push    rsi
                call    nvme_admin
                pop     rsi
                jns     .none
                pop     rax
                jmp     nvme_stop
.none:
                ret

.next:
                add     r13d, 4
                add     r15d, r14d
                dec     r11d
                jz      .none
.namespace:
                xor     ecx, ecx
                mov     edx, [r13]
                call    .identify
                mov     al, [rsi + 26]          ; the format it has
                and     eax, 15
                mov     ecx, [rsi + 128 + rax * 4]
                test    cx, cx
                jnz     .next                   ; with metadata
                shr     ecx, 16
                lea     eax, [rcx - 9]          ; the block's size, as a power of two
                cmp     al, 12 - 9
                ja      .next
                push    rbx
                push    rsi
                mov     edi, info + machine_info.disks
                call    device_add
                pop     rsi
                pop     rax                     ; the controller
                jc      .none
                inc     dword [rdi + list.count]
                mov     edi, [rbx + device.record]
                add     rbx, device.own
                mov     dword [rbx + device.driver - device.own], nvme_driver
                mov     [rbx + nvme.controller - device.own], rax
                mov     [rbx + nvme.first - device.own], r15d
                mov     edx, [r13]
                mov     [rbx + nvme.namespace - device.own], edx
                xchg    ebx, eax

                mov     edx, NVME_IDENTIFIED + PAGE_BYTES       ; of the controller
                add     edi, disk_record.features
                mov     al, [rdx + 520]         ; optional commands
                and     eax, 8                  ; write zeroes
                shr     eax, 2
                bt      dword [rdx + 525], 0    ; volatile write cache
                adc     eax, eax
                bt      dword [rsi + 99], 0     ; write protected
                adc     eax, eax                ; disk_can_zero, disk_write_cache, disk_read_only
                or      al, disk_pages
                stosd
                mov     rax, [rsi]
                stosq                           ; blocks
                push    1
                pop     rax
                shl     eax, cl
                stosd                           ; block_bytes
                movzx   eax, word [rsi + 46]    ; optimal boundary
                shl     eax, cl
                xchg    eax, esi
                push    NVME_BYTES_MAX / PAGE_BYTES
                pop     rax
                stosd                           ; entry_max
                mov     cl, [rdx + 77]          ; pages of a transfer, as a power of two
                shl     eax, 12
                dec     cl                      ; 0: any
                cmp     cl, 5
                jae     .bytes
                mov     eax, 2 * PAGE_BYTES
                shl     eax, cl
.bytes:
                stosd                           ; bytes_max
                push    3
                pop     rax
                stosd                           ; address_mask
                xchg    eax, esi
                stosd                           ; optimal_bytes
                lea     esi, [rdx + 24]
                push    40 / 4
                pop     rcx
                rep     movsd                   ; model
                lea     esi, [rdx + 4]
                mov     cl, 20 / 4
                rep     movsd                   ; serial
                mov     eax, r14d
                stosd                           ; queue_max
                mov     al, NVME_DEPTH_MAX      ; (there are fewer than 128 queues)
                stosd                           ; depth_max
                mov     ax, 1 << NVME_DEPTH_SHIFT
                stosd                           ; depth_bytes
                push    1
                pop     rax
                stosd                           ; interrupts
                jmp     .next

; -----------------------------------------------------------------------------
; Enables a controller, whatever state it is in; nvme_stop disables it, so that it leaves all memory alone.
;
; IN    rbx  controller
; OUT   rax  0, or -timeout; SF with it
; USES  rcx rdx rsi rdi r9
nvme_enable:
                call    nvme_stop
                js      nvme_wait.done
                mov     rdi, [rbx + nvme_controller.registers]
                mov     dword [rdi + nvme_registers.aqa], 0x10001       ; two entries each
                mov     [rbx + nvme_controller.next], eax
                lea     eax, [rbx + nvme_controller.commands]
                mov     [rdi + nvme_registers.asq], rax
                add     eax, PAGE_BYTES
                mov     [rdi + nvme_registers.acq], rax
                mov     dword [rdi + nvme_registers.cc], NVME_CC_ENABLE
                inc     r9d
                jmp     nvme_wait.ready
nvme_stop:
                mov     rdi, [rbx + nvme_controller.registers]
                xor     r9d, r9d
                mov     [rdi + nvme_registers.cc], r9d
nvme_wait.ready:
                add     rdi, nvme_registers.csts

; -----------------------------------------------------------------------------
; Waits until bit 0 of a dword is as wanted, for as long as the controller may take.
;
; IN    rdi  its address     r9b  bit 0: what it has to be     rbx  controller
; OUT   rax  0, or -timeout and the controller is named; SF with it     ecx  the dword, but for bit 0
; USES  rdx rsi, and rdi if the controller is named
nvme_wait:
                push    rdi
                mov     edi, [rbx + nvme_controller.patience_us]
                call    time_after
                pop     rdi
                xchg    rsi, rax
.again:
                call    time_now
                mov     ecx, [rdi]
                xor     cl, r9b
                test    cl, 1
                jz      .equal
                pause
                cmp     rax, rsi
                jb      .again
                or      dword [rbx + nvme_controller.next], -1
                mov     eax, [rbx + nvme_controller.function]
                jmp     device_silent
.equal:
                xor     eax, eax
.done:
                ret

; -----------------------------------------------------------------------------
; Gives an admin command and waits for its end. After one that was not answered, others fail until nvme_enable.
;
; IN    rbx  controller     eax opcode, edx namespace, rsi first page, ecx cdw10, r9d cdw11
; OUT   rax  0, or -io, -timeout; SF with it     edx  result
; USES  rcx rsi rdi r9
nvme_admin:
                mov     edi, [rbx + nvme_controller.next]
                test    edi, edi
                js      .io                     ; not enabled
                xor     byte [rbx + nvme_controller.next], nvme_command_size
                lea     edi, [rbx + rdi + nvme_controller.commands]
                bts     eax, NVME_ADMIN_ID_BIT
                stosd
                xchg    eax, edx
                stosd
                add     edi, nvme_command.prp1 - nvme_command.namespace - 4
                xchg    rax, rsi
                stosq
                add     edi, nvme_command.cdw10 - nvme_command.prp2
                xchg    eax, ecx
                stosd
                xchg    eax, r9d
                stosd
                mov     eax, [rbx + nvme_controller.next]
                shr     eax, NVME_COMMAND_SHIFT - COMPLETION_SHIFT
                lea     edi, [rbx + nvme_controller.completions + nvme_completion_size + nvme_completion.id]
                sub     edi, eax                ; where this one ends
                and     dword [rdi], 0          ; so that it is seen to come: its lowest bit is the identifier's
                shr     eax, COMPLETION_SHIFT
                mov     rsi, [rbx + nvme_controller.registers]
                mov     [rsi + nvme_registers.doorbells], eax
                push    rsi
                push    rax
                mov     r9b, 1
                call    nvme_wait
                pop     rdx
                pop     rsi
                js      nvme_wait.done
                mov     [rsi + nvme_registers.doorbells + 4], edx
                mov     edx, [rdi + nvme_completion.result - nvme_completion.id]
                shr     ecx, NVME_STATUS_SHIFT
                jz      nvme_wait.equal
.io:
                push    -error_io
                pop     rax
                test    eax, eax
                ret

; -----------------------------------------------------------------------------
; IN    r8 device, esi queues, edx depth, rcx memory
; OUT   rax 0, or -timeout, -io
nvme_open:
                mov     ebp, edx
                mov     r11, rcx
                mov     ebx, [r8 + nvme.controller]
                cmp     dword [rbx + nvme_controller.next], 0
                jns     .queue
                push    rsi
                call    nvme_enable
                pop     rsi
                js      nvme_wait.done
.queue:
                push    rsi
                mov     ecx, ebp
                shl     ecx, 6
                mov     r9d, ecx                ; 64 d
                mov     rdi, r11
                xor     eax, eax
                rep     stosq                   ; up to the page lists
                lea     r10, [r9 + r9 * 2]
                add     r10, r11                ; the ring
                mov     ecx, [r8 + device.queues]
                inc     dword [r8 + device.queues]
                lea     eax, [rcx + rcx]
                mov     [r8 + device.rings + rax * 8], r10
                add     ecx, [r8 + nvme.first]
                push    rdi
                lea     rdi, [r10 + ring]
                lea     eax, [r9 * 2 - 1]
                stosd                           ; mask
                mov     eax, r9d
                shr     eax, 2
                sub     eax, completion_size
                not     eax
                stosd                           ; not_slot
                mov     eax, ebp
                stosd                           ; free_end: free slots
                mov     eax, ecx
                stosd                           ; number
                mov     rax, [r8 + device.record]
                stosq                           ; record
                lea     rsi, [r11 + r9 * 4]
                mov     rax, rsi
                stosq                           ; used
                mov     rax, r11
                stosq                           ; desc
                lea     rdx, [r11 + r9 * 2]
                mov     rax, rdx
                stosq                           ; slots
                mov     rax, [rbx + nvme_controller.registers]
                lea     rax, [rax + rcx * 8 + nvme_registers.doorbells]
                stosq                           ; doorbell
                pop     rax
                stosq                           ; NVME_LISTS
                scasq                           ; stack
                push    NVME_READ
                pop     rax
                stosd                           ; NVME_READ_ALL
                mov     eax, [r8 + nvme.namespace]
                stosd
                mov     byte [r10 + NVME_PHASE + NVME_PHASE_BIT / 8], 1
                mov     rdi, r10
                xor     eax, eax
.slot:
                stosw
                or      dword [rdx + rax + completion.status], -1
                add     eax, completion_size
                test    [r10 + ring.not_slot], eax
                jz      .slot
                mov     r9d, ecx
                shl     r9d, 16                 ; its interrupt, later its completion queue
                mov     r9b, 3                  ; which is turned on; contiguous
                lea     eax, [rbp * 2 - 1]
                shl     eax, 16
                or      ecx, eax                ; entries - 1, queue
                push    NVME_ADMIN_CREATE_CQ
                call    .create
                mov     rsi, r11
                mov     r9b, 1
                push    NVME_ADMIN_CREATE_SQ
                call    .create
                mov     eax, ebp
                shl     eax, NVME_DEPTH_SHIFT
                add     r11, rax
                pop     rsi
                cmp     [r8 + device.queues], esi
                jb      .queue
                xor     eax, eax
                ret
.create:
                pop     rdx
                pop     rax
                push    rdx
                push    rcx
                push    r9
                xor     edx, edx
                call    nvme_admin
                pop     r9
                pop     rcx
                jns     .created
                pop     rdx
                pop     rsi
                push    rax
                call    nvme_close
                pop     rax
.created:
                ret

; -----------------------------------------------------------------------------
; Deletes the queues of a disk: what they had in flight is given up. One that is not there, since the controller was
; disabled meanwhile, is as good as deleted.
;
; IN    r8  device
; OUT   rax 0, or -timeout
nvme_close:
                push    rbx
                mov     ebx, [r8 + nvme.controller]
                mov     r11d, [r8 + device.queues]
                and     dword [r8 + device.queues], 0
.queue:
                dec     r11d
                js      .deleted
                lea     eax, [r11 + r11]
                mov     rsi, [r8 + device.rings + rax * 8]
                call    nvme_disarm
                push    NVME_ADMIN_DELETE_CQ
                push    NVME_ADMIN_DELETE_SQ
                pop     rax
                mov     ecx, [rsi + ring.number]
                push    rcx
                call    nvme_admin
                pop     rcx
                pop     rax
                call    nvme_admin
                jmp     .queue
.deleted:
                xor     eax, eax
                cmp     [rbx + nvme_controller.next], eax
                jns     .done
                call    nvme_stop
.done:
                pop     rbx
                ret

; -----------------------------------------------------------------------------
; IN    r8 device, esi ring, rdx ops, ecx count
; OUT   rax as disk_submit
nvme_submit:
                call    ring_begin
                mov     r8, [rsi + ring.record]
                jmp     .next
.op:
                sub     r9d, 1
                jb      .full
                call    disk_check
                jc      .refused
                mov     rbx, [rsi + ring.desc]
                add     rbx, r10
                movzx   ecx, word [rsi + r9 * 2]
                push    qword [rsi + NVME_READ_ALL]
                pop     qword [rbx + nvme_command.opcode]       ; and namespace
                mov     [rbx + nvme_command.id], cx
                push    qword [rdx + disk_op.cookie]
                pop     qword [rbp + rcx + completion.cookie]
                push    qword [rdx + disk_op.block]
                pop     qword [rbx + nvme_command.cdw10]
                mov     [rbx + nvme_command.cdw12], eax
                dec     dword [rbx + nvme_command.cdw12]        ; the field counts from 0
                imul    eax, [r8 + disk_record.block_bytes]
                shl     rax, 32
                mov     [rbp + rcx + completion.status], rax    ; and bytes
                cmp     byte [rdx + disk_op.kind], disk_write
                jae     .other
.pages:
                mov     rax, [rdx + disk_op.address]
                mov     [rbx + nvme_command.prp1], rax
                mov     ecx, [rdx + disk_op.bytes]
                add     rcx, rax
                or      ax, PAGE_BYTES - 1
                inc     rax
                cmp     rax, rcx
                jb      .list
                cmp     byte [rdx + disk_op.flags], 0
                jne     .list
                and     qword [rbx + nvme_command.prp2], 0
.queued:
                mov     rdx, rdi
                add     r10d, nvme_command_size
                and     r10d, [rsi + ring.mask]
.next:
                cmp     rdx, r11
                jb      .op
                jmp     .publish
.full:
                inc     r9d
.publish:
                mov     cl, ENTRY_SHIFT
                cmp     r10d, [rsi + ring.avail_index]
                je      .none
                mov     [rsi + ring.free_end], r9d
                mov     [rsi + ring.avail_index], r10d
                shr     r10d, NVME_COMMAND_SHIFT
                mov     rdi, [rsi + ring.doorbell]
                mov     [rdi], r10d
.none:
                jmp     ring_end

.other:
                mov     byte [rbx + nvme_command.opcode], NVME_WRITE
                mov     eax, 0                  ; (leaves the flags)
                mov     [rbp + rcx + completion.bytes], eax
                je      .pages
                mov     [rbx + nvme_command.prp1], rax
                mov     [rbx + nvme_command.prp2], rax
                mov     byte [rbx + nvme_command.opcode], NVME_ZERO
                cmp     byte [rdx + disk_op.kind], disk_zero
                je      .queued
                mov     [rbx + nvme_command.opcode], al         ; NVME_FLUSH
                mov     [rbx + nvme_command.cdw12], eax
                jmp     .queued

.list:                                          ; rax: the next page, rcx: end of the entry
                movzx   r8d, word [rbx + nvme_command.id]
                shl     r8d, NVME_LIST_SHIFT - COMPLETION_SHIFT
                add     r8, [rsi + NVME_LISTS]
                push    r8
.page:
                cmp     rax, rcx
                jae     .entry
                mov     [r8], rax
                add     r8, 8
                add     rax, PAGE_BYTES
                jmp     .page
.entry:
                add     rdx, disk_op_size
                cmp     rdx, rdi
                je      .listed
                test    cx, PAGE_BYTES - 1
                jnz     .range
                mov     rax, [rdx + disk_op.address]
                test    ax, PAGE_BYTES - 1
                jnz     .range
                mov     ecx, [rdx + disk_op.bytes]
                add     rcx, rax
                jmp     .page
.listed:
                pop     rax
                sub     r8, rax
                cmp     r8d, 8
                ja      .put
                mov     rax, [rax]              ; the second of two pages
.put:
                mov     [rbx + nvme_command.prp2], rax
                mov     r8, [rsi + ring.record]
                jmp     .queued

.range:
                pop     rax
                push    -error_range
                pop     rax
.refused:                                       ; the slots that were taken are free again
                movzx   ecx, word [rsi + r9 * 2]
                or      dword [rbp + rcx + completion.status], -1
                inc     r9d
                cmp     r9d, [rsi + ring.free_end]
                jne     .refused
                pop     rdx
                jmp     ring_leave

; -----------------------------------------------------------------------------
; IN    r8 device, esi ring, rdx completions, ecx count
; OUT   rax how many
nvme_reap:
                call    ring_begin
                call    nvme_disarm
                add     r11, rdx
                shr     r11, 1                  ; completions have half the bytes of what ring_begin counts in
                mov     rbx, [rsi + ring.used]
                mov     r10d, [rsi + ring.used_index]
                mov     r8d, [rsi + ring.mask]
                shr     r8d, NVME_COMMAND_SHIFT - COMPLETION_SHIFT
                jmp     .first
.next:
                mov     ecx, [rbx + r10 + nvme_completion.id]
                xor     ecx, [rsi + NVME_PHASE]
                movzx   eax, cx
                shr     ecx, 16                 ; status and phase: 0 if new and good
                test    cl, 1
                jnz     .done
                test    [rsi + ring.not_slot], eax
                jnz     .skip                   ; not to be believed
                cmp     dword [rbp + rax + completion.status], 0
                jne     .skip
                movups  xmm0, [rbp + rax]
                movups  [rdx], xmm0
                or      dword [rbp + rax + completion.status], -1
                mov     [rsi + r9 * 2], ax
                inc     r9d
                test    ecx, ecx
                jnz     .failed
.good:
                add     rdx, completion_size
.skip:
                add     r10d, completion_size
                and     r10d, r8d
                jz      .wrap
.first:
                cmp     rdx, r11
                jb      .next
.done:
                mov     [rsi + ring.free_end], r9d
                cmp     r10d, [rsi + ring.used_index]
                mov     [rsi + ring.used_index], r10d
                je      .none
                shr     r10d, COMPLETION_SHIFT
                mov     rdi, [rsi + ring.doorbell]
                mov     [rdi + 4], r10d
.none:
                mov     cl, COMPLETION_SHIFT
                jmp     ring_end
.failed:
                mov     eax, -error_io & 0xffffffff
                mov     [rdx + completion.status], rax          ; and no bytes
                jmp     .good
.wrap:
                btc     dword [rsi + NVME_PHASE], NVME_PHASE_BIT
                jmp     .first

; -----------------------------------------------------------------------------
; Lets a ring interrupt this core, unless work is there already.
;
; While its MSI-X entry is masked, a completion makes the entry pending, and it interrupts when it is unmasked. So whether
; a completion comes before the entry is unmasked, before the look at the queue or after it: it is seen here or
; interrupts. One that was polled while the entry was masked may interrupt too, once and for nothing.
;
; IN    r8 device, esi ring
; OUT   rax 0, or 1, or -unsupported
; USES  scratch but r8
nvme_arm:
                mov     rsi, [r8 + device.rings + rsi * 8]
                mov     edi, [rsi + ring.number]
                call    ring_route
                je      .routed
                sub     rdi, 4
                mov     [rsi + NVME_MASK], rdi
.routed:
                mov     rdi, [rsi + NVME_MASK]
                xor     eax, eax
                mov     [rdi], eax
                mov     byte [rsi + NVME_ARMED], 1
                mov     eax, [rsi + ring.used_index]
                add     rax, [rsi + ring.used]
                mov     eax, [rax + nvme_completion.id]
                xor     eax, [rsi + NVME_PHASE]
                shr     eax, NVME_PHASE_BIT
                and     eax, 1
                xor     al, 1
                ret

; Masks a ring's MSI-X entry if it is armed. IN rsi ring; uses rdi.
nvme_disarm:
                shr     byte [rsi + NVME_ARMED], 1
                jnc     .done
                mov     rdi, [rsi + NVME_MASK]
                mov     dword [rdi], 1
.done:
                ret
