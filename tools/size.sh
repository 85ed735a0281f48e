#!/bin/sh
# Prints the bytes of loader and core by source file, largest first, and at the end a line `NAME-total N` for each loader.
#
#   tools/size.sh NAME...    bios, uefi or pvh; the core's own files are printed once, each loader's under its name
set -eu
top=$(cd "$(dirname "$0")/.." && pwd)

# by_file NAME: bytes and file, for each file that has any.
by_file() {
  awk -v total="$(($(wc -c <"$top/build/$1.bin")))" -v main=src/x86-64/core.asm "$(cat "$top/tools/listing.awk")"'
  {
    count = listing_line()
    if (count) bytes[file] += count
  }
  END {
    for (file in bytes) {
      printf "%6d %s\n", bytes[file], file
      sum += bytes[file]
    }
    if (sum != total) printf "%6d (alignment between sections)\n", total - sum
  }' "$top/build/$1.lst"
}

for name; do by_file "$name"; done | sort -u | sort -k1,1rn -k2
for name; do echo "$name-total $(($(wc -c <"$top/build/$name.bin")))"; done
