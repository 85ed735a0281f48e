#!/bin/bash
# Looks for inputs that break a parser, with libFuzzer and the address and undefined sanitizers.
#
#   tools/fuzz.sh SECONDS [TARGET]
#
# TARGET is a file of test/fuzz without its ending, or the path of another .cpp file with a target; without it the time is
# shared by all of them. The inputs that the fuzzer finds worth keeping lie in build/fuzz/corpus/TARGET and are its beginning
# the next time, beside those of test/fuzz/corpus/TARGET. An input that breaks a target is kept in build/fuzz/found; a
# sentence says how to replay it.
# Exit status 1: one was found; 2: wrong use, or a target does not build.
set -uo pipefail
top=$(cd "$(dirname "$0")/.." && pwd)
cd "$top" || exit 2
source tools/flags.sh

refuse() {
  echo "fuzz.sh: $*" >&2
  exit 2
}

names=$(for file in test/fuzz/*.cpp; do basename "$file" .cpp; done | grep -vx replay | tr '\n' ' ')
seconds=${1-} target=${2-}
[[ $seconds =~ ^[1-9][0-9]{0,6}$ ]] || refuse "SECONDS '$seconds' is not a number of 1 to 9999999. Give one: make fuzz SECONDS=60"
[ -z "$target" ] || [[ " $names" == *" $target "* ]] || [[ $target == */*.cpp && -r $target ]] ||
  refuse "there is no fuzz target '$target'. There are: ${names% }."
read -ra targets <<<"${target:-$names}"
share=$((seconds / ${#targets[@]}))
[ "$share" -gt 0 ] || share=1
tools/need.sh fuzz || exit 2

status=0
mkdir -p build/fuzz/found
for target in "${targets[@]}"; do
  source=test/fuzz/$target.cpp
  if [[ $target == */*.cpp ]]; then
    source=$target
    target=$(basename "$target" .cpp)
  fi
  program=build/fuzz/$target.libfuzzer corpus=build/fuzz/corpus/$target found=build/fuzz/found/$target-
  corpora=("$corpus")
  mkdir -p "$corpus"
  [ ! -d "test/fuzz/corpus/$target" ] || corpora+=("test/fuzz/corpus/$target")
  clang++-19 "${host_compile_flags[@]}" -O1 -Wno-unused-command-line-argument -fsanitize=fuzzer -I test/fuzz -o "$program" \
    "$source" || refuse "$source does not build; the lines above say why."
  "$program" -max_total_time="$share" -timeout=10 -rss_limit_mb=2048 -max_len=4096 -print_final_stats=1 \
    -artifact_prefix="$found" "${corpora[@]}" >build/fuzz/"$target".log 2>&1
  if [ $? -eq 0 ]; then
    echo "$target: $(sed -n 's/^stat::number_of_executed_units: *//p' build/fuzz/"$target".log) inputs in $share s, none breaks it"
    continue
  fi
  status=1
  input=$(sed -n "s|.*Test unit written to ||p" build/fuzz/"$target".log | tail -n 1)
  grep -aE 'ERROR: |runtime error: |^fuzz: ' build/fuzz/"$target".log | head -n 5
  if [ -n "$input" ]; then
    echo "fuzz.sh: an input breaks $target; it is kept in $input. Replay it: $program $input" >&2
  else
    echo "fuzz.sh: $target ended without an input; build/fuzz/$target.log says why." >&2
  fi
done
exit $status
