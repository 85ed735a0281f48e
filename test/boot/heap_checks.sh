# Mistakes with the heap end a program with a report: those that are found always, and those that a checked build finds.

test_mistakes_are_reported() {
  program mistake <<'CPP'
#include <exo/exo.hpp>
#include <cstring>
int main(int count, char **arguments) {
  auto *const block = new char[100];
  char *volatile same = block;
  if (count != 2) return 3;
  if (std::strcmp(arguments[1], "behind") == 0) same[100] = 1;
  delete[] same;
  if (std::strcmp(arguments[1], "late") == 0) same[5] = 1;
  if (std::strcmp(arguments[1], "twice") == 0) delete[] same;
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
}
