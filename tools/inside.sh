#!/bin/bash
# Takes out of a console's text what a program says about itself: api/exo/trace.hpp, api/exo/profile.hpp, fault reports.
#
#   tools/inside.sh trace CAPTURE                the trace as a Chrome trace, JSON
#   tools/inside.sh profile CAPTURE PROGRAM.elf  the samples as folded stacks `frame;frame count`, for flame graphs
#   tools/inside.sh fault CAPTURE PROGRAM.elf    the functions and lines of the last fault report
#
# CAPTURE is a file with what the serial port gave, or - for standard input. PROGRAM.elf lies where the image was built.
# Where it came from direct boot, EXO_SYMBOLS=build/core-pvh.elf in the environment names the core's symbols.
# Exit status 1: CAPTURE has no such thing, or only a part; 2: a file cannot be read. A sentence says so.
set -uo pipefail
top=$(cd "$(dirname "$(realpath "${BASH_SOURCE[0]}")")/.." && pwd)
me=$(basename "$0")
export LC_ALL=C

refuse() {
  echo "$me: $2" >&2
  exit "$1"
}

# payload MARK: what stands behind a mark, in the lines that have it. Other cores may have begun the line.
payload() {
  tr -d '\0\r' <"$capture" | sed -n "s/^.*exo16-$1: //p"
}

# symbols: what `addr2line` says of addresses, one on each line of standard input: the address, then two lines, function
# and place, for each function that is inlined there and for the one that is not.
symbols() {
  local addresses elf
  addresses=$(sort -u)
  [ -n "$addresses" ] || return 0
  for elf in "$program" "$core"; do
    # The core has the megabyte below the programs.
    awk -v core="$([ "$elf" = "$core" ] && echo 1)" '
      function below_2_mib(text) {
        sub(/^0+/, "", text)
        return length(text) < 6 || length(text) == 6 && text < "200000"
      }
      below_2_mib($1) == (core != "")' <<<"$addresses" | { [ ! -e "$elf" ] || addr2line -aifC -e "$elf"; }
  done
}

# With a name for each address: before a return address lies the call.
read_symbols='
  function number_before(text,   at, digits, digit, out) {
    digits = "0123456789abcdef"
    for (at = length(text); at > 0; at--) {
      digit = index(digits, substr(text, at, 1)) - 1
      if (digit > 0) break
      out = out "f"
    }
    return substr(text, 1, at - 1) substr(digits, digit, 1) out
  }
  function key(text) {
    sub(/^(0x)?0*/, "", text)
    return text == "" ? "0" : text
  }'

case ${1-} in
trace) [ $# -eq 2 ] ;;
profile | fault) [ $# -eq 3 ] ;;
*) false ;;
esac || refuse 2 "usage: tools/inside.sh trace CAPTURE | profile CAPTURE PROGRAM.elf | fault CAPTURE PROGRAM.elf"
kind=$1 capture=$2 program=${3-} core=${EXO_SYMBOLS:-$top/build/core.elf}
[ "$capture" != - ] || capture=/dev/stdin
[ -r "$capture" ] || refuse 2 "'$capture' cannot be read. Give the file with what the serial port gave."
[ -z "$program" ] || [ -r "$program" ] || refuse 2 "'$program' cannot be read. Give the .elf file beside the program's image."
work=$(mktemp -d) || exit 2
trap 'rm -rf "$work"' EXIT

case $kind in
trace)
  payload trace >"$work/trace"
  [ -s "$work/trace" ] || refuse 1 "there is no trace: the program has not called exo::trace::print()."
  # The last one, from its first line on.
  awk '/^\{"displayTimeUnit"/ { text = "" } { text = text $0 "\n" } END { printf "%s", text }' "$work/trace" >"$work/last"
  cat "$work/last"
  [ "$(tail -n 1 "$work/last")" = ']}' ] || refuse 1 "the trace is cut off: the machine ended, or the capture, while it was printed."
  ;;
profile)
  payload profile >"$work/all"
  awk '$1 == "begin" { text = "" } { text = text $0 "\n" } END { printf "%s", text }' "$work/all" >"$work/profile"
  [ -s "$work/profile" ] || refuse 1 "there is no profile: the program has not called exo::profile::print()."
  # Lines `core FRAMES COUNT`, frames from the outermost on with `;` between, all but the last return addresses.
  awk "$read_symbols"'
    $1 == "core" {
      count = split($3, frames, ";")
      for (at = 1; at < count; at++) print number_before(frames[at])
      print frames[count]
    }' "$work/profile" | symbols >"$work/symbols"
  awk "$read_symbols"'
    FNR == NR {
      if (/^0x/) { address = key($0); line = 0 }
      else if (++line % 2) {
        before = address in names ? ";" names[address] : ""
        names[address] = $0 before
      }
      next
    }
    $1 == "core" {
      count = split($3, frames, ";")
      stack = "core " $2
      for (at = 1; at <= count; at++) {
        address = key(at < count ? number_before(frames[at]) : frames[at])
        stack = stack ";" (address in names && names[address] !~ /^\?\?/ ? names[address] : "0x" address)
      }
      sums[stack] += $4
    }
    END { for (stack in sums) print stack, sums[stack] }' "$work/symbols" "$work/profile" | sort
  sed -n 's/^note //p' "$work/profile" | while IFS= read -r note; do echo "$me: $note" >&2; done
  grep -q '^end$' "$work/profile" || refuse 1 "the profile is cut off: the machine ended, or the capture, while it was printed."
  ;;
fault)
  tr -d '\0\r' <"$capture" | awk "$read_symbols"'
    /exo16: fault / { on = 1; count = 0; delete place }
    on && / rip [0-9a-f]+/ {
      match($0, / rip [0-9a-f]+/)
      place[++count] = substr($0, RSTART + 5, 16)
    }
    on && /exo16: trace/ {
      sub(/.*exo16: trace/, "")
      for (at = 1; at <= NF; at++) if ($at ~ /^[0-9a-f]+$/ && $at !~ /^0+$/) place[++count] = number_before($at)
      on = 0
    }
    END { for (at = 1; at <= count; at++) print place[at] }' >"$work/places"
  [ -s "$work/places" ] || refuse 1 "there is no report of a fault."
  symbols <"$work/places" >"$work/symbols"
  awk "$read_symbols"'
    FNR == NR {
      if (/^0x/) { address = key($0); line = 0 }
      else if (++line % 2) function_name = $0
      else {
        before = address in text ? text[address] "\n" : ""
        text[address] = before function_name " at " $0
      }
      next
    }
    {
      count = split(text[key($0)], lines, "\n")
      if (count == 0) lines[count = 1] = "?? at ??:0"
      for (at = 1; at <= count; at++) {
        sub(/^\?\? at .*/, "0x" key($0), lines[at])
        print "exo16: " (first++ ? "  by " : "  in ") lines[at]
      }
    }' "$work/symbols" "$work/places" | sed "s|at $top/|at |"
  ;;
esac
