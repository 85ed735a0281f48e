# The fuzzer's script: what it refuses, and what it does with an input that breaks a target.

fuzz() {
  output=$(tools/fuzz.sh "$@" 2>&1)
  status=$?
}

test_bad_use() {
  fuzz 0
  expect_status 2
  expect_text "SECONDS '0' is not a number of 1 to 9999999"
  fuzz soon
  expect_status 2
  fuzz 1 nosuch
  expect_status 2
  expect_text "there is no fuzz target 'nosuch'. There are: arguments ata devices format"
  fuzz 1 "$work/nosuch.cpp"
  expect_status 2
}

# A bug planted on purpose is found, its input kept, and the command in the sentence replays it.
test_finds_a_planted_bug() {
  local input replay
  cat >"$work/planted_for_test.cpp" <<'CPP'
#include "fuzz.hpp"
void fuzz(std::span<std::byte const> input) {
  if (input.size() > 2 && input[0] == std::byte{'E'}) demand(input[1] != std::byte{'X'}, "planted");
}
CPP
  fuzz 60 "$work/planted_for_test.cpp"
  expect_status 1
  expect_text "fuzz: planted"
  expect_text "an input breaks planted_for_test; it is kept in build/fuzz/found/planted_for_test-crash-"
  replay=$(sed -n 's/.* Replay it: //p' <<<"$output")
  input=${replay##* }
  [ "$(head -c 2 "$input")" = EX ] || fail "the input is another one"
  ! $replay >"$work/replayed" 2>&1 || fail "it does not break again"
  grep -q 'fuzz: planted' "$work/replayed" || fail "it says something else: $(cat "$work/replayed")"
  rm -rf "$input" build/fuzz/planted_for_test* build/fuzz/corpus/planted_for_test
}

# Without a fuzzer too: the last line before the report names the input.
test_replay() {
  output=$(make --no-print-directory -s build/fuzz/arguments 2>&1 && build/fuzz/arguments /nosuch 2>&1)
  status=$?
  expect_status 2
  expect_text "'/nosuch' cannot be read"
  mkdir "$work/none"
  output=$(build/fuzz/arguments "$work/none" 2>&1)
  status=$?
  expect_status 2
  expect_text "there is no input"
}
