; Exo16's core: the one file given to the assembler.
;
;   nasm -f bin -I. -DLOADER=bios src/x86-64/core.asm -o build/bios.bin
;
; LOADER is bios, uefi or pvh: what stands before the core. The core is the same in all, but that with pvh, which is
; DIRECT_BOOT: it has virtio over MMIO, since no other machines are without PCI, and no font, since those have no screen of
; pixels. The output is the beginning of every image of that kind. It may have 16,384 bytes.
; Read src/x86-64/memory.inc beside this page: it draws where everything lies.

                default rel
%include "src/x86-64/contract.inc"
%include "src/x86-64/memory.inc"
%include "src/x86-64/cpu.inc"
%include "bootloader/handoff.inc"
%include "bootloader/serial.inc"

EXIT_PORT       equ 0xf4                        ; isa-debug-exit of QEMU
STATUS_PORT     equ 0xf5                        ; the same status, all eight bits, for the run script
EXIT_BOOT       equ 120                         ; status: the machine or the image is not fit to run
EXIT_FAULT      equ 128                         ; status: plus the vector of the fault

                section .loader start=0 vstart=LOADER_ %+ LOADER %+ _VSTART
loader_start:
%ifidn LOADER, bios
%include "bootloader/mbr.asm"
%include "bootloader/bios.asm"
%include "bootloader/rsdp.asm"
%elifidn LOADER, uefi
%include "bootloader/uefi.asm"
%elifidn LOADER, pvh
%define DIRECT_BOOT
%include "bootloader/pvh.asm"
%include "bootloader/rsdp.asm"
%else
%error LOADER is none of bios, uefi, pvh
%endif
loader_end:

                section .core follows=.loader vstart=CORE_PHYS align=1
core_start_phys:

; --- Header and calls, of which core_entry makes what programs know at table_address (doc/abi.md) ---
; Routines are named by 16-bit offsets from here.
table_start:
                dq table_magic                  ; struct table_header
                dd table_revision
                dd CALL_COUNT
%define EXO_CALL(slot, name, ret, args, doc) dw name - core_start_phys
call_offsets:
%include "api/abi/calls.inc"
CALL_COUNT          equ ($ - call_offsets) / 2

; --- What core_entry does, in this order ---
; IN    rbx handoff, rbp near_variables
%define STEP(name) dw name - core_start_phys
                STEP(console_init)
                STEP(elf_check)                 ; the program's ELF header, segments and stack size
                STEP(acpi_find)                 ; tables
                STEP(memory_init)               ; the arena
                STEP(trap_init)                 ; IDT; its entries go behind the text while that is writable
                STEP(page_init)                 ; identity map
                STEP(lapic_init)
                STEP(core_create_first)         ; this core's block, stacks and descriptor tables
                STEP(screen_init)               ; pixels, now that they can be reached wherever they are
                STEP(time_start)                ; first sample of the clocks; the last is taken after all else
                STEP(acpi_cores)                ; a block for every other core
                STEP(smp_start)                 ; they come up while this core goes on
                STEP(pci_init)                  ; all functions, and the drivers of those that have one
%ifdef DIRECT_BOOT
                STEP(virtio_mmio_start)         ; devices that the loader or ACPI names
%endif
                STEP(time_finish)               ; TSC and timer rates
                STEP(smp_wait)
                STEP(elf_load)                  ; segments to their places, with their access
                STEP(info_finish)               ; free RAM, command line; read-only from here
                STEP(elf_enter)

; --- Start: from the boot loader's handoff to the program ---
; IN    ebx  handoff; 64-bit mode, first 4 GiB mapped to themselves, interrupts off
                bits 64
core_entry:
                mov     esp, BOOT_STACK_PHYS
                call    time_now
                push    rax
                mov     edi, CORE_DATA_PHYS
                mov     ecx, CORE_DATA_BYTES / 8
                xor     eax, eax
                rep     stosq                   ; the variables
                pop     qword [info + machine_info.start_tsc]

                mov     edi, CORE_DATA_PHYS
                mov     esi, table_start
                movsq
                movsq
                mov     eax, info
                stosq
                scasq                           ; reserved
                mov     cl, CALL_COUNT
.call:
                mov     eax, CORE_PHYS          ; its low 16 bits are 0
                lodsw
                stosq
                loop    .call
.step:                                          ; the steps follow the calls
                mov     eax, CORE_PHYS
                lodsw
                push    rsi
                push    rbx
                mov     ebp, near_variables
                call    rax
                pop     rbx
                pop     rsi
                jmp     .step

%include "src/x86-64/mode.asm"                  ; real mode to long mode, for every core
%include "src/x86-64/system.asm"                ; power, reset, errors, sentences
%include "src/x86-64/console.asm"               ; serial port and screen
%include "src/x86-64/font.inc"
%include "src/x86-64/memory.asm"                ; firmware memory map, arena, info lists
%include "src/x86-64/page.asm"                  ; page tables, mem_ calls
%include "src/x86-64/acpi.asm"                  ; firmware tables
%include "src/x86-64/lapic.asm"                 ; local APIC
%include "src/x86-64/time.asm"                  ; TSC rate, timer
%include "src/x86-64/smp.asm"                   ; cores: create, start, wake, idle
%include "src/x86-64/trap.asm"                  ; events, faults, reports
%include "src/x86-64/pci.asm"                   ; configuration space
%include "src/x86-64/irq.asm"                   ; interrupts of devices
%include "src/x86-64/elf.asm"                   ; the program
%include "src/x86-64/device.asm"                ; NIC and disk calls, to their drivers
%include "src/drivers/drivers.inc"              ; which driver for which PCI function
%include "src/drivers/virtio.asm"               ; virtio over PCI: discovery, open, close, rings
%include "src/drivers/virtio_ring.asm"          ; the rings at work
%include "src/drivers/ring.asm"                 ; what rings of drivers have in common
%include "src/drivers/virtio_registers.asm"     ; over PCI or MMIO
%include "src/drivers/virtio_mmio.asm"          ; virtio over MMIO
%include "src/drivers/net/virtio_net.asm"
%include "src/drivers/net/e1000.asm"
%include "src/drivers/disk/disk.asm"             ; what all disk drivers check
%include "src/drivers/disk/virtio_blk.asm"
%include "src/drivers/disk/nvme.asm"
%include "src/drivers/disk/ahci.asm"
core_end:

                absolute 0                      ; the assembler refuses to reserve a negative count: all of it fits
                resb    IMAGE_CORE_BYTES - (loader_end - loader_start) - (core_end - core_start_phys)
                resb    CORE_TEXT_BYTES - (core_end - core_start_phys) - IDT_GATES * TRAP_STUB_BYTES    ; and what trap_init writes

%include "src/x86-64/data.inc"                  ; the variables
