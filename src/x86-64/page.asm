; Page tables: the identity map, and the mem_ calls.
;
; One set of tables for all cores. An entry that is not present keeps its address, so access can be given back.
; SPEC  SDM Vol. 3A §4.5 (4-level paging), §4.10.5 (propagation to other processors)

PAGE_SHIFT          equ 12
PAGE_SHIFT_LARGE    equ 21
PAGE_SHIFT_GIANT    equ 30
PAGE_SHIFT_TOP      equ 39
PAGE_TABLES_SPLIT   equ 6                       ; most tables that new borders of a range take
VIRT_END_SHIFT      equ 47
FLUSH_WAIT_SHIFT    equ 34                      ; some seconds: under an emulator a busy host stops a core for one
E820_RESERVED       equ 2

; -----------------------------------------------------------------------------
; Maps RAM and everything below 4 GiB to itself, not executable; the core's text executable and read-only; page 0 not.
;
; IN    rbx  handoff
; USES  all but rbp
page_init:
                push    rbx
                call    arena_page
                mov     [VAR(page_root)], eax
                mov     eax, 0x80000001
                cpuid
                push    PAGE_SHIFT_LARGE
                pop     rcx
                bt      edx, 26                 ; 1 GiB pages
                jnc     .largest
                mov     cl, PAGE_SHIFT_GIANT
.largest:
                mov     [page_shift_max], ecx
                mov     eax, 0x80000008
                cpuid
                xchg    eax, ecx                ; cl: physical address bits
                xor     eax, eax
                bts     rax, rcx
                mov     [phys_end], rax

                pop     rdi
                mov     ebx, [rdi + handoff.memory_map]
                mov     r13d, [rdi + handoff.memory_count]
                push    1
                pop     r12
                shl     r12, 32                 ; 4 GiB
                xor     edi, edi
                mov     rdx, r12
.identity:
                push    access_read | access_write
                pop     rcx
                call    page_access_own
.range:                                         ; what the map has above 4 GiB: RAM, and ACPI's types 3 and 4
                dec     r13d
                js      .own
                mov     rdi, [rbx + e820.first]
                mov     rdx, [rbx + e820.bytes]
                add     rdx, rdi
                add     ebx, e820_size
                cmp     dword [rbx + e820.type - e820_size], E820_RESERVED
                je      .range
                cmp     rdi, r12
                cmovb   rdi, r12
                sub     rdx, rdi
                ja      .identity
                jmp     .range
.own:
                mov     edi, CORE_PHYS
                mov     edx, CORE_TEXT_BYTES
                mov     cl, access_read | access_execute
                call    page_access_own
                mov     eax, [VAR(page_root)]
                mov     cr3, rax
                xor     edi, edi

; -----------------------------------------------------------------------------
; Maps the pages that a range lies in to themselves; at boot, before other cores use them.
;
; IN    rdi, rdx  first, bytes        ecx  access (page_read_only: to read; page_guard: a page, none)
;       rbp  near_variables
; OUT   rdx  0
; USES  rax rcx rsi rdi r8 to r11
page_guard:
                xor     ecx, ecx
                lea     edx, [rcx + 1]
                jmp     page_access_own
page_read_only:
                push    access_read
                pop     rcx
page_access_own:
                lea     rdx, [rdi + rdx + PAGE_BYTES - 1]
                and     dx, -PAGE_BYTES
                and     di, -PAGE_BYTES
                sub     rdx, rdi
                call    page_bits
                mov     rsi, rdi
.page:
                call    page_map
                jnz     .page
                mov     rax, cr3
                mov     cr3, rax
                ret

; -----------------------------------------------------------------------------
; Turns access into the bits of a page table entry.
;
; IN    ecx  access
; OUT   r10  bits
; USES  rax rcx
page_bits:
                mov     eax, ecx                ; PTE_WRITE, PWT and PCD, which choose PAT_TYPES, are the same bits
                and     eax, access_write | access_uncached | access_combine
                test    cl, access_execute
                jnz     .execute
                bts     rax, PTE_NX_BIT
.execute:
                neg     ecx                     ; access of any kind: PTE_PRESENT
                adc     al, 0
                mov     r10, rax
                ret

