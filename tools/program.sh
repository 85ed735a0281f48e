#!/bin/bash
# Compiles and links a program, as far as it is out of date.
#
#   tools/program.sh SOURCE PREFIX                       for the machine
#   tools/program.sh SOURCE PREFIX native [SANITIZERS]   as a process, with native/; SANITIZERS as for -fsanitize=
#   tools/program.sh SOURCE PREFIX sim                   for the simulator, with test/sim/program.cpp
#
# SOURCE is a .cpp file, or a folder of which every .cpp file is taken. Makes PREFIX.elf (with symbols, for gdb) and
# PREFIX.bin (stripped, for the image); native: only PREFIX.elf, which can be run; sim: only PREFIX.so, which build/sim/sim
# runs. EXO_CXX in the environment is another compiler than g++, for sim. Exit status 2: it does not compile,
# and the compiler has said why.
set -euo pipefail
top=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
source "$top/tools/flags.sh"

usage='usage: tools/program.sh SOURCE PREFIX [native [SANITIZERS] | sim]'
case ${3-} in native | sim) ;; *) [ $# -eq 2 ] ;; esac || { echo "$usage" >&2; exit 2; }
program=$1 prefix=$2 kind=${3-} compiler=g++ objects=$2.objects own_sources=() made=$2.bin
read -ra user_flags <<<"${EXO_CXXFLAGS-}"
case $kind in
native)
  [ -z "${4-}" ] || user_flags=(-fsanitize="$4" "${user_flags[@]}")
  compile_flags=("${native_compile_flags[@]}") link_flags=("${native_link_flags[@]}") libraries=()
  own_sources=("$top/native/main.cpp") made=$prefix.elf
  ;;
sim)
  compiler=${EXO_CXX:-g++}
  case $compiler in *clang*) ;; *) user_flags+=("${sim_gcc_flags[@]}") ;; esac
  compile_flags=("${sim_compile_flags[@]}") link_flags=("${sim_link_flags[@]}") libraries=()
  own_sources=("$top/test/sim/program.cpp" "$top/test/sim/atomics.cpp") made=$prefix.so
  ;;
*) compile_flags=("${guest_compile_flags[@]}") link_flags=("${guest_link_flags[@]}") libraries=("${guest_libraries[@]}") ;;
esac
compile=("$compiler" "${compile_flags[@]}" "${user_flags[@]}")

if [ -d "$program" ]; then
  mapfile -d '' -t sources < <(find "$program" -name '*.cpp' -type f -print0 | sort -z)
  folder=$program
else
  sources=("$program")
  folder=$(dirname "$program")
fi
sources+=("${own_sources[@]}")

mkdir -p "$objects"
exec 9>"$objects/lock"
flock 9

# Other flags or another set of files: begin anew.
stamp=$(printf '%s\n' "${compile[@]}" "${link_flags[@]}" "${libraries[@]}" "${sources[@]}")
if [ "$stamp" != "$(cat "$objects/stamp" 2>/dev/null)" ]; then
  find "$objects" \( -name '*.o' -o -name '*.d' \) -delete
  rm -f "$prefix.elf" "$prefix.bin" "$prefix.so"
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
  case $source in "$top"/native/* | "$top"/test/sim/*.cpp) object=$objects/exo16-$(basename "$source") ;; esac
  object=${object%.cpp}.o
  outputs+=("$object")
  if ! current "$object"; then
    mkdir -p "$(dirname "$object")"
    rm -f "$object"
    # atomics.cpp is what the others are compiled to call.
    extra_flags=()
    if [ "$kind" = sim ] && [ "$source" != "$top/test/sim/atomics.cpp" ]; then extra_flags=("${sim_program_flags[@]}"); fi
    "${compile[@]}" "${extra_flags[@]}" -I "$folder" -MD -MF "${object%.o}.d" -MT object -c "$source" -o "$object.new" || exit 2
    mv "$object.new" "$object"  # only now: whoever is ended in between leaves no half of one
  fi
done

if [ ! -f "$made" ] || [ -n "$(find "${outputs[@]}" -newer "$made" -print -quit)" ]; then
  link() {
    "$compiler" "${link_flags[@]}" "${@:2}" "${user_flags[@]}" -o "$1" "${outputs[@]}" "${libraries[@]}" || exit 2
  }
  case $kind in native | sim)
    link "$made"
    exit 0
    ;;
  esac
  link "$prefix.elf"
  # UEFI firmware often keeps memory at 8 MiB: a program that would reach there begins at 16 MiB.
  high=()
  if [ "$(size "$prefix.elf" | awk 'NR == 2 { print $4 }')" -gt $((5 << 20)) ]; then
    high=("$guest_link_high")
    link "$prefix.elf" "${high[@]}"
  fi
  # A program that asks for its functions' names is linked once more with a table of them: data behind the text, so that
  # nothing in the text moves.
  if nm "${outputs[@]}" | grep ' w exo_symbol_first$' >/dev/null; then
    text=$(nm "$prefix.elf" | grep -i ' [tw] .' | grep -v exo_symbol_)
    "$top/tools/symbol-table.sh" "$prefix.elf" >"$objects/symbol-table.s"
    as -o "$objects/symbol-table.o" "$objects/symbol-table.s"
    link "$prefix.elf" "${high[@]}" "$objects/symbol-table.o"
    [ "$text" = "$(nm "$prefix.elf" | grep -i ' [tw] .' | grep -v exo_symbol_)" ] ||
      { echo "program.sh: the text of '$prefix.elf' moved when its table of symbols came to it." >&2; exit 2; }
  fi
  strip -o "$prefix.bin" "$prefix.elf"
fi
