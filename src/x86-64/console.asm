; Console: every character goes to the serial port and to the screen: a text screen, or pixels.
;
; The screen is an array of cells, each a character and its colour as on a VGA text screen. Where the screen is made of
; pixels the cells lie in RAM, and a cell that changes is drawn.
; A call prints whole under one lock. The core itself prints only at boot, when it is alone, and in a fault report,
; which takes the lock by force: a report must come out whatever the other cores hold.

SERIAL_DATA         equ 0x3f8
SERIAL_LINE_STATUS  equ 0x3fd
SERIAL_SCRATCH      equ 0x3ff
SERIAL_RECEIVED     equ 1
SERIAL_SENT         equ 0x40
SERIAL_WAIT_POLLS   equ 0x10000                 ; some 50 ms on real ports, where a character takes 87 us
SCREEN_BLANK        equ 0x0700 + ' '            ; grey on black
SCREEN_LEFT         equ 1                       ; screen_state: the program has it
SCREEN_STALE_BIT    equ 1                       ; the console has it again, with the program's pixels
SCREEN_GREY         equ 0xaaaaaa                ; in either order of colours
SCREEN_NARROW       equ 480                     ; pixels across for each of a dot's: 80 columns or more
CELL_COLUMNS        equ FONT_COLUMNS + 1        ; dots
CELL_ROWS           equ FONT_ROWS + 1
SCREEN_ROWS_MAX     equ 50                      ; of under 160 cells

; -----------------------------------------------------------------------------
; i64 console_write(void const *text, u64 bytes)                         slot 2
;
; Writes text to serial port and screen.
;
; OUT   rax  bytes, or -pointer, -range (more than there are addresses)
; USES  scratch       CORE any       IRQ any
console_write:
                test    rdi, rdi
                jz      error_return.pointer
                mov     rax, rsi
                shr     rax, VIRT_END_SHIFT
                jnz     error_return.range
                xor     edx, edx
                mov     edx, [gs:rdx + core_local.index]
                inc     edx
.lock:
                call    page_sync               ; who holds it may wait for this core, in a handler
                pause
                xor     eax, eax
                lock cmpxchg [console_lock], edx
                je      .locked
                cmp     eax, edx                ; this core's already: a handler prints in the middle of a call
                jne     .lock
.locked:
                push    rax
                mov     rcx, rsi
.next:
                test    byte [trap_reporting], 1
                jnz     system_halt             ; a core reports a fault: the machine ends, nothing mixes with it
                dec     rcx
                js      .done
                mov     al, [rdi]
                inc     rdi
                call    console_put
                jmp     .next
.done:
                pop     rdx
                mov     [console_lock], edx
                mov     rax, rsi
                ret

; -----------------------------------------------------------------------------
; i64 console_screen(u32 on)                                            slot 29
;
; Leaves the screen to the program, or lets the console have it again: with what is printed next all of its text is drawn
; anew. A fault report is shown in any case.
;
; IN    edi  1, as at the beginning, or 0
; OUT   rax  0, or -range
; USES  scratch       CORE any       IRQ any
console_screen:
                mov     eax, edi
                shr     eax, 1
                jnz     error_return.range
                inc     edi
                mov     [screen_state], edi
                ret

; -----------------------------------------------------------------------------
; i64 console_read(void *text, u64 bytes)                                slot 3
;
; Takes what has come over the serial port, without waiting.
;
; OUT   rax  bytes taken, or -pointer
; USES  scratch       CORE any, one at a time       IRQ any
console_read:
                test    rdi, rdi
                jz      error_return.pointer
                xor     ecx, ecx
                test    byte [info + machine_info.features], machine_serial
                jz      .done
.next:
                cmp     rcx, rsi
                jae     .done
                mov     dx, SERIAL_LINE_STATUS
                in      al, dx
                test    al, SERIAL_RECEIVED
                jz      .done
                mov     dl, SERIAL_DATA & 0xff
                in      al, dx
                mov     [rdi + rcx], al
                inc     ecx
                jmp     .next
.done:
                xchg    eax, ecx
                ret

; -----------------------------------------------------------------------------
; Looks for the serial port, which the boot loader has set up, and takes over the screen.
;
; IN    rbx  handoff      rbp  near_variables
; USES  all but rbp
console_init:
                mov     dx, SERIAL_SCRATCH
                mov     al, 0x5a
                out     dx, al
                in      al, dx
                cmp     al, 0x5a
                jne     .screen                 ; nothing there
                or      byte [VAR(info + machine_info.features)], machine_serial
