; Disks: what every driver has to check of an operation, whatever a program passes.

; -----------------------------------------------------------------------------
; Checks the operation at the front, as disk_submit promises: kind, flags, addresses, whole blocks inside the disk, and
; how many entries and bytes it has.
;
; A driver calls it for each operation before anything of it reaches the device. If
; CF is set, the driver takes back what it has built since the call began, rings no doorbell, and returns rax.
;
; IN    rdx  first entry      r11  end of the entries, above rdx      r8  disk_record
; OUT   rax  blocks, 0 for a flush      edi  bytes, but of a flush      CF clear
;       or CF set and rax  -range, -pointer, -unsupported
; USES  rcx
disk_check:
                movzx   eax, byte [rdx + disk_op.kind]
                lea     rdi, [rdx + disk_op_size]
                xor     ecx, ecx                ; bytes
                cmp     al, disk_write
                jb      .entry
                jne     .special
                test    byte [r8 + disk_record.features], disk_read_only
                jnz     .unsupported
.entry:
                mov     rax, [rdi + disk_op.address - disk_op_size]
                test    rax, rax
                jz      .pointer
                test    [r8 + disk_record.address_mask], eax
                jnz     .pointer
                mov     eax, [rdi + disk_op.bytes - disk_op_size]
                add     rcx, rax
                test    eax, eax
                jz      .range
                mov     al, [rdi + disk_op.flags - disk_op_size]
                add     al, al                  ; disk_more
                jnz     .range                  ; a flag besides
                jnc     .inside
                mov     eax, edi
                sub     eax, edx
                shr     eax, ENTRY_SHIFT
                cmp     eax, [r8 + disk_record.entry_max]
                jae     .range
                add     rdi, disk_op_size
                cmp     rdi, r11
                jbe     .entry
.range:
                push    -error_range
                jmp     .refused
.pointer:
                push    -error_pointer
                jmp     .refused
.unsupported:
                push    -error_unsupported
.refused:
                pop     rax
                stc
                ret
.special:
                cmp     [rdx + disk_op.flags], cl
                jne     .range
                cmp     al, disk_flush
                jne     .no_flush
                test    byte [r8 + disk_record.features], disk_write_cache
                jz      .unsupported
                xor     eax, eax
                ret
.no_flush:
                test    byte [r8 + disk_record.features], disk_read_only
                jnz     .unsupported
                mov     cl, disk_can_discard
                cmp     al, disk_discard
                je      .discard
                mov     cl, disk_can_zero
                cmp     al, disk_zero
                jne     .range
.discard:
                test    [r8 + disk_record.features], cl
                jz      .unsupported
                mov     ecx, [rdx + disk_op.bytes]
                jrcxz   .range
.inside:
                mov     eax, [r8 + disk_record.bytes_max]
                cmp     rax, rcx
                jb      .range
                mov     edi, ecx
                xchg    rax, rcx
                bsf     ecx, [r8 + disk_record.block_bytes]
                ror     rax, cl                 ; bytes that are no whole blocks make more than any disk has
                mov     rcx, [r8 + disk_record.blocks]
                sub     rcx, [rdx + disk_op.block]
                jb      .range
                cmp     rcx, rax
                jb      .range
                ret
