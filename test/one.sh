#!/bin/bash
# Runs one test; test/run.sh calls it with a time limit. Exit status 0: passed.
#
#   test/one.sh shell FILE FUNCTION   a function of a shell file
#   test/one.sh host FILE [thread]    a Catch2 program; prints a line for each TEST_CASE. `thread`: with that sanitizer
#   test/one.sh fail FILE             a C++ file that must not compile with -DEXO_WRONG, and must compile without it.
#                                     `// expect: TEXT` lines name what the compiler has to say; with a line
#                                     `// compile: whole` it makes code, and not only looks at the text
#   test/one.sh fuzz FILE             a fuzz target, over its inputs
#   test/one.sh guest FILE N [soak]   run N of a guest program. Its comments say what to boot and to expect:
#                                       // boot: OPTIONS    a run, with options of run_x86-64.sh; 2 cores and no NIC
#                                       // soak: OPTIONS    the same, of those that take long; prints what the console shows
#                                       // status: N        its exit status, else 0
#                                       // prints: TEXT     a text that the console must show; may be given again
set -uo pipefail
top=$(cd "$(dirname "$0")/.." && pwd)
cd "$top" || exit 2
source tools/flags.sh
source test/lib.sh

run_host() {
  local name=${1#test/} program limit_s=240
  name=${name%.cpp}
  program=build/host${2:+-$2}/${name#host/} name+=${2:+ ($2)}
  if ! make --no-print-directory -s "$program" >"$work/build.log" 2>&1; then
    echo "FAIL $name"
    sed 's/^/    /' "$work/build.log"
    return 1
  fi
  "$program" --list-test-names-only >"$work/listed" 2>/dev/null
  # A crash leaves the report torn: the cases without a result count as failed.
  timeout --foreground -s KILL $limit_s "$program" --reporter xml >"$work/report.xml" 2>"$work/errors"
  awk -v file="$name" -v only="${ONLY-}" '
    function plain(text) {
      gsub(/&lt;/, "<", text)
      gsub(/&gt;/, ">", text)
      gsub(/&quot;/, "\"", text)
      gsub(/&amp;/, "\\&", text)
      return text
    }
    FNR == NR { cases[$0]; next }
    /<TestCase / {
      title = $0
      sub(/.*<TestCase name="/, "", title)
      sub(/".*/, "", title)
      title = plain(title)
    }
    /<OverallResult / {
      verdict(/success="true"/, title, "")
      delete cases[title]
      title = ""
    }
    function verdict(good, name, why) {
      name = file ": " name
      if (name !~ only) return
      print (good ? "ok " : "FAIL ") name why
      if (!good) failed++
    }
    END {
      if (NR == 0) verdict(0, "there are no cases", "")
      for (name in cases) verdict(0, name, name == title ? " (crashed)" : " (did not run)")
      exit failed > 0
    }' "$work/listed" "$work/report.xml" && return 0
  timeout --foreground -s KILL $limit_s "$program" 2>&1 | head -n 80 | sed 's/^/    /'
  return 1
}

run_fuzz() {
  local program=build/${1#test/} corpus=test/fuzz/corpus/$(basename "$1" .cpp)
  program=${program%.cpp}
  make --no-print-directory -s "$program" || fail "it does not build"
  [ -n "$(ls "$corpus" 2>/dev/null)" ] || fail "there are no inputs in $corpus"
  "$program" "$corpus"
}

run_fail() {
  local compile=(g++ "${guest_compile_flags[@]}" -fsyntax-only) text
  # What GCC finds only when it makes code.
  ! grep -q '^// compile: whole$' "$1" || compile=(g++ "${guest_compile_flags[@]}" -c -o "$work/object")
  "${compile[@]}" "$1" || fail "it does not compile without EXO_WRONG either"
  ! "${compile[@]}" -DEXO_WRONG "$1" 2>"$work/errors" || fail "it compiles"
  grep -q '^// expect: ' "$1" || fail "the file has no line '// expect: TEXT'"
  while IFS= read -r text; do
    grep 'error:' "$work/errors" | grep -qF -- "$text" || {
      cat "$work/errors"
      fail "no error says: $text"
    }
  done < <(sed -n 's/^\/\/ expect: *//p' "$1")
}

run_guest() {
  local file=$1 number=$2 kind=${3-boot} options expected text
  # The lines of this run, and those before the first run, which are for all.
  awk -v number="$number" -v kind="$kind:" '
    /^\/\/ (boot|soak):/ { begun = 1; mine = $2 == kind && ++run == number }
    !begun || mine' "$file" | grep -E '^// (boot|soak|status|prints):' >"$work/lines"
  eval "options=($(sed -n "s/^\/\/ $kind: *//p" "$work/lines"))"
  expected=$(sed -n 's/^\/\/ status: *//p' "$work/lines" | tail -n 1)
  run "$file" --net none "${options[@]}"
  expect_status "${expected:-0}"
  while IFS= read -r text; do
    expect_text "$text"
  done < <(sed -n 's/^\/\/ prints: *//p' "$work/lines")
  [ "$kind" != soak ] || echo "$output"
}

case $1 in
shell)
  source "$2"
  "$3"
  ;;
host) run_host "$2" "${3-}" ;;
fail) run_fail "$2" ;;
fuzz) run_fuzz "$2" ;;
guest) run_guest "${@:2}" ;;
esac
