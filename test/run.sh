#!/bin/bash
# Runs the tests and prints `ok NAME` or `FAIL NAME` with its log for each, and at the end `N passed, N failed`.
#
#   test/run.sh KIND...        kinds: check host fail fuzz boot contract soak; without one all but soak
#   ONLY=pattern test/run.sh   takes the tests whose name matches this extended regular expression
#   JOBS=N test/run.sh         how many at a time; default: the processors
#
#   check  test/check/*.sh     each function test_* is a test: rules that the sources keep
#   host   test/host/*.cpp     Catch2; each TEST_CASE is a test, each file a program with address and undefined sanitizer,
#                              and with a line `// sanitizer: thread` also one with that
#   fail   test/fail/*.cpp     must not compile, with the message that the file names; see test/one.sh
#   fuzz   test/fuzz/*.cpp     fuzz targets, over the inputs in test/fuzz/corpus/TARGET
#   boot   test/boot/*.cpp     guest programs, booted as their comments say; see test/one.sh
#          test/boot/*.sh      each function test_* is a test, with test/lib.sh at hand
#   soak   test/boot/*.cpp     the same programs, each with a million operations or more; prints their figures
#   contract  test/contract/*.cpp  the same, but each is asked of the core, of a process and of the simulator
#
# A shell file sets another time limit than LIMIT_S for each of its tests with a line `# limit: SECONDS`.
set -uo pipefail
top=$(cd "$(dirname "$0")/.." && pwd)
cd "$top" || exit 2
export LC_ALL=C
LIMIT_S=120
HOST_LIMIT_S=300
SOAK_LIMIT_S=7200

# Some containers come with a file where the null device should be: what is written there would be read again.
if [ ! -c /dev/null ] && [ -w /dev ]; then
  rm -f /dev/null
  mknod -m 666 /dev/null c 1 3
fi

[ $# -gt 0 ] || set -- check host fail fuzz boot contract
only=${ONLY-}
jobs_max=${JOBS:-$(nproc)}

names=() limits=() styles=() commands=()
# add NAME LIMIT STYLE COMMAND...: style `one` is judged by its exit status, so is `figures`, of which all output is shown;
# `many` prints its own ok and FAIL lines.
add() {
  [ "$3" = many ] || [[ $1 =~ $only ]] || return 0
  names+=("$1") limits+=("$2") styles+=("$3")
  shift 3
  commands+=("${*@Q}")
}

limit_of() {
  local limit
  limit=$(sed -n 's/^\(#\|\/\/\) limit: *\([0-9]*\)$/\2/p' "$1" | head -n 1)
  echo "${limit:-$LIMIT_S}"
}

add_functions() {
  local file=$1 name=$2 function
  for function in $(sed -n 's/^test_\([a-z0-9_]*\)() {$/\1/p' "$file"); do
    add "$name/$function" "$(limit_of "$file")" one test/one.sh shell "$file" "test_$function"
  done
}

# add_guest FILE NAME WORD LIMIT STYLE: one run for each `// WORD:` line; of a file without lines of boot one without options.
add_guest() {
  local file=$1 name=$2 word=$3 runs run options
  runs=$(grep -c "^// $word:" "$file")
  [ "$runs" -gt 0 ] || [ "$word" = soak ] || runs=1
  for ((run = 1; run <= runs; run++)); do
    options=$(sed -n "s/^\/\/ $word: *//p" "$file" | sed -n "${run}p")
    add "$name${options:+ $options}" "$4" "$5" test/one.sh guest "$file" "$run" "$word"
  done
}

# add_host FILE NAME [SANITIZER]: if a case of the file matches.
add_host() {
  sed -n "s|.*TEST_CASE(\"\([^\"]*\)\".*|$2: \1|p" "$1" | grep -qE -- "$only" || return 0
  add "$2" $HOST_LIMIT_S many test/one.sh host "$1" "${@:3}"
}

for kind in "$@"; do
  case $kind in check | host | fail | fuzz | boot | contract | soak) ;; *)
    echo "run.sh: there is no kind '$kind'; take check, host, fail, fuzz, boot, contract or soak." >&2
    exit 2
    ;;
  esac
  while IFS= read -r file; do
    name=${file#test/}
    name=${name%.*}
    case $kind/$file in soak/*.cpp) add_guest "$file" "soak/${name#*/}" soak $SOAK_LIMIT_S figures ;; esac
    [ "$kind" != soak ] || continue
    case $file in
    *.sh) add_functions "$file" "$name" ;;
    test/host/*)
      add_host "$file" "$name"
      ! grep -q '^// sanitizer: thread$' "$file" || add_host "$file" "$name (thread)" thread
      ;;
    test/fuzz/replay.cpp) ;;
    test/fuzz/*) add "$name" $HOST_LIMIT_S one test/one.sh fuzz "$file" ;;
    test/fail/*) add "$name" "$LIMIT_S" one test/one.sh fail "$file" ;;
    test/boot/* | test/contract/*)
      add_guest "$file" "$name" boot "$(limit_of "$file")" one
      ;;
    esac
  done < <(find "test/${kind/soak/boot}" \( -name '*.cpp' -o -name '*.sh' \) 2>/dev/null | sort)
done

if [ ${#names[@]} -eq 0 ]; then
  echo "run.sh: there is no test${only:+ whose name matches '$only'} in: $*" >&2
  exit 2
fi

work=$(mktemp -d)
declare -A running=()
trap 'rm -rf "$work"' EXIT
# `timeout` passes the signal on to all that its test started.
trap 'kill "${!running[@]}" 2>/dev/null; wait; exit 130' INT TERM

timed_out() {
  case $1 in 124 | 137) echo "    no end after ${limits[$2]} s" ;; esac
}

passed=0 failed=0
report() {
  local index=$1 status log=$work/$1.log
  status=$(cat "$work/$index.status")
  if [ "${styles[index]}" = many ]; then
    cat "$log"
    passed=$((passed + $(grep -c '^ok ' "$log")))
    failed=$((failed + $(grep -c '^FAIL ' "$log")))
    if [ "$status" -eq 0 ] || grep -q '^FAIL ' "$log"; then return; fi
    timed_out "$status" "$index"
    echo "FAIL ${names[index]} (exit status $status)"
    failed=$((failed + 1))
  elif [ "$status" -eq 0 ]; then
    echo "ok ${names[index]}"
    [ "${styles[index]}" != figures ] || sed 's/^/    /' "$log"
    passed=$((passed + 1))
  else
    echo "FAIL ${names[index]}"
    tail -n 60 "$log" | sed 's/^/    /'
    timed_out "$status" "$index"
    failed=$((failed + 1))
  fi
}

next=0 printed=0
while [ $printed -lt ${#names[@]} ]; do
  while [ ${#running[@]} -lt "$jobs_max" ] && [ $next -lt ${#names[@]} ]; do
    # The whole group of processes gets TERM, and KILL if that does not help: Bochs ignores TERM.
    eval "exec timeout -k 10 ${limits[next]} ${commands[next]}" >"$work/$next.log" 2>&1 </dev/null &
    running[$!]=$next
    next=$((next + 1))
  done
  wait -n -p finished
  echo $? >"$work/${running[$finished]}.status"
  unset "running[$finished]"
  while [ -e "$work/$printed.status" ]; do
    report $printed
    printed=$((printed + 1))
  done
done

echo "$passed passed, $failed failed"
[ $failed -eq 0 ]