; -----------------------------------------------------------------------------
; Maps the beginning of a range with the largest page that fits; splits a larger one that the range begins or ends in.
;
; IN    rdi virt, rsi phys, rdx bytes; whole pages        r10  bits
;       tables enough in the pool (page_begin), or booting
; OUT   rdi, rsi, rdx  what is left of the range, ZF set if nothing is
; USES  rax rcx r8 r9 r11
page_map:
                call    page_find
                cmp     ecx, [page_shift_max]
                ja      .split
                cmp     rdx, r11
                jbe     .split
                test    rdi, r11
                jnz     .split
                test    rsi, r11
                jnz     .split
                lea     rax, [rsi + r10]
                cmp     ecx, PAGE_SHIFT
                je      .write
                or      al, PTE_LARGE
.write:
                mov     [r8], rax
                inc     r11
                add     rdi, r11
                add     rsi, r11
                sub     rdx, r11
                ret
.split:                                         ; a new table: empty, or the large page in 512 parts
                push    rdi
                mov     edi, page_pool
                mov     r9, [rdi]
                test    r9, r9
                jz      .arena
                push    qword [r9]
                pop     qword [rdi]
                dec     dword [rdi + page_pool_count - page_pool]
                mov     rdi, r9
.table:
                push    rdi
                inc     r11
                shr     r11, 9
                test    rax, rax
                cmovz   r11, rax
                cmp     ecx, PAGE_SHIFT_LARGE
                jne     .parts
                and     al, ~PTE_LARGE
.parts:
                mov     ecx, PAGE_BYTES / 8
.part:
                stosq
                add     rax, r11
                loop    .part
                pop     r9
                pop     rdi
                or      r9, PTE_PRESENT | PTE_WRITE
                mov     [r8], r9
                jmp     page_map
.arena:                                         ; at boot
                push    rax
                mov     edi, PAGE_BYTES
                call    arena_take
                xchg    eax, edi
                pop     rax
                jmp     .table

; -----------------------------------------------------------------------------
; Finds what maps an address.
;
; IN    rdi  virt
; OUT   rax  its entry, ZF set if there is none       r8   where the entry lies
;       ecx, r11  shift and bytes - 1 of its page     r9   phys of virt
page_find:
                mov     eax, [page_root]
                push    PAGE_SHIFT_TOP + 9
                pop     rcx
.level:
                sub     ecx, 9
                mov     r8, rdi
                shr     r8, cl
                and     r8d, 511
                and     ax, -PAGE_BYTES
                lea     r8, [rax + r8 * 8]
                mov     rax, [r8]
                test    al, PTE_PRESENT
                jz      .found
                test    al, PTE_LARGE
                jnz     .found
                cmp     ecx, PAGE_SHIFT
                jne     .level
.found:
                xor     r11d, r11d
                bts     r11, rcx
                dec     r11
                mov     r9, rdi                 ; the upper bits of the entry, the lower ones of virt
                xor     r9, rax
                and     r9, r11
                xor     r9, rax
                btr     r9, PTE_NX_BIT
                test    rax, rax
                ret

; -----------------------------------------------------------------------------
; Checks what a call names, and returns from that call with the error if it is bad.
;
; page_check        a virtual range and its access: ecx; page 0 is denied
; page_range_virt   a virtual range
; page_range        a range that ends at r8 or below
;
; IN    rdi, rdx  first, bytes
; USES  rax r8
page_check:
                cmp     ecx, access_read | access_write | access_execute | access_uncached | access_combine
                ja      page_range.range
                mov     eax, ecx
                and     al, access_write | access_execute
                cmp     al, access_write | access_execute
                je      page_range.denied
                test    rdi, rdi
                jz      page_range.denied
page_range_virt:
                xor     r8d, r8d
                bts     r8, VIRT_END_SHIFT
page_range:
                lea     rax, [rdi + rdx]
                cmp     rdi, rax                ; no bytes, or beyond the end of all addresses
                jae     .range
                cmp     rax, r8
                ja      .range
                mov     r8d, edi
                or      r8d, eax
                shl     r8d, 32 - PAGE_SHIFT    ; keeps the bits below a page
                jnz     .range
                cmp     rdi, CORE_END_PHYS      ; the core's own
                jae     .arena
                cmp     rax, CORE_PHYS
                ja      .denied
