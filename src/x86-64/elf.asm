; The program: a static ELF64 file, checked in full before anything is moved, then put to its addresses.
;
; The boot loader leaves the file at PROGRAM_PHYS, where its segments may overlap their own places, or above.
; SPEC  System V gABI ch. 4 and 5; x86-64 psABI §4.1

struc elf_header
.ident:         resb 16
.type:          resw 1
.machine:       resw 1
                resd 1
.entry:         resq 1
.segments:      resq 1      ; offset of the program headers
                resq 1
                resd 1
                resw 1
.segment_bytes: resw 1
.segment_count: resw 1
endstruc
struc phdr                                      ; program header
.type:          resd 1
.flags:         resd 1
.offset:        resq 1
.address:       resq 1
                resq 1
.file_bytes:    resq 1
.bytes:         resq 1
                resq 1
endstruc
ELF_IDENT           equ 0x010102464c457f        ; 0x7f "ELF", 64-bit, little endian, version 1
ELF_TYPE_MACHINE    equ 62 << 16 | 2            ; x86-64, executable
SEGMENT_LOAD        equ 1
SEGMENT_STACK       equ 0x6474e551              ; PT_GNU_STACK
SEGMENT_EXECUTE     equ 1
SEGMENT_WRITE       equ 2
SEGMENTS_MAX        equ 32
STACK_MAX_BYTES     equ 1 << 30

; A part of the program: what is left of the header of a loaded segment.
struc part
.file:          resq 1      ; where its bytes are
.address:       resq 1
.file_bytes:    resq 1
.end:           resq 1      ; first page behind it
.access:        resq 1
endstruc

elf_check.damaged:
                call    boot_error
                db      "the program is damaged: write the image again", 0

; -----------------------------------------------------------------------------
; Checks the file and lists its parts; does not return if it cannot be run. memory_init checks the RAM.
;
; OUT   [info + machine_info.program_first], [info + machine_info.program_end], [program_room], [program_entry],
;       [program_parts], [stack_bytes]
; USES  all but rbp
elf_check:
                mov     edi, command_line
                mov     [VAR(info + machine_info.command_line)], edi
                mov     ecx, COMMAND_LINE_BYTES - 1     ; the rest is 0
                mov     esi, [rbx + handoff.command_line]
.line:
                lodsb
                stosb
                test    al, al
                loopnz  .line
                mov     byte [VAR(stack_bytes) + 2], STACK_BYTES >> 16   ; over zeros
                mov     edx, [rbx + handoff.header]
                lea     esi, [rdx + program_header_size]
                mov     ebx, [rdx + program_header.bytes]
                lea     ecx, [rbx + 7]
                shr     ecx, 3
                xor     eax, eax
                jrcxz   .sum
.word:
                rol     rax, 1
                add     rax, [rsi + rcx * 8 - 8]
                loop    .word
.sum:
                cmp     rax, [rdx + program_header.checksum]
                jne     .damaged
                cmp     rbx, elf_header_size
                jb      .no_elf
                mov     rax, ELF_IDENT
                xor     rax, [rsi]
                shl     rax, 8                  ; the last byte is the ABI, which may be any
                jnz     .no_elf
                cmp     dword [rsi + elf_header.type], ELF_TYPE_MACHINE
                jne     .no_elf
                cmp     word [rsi + elf_header.segment_bytes], phdr_size
                jne     .no_elf
                movzx   ecx, word [rsi + elf_header.segment_count]
                lea     eax, [rcx - 1]
                cmp     eax, SEGMENTS_MAX
                jae     .no_elf
                imul    eax, ecx, phdr_size
                mov     rdx, [rsi + elf_header.segments]
                add     rax, rdx
                jc      .torn
                cmp     rax, rbx
                ja      .torn
                mov     r12, [rsi + elf_header.entry]
                lea     rdx, [rdx + rsi - phdr_size]    ; before the program headers
                mov     edi, program_parts
                mov     r8d, PROGRAM_LOWEST     ; the next segment may not begin below
                xor     r9d, r9d                ; nor its part of the file
                xor     r10d, r10d              ; executable segments that hold the entry
                inc     ecx
                jmp     .header
.no_elf:
                call    boot_error
                db      "no static x86-64 ELF64 program", 0
.torn:
                call    boot_error
                db      "the program is cut off", 0
.next:
                pop     rcx
.header:
                add     rdx, phdr_size
                dec     ecx
                jz      .checked
                push    rcx
                mov     rcx, [rdx + phdr.bytes]
                jrcxz   .next
                mov     eax, [rdx + phdr.type]
                dec     eax                     ; SEGMENT_LOAD
                jz      .load
                cmp     eax, SEGMENT_STACK - 1
                jne     .next
                cmp     rcx, STACK_MAX_BYTES
                ja      arena_take.none
                add     ecx, PAGE_BYTES - 1
                and     cx, -PAGE_BYTES
                mov     [VAR(stack_bytes)], ecx
                jmp     .next
