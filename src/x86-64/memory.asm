; Physical memory: the firmware's map, the arena that the core takes for itself, and the lists in machine_info.

; -----------------------------------------------------------------------------
; Puts the arena at the end of the largest free RAM range below 4 GiB, and the info area first into it. Does not return
; when no range of RAM holds the whole program.
;
; IN    rbx  handoff
; USES  all but rbp
memory_init:
                mov     eax, [rbx + handoff.trampoline]
                mov     [VAR(trampoline_at)], eax
                mov     esi, [rbx + handoff.memory_map]
                mov     ecx, [rbx + handoff.memory_count]
                xor     ebx, ebx                ; largest so far
                push    rbx                     ; ranges that hold the program
.range:
                lodsq
                xchg    rax, rdi                ; first
                lodsq
                lea     rdx, [rax + rdi]        ; end
                lodsq
                dec     eax                     ; E820_RAM
                jnz     .next
                cmp     rdx, [VAR(info + machine_info.program_end)]
                jb      .clip
                cmp     [VAR(info + machine_info.program_first)], rdi
                sbb     dword [rsp], -1
.clip:
                mov     eax, -PAGE_BYTES        ; what lies below 4 GiB of it
                cmp     rdx, rax
                cmova   rdx, rax
                mov     eax, PROGRAM_LOWEST     ; and above what the boot uses
                cmp     rdi, rax
                cmovb   rdi, rax
                mov     rax, [VAR(program_room)]
                cmp     rax, rdx
                ja      .size                   ; the program lies elsewhere
                cmp     rdi, rax
                cmovb   rdi, rax
.size:
                mov     rax, rdx
                sub     rax, rdi
                jbe     .next
                cmp     rax, rbx
                jbe     .next
                xchg    rax, rbx
                and     dx, -PAGE_BYTES
                mov     [VAR(arena_top)], edx
                mov     [VAR(arena_next)], edx
                mov     [VAR(arena_floor)], edi
.next:
                loop    .range
                pop     rax
                test    eax, eax
                jnz     .fits
                call    boot_error
                db      "no RAM at the program's addresses", 0
.fits:
                mov     dword [VAR(info + machine_info.nics + list.first)], nic_records
                mov     byte [VAR(info + machine_info.nics + list.stride)], nic_record_size
                mov     dword [VAR(info + machine_info.disks + list.first)], disk_records
                mov     byte [VAR(info + machine_info.disks + list.stride)], disk_record_size
                mov     edi, INFO_BYTES
                call    arena_take
                mov     [VAR(info_next)], eax
                ret

; -----------------------------------------------------------------------------
; Takes pages from the arena; at boot only. Does not return when there is too little RAM.
;
; IN    edi  bytes (arena_take), rbp near_variables
; OUT   rax  their address: arena_page one zeroed page, and CF clear
; USES  none; arena_page rdi
arena_page:
                mov     edi, PAGE_BYTES
                call    arena_take
                push    rcx
                mov     ecx, edi
                shr     ecx, 3
                xchg    edi, eax
                push    rdi
                xor     eax, eax
                rep     stosq
                pop     rax
                pop     rcx
                ret
arena_take:
                mov     eax, [VAR(arena_next)]
                sub     eax, edi
                jb      .none
                cmp     eax, [VAR(arena_floor)]
                jb      .none
                mov     [VAR(arena_next)], eax
                ret
.none:
                call    boot_error
                db      "too little RAM", 0

; -----------------------------------------------------------------------------
; Appends a record to a list. One list is written after the other.
;
; IN    edi  struct list     ecx  bytes of its records     rbp  near_variables
; OUT   rax  the record, zeroed
; USES  rcx rdx rdi
info_append:
                mov     edx, [VAR(info_next)]
                xor     eax, eax
                cmpxchg [rdi + list.first], edx ; unless it has a first one
                inc     dword [rdi + list.count]
                mov     [rdi + list.stride], ecx
                lea     eax, [rdx + rcx]
                cmp     eax, [VAR(arena_top)]   ; the end of the info area
                ja      .full
                mov     edi, edx
                xor     eax, eax
                rep     stosb
                mov     [VAR(info_next)], edi
                xchg    eax, edx
                ret
.full:
                call    boot_error
                db      "too many cores and PCI functions", 0

; -----------------------------------------------------------------------------
; Lists the free RAM, fills in machine_info and makes it read-only.
;
; What arena and program take is put behind the firmware's map as two reserved ranges. Free is then what lies in a range
; of RAM and in none of another type: looked at from one border of a range to the next, so maps with overlaps come out
; right too. Below the core all is the firmware's and the trampoline's.
;
; USES  all
info_finish:
                mov     r12d, [rbx + handoff.memory_map]
                imul    edi, [rbx + handoff.memory_count], e820_size
                add     edi, r12d
                lea     esi, [VAR(arena_next)]       ; and arena_top
                call    .take
                lea     esi, [VAR(info + machine_info.program_first)]
                call    .take                   ; and program_end
                mov     r13d, edi               ; end of the map
                mov     eax, CORE_END_PHYS
.taken:
                xchg    rax, rsi
.from:                                          ; rsi: a border, or an address that is taken no longer
                or      rdi, -1                 ; next border
                xor     r8d, r8d                ; ranges of RAM here
                mov     ebx, r12d
.range:
                mov     rax, [rbx + e820.first]
                mov     rdx, [rbx + e820.bytes]
                add     rdx, rax
                mov     ecx, PAGE_BYTES - 1     ; RAM is rounded inwards, all else outwards
                cmp     dword [rbx + e820.type], E820_RAM
                je      .ram
                add     rdx, rcx
                xor     ecx, ecx
.ram:
                add     rax, rcx
                and     ax, -PAGE_BYTES
                and     dx, -PAGE_BYTES
                cmp     rdx, rsi
                jbe     .next
                cmp     rax, rsi
                ja      .border
                xchg    rax, rdx
                inc     r8d
                jrcxz   .taken
.border:
                cmp     rax, rdi
                cmovb   rdi, rax
.next:
                add     ebx, e820_size
                cmp     ebx, r13d
                jb      .range
                test    r8d, r8d
                jz      .move
                push    rdi
                lea     edi, [VAR(info + machine_info.memory)]
                push    memory_range_size
                pop     rcx
                call    info_append
                pop     rdi
                mov     [rax + memory_range.first], rsi
                sub     rsi, rdi
                neg     rsi
                mov     [rax + memory_range.bytes], rsi
.move:
                mov     rsi, rdi
                inc     rdi
                jnz     .from

                mov     byte [VAR(info + machine_info.size)], machine_info_size
                mov     eax, [VAR(arena_top)]
                mov     edi, eax
                sub     eax, [VAR(arena_next)]
                add     eax, CORE_END_PHYS - CORE_PHYS
                mov     [VAR(info + machine_info.core_bytes)], eax
                call    time_now
                mov     [VAR(info + machine_info.entry_tsc)], rax
                mov     edx, INFO_BYTES
                sub     edi, edx
                call    page_read_only
                mov     edi, CORE_DATA_PHYS
                inc     edx                     ; its page
                jmp     page_read_only

; Appends a reserved range to the firmware's map: [rsi] its first byte, [rsi + 8] its end; rdi where.
.take:
                movsq
                lodsq
                sub     rax, [rdi - 8]
                stosq
                stosq                           ; as type: whole pages are never E820_RAM
                ret
