; virtio over MMIO: devices of virtual machine monitors without PCI. The loader has them from the command line (PVH); or,
; where it has none and there is no PCI, they stand in the ACPI table DSDT:
;
;       Name (_HID, "LNRO0005") ... Memory32Fixed (ReadWrite, 0xfeb00e00, 0x200)
;
; Such a device passes as a PCI function of virtio's with one BAR, its registers; its interrupt is a GSI.
; SPEC  virtio 1.2 §4.2 (virtio over MMIO); ACPI 6.5 §6.4.3.4 (32-bit fixed memory), §6.4.3.6 (extended interrupt)

VIRTIO_MMIO_MAGIC       equ "virt"
VIRTIO_MMIO_VERSION     equ 2
VIRTIO_MMIO_DOORBELL    equ 0x50
VIRTIO_MMIO_ISR         equ 0x64                ; InterruptACK
VIRTIO_ISR_ALL          equ 3
VIRTIO_MMIO_BYTES       equ 512
MMIO_GSI                equ pci_record.class_revision   ; of such a device's record; 0: it has no interrupt
VIRTIO_MMIO_CONFIG      equ 0x100
VIRTIO_PCI_DEVICE       equ 0x1040              ; a device's PCI number, less its kind
ACPI_MEMORY_32          equ 0x000986            ; tag and length
ACPI_MEMORY_32_BYTES    equ 12
ACPI_INTERRUPT          equ 0x89                ; tag; after flags and count the first number

%ifdef DIRECT_BOOT
; -----------------------------------------------------------------------------
; Starts the drivers of all such devices.
;
; IN    rbx  handoff      rbp  near_variables
; USES  all
virtio_mmio_start:
                mov     r13d, [rbx + handoff.mmio_count]
                mov     ebx, [rbx + handoff.mmio]
.next:
                dec     r13d
                js      .listed
                mov     rdi, [rbx + handoff_mmio.address]
                mov     esi, [rbx + handoff_mmio.interrupt]
                add     ebx, handoff_mmio_size
                push    r13
                call    .add
                pop     r13
                jmp     .next
.listed:
                call    acpi_dsdt
                jrcxz   .no_table
                mov     eax, [VAR(info + machine_info.pci + list.count)]
                or      eax, [mmio_record + pci_record.function]
                jnz     .no_table               ; there is PCI, or the loader had some
                mov     ebx, ecx
                mov     r13d, [rbx + acpi_table.length]
                add     r13d, ebx
.byte:
                inc     ebx
                cmp     ebx, r13d
                jae     .no_table
                mov     rax, "LNRO0005"
                cmp     [rbx], rax
                jne     .byte
.resource:
                inc     ebx
                cmp     ebx, r13d
                jae     .no_table
                mov     eax, [rbx]
                shl     eax, 8
                cmp     eax, ACPI_MEMORY_32 << 8
                jne     .resource
                mov     edi, [rbx + 4]
                xor     esi, esi
                cmp     byte [rbx + ACPI_MEMORY_32_BYTES], ACPI_INTERRUPT
                jne     .no_interrupt
                mov     esi, [rbx + ACPI_MEMORY_32_BYTES + 5]
.no_interrupt:
                push    r13
                call    .add
                pop     r13
                jmp     .byte
.no_table:
                ret

; Starts the driver of the device at rdi, with interrupt esi. Uses all but rbx.
.add:
                mov     edx, mmio_record
                or      dword [rdx + pci_record.function], -1
                mov     [rdx + pci_record.bar], rdi
                mov     [rdx + MMIO_GSI], esi
                mov     rax, rdi
                shr     rax, 32
                jnz     .bad                    ; not mapped
                test    edi, VIRTIO_MMIO_BYTES - 1
                jnz     .bad
                call    page_find
                test    al, PTE_PRESENT
                jz      .bad                    ; page 0, or below a stack
                cmp     dword [rdi], VIRTIO_MMIO_MAGIC
                jne     .bad
                cmp     dword [rdi + 4], VIRTIO_MMIO_VERSION
                jne     .bad
                mov     eax, [rdi + 8]          ; kind
                shl     eax, 16
                add     eax, VIRTIO_PCI_DEVICE << 16 | 0x1af4
                mov     [rdx + pci_record.vendor], eax
                mov     r12d, edx
                push    rbx
                mov     ebp, near_variables
                call    drivers_start
                pop     rbx
                ret
.bad:
                push    rdi
                call    system_say
                db      EXO16, "no virtio 1 device at", 0
                pop     rax
                call    console_hex
                mov     al, 10
                jmp     console_put
%endif