.arena:
                cmp     rdi, [arena_top]
                jae     .good
                cmp     rax, [arena_next]
                ja      .denied
.good:
                ret
.range:
                pop     rax
.refuse:
                push    -error_range
                pop     rax
                ret
.denied:
                pop     rax
                push    -error_denied
                pop     rax
                ret

; -----------------------------------------------------------------------------
; i64 mem_query(u64 virt, mapping *out)                                 slot 10
;
; OUT   rax  0, or -pointer, -range, -no_such
; USES  scratch       CORE any       IRQ any
mem_query:
                test    rsi, rsi
                jz      .pointer
                test    sil, 7
                jnz     .pointer
                mov     rax, rdi
                shr     rax, VIRT_END_SHIFT
                jnz     page_range.refuse
                call    page_find
                jz      .no_such
                mov     [rsi + mapping.phys], r9
                inc     r11
                mov     [rsi + mapping.page], r11
                mov     edx, eax                ; these bits are the same ones in an entry
                and     edx, access_read | access_write | access_uncached | access_combine
                shl     rax, 1                  ; no-execute: also at access 0
                jc      .access
                or      dl, access_execute
.access:
                mov     [rsi + mapping.access], rdx
                xor     eax, eax
                ret
.no_such:
                push    -error_no_such
                pop     rax
                ret
mem_give.bad:
                pop     rdi
mem_query.pointer:
                push    -error_pointer
                pop     rax
                ret

; -----------------------------------------------------------------------------
; i64 mem_give(void *pages, u64 bytes)                                  slot 11
;
; Adds RAM to the pool of page tables.
;
; OUT   rax  0, or -pointer (null, not page aligned, not RAM mapped to itself for writing), -range, -denied
; USES  scratch       CORE any       IRQ any
mem_give:
                mov     rdx, rsi
                test    rdi, rdi
                jz      mem_query.pointer
                test    di, PAGE_BYTES - 1
                jnz     mem_query.pointer
                call    page_range_virt
                push    rdi
                lea     rsi, [rdi + rdx]
.check:
                call    page_find
                not     eax
                test    al, PTE_PRESENT | PTE_WRITE
                jnz     .bad
                cmp     r9, rdi
                jne     .bad
                or      rdi, r11                ; the next page
                inc     rdi
                cmp     rdi, rsi
                jb      .check
                pop     rdi
                call    page_take

; Puts pages into the pool and opens its lock: rdi first, rdx bytes. Uses rax rcx rdx rsi rdi.
page_give:
                mov     ecx, PAGE_BYTES
                mov     esi, page_pool
.page:
                push    qword [rsi]
                pop     qword [rdi]
                mov     [rsi], rdi
                inc     dword [rsi + page_pool_count - page_pool]
                add     rdi, rcx
                sub     rdx, rcx
                jnz     .page

; Gives the lock of the tables back. OUT rax 0.
page_release:
                xor     eax, eax
                mov     [page_lock], eax
                push    qword [gs:rax + core_block.flags]
                popfq
                ret

; -----------------------------------------------------------------------------
; i64 mem_protect(u64 virt, u64 bytes, u32 access)                       slot 9
;
; Changes the access of a mapped range; the addresses behind it stay, also at access 0.
;
; OUT   rax  0, or -range, -denied, -memory, -no_such (a page is not mapped): nothing changed; -timeout as mem_map
; USES  scratch       CORE any       IRQ any
mem_protect:
                mov     ecx, edx
                mov     rdx, rsi
                call    page_check
                call    page_bits
                push    rdi
                lea     rsi, [rdi + rdx]
.check:
                call    page_find
                jz      .hole
                or      rdi, r11                ; the next page
                inc     rdi
                cmp     rdi, rsi
                jb      .check
                pop     rdi
                xor     r9d, r9d
                call    page_begin
.page:
                call    page_find
                mov     rsi, r9
                call    page_map
                jnz     .page
                jmp     page_finish
.hole:
                pop     rdi
                push    -error_no_such
                pop     rax
                ret

