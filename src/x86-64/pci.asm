; PCI: configuration space, and all functions with their BARs.
;
; SPEC  PCI Local Bus 3.0 §3.2.2.3.2 (ports), §6.2.5.1 (BAR size), §6.8 (MSI, MSI-X); PCI Express 5.0 §7.2.2 (ECAM)

PCI_PORT_ADDRESS    equ 0xcf8
PCI_PORT_DATA       equ 0xcfc
PCI_COMMAND         equ 4
PCI_COMMAND_DECODE  equ 3                       ; I/O and memory
PCI_COMMAND_MASTER  equ 4
PCI_COMMAND_USE     equ 6                       ; memory and bus master
PCI_COMMAND_NO_INTX equ 1 << 10
PCI_STATUS_LIST_BIT equ 16 + 4                  ; in the dword of command and status
PCI_BAR             equ 0x10
PCI_BRIDGE_BUSES    equ 0x18                    ; primary, secondary, subordinate
PCI_CAPABILITIES    equ 0x34
PCI_INTERRUPT       equ 0x3c                    ; line and pin
PCI_CAPABILITY_MAX  equ 48                      ; so many fit; a list with a loop ends
PCI_CAP_MSIX        equ 0x11
PCI_MSIX_COUNT      equ 0x7ff << 16             ; less 1; in the dword of capability and control
PCI_PORTS_BYTES     equ 256                     ; of a function's space
PCI_ECAM_SHIFT      equ 12
PCI_BUS_SHIFT       equ 8                       ; 32 devices of 8 functions

; -----------------------------------------------------------------------------
; Lists the functions of every bus that a bridge leads to, and starts the drivers of those that have one.
;
; IN    rbp  near_variables
; USES  all
pci_init:
                mov     ecx, [VAR(acpi_mcfg)]
                jrcxz   .ports
                cmp     dword [rcx + acpi_table.length], MCFG_ENTRIES + 16
                jb      .ports
                mov     eax, [rcx + MCFG_ENTRIES + 8]   ; segment, first bus, last bus
                shl     eax, 8
                jnz     .ports                  ; not segment 0 from bus 0
                movzx   edx, byte [rcx + MCFG_ENTRIES + 11]
                inc     edx
                shl     edx, PCI_BUS_SHIFT
                mov     [pci_ecam_end], edx
                mov     rdi, [rcx + MCFG_ENTRIES]
                mov     [pci_ecam], rdi
                or      byte [VAR(info + machine_info.features)], machine_ecam
                shl     edx, PCI_ECAM_SHIFT
                push    access_read | access_write | access_uncached
                pop     rcx
                call    page_access_own
.ports:
                mov     byte [VAR(pci_last)], 0xff      ; bus 0
                xor     edi, edi
.function:                                      ; edi: bus, device, function
                xor     esi, esi
                call    pci_get
                cmp     ax, -1
                je      .absent
                call    pci_found
                js      .next                   ; there are more functions than this
.absent:
                test    dil, 7
                jnz     .next
                or      edi, 7                  ; the other functions are not there either
.next:
                inc     edi
                cmp     edi, [VAR(pci_last)]
                jbe     .function
                ret

; -----------------------------------------------------------------------------
; Lists a function with its BARs, quiet until its driver starts it.
;
; IN    edi  function      eax  its vendor and device      esi  0, their offset      rbp  near_variables
; OUT   SF   set if its device has more functions
; USES  all but rdi, rbp
pci_found:
                push    rdi
                push    rax
                lea     edi, [VAR(info + machine_info.pci)]
                push    pci_record_size
                pop     rcx
                call    info_append
                xchg    eax, ebx
                pop     qword [rbx + pci_record.vendor]
                pop     rdi
                mov     [rbx + pci_record.function], edi
                call    pci_next                ; PCI_COMMAND
                push    rax
                and     eax, 0xffff & ~PCI_COMMAND_DECODE       ; status bits are left alone: 0 clears none
                call    pci_put
                call    pci_next
                mov     [rbx + pci_record.class_revision], eax
                call    pci_next                ; and, in the third byte, header type
                shr     eax, 16
                push    rax
                push    PCI_BAR + 5 * 4
                pop     r14                     ; last BAR
                and     al, 0x7f
                jz      .bar
                mov     r14b, PCI_BAR - 4
                dec     al
                jnz     .bar
                mov     r14b, PCI_BAR + 1 * 4
                mov     sil, PCI_BRIDGE_BUSES
                call    pci_get
                mov     sil, PCI_BAR - 4
                shr     eax, 16 - PCI_BUS_SHIFT
                mov     al, 0xff
                movzx   eax, ax                 ; last function of the last bus behind the bridge
                cmp     eax, [VAR(pci_last)]
                jbe     .bar
                mov     [VAR(pci_last)], eax
