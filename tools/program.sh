#!/bin/bash
# Compiles and links a program, as far as it is out of date.
#
#   tools/program.sh SOURCE PREFIX                       for the machine
#   tools/program.sh SOURCE PREFIX native [SANITIZERS]   as a process, with native/; SANITIZERS as for -fsanitize=
#
# SOURCE is a .cpp file, or a folder of which every .cpp file is taken. Makes PREFIX.elf (with symbols, for gdb) and
# PREFIX.bin (stripped, for the image); native: only PREFIX.elf, which can be run. Exit status 2: it does not compile,
# and the compiler has said why.
set -euo pipefail
top=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
source "$top/tools/flags.sh"

usage='usage: tools/program.sh SOURCE PREFIX [native [SANITIZERS]]'
[ $# -eq 2 ] || [ "${3-}" = native ] || { echo "$usage" >&2; exit 2; }
program=$1 prefix=$2 native=${3-} objects=$2.objects
read -ra user_flags <<<"${EXO_CXXFLAGS-}"
if [ -n "$native" ]; then
  [ -z "${4-}" ] || user_flags=(-fsanitize="$4" "${user_flags[@]}")
  compile_flags=("${native_compile_flags[@]}") link_flags=("${native_link_flags[@]}") libraries=()
else
  compile_flags=("${guest_compile_flags[@]}") link_flags=("${guest_link_flags[@]}") libraries=("${guest_libraries[@]}")
fi
compile=(g++ "${compile_flags[@]}" "${user_flags[@]}")

if [ -d "$program" ]; then
  mapfile -d '' -t sources < <(find "$program" -name '*.cpp' -type f -print0 | sort -z)
  folder=$program
else
  sources=("$program")
  folder=$(dirname "$program")
fi
[ -z "$native" ] || sources+=("$top/native/main.cpp")

mkdir -p "$objects"
exec 9>"$objects/lock"
flock 9

# Other flags or another set of files: begin anew.
stamp=$(printf '%s\n' "${compile[@]}" "${link_flags[@]}" "${libraries[@]}" "${sources[@]}")
if [ "$stamp" != "$(cat "$objects/stamp" 2>/dev/null)" ]; then
  find "$objects" \( -name '*.o' -o -name '*.d' \) -delete
  rm -f "$prefix.elf" "$prefix.bin"
  printf '%s\n' "$stamp" >"$objects/stamp"
fi

# current OBJECT: it exists, and nothing that its dependency file names is newer or gone.
current() {
  [ -f "$1" ] && [ -f "${1%.o}.d" ] || return 1
  local needs
  mapfile -t needs < <(sed -e '1s/^object: *//' -e 's/ *\\$//' -e 's/^ *//' \
    -e 's/\([^\\]\) /\1\n/g' "${1%.o}.d" | sed -e 's/\\\([ #]\)/\1/g' -e 's/\$\$/$/g' -e '/^$/d')
  [ -z "$(find "${needs[@]}" -maxdepth 0 -newer "$1" -print -quit 2>&1)" ]
}

outputs=()
for source in "${sources[@]}"; do
  object=$objects/${source#"$folder"/}
  [ "$source" != "$top/native/main.cpp" ] || object=$objects/exo16-native.cpp
  object=${object%.cpp}.o
  outputs+=("$object")
  if ! current "$object"; then
    mkdir -p "$(dirname "$object")"
    rm -f "$object"
    "${compile[@]}" -I "$folder" -MD -MF "${object%.o}.d" -MT object -c "$source" -o "$object" || exit 2
  fi
done

made=$prefix.bin
[ -z "$native" ] || made=$prefix.elf
if [ ! -f "$made" ] || [ -n "$(find "${outputs[@]}" -newer "$made" -print -quit)" ]; then
  link() {
    g++ "${link_flags[@]}" "$@" "${user_flags[@]}" -o "$prefix.elf" "${outputs[@]}" "${libraries[@]}" || exit 2
  }
  link
  [ -z "$native" ] || exit 0
  # UEFI firmware often keeps memory at 8 MiB: a program that would reach there begins at 16 MiB.
  high=()
  if [ "$(size "$prefix.elf" | awk 'NR == 2 { print $4 }')" -gt $((5 << 20)) ]; then
    high=("$guest_link_high")
    link "${high[@]}"
  fi
  # A program that asks for its functions' names is linked once more with a table of them: data behind the text, so that
  # nothing in the text moves.
  if nm "${outputs[@]}" | grep ' w exo_symbol_first$' >/dev/null; then
    text=$(nm "$prefix.elf" | grep -i ' [tw] .' | grep -v exo_symbol_)
    "$top/tools/symbol-table.sh" "$prefix.elf" >"$objects/symbol-table.s"
    as -o "$objects/symbol-table.o" "$objects/symbol-table.s"
    link "${high[@]}" "$objects/symbol-table.o"
    [ "$text" = "$(nm "$prefix.elf" | grep -i ' [tw] .' | grep -v exo_symbol_)" ] ||
      { echo "program.sh: the text of '$prefix.elf' moved when its table of symbols came to it." >&2; exit 2; }
  fi
  strip -o "$prefix.bin" "$prefix.elf"
fi