.load:
                mov     rax, [rdx + phdr.offset]
                mov     r11, [rdx + phdr.file_bytes]
                test    r11, r11
                cmovz   rax, r9                 ; nothing of it is in the file: it may claim any place there
                add     r11, rax
                jc      .torn
                cmp     r11, rbx
                ja      .torn
                cmp     rax, r9
                jb      .place
                mov     r9, r11
                cmp     [rdx + phdr.file_bytes], rcx
                ja      .place
                add     rax, rsi
                stosq                           ; part.file
                mov     rax, [rdx + phdr.address]
                cmp     rax, r8
                jb      .place
                stosq                           ; part.address
                add     rcx, rax
                jc      .place
                lea     r8, [rcx + PAGE_BYTES - 1]
                and     r8w, -PAGE_BYTES
                mov     rax, [rdx + phdr.file_bytes]
                stosq                           ; part.file_bytes
                mov     rax, r8
                stosq                           ; part.end
                dec     rax                     ; 0 if the rounding wrapped
                shr     rax, VIRT_END_SHIFT
                jnz     .place
                mov     eax, [rdx + phdr.flags]
                and     eax, SEGMENT_WRITE | SEGMENT_EXECUTE
                cmp     al, SEGMENT_WRITE | SEGMENT_EXECUTE
                je      .writable_code
                test    al, SEGMENT_EXECUTE
                jz      .data
                mov     r11, r12
                sub     r11, [rdx + phdr.address]
                cmp     r11, [rdx + phdr.bytes]
                adc     r10d, 0
                mov     al, access_execute
.data:                                          ; (SEGMENT_WRITE is the same bit as access_write)
                inc     eax                     ; access_read
                stosq                           ; part.access
                jmp     .next
.place:
                call    boot_error
                db      "segments overlap, unsorted or below 2 MiB", 0
.writable_code:
                call    boot_error
                db      "a segment is writable code; link without -N", 0
.no_entry:
                call    boot_error
                db      "the entry is not in the code", 0
.checked:
                test    r10d, r10d
                jz      .no_entry
                mov     [VAR(program_parts_end)], edi
                mov     [program_entry], r12
                mov     [VAR(info + machine_info.program_end)], r8
                mov     rax, [program_parts + part.address]
                and     ax, -PAGE_BYTES
                mov     [VAR(info + machine_info.program_first)], rax
                add     rbx, rsi                ; end of the file
                cmp     rsi, r8
                ja      .apart                  ; above the program it lies where no free RAM is listed
                cmp     rbx, r8
                ja      .room
.apart:
                mov     rbx, r8
.room:
                mov     [VAR(program_room)], rbx
                ret

; -----------------------------------------------------------------------------
; Moves the segments to their addresses, clears what the file does not hold, and sets the access.
;
; Segments and their parts of the file are in the same order, so none is overwritten before it has moved if those that
; go down are moved first to last, and then those that go up last to first.
;
; USES  all
elf_load:
                mov     ebx, program_parts
.down:
                call    .part
                jae     .down_next
                rep     movsb
.down_next:
                add     ebx, part_size
                cmp     ebx, [VAR(program_parts_end)]
                jb      .down
.up:
                sub     ebx, part_size
                call    .part
                jbe     .up_next
                lea     rsi, [rsi + rcx - 1]
                lea     rdi, [rdi + rcx - 1]
                std
                rep     movsb
                cld
.up_next:                                       ; (those below that go up come from below this one)
                call    .part
                push    rdi
                add     rdi, rcx
                mov     rdx, [rbx + part.end]
                mov     rcx, rdx
                sub     rcx, rdi                ; bytes to clear, to the end of the page
                push    rcx
                xor     eax, eax
                and     ecx, 7
                rep     stosb
                pop     rcx
                shr     rcx, 3
                rep     stosq
                pop     rdi
                sub     rdx, rdi
                mov     ecx, [rbx + part.access]
                call    page_access_own
                cmp     ebx, program_parts
                ja      .up

                mov     edi, TABLE_POOL_PAGES * PAGE_BYTES      ; and the arena is closed
                call    arena_take
                mov     edx, edi
                xchg    eax, edi
                jmp     page_give

; The segment at rbx: rsi where its bytes are, rdi where they go, as compared, rcx how many.
.part:
                mov     rsi, [rbx + part.file]
                mov     rdi, [rbx + part.address]
                mov     rcx, [rbx + part.file_bytes]
                cmp     rdi, rsi
                ret

; -----------------------------------------------------------------------------
; Enters the program on this core's stack; what it returns is the exit status. doc/handoff.md lists every register.
elf_enter:
                inc     dword [page_generation] ; the others forget what they saw of the tables so far
                mov     eax, [VAR(info + machine_info.cores + list.first)]
                mov     rsp, [rax + core_record.stack_end]
                xor     ebp, ebp                ; end of a backtrace
                inc     dword [gs:rbp + core_local.running]
                mov     edi, table_address
                sti
                call    [program_entry]
                cld
                mov     edi, eax
                jmp     sys_exit