.bar:                                           ; the one behind esi
                cmp     esi, r14d
                jae     .bars_done
                lea     r8d, [rbx + rsi * 2 + pci_record.bar - (PCI_BAR - 4) * 2]
                call    .size
                test    edx, edx
                jz      .bar                    ; absent
                push    ~15                     ; bits that are address
                pop     rcx
                test    al, 1
                jnz     .io
                test    al, 4
                jz      .narrow
                cmp     esi, r14d
                je      .narrow
                push    rax                     ; the upper half, which is the next
                push    rdx
                call    .size
                shl     rdx, 32
                shl     rax, 32
                pop     r9
                or      rdx, r9
                pop     r9
                or      rax, r9
                jmp     .wide
.io:
                mov     cl, ~3 & 0xff
                movsx   edx, dx                 ; 16 bits of port addresses may be wired
.narrow:
                movsxd  rdx, edx
.wide:
                and     rax, rcx
                and     rdx, rcx                ; minus the size
                mov     [r8], rax
                shr     ecx, 2
                and     ecx, 1                  ; of ~3 and ~15: 1 for ports
                sub     rcx, rdx
                mov     [r8 + pci_record.bar_bytes - pci_record.bar], rcx
                mov     rcx, rax
                shr     rcx, 32
                jz      .bar                    ; below 4 GiB all is mapped
                push    rdi
                push    rsi
                xchg    rax, rdi
                neg     rdx
                push    access_read | access_write | access_uncached
                pop     rcx
                call    page_access_own
                pop     rsi
                pop     rdi
                jmp     .bar
.bars_done:
                pop     rcx
                pop     rax
                push    rcx
                cwde
                mov     dl, [rbx + pci_record.class_revision + 3]
                dec     dl
                cmp     dl, 2                   ; storage and network: transfers that the firmware began would go on into
                jae     .not_busy               ; RAM that is free now
                and     al, ~PCI_COMMAND_MASTER
.not_busy:
                push    PCI_COMMAND
                pop     rsi
                call    pci_put
                mov     dl, PCI_CAP_MSIX
                xor     esi, esi
                call    pci_capability
                jc      .driver
                and     eax, PCI_MSIX_COUNT
                add     eax, 1 << 16
                or      eax, esi
                mov     [rbx + pci_record.msix], eax    ; and msix_count
.driver:
                push    rdi
                push    rbp
                mov     r12d, ebx
                call    drivers_start
                pop     rbp
                pop     rdi
                pop     rax
                test    al, al                  ; header type
                ret

; The next BAR: eax its value, edx what it reads after all ones were written. Raises esi.
.size:
                call    pci_next
                push    rax
                or      eax, -1
                call    pci_put
                call    pci_get
                xchg    eax, edx
                pop     rax
                jmp     pci_put

; -----------------------------------------------------------------------------
; Finds the next capability of a kind.
;
; IN    edi  function      dl  kind      esi  offset of the one before, 0: from the first
; OUT   esi  offset, eax its first dword; CF set if there is none
; USES  rcx
pci_capability:
                push    PCI_CAPABILITY_MAX
                pop     rcx
                test    esi, esi
                jnz     .next
                call    pci_next                ; PCI_COMMAND
                shl     eax, 32 - PCI_STATUS_LIST_BIT
                jnc     .none
                mov     sil, PCI_CAPABILITIES
                call    pci_get
                jmp     .offset
.next:
                call    pci_get
                shr     eax, 8
.offset:
                movzx   esi, al
                and     esi, ~3
                jz      .none
                call    pci_get
                cmp     al, dl
                je      .found
                loop    .next
.none:
                stc
.found:
                ret

; -----------------------------------------------------------------------------
; Reads or writes a dword of configuration space; pci_next and pci_put_next the next one.
;
; IN    edi  function      esi  offset, a multiple of 4      eax  value (pci_put)
; OUT   eax  value (pci_get)      esi  raised by 4 (pci_next, pci_put_next)
; USES  none but flags
pci_next:
                add     esi, 4
pci_get:
                push    rdx
                call    pci_place
                jc      .port
                mov     eax, [rdx]
                pop     rdx
                ret
.port:
                in      eax, dx
                pop     rdx
                ret
pci_put_next:
                add     esi, 4
pci_put:
                push    rdx
                call    pci_place
                jc      .port
                mov     [rdx], eax
                pop     rdx
                ret
.port:
                out     dx, eax
                pop     rdx
                ret

; -----------------------------------------------------------------------------
; As pci_use, for a driver whose registers lie in one BAR. Returns from the driver's start routine itself if that is none of
; memory, too small, or nowhere.
;
; IN    edi  function      r12  pci_record      behind the call: dw PCI_REGISTERS(BAR, least size as a power of two)
; OUT   rsi  the BAR's address
; USES  rax rcx
%define PCI_REGISTERS(bar, shift) pci_record.bar + (bar) * 8 | (shift) << 8
pci_use_registers:
                pop     rsi
                lodsw
                push    rsi
                movzx   esi, al
                mov     cl, ah
                add     esi, r12d
                mov     eax, [rsi + pci_record.bar_bytes - pci_record.bar]
                shr     eax, cl                 ; (ports have bit 0 set and are few)
                jz      .none
                mov     rcx, [rsi]
                jrcxz   .none
                push    rcx
                call    pci_use
                pop     rsi
                ret
