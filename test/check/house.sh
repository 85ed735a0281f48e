# limit: 400
# The rules of the house: what the sources keep, checked on the sources themselves.
# limit: 400

TOTAL_MAX=16384

# none_of MESSAGE: fails if standard input has any line.
none_of() {
  local lines
  lines=$(cat)
  [ -z "$lines" ] || fail "$1"$'\n'"$lines"
}

# All files of the project but the inputs of fuzz targets, which are any bytes.
sources() {
  find . \( -path ./.git -o -path ./build -o -path ./test/fuzz/corpus \) -prune -o -type f -print | sort
}

test_totals() {
  local loader total
  make --no-print-directory -s build || fail "there is no build/"
  flock build/lock make --no-print-directory -s core || fail "the core does not assemble"
  for loader in bios uefi pvh; do
    total=$(tools/size.sh $loader | sed -n "\$s|^$loader-total ||p")
    [ "$total" -le $TOTAL_MAX ] || fail "$loader and the core have $total bytes, more than $TOTAL_MAX"
    tools/size.sh $loader | awk '/^ / { sum += $1 } /-total / { exit sum != $2 }' ||
      fail "the bytes by file do not add up to $loader-total"
  done
}

# The core behind the loaders of a BIOS and of UEFI is the same, byte for byte.
test_one_core() {
  local loader size
  make --no-print-directory -s build || fail "there is no build/"
  flock build/lock make --no-print-directory -s core || fail "the core does not assemble"
  for loader in bios uefi; do
    size=$((0x$(awk '$2 == "LOADER_BYTES" { print $1 }' build/$loader.map)))
    tail -c +$((size + 1)) build/$loader.bin >"$work/$loader.core"
  done
  cmp "$work/bios.core" "$work/uefi.core" || fail "the core of UEFI differs"
}

test_abi_doc() {
  local copy=$work/abi.md
  cp doc/abi.md "$copy"
  tools/abi-table.sh "$copy" || fail "doc/abi.md has no place for the table"
  diff doc/abi.md "$copy" || fail "the table in doc/abi.md is not what api/abi says; run: make abi-table"
}

# Slots and error numbers never change: a list from when they were given away is kept.
test_frozen_numbers() {
  sed -n -e 's/^EXO_CALL(\([0-9]*\), \([a-z_]*\),.*/call \1 \2/p' api/abi/calls.inc >"$work/now"
  sed -n -e 's/^EXO_ERROR(\([0-9]*\), \([a-z_]*\),.*/error \1 \2/p' api/abi/errors.inc >>"$work/now"
  diff test/check/frozen.txt "$work/now" ||
    fail "a slot or an error number differs from test/check/frozen.txt; new ones are added there, old ones stay"
}

# apps -> api/exo -> api/abi <- src -> src/drivers, bootloader -> handoff.inc; nothing sees test/.
test_include_directions() {
  # Lines FILE:NUMBER:%include "NAME"
  grep -rnE '^ *[#%] *include' apps api native src bootloader >"$work/includes"
  none_of "nothing may include a file under test/" < <(grep -E '[<"/](test|sim)/' "$work/includes")
  none_of "the contract includes nothing" < <(grep '^api/abi/' "$work/includes")
  none_of "a program includes headers as <exo/...> and its own files" \
    < <(grep '^apps/' "$work/includes" | grep -E '[<"/](api|src|bootloader)/')
  none_of "a header includes headers and the contract only" \
    < <(grep '^api/exo/' "$work/includes" | grep -E '[<"/](apps|src|bootloader)/')
  none_of "the native backend includes headers, the contract and itself only" \
    < <(grep '^native/' "$work/includes" | grep -E '[<"/](apps|src|bootloader)/')
  none_of "a driver includes nothing: core.asm and drivers.inc list it" < <(grep -E '^src/drivers/.*\.asm:' "$work/includes")
  none_of "the boot loader includes its own files, handoff.inc and the contract only" \
    < <(grep '^bootloader/' "$work/includes" | grep -vE '"(bootloader|api/abi)/[a-z]+\.inc"')
  none_of "an .inc file of the core includes the contract and other .inc files only" \
    < <(grep -E '^src/x86-64/.*\.inc:' "$work/includes" | grep -vE '"(api/abi|bootloader|src/x86-64)/[a-z0-9_-]+\.inc"')
}

# Protocols take a device as a concept.
test_protocols_know_no_device() {
  local header
  for header in api/exo/net/*.hpp; do
    none_of "$header includes a device header" \
      < <(g++ -std=c++23 -I api -MM "$header" | tr ' ' '\n' | grep -E '^api/exo/((nic|disk|pci)\.hpp|drivers/)')
  done
}

# each_header FLAGS...: every header compiles as the only one of a file.
each_header() {
  local header file
  while IFS= read -r header; do
    file=${header#api/}
    echo "#include <$file>" >"$work/${file//\//-}.cpp"
  done < <(find api -name '*.hpp' | sort)
  printf '%s\0' "$work"/*.cpp | xargs -0 -n 1 -P "$(nproc)" g++ "$@" -Werror -fsyntax-only ||
    fail "a header does not compile alone; the lines above say which"
}

test_headers_alone_in_a_guest() {
  each_header "${guest_compile_flags[@]}"
}

test_headers_alone_on_a_host() {
  each_header "${host_compile_flags[@]}"
}

test_spelling() {
  local file
  none_of "tabs" < <(sources | grep -vE '(^|/)Makefile$' | xargs -d '\n' grep -nIP '\t')
  none_of "blanks at the end of a line" < <(sources | xargs -d '\n' grep -nIP '[ \r]+$')
  none_of "no newline at the end of the file" < <(sources | while IFS= read -r file; do
    [ -z "$(tail -c 1 "$file")" ] || echo "$file"
  done)
}

test_shell_syntax() {
  local file shell
  while IFS= read -r file; do
    shell=$(sed -n '1s/^#!\/bin\/\(ba\|\)sh$/\1sh/p' "$file")
    case $file in *.sh) shell=${shell:-bash} ;; esac
    [ -n "$shell" ] || continue
    $shell -n "$file" || fail "$file has a syntax error"
    [ "$(head -c 2 "$file")" != '#!' ] || [ -x "$file" ] || fail "$file may not be executed: chmod +x"
  done < <(sources)
}

# Links in documents lead to files that are there.
test_links() {
  local file link
  none_of "links to files that are not there" < <(sources | grep '\.md$' | while IFS= read -r file; do
    grep -o '](\([^)]*\))' "$file" | sed 's/^](//; s/[)#].*//' | grep -v '^$\|^https\?:' | sort -u | while IFS= read -r link; do
      [ -e "$(dirname "$file")/$link" ] || echo "$file: $link"
    done
  done)
}
