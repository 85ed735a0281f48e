#!/bin/sh
# Makes an ELF file with the core's labels and source lines, for gdb.
#
#   tools/symbols.sh BINARY LISTING MAP ELF    the first three from one run of nasm with -f bin
#
# The core is assembled as one flat file, which has no debug information. So its bytes are assembled once more, taken from
# the flat file to their addresses, under the lines and labels that they came from. Variables and constants become plain
# numbers.
set -eu
top=$(cd "$(dirname "$0")/.." && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

awk -v main=src/x86-64/core.asm -v addresses="$work/addresses" -v binary="$1" "$(cat "$top/tools/listing.awk")"'
FNR == 1 { input++ }
input == 1 && /^---- (No )?Section/ { place = $2 == "No" ? "" : $3 }
input == 1 && /^class:/ { nobits[place] = $2 == "nobits" }
input == 1 && /^start:/ { real[place] = hex($2) }
input == 1 && /^vstart:/ {
  start[place] = hex($2)
  if (place != ".text" && !nobits[place]) print "--section-start=" place "=0x" $2 >addresses
}
# Labels and variables as Real Virtual Name, constants as Value Name.
input == 1 && NF == 3 && $1 ~ /^[0-9A-F]+$/ && $2 ~ /^[0-9A-F]+$/ && $3 !~ /^\./ {
  if (nobits[place]) {
    print ".set \"" $3 "\", 0x" $2
    next
  }
  key = place " " hex($2) - start[place]
  labels[key] = labels[key] ".type \"" $3 "\", @function\n\"" $3 "\":\n"
}
input == 1 && place == "" && NF == 2 && $1 ~ /^[0-9A-F]+$/ && $2 !~ /\./ {
  print ".set \"" $2 "\", 0x" $1
}
input == 2 {
  if (FNR == 1) print ".loc_mark_labels 1"
  count = listing_line()
  if (!count) next
  if (section != current) print ".section " section ", \"ax\""
  current = section
  if (!(file in number)) {
    number[file] = ++files
    print ".file " files " \"" file "\""
  }
  printf ".loc %d %d\n%s", number[file], line, labels[section " " offset]
  print ".L" ++lines ":\n.incbin \"" binary "\", " real[section] + offset ", " count
}' "$3" "$2" >"$work/symbols.s"

as -o "$work/symbols.o" "$work/symbols.s"
# shellcheck disable=SC2046  # a list of options
ld -o "$4" --no-warn-rwx-segments -e 0 $(cat "$work/addresses") "$work/symbols.o"
