; From real mode and 32-bit protected mode to 64-bit mode, for the first core and for the others.

; -----------------------------------------------------------------------------
; First instructions of every other core, copied to TRAMPOLINE_PHYS.
;
; SPEC  SDM Vol. 3A §9.4.4 (MP initialization)
                bits 16
trampoline:
                o32 lgdt [cs:gdt - trampoline]
                mov     ax, CR0_PE
                lmsw    ax
                jmp     dword SELECTOR_CODE32:trampoline_32

; Flat segments, of which the null one holds where they are: of this the trampoline needs its copy. The accessed bits are
; set already, so that loading them writes nothing: this lies in read-only text.
gdt:            dw      GDT_BYTES - 1
                dd      gdt
TRAMPOLINE_BYTES equ $ - trampoline
                dw      0
                dq      0x00af9b000000ffff      ; SELECTOR_CODE    64-bit
                dq      0x00cf93000000ffff      ; SELECTOR_DATA
                dq      0x00cf9b000000ffff      ; SELECTOR_CODE32

                bits 32
trampoline_32:
                mov     al, SELECTOR_DATA       ; ax is CR0_PE
                mov     ds, eax
                mov     ss, eax
                mov     eax, [page_root]
                mov     edi, smp_entry
                jmp     long_mode_enter

; -----------------------------------------------------------------------------
; Where every boot loader ends (doc/handoff.md): page tables of the boot - the first 4 GiB in 2 MiB pages - and on to
; core_entry.
;
; IN    32-bit protected mode, no paging, flat segments, interrupts off, DF clear; the core at CORE_PHYS
;       ebx  handoff
core_enter:
                lgdt    [gdt]
                mov     edi, BOOT_TABLES_PHYS
                mov     esi, edi
                xor     eax, eax
                mov     ecx, 2 * PAGE_BYTES / 4
                rep     stosd
                mov     al, SELECTOR_DATA
                mov     ss, eax
                mov     eax, PTE_PRESENT | PTE_WRITE | PTE_LARGE
.page:
                stosd
                mov     [edi], ecx
                add     edi, 4
                add     eax, LARGE_PAGE_BYTES
                jnc     .page
                lea     eax, [esi + 5 * PAGE_BYTES + PTE_PRESENT + PTE_WRITE]   ; (at a multiple of 64 KiB)
                mov     cl, 4
.table:
                mov     [esi + ecx * 8 + PAGE_BYTES - 8], eax
                sub     ah, PAGE_BYTES >> 8
                loop    .table
                mov     [esi], eax
                xchg    eax, esi
                mov     edi, core_entry

; -----------------------------------------------------------------------------
; IN    32-bit mode      eax  page tables, below 4 GiB      edi  64-bit routine to go to      rbx  kept
; SPEC  SDM Vol. 3A §9.8.5 (IA-32e mode)
long_mode_enter:
                mov     cr3, eax
                mov     eax, CR4_PAE
                mov     cr4, eax
                mov     ecx, MSR_EFER
                rdmsr
                or      ah, (EFER_LME | EFER_NXE) >> 8
                wrmsr
                mov     eax, CR0_PG | CR0_WP | CR0_NE | CR0_ET | CR0_MP | CR0_PE
                mov     cr0, eax
                jmp     SELECTOR_CODE:.long
                bits 64
.long:
                mov     edi, edi
                jmp     rdi