.screen:
                lea     rsi, [rbx + handoff.screen]
                lea     edi, [VAR(info + machine_info.screen)]
                push    (handoff.screen_cursor - handoff.screen) / 4
                pop     rcx
                rep     movsd                   ; to loader_tsc
                lodsd
                mov     edi, screen_cursor
                mov     [rdi], eax
                mov     rsi, [VAR(info + machine_info.screen)]
                movzx   eax, word [VAR(info + machine_info.screen_width)]
                movzx   ebx, word [VAR(info + machine_info.screen_height)]
                cmp     byte [VAR(info + machine_info.screen_format)], screen_text
                je      .cells
                shr     rsi, 32                 ; else screen_init says when
                setz    [rdi + screen_ready - screen_cursor]
                push    rax
                cdq
                mov     ecx, SCREEN_NARROW
                div     ecx
                cmp     eax, 1
                adc     eax, 0
                mov     [rdi + screen_scale - screen_cursor], eax
                imul    ecx, eax, CELL_COLUMNS
                imul    esi, eax, CELL_ROWS
                xchg    eax, ebx
                cdq
                div     esi
                cmp     eax, SCREEN_ROWS_MAX
                jb      .rows
                mov     al, SCREEN_ROWS_MAX
.rows:
                xchg    eax, ebx
                pop     rax
                cdq
                div     ecx
                push    rax
                push    rdi
                mov     edi, SCREEN_CELLS_PHYS
                mov     esi, edi
                mov     ecx, SCREEN_CELLS_BYTES / 2
                mov     eax, SCREEN_BLANK
                rep     stosw
                pop     rdi
                pop     rax
.cells:
                mov     [rdi + screen_cells - screen_cursor], rsi
                mov     [rdi + screen_columns - screen_cursor], eax
                mul     ebx
                mov     [rdi + screen_end - screen_cursor], eax
                ret

; -----------------------------------------------------------------------------
; Maps a screen of pixels so that writes to it are combined, and shows what was printed so far.
;
; IN    rbp  near_variables
; USES  all
screen_init:
                cmp     byte [VAR(info + machine_info.screen_format)], screen_text
                je      screen_show.done
                call    screen_extent
                mov     edx, ecx
                push    access_read | access_write | access_combine
                pop     rcx
                call    page_access_own
                mov     edx, screen_cursor
                mov     byte [rdx + screen_ready - screen_cursor], 1

; -----------------------------------------------------------------------------
; Clears a screen of pixels and draws all cells, whatever the program has left there.
;
; IN    rdx  screen_cursor
; USES  rax rcx rdi
screen_show:
                cmp     byte [rdx + screen_ready - screen_cursor], 0
                je      .done
                call    screen_extent
                shr     ecx, 2
                xor     eax, eax
                rep     stosd
                mov     edi, [rdx + screen_cells - screen_cursor]
                mov     ecx, [rdx]              ; all from there on are blank
.cell:
                call    screen_draw
                dec     ecx
                jns     .cell
.done:
                ret

; -----------------------------------------------------------------------------
; OUT   rdi, ecx  a screen of pixels: first byte, bytes
screen_extent:
                mov     edi, info + machine_info.screen
                movzx   ecx, word [rdi + machine_info.screen_height - machine_info.screen]
                imul    ecx, [rdi + machine_info.screen_pitch - machine_info.screen]
                mov     rdi, [rdi]
                ret

; -----------------------------------------------------------------------------
; Prints a number in decimal.
;
; IN    eax
; USES  rax rcx rdx
console_decimal:
                cdq                             ; (below 2^31)
                push    10
                pop     rcx
                div     ecx
                push    rdx
                test    eax, eax
                jz      .last
                call    console_decimal
.last:
                pop     rax
                add     al, '0'

; -----------------------------------------------------------------------------
; Prints a character.
;
; IN    al
; USES  rax
console_put:
                push    rcx
                push    rdx
                push    rsi
                push    rdi
                test    byte [info + machine_info.features], machine_serial
                jz      .screen
                mov     dx, SERIAL_DATA
                out     dx, al
                push    rax
                mov     ecx, SERIAL_WAIT_POLLS
                mov     dl, SERIAL_LINE_STATUS & 0xff
.wait:                                          ; until it is on the wire: the machine may end right after
                in      al, dx
                test    al, SERIAL_SENT
                loopz   .wait
                pop     rax
.screen:
                mov     edx, screen_cursor
                cmp     byte [rdx + screen_state - screen_cursor], SCREEN_LEFT
                je      .done
                lock btr dword [rdx + screen_state - screen_cursor], SCREEN_STALE_BIT
                jnc     .shown
                push    rax
                call    screen_show
                pop     rax
.shown:
                mov     rdi, [rdx + screen_cells - screen_cursor]
                test    edi, edi
                jz      .done
                mov     esi, [rdx + screen_columns - screen_cursor]
                mov     ecx, [rdx]
                cmp     al, 10
                je      .line
                mov     ah, SCREEN_BLANK >> 8
                call    screen_put
                inc     ecx
                jmp     .move