.none:
                pop     rax
                ret

; -----------------------------------------------------------------------------
; Lets a function answer at its memory BARs, be a bus master, and pull its interrupt line.
;
; IN    edi  function
; USES  rax rsi
pci_use:
                push    PCI_COMMAND
                pop     rsi
                call    pci_get
                cwde                            ; no status bits: written ones would clear them
                or      al, PCI_COMMAND_USE
                and     ah, ~PCI_COMMAND_NO_INTX >> 8 & 0xff
                jmp     pci_put

; -----------------------------------------------------------------------------
; Where a register of configuration space is.
;
; IN    edi  function      esi  offset
; OUT   rdx  its address; or CF set, the address port written, and dx its data port
pci_place:
                cmp     edi, [pci_ecam_end]
                jae     .port
                mov     edx, edi
                shl     rdx, PCI_ECAM_SHIFT
                add     rdx, rsi
                add     rdx, [pci_ecam]
                ret
.port:
                push    rax
                mov     eax, edi
                shl     eax, 8
                or      eax, esi
                and     al, ~3
                bts     eax, 31
                mov     dx, PCI_PORT_ADDRESS
                out     dx, eax
                mov     eax, esi
                or      al, PCI_PORT_DATA & ~3 & 0xff   ; and the byte in the dword
                mov     dl, al
                pop     rax
                stc
                ret

; -----------------------------------------------------------------------------
; Checks the arguments of a call, and takes the lock with interrupts off: address and data port belong together.
; Returns from the call itself if an argument is bad.
;
; IN    edi function, esi offset, edx width
; OUT   r11  flags to give back
; USES  rcx, upper half of rsi
pci_begin:
                cmp     edi, [pci_last]
                ja      .no_such
                mov     ecx, 1 << PCI_ECAM_SHIFT
                cmp     edi, [pci_ecam_end]
                jb      .limit
                mov     ch, PCI_PORTS_BYTES >> 8
.limit:
                cmp     esi, ecx
                jae     .range
                lea     ecx, [rdx - 1]
                cmp     ecx, 4
                jae     .range
                test    ecx, edx                ; a power of two
                jnz     .range
                mov     esi, esi
                test    ecx, esi
                jnz     .range

; Takes the lock with interrupts off; pci_end gives it back. r11: flags.
pci_take:
                pushfq
                pop     r11
                cli
.again:
                pause
                lock bts dword [pci_lock], 0
                jc      .again
                ret
pci_begin.range:
                pop     rax
                push    -error_range
                pop     rax
                ret
pci_begin.no_such:
                pop     rax
                push    -error_no_such
                pop     rax
                ret

; -----------------------------------------------------------------------------
; i64 pci_write(u32 function, u32 offset, u32 width, u32 value)         slot 14
;
; IN    as pci_read, and ecx  value
; OUT   rax  0, or -no_such, -range
; USES  scratch       CORE any       IRQ any
pci_write:
                mov     eax, ecx
                call    pci_begin
                mov     ecx, edx
                call    pci_place
                jc      .port
                cmp     cl, 2
                jb      .byte
                jne     .dword
                o16                             ; a prefix: makes the next one store ax
.dword:
                mov     [rdx], eax
                jmp     .done
.byte:
                mov     [rdx], al
                jmp     .done
.port:
                cmp     cl, 2
                jb      .port_byte
                jne     .port_dword
                o16
.port_dword:
                out     dx, eax
                jmp     .done
.port_byte:
                out     dx, al
.done:
                xor     eax, eax
                jmp     pci_end

; -----------------------------------------------------------------------------
; i64 pci_read(u32 function, u32 offset, u32 width)                     slot 13
;
; IN    edi  function    bus up to the highest that a bridge leads to, segment 0
;       esi  offset      a multiple of width, below 4096, or 256 where only ports reach the space
;       edx  width       1, 2 or 4 bytes
; OUT   rax  value; all ones where there is no function; or -no_such, -range
; USES  scratch       CORE any       IRQ any
pci_read:
                call    pci_begin
                mov     ecx, esi
                and     esi, ~3                 ; the dword, also for a part of it: reads have no side effects here
                call    pci_get
                shl     ecx, 3                  ; (shifts take it modulo 32)
                shr     eax, cl
                imul    ecx, edx, -8            ; 32 - bits
                shl     eax, cl
                shr     eax, cl

; Ends what pci_begin began.
pci_end:
                mov     byte [pci_lock], 0
                push    r11
                popfq
                ret
