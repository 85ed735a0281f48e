#!/bin/sh
# Prints the tables of doc/abi.md from api/abi/*.inc: calls, errors, structs with offsets, constants.
#
#   tools/abi-table.sh          prints them
#   tools/abi-table.sh FILE     writes them into FILE, between its lines <!-- abi-table --> and <!-- /abi-table -->
#
# A file without the two lines is left alone, with exit status 2.
set -eu
abi=$(cd "$(dirname "$0")/../api/abi" && pwd)

tables() {
  cat "$abi/calls.inc" "$abi/errors.inc" "$abi/layout.inc" | awk '
  # Splits a line EXO_X(a, b, (c, d), "e") into part[1..n] at the commas outside brackets and quotes.
  function split_line(line,  i, c, depth, quoted, n) {
    sub(/^[A-Z_]+\(/, "", line)
    sub(/\)[ \t]*$/, "", line)
    n = 1
    part[1] = ""
    for (i = 1; i <= length(line); i++) {
      c = substr(line, i, 1)
      if (c == "\"") { quoted = !quoted; continue }
      if (!quoted && c == "(") depth++
      if (!quoted && c == ")") depth--
      if (!quoted && !depth && c == ",") { n++; part[n] = ""; sub(/^ */, "", line); continue }
      if (part[n] != "" || c != " ") part[n] = part[n] c
    }
    return n
  }
  function heading(columns, rule) {
    if (open != columns) {
      print ""
      print columns
      print rule
      open = columns
    }
  }
  function title(text) {
    print ""
    print "### " text
    open = ""
  }
  # One field: its place is the next multiple of its alignment.
  function field(type, name, bytes, alignment, doc) {
    heading("| offset | type | field | meaning |", "|---:|---|---|---|")
    place = int((place + alignment - 1) / alignment) * alignment
    printf "| %d | `%s` | `%s` | %s |\n", place, type, name, doc
    place += bytes
    if (alignment > widest) widest = alignment
  }
  BEGIN {
    size["u8"] = 1; size["u16"] = 2; size["u32"] = 4; size["i32"] = 4; size["u64"] = 8
  }
  /^EXO_/ { split_line($0) }
  /^EXO_NOTE/ {
    if (part[1] ~ /[.]$/) print "\n" part[1]
    else title(part[1])
  }
  /^EXO_CALL/ {
    heading("| slot | call | what it does |", "|---:|---|---|")
    printf "| %d | `%s %s%s` | %s |\n", part[1], part[3], part[2], part[4], part[5]
  }
  /^EXO_ERROR/ {
    heading("| error | name | why |", "|---:|---|---|")
    printf "| %d | `%s` | %s |\n", part[1], part[2], part[3]
  }
  /^EXO_CONSTANT/ {
    heading("| constant | value | meaning |", "|---|---:|---|")
    printf "| `%s` | %s | %s |\n", part[1], part[2], part[3]
  }
  /^EXO_STRUCT/ {
    print ""
    print "`struct " part[1] "`"
    open = ""
    place = 0
    widest = 1
  }
  /^EXO_FIELD/ { field(part[1], part[2], size[part[1]], size[part[1]], part[3]) }
  /^EXO_ARRAY/ { field(part[1] "[" part[3] "]", part[2], size[part[1]] * part[3], size[part[1]], part[4]) }
  /^EXO_POINTER/ { field(part[1] " const *", part[2], 8, 8, part[3]) }
  /^EXO_LIST/ { field("list<" part[1] ">", part[2], 16, 8, part[3]) }
  /^EXO_END/ {
    print ""
    print "`sizeof(" part[1] ")` is " int((place + widest - 1) / widest) * widest "."
    open = ""
  }'
}

if [ $# -eq 0 ]; then
  tables
  exit
fi

[ -f "$1" ] || { echo "abi-table.sh: there is no file $1." >&2; exit 2; }
if ! grep -qx '<!-- abi-table -->' "$1" || ! grep -qx '<!-- /abi-table -->' "$1"; then
  echo "abi-table.sh: $1 has no lines <!-- abi-table --> and <!-- /abi-table -->; add them where the tables belong." >&2
  exit 2
fi
new=$(mktemp)
trap 'rm -f "$new"' EXIT
{
  sed '/^<!-- abi-table -->$/q' "$1"
  tables
  echo
  sed -n '/^<!-- \/abi-table -->$/,$p' "$1"
} >"$new"
cat "$new" >"$1"