.line:
                xchg    eax, ecx                ; to the beginning of the next row
                push    rdx
                cdq
                div     esi
                inc     eax
                mul     esi
                pop     rdx
                xchg    eax, ecx
.move:
                cmp     ecx, [rdx + screen_end - screen_cursor]
                jb      .set
                xor     ecx, ecx                ; a row up
.up:
                lea     eax, [rcx + rsi]
                cmp     eax, [rdx + screen_end - screen_cursor]
                mov     ax, [rdi + rax * 2]
                jb      .cell
                mov     ax, SCREEN_BLANK
.cell:
                call    screen_put
                inc     ecx
                cmp     ecx, [rdx + screen_end - screen_cursor]
                jb      .up
                sub     ecx, esi
.set:
                mov     [rdx], ecx
.done:
                pop     rdi
                pop     rsi
                pop     rdx
                pop     rcx
screen_draw.done:
                ret

; -----------------------------------------------------------------------------
; Changes a cell, and draws it if the screen is made of pixels.
;
; IN    rdi  cells      ecx  number      ax  character and colour      rdx  screen_cursor
; USES  rax
screen_put:
                cmp     [rdi + rcx * 2], ax
                je      screen_draw.done
                mov     [rdi + rcx * 2], ax
screen_draw:
                cmp     byte [rdx + screen_ready - screen_cursor], 0
                je      .done
                push    rbx
                push    rcx
                push    rdx
                push    rsi
                push    rdi
                push    rbp
                mov     esi, [rdx + screen_scale - screen_cursor]
                mov     ebp, [rdx + screen_columns - screen_cursor]
                movzx   eax, byte [rdi + rcx * 2]
                sub     eax, FONT_FIRST
                cmp     eax, FONT_GLYPHS
                jb      .glyph
                push    '?' - FONT_FIRST
                pop     rax
.glyph:
                lea     eax, [rax + rax * 8]    ; FONT_BITS / 4
                shr     eax, 1
                mov     rbx, [rax + font]
                jnc     .whole
                shr     rbx, 4
.whole:
                shl     rbx, 64 - FONT_BITS
                shr     rbx, 64 - FONT_BITS + 1
                jnc     .upper                  ; the bit shifted out: has it a last row instead of a first one?
                shl     rbx, FONT_COLUMNS
.upper:
                xchg    eax, ecx
                cdq
                div     ebp
                mov     ebp, info + machine_info.screen
                imul    edx, esi
                imul    eax, esi
                imul    eax, [rbp + machine_info.screen_pitch - machine_info.screen]
                lea     rax, [rax + rax * 8]    ; CELL_ROWS
                lea     edx, [rdx + rdx * 2]
                lea     rdi, [rax + rdx * 8]    ; CELL_COLUMNS of 4 bytes
                add     rdi, [rbp]
                push    CELL_ROWS
.row:
                push    rsi                     ; lines left of it
.line:
                mov     edx, ebx
                and     edx, (1 << FONT_COLUMNS) - 1
                or      edx, 1 << CELL_COLUMNS  ; the end
                push    rdi
.dot:
                shr     edx, 1
                jz      .line_end
                sbb     eax, eax
                and     eax, SCREEN_GREY
                mov     ecx, esi
                rep     stosd
                jmp     .dot
.line_end:
                pop     rdi
                mov     eax, [rbp + machine_info.screen_pitch - machine_info.screen]
                add     rdi, rax
                dec     dword [rsp]
                jnz     .line
                pop     rax
                shr     rbx, FONT_COLUMNS
                dec     dword [rsp]
                jnz     .row
                pop     rax
                pop     rbp
                pop     rdi
                pop     rsi
                pop     rdx
                pop     rcx
                pop     rbx
                ret

; -----------------------------------------------------------------------------
; Says of what was just named that it does not answer.
;
; USES  rax rdi
console_dead:
                mov     edi, text_dead

; -----------------------------------------------------------------------------
; Prints a text of the core: it lies below 4 GiB and ends with 0; the character EXO16 stands for "exo16: ".
;
; IN    rdi
; USES  rax rdi
EXO16               equ 1
console_text:
                mov     al, [rdi]
                inc     edi
                cmp     al, EXO16
                jb      .done
                je      .name
                call    console_put
                jmp     console_text
.name:
                push    rdi
                mov     edi, text_exo16
                call    console_text
                pop     rdi
                jmp     console_text
.done:
                ret

; -----------------------------------------------------------------------------
; Prints a blank, and a number in sixteen hexadecimal digits.
;
; IN    rax
; USES  rax rcx
console_hex:
                push    rax
                mov     al, ' '
                call    console_put
                pop     rax
                push    16
                pop     rcx
.digit:
                rol     rax, 4
                push    rax
                and     al, 15
                cmp     al, 10
                jb      .put
                add     al, 'a' - '0' - 10
.put:
                add     al, '0'
                call    console_put
                pop     rax
                loop    .digit
                ret
