; ACPI's root pointer where a BIOS leaves it, for the loaders that a BIOS may have left it to.
; SPEC  ACPI 6.5 §5.2.5.1

BDA_EBDA            equ 0x40e                   ; BIOS data area: segment of the extended one
RSDP_CHECKED_BYTES  equ 20

; -----------------------------------------------------------------------------
; Looks in the extended BIOS data area, then in the BIOS itself.
;
; IN    32-bit protected mode, flat data segments, a stack
; OUT   edi  root pointer, 0 if there is none
; USES  eax ebx ecx
                bits 32
rsdp_find:
                movzx   edi, word [BDA_EBDA]
                shl     edi, 4
                lea     ebx, [edi + 1024 - 16]
                call    .scan
                je      .done
                mov     ebx, 0xffff0            ; most have it in the upper half
.half:
                lea     edi, [ebx - 0xfff0]
                call    .scan
                je      .done
                btr     ebx, 16                 ; 0xefff0
                jc      .half
                xor     edi, edi
.done:
                ret

; Looks from edi up to ebx; ZF set and edi at it when found.
.next:
                add     edi, 16
.scan:
                cmp     edi, ebx
                ja      .done
                cmp     dword [edi], "RSD "
                jne     .next
                cmp     dword [edi + 4], "PTR "
                jne     .next
                push    RSDP_CHECKED_BYTES
                pop     ecx
                xor     eax, eax
.byte:
                add     al, [edi + ecx - 1]
                loop    .byte
                test    al, al
                jne     .next
                ret