; -----------------------------------------------------------------------------
; i64 mem_map(u64 virt, u64 phys, u64 bytes, u32 access)                 slot 8
;
; Maps a range, whatever was there before. When a core keeps interrupts off for seconds its TLB may be stale.
;
; IN    rdi  virt     page aligned, from page 1 to 2^47
;       rsi  phys     page aligned
;       rdx  bytes    whole pages
;       ecx  access   0: every access faults
; OUT   rax  0, or -range, -denied, -memory (nothing changed), -timeout (mapped, but a core did not answer)
; USES  scratch       CORE any       IRQ any
mem_map:
                call    page_check
                call    page_bits
                xchg    rdi, rsi
                mov     r8, [phys_end]
                call    page_range
                xchg    rdi, rsi
                mov     eax, edi                ; how many tables: pages aligned alike need few
                xor     eax, esi
                mov     r9, rdx
                shr     r9, PAGE_SHIFT_LARGE
                test    eax, LARGE_PAGE_BYTES - 1
                jnz     .tables
                shr     r9, 9
.tables:
                call    page_begin
.page:
                call    page_map
                jnz     .page

; -----------------------------------------------------------------------------
; Ends a change: every core has to forget the old entries before the call returns.
;
; OUT   rax  0, or -timeout
; USES  scratch
page_finish:
                inc     dword [page_generation]
                mov     eax, ICR_OTHERS + EVENT_FLUSH_VECTOR     ; to whatever is in edi
                call    lapic_ipi
                mov     edi, [page_generation]
                call    page_release
                rdtsc
                add     edx, 1 << FLUSH_WAIT_SHIFT - 32
                shl     rdx, 32
                lea     r11, [rax + rdx]
                mov     esi, info + machine_info.cores
                mov     ecx, [rsi + list.count]
                mov     esi, [rsi + list.first]
.core:
                cmp     dword [rsi + core_record.started], 0
                je      .next
                call    page_wait
                js      .timeout
.next:
                add     esi, core_record_size
                loop    .core
                xor     eax, eax
                ret
.timeout:
                push    -error_timeout
                pop     rax
                ret

; -----------------------------------------------------------------------------
; Waits until a core has seen a generation of the tables.
;
; IN    rsi  core_record       edi  generation     r11  TSC to give up at
; OUT   SF   set if the time is over
; USES  rax rdx r8
page_wait:
                mov     r8d, [rsi + core_record.local]
.again:
                call    page_sync               ; others may wait for this core
                mov     eax, [r8 + core_block.tlb_seen]
                sub     eax, edi
                jns     .done
                pause
                call    time_now
                cmp     rax, r11
                jb      .again
                or      eax, -1
.done:
                ret

; -----------------------------------------------------------------------------
; Takes the lock of the tables and sees that there are enough for a change; else returns from the call with -memory.
;
; IN    r9d  tables that it takes at most, besides those for its borders
; USES  rax r9
page_begin:
                add     r9d, PAGE_TABLES_SPLIT
                call    page_take
                cmp     r9d, [page_pool_count]
                ja      .few
                ret
.few:
                call    page_release
                pop     rax
                push    -error_memory
                pop     rax
                ret

; -----------------------------------------------------------------------------
; Takes the lock of the tables with interrupts off, so that no handler of this core can wait for it. page_release gives it
; back.
;
; USES  rax
page_take:
                pushfq
                cli
.again:
                call    page_sync               ; who holds it may wait for this core
                pause
                lock bts dword [page_lock], 0
                jc      .again
                xor     eax, eax
                pop     qword [gs:rax + core_block.flags]
                ret

; -----------------------------------------------------------------------------
; Forgets this core's old translations if the tables have changed.
;
; USES  rax
page_sync:
                push    rcx
                pushfq
                cli                             ; or an interrupt in between would see a later generation than is kept
                xor     eax, eax
                mov     ecx, [page_generation]
                cmp     ecx, [gs:rax + core_block.tlb_seen]
                je      .done
                mov     rax, cr3
                mov     cr3, rax
                xor     eax, eax
                mov     [gs:rax + core_block.tlb_seen], ecx
.done:
                popfq
                pop     rcx
                ret
