# Mistakes with the heap end a program with a report: those that are found always, and those that a checked build finds.

test_mistakes_are_reported() {
  local each
  program mistake <<'CPP'
#include <exo/exo.hpp>
#include <string_view>
int main(int count, char **arguments) {
  auto *const block = new char[100];
  char volatile *volatile same = block;
  if (count != 2) return 3;
  std::string_view const wish = arguments[1];
  if (wish == "far") same[112] = 1;
  if (wish == "behind") same[100] = 1;
  delete[] same;
  if (wish == "late") same[5] = 1;
  if (wish == "twice") delete[] same;
}
CPP
  run "$program_file" --args twice
  expect_status 121
  expect_text 'was freed twice'
  export EXO_CXXFLAGS=-DEXO_HEAP_POISON
  run "$program_file" --args none
  expect_status 0
  run "$program_file" --args behind
  expect_status 121
  expect_text 'exo16: heap: the block of 100 bytes at'
  expect_text 'was written to behind its end'
  run "$program_file" --args late
  expect_status 121
  expect_text 'was written to after it was freed'
  run "$program_file" --args twice
  expect_status 121
  expect_text 'was freed twice'
  export EXO_CXXFLAGS=-DEXO_HEAP_GUARD
  run "$program_file" --args none
  expect_status 0
  run "$program_file" --args behind
  expect_status 121
  expect_text 'exo16: heap: the block of 100 bytes at'
  expect_text 'was written to behind its end'
  for each in far late; do
    run "$program_file" --args $each
    expect_status 142
    expect_text 'fault #PF'
    expect_text mistake.cpp
  done
  run "$program_file" --args twice
  expect_status 121
  expect_text 'was freed twice'
}
