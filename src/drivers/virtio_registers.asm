; virtio's registers: in another order and width over PCI than over MMIO, and the same to the driver.
;
; SPEC  virtio 1.2 §4.1.3 (access over PCI), §4.1.4.3 (common configuration), §4.2.2 (registers over MMIO)

struc virtio_common
.device_select:         resd 1
.device_features:       resd 1
.driver_select:         resd 1
.driver_features:       resd 1
.config_vector:         resw 1
.queues:                resw 1
.status:                resb 1
                        resb 1
.queue:                 resw 1
.queue_size:            resw 1
.queue_vector:          resw 1
.queue_enable:          resw 1
.queue_notify:          resw 1
.queue_desc:            resq 1
.queue_avail:           resq 1
.queue_used:            resq 1
endstruc

; A register: its offset in struct virtio_common, and over MMIO its number, a quarter of its offset there (§4.2.2).
REG_DEVICE_SELECT       equ virtio_common.device_select | 0x14 / 4 << 8
REG_DEVICE_FEATURES     equ virtio_common.device_features | 0x10 / 4 << 8
REG_DRIVER_SELECT       equ virtio_common.driver_select | 0x24 / 4 << 8
REG_DRIVER_FEATURES     equ virtio_common.driver_features | 0x20 / 4 << 8
REG_STATUS              equ virtio_common.status | 0x70 / 4 << 8
REG_QUEUE               equ virtio_common.queue | 0x30 / 4 << 8
REG_QUEUE_MAX           equ virtio_common.queue_size | 0x34 / 4 << 8
REG_QUEUE_SIZE          equ virtio_common.queue_size | 0x38 / 4 << 8
REG_QUEUE_VECTOR        equ virtio_common.queue_vector | 0x30 / 4 << 8  ; over MMIO selects the queue once more
REG_QUEUE_ENABLE        equ virtio_common.queue_enable | 0x44 / 4 << 8
REG_QUEUE_NOTIFY        equ virtio_common.queue_notify | 0x34 / 4 << 8  ; over MMIO the doorbell is one for all
REG_QUEUE_DESC          equ virtio_common.queue_desc | 0x80 / 4 << 8
REG_QUEUE_AVAIL         equ virtio_common.queue_avail | 0x90 / 4 << 8
REG_QUEUE_USED          equ virtio_common.queue_used | 0xa0 / 4 << 8
MMIO                    equ 1                   ; in addresses of registers: over MMIO, the register is one byte below

; -----------------------------------------------------------------------------
; Finds the register whose constant follows the call of virtio_get, virtio_put, virtio_put_address, and sees that they
; return behind it.
;
; IN    rbx  common
; OUT   rdx  its address      CF set if it has 32 bits, ZF if it has 8: over MMIO all have 32
virtio_register:
                mov     rdx, [rsp + 8]
                add     qword [rsp + 8], 2
                movzx   edx, word [rdx]
%ifdef DIRECT_BOOT
                test    bl, MMIO
                jnz     .mmio
%endif
                movzx   edx, dl
                cmp     edx, virtio_common.status
                lea     rdx, [rbx + rdx]
                ret
%ifdef DIRECT_BOOT
.mmio:
                movzx   edx, dh
                lea     rdx, [rbx + rdx * 4 - MMIO]
                stc
                ret
%endif

; -----------------------------------------------------------------------------
; Writes the device's status.
;
; IN    r9b  status     rbx  common
; OUT   rdx  address of the status
; USES  rax
virtio_say:
                movzx   eax, r9b
                call    virtio_put
                dw      REG_STATUS
                ret

; -----------------------------------------------------------------------------
; Writes a register, as wide as it is.
;
; IN    eax  value      rbx  common      behind the call: dw register
; OUT   rdx  its address
virtio_put:
                call    virtio_register
                jc      .wide
                je      .byte
                mov     [rdx], ax
                ret
.byte:
                mov     [rdx], al
                ret
.wide:
                mov     [rdx], eax
                ret

; -----------------------------------------------------------------------------
; Writes an address to a register and the next one.
;
; IN    rax  address    rbx  common      behind the call: dw register
; USES  rdx
virtio_put_address:
                call    virtio_register
                push    rax
                mov     [rdx], eax
                shr     rax, 32
                mov     [rdx + 4], eax
                pop     rax
                ret

; -----------------------------------------------------------------------------
; Reads a register of 16 or 32 bits.
;
; IN    rbx  common     behind the call: dw register
; OUT   eax
; USES  rdx
virtio_get:
                call    virtio_register
                jc      .wide
                movzx   eax, word [rdx]
                ret
.wide:
                mov     eax, [rdx]
                ret
