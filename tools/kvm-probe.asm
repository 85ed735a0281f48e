; A guest that tells whether KVM runs 64-bit code here: boot sector, long mode, SSE, then debug exit with 42.
;
; Some hosts have a /dev/kvm that hangs or fails on such code, so the run script boots this with a time limit first.

PAGE_TABLES    equ 0x1000               ; PML4, then PDPT with one 1 GiB page
PDPT           equ PAGE_TABLES + 0x1000
PTE_P_RW       equ 3
PDE_PS         equ 1 << 7
CR0_PE         equ 1 << 0
CR0_PG         equ 1 << 31
CR4_PAE        equ 1 << 5
CR4_OSFXSR     equ 1 << 9
IA32_EFER      equ 0xC0000080
EFER_LME       equ 1 << 8
DEBUG_EXIT     equ 0xF4
ANSWER         equ 42                   ; QEMU ends with status 2 * 42 + 1

        bits 16
        org 0x7C00
start:
        cli
        xor ax, ax
        mov ds, ax
        mov es, ax
        mov di, PAGE_TABLES
        mov cx, 0x1000                  ; words of both tables
        rep stosw
        mov word [PAGE_TABLES], PDPT | PTE_P_RW
        mov word [PDPT], PTE_P_RW | PDE_PS
        mov eax, PAGE_TABLES
        mov cr3, eax
        mov eax, CR4_PAE | CR4_OSFXSR
        mov cr4, eax
        mov ecx, IA32_EFER
        xor edx, edx
        mov eax, EFER_LME
        wrmsr
        lgdt [gdt_pointer]
        mov eax, CR0_PG | CR0_PE        ; straight into long mode (Intel SDM 3A §10.8.5)
        mov cr0, eax
        jmp 8:long_mode

        bits 64
long_mode:
        mov eax, ANSWER
        movq xmm0, rax
        movq rax, xmm0
        out DEBUG_EXIT, al
.wait:
        hlt
        jmp .wait

        align 8
gdt:
        dq 0
        dq 0x00209A0000000000           ; 64-bit code
gdt_pointer:
        dw $ - gdt - 1
        dd gdt

        times 510 - ($ - $$) db 0
        dw 0xAA55
