#!/bin/sh
# Prints the table of a program's functions, for api/exo/symbols.hpp, as assembler text.
#
#   tools/symbol-table.sh PROGRAM.elf
#
# Entries of address and place of the name, 32 bits each, by address; behind them the names, the first 95 letters of each.
set -eu
nm -C --defined-only -n "$1" | awk '
  $2 ~ /^[tTwWi]$/ && length($1) == 16 && substr($1, 1, 8) == "00000000" && $1 != last {
    last = $1
    name = substr($0, 20)
    sub(/ \[clone .*/, "", name)
    gsub(/\\/, "\\\\", name)
    gsub(/"/, "\\\"", name)
    address[++count] = substr($1, 9)
    names[count] = substr(name, 1, 95)
  }
  END {
    print ".section .rodata.exo_symbols, \"a\""
    print ".balign 4"
    print ".globl exo_symbol_first, exo_symbol_end"
    print "exo_symbol_first:"
    for (at = 1; at <= count; at++) print ".long 0x" address[at] ", .L" at " - exo_symbol_first"
    print "exo_symbol_end:"
    for (at = 1; at <= count; at++) print ".L" at ": .asciz \"" names[at] "\""
    print ".section .note.GNU-stack, \"\", @progbits"
  }'
