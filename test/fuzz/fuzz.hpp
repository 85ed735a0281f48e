// What the fuzz targets share. A target is a file with fuzz(): libFuzzer calls it with inputs that it makes up
// (tools/fuzz.sh), and test/fuzz/replay.cpp with those that are kept in test/fuzz/corpus. A bug is what a sanitizer
// reports, or a demand.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <span>
#include <string>
#include <string_view>
#include <vector>

/// Takes one input; defined by each target.
void fuzz(std::span<std::byte const> input);

extern "C" [[gnu::used]] inline int LLVMFuzzerTestOneInput(std::uint8_t const *data, std::size_t bytes) {
  // An exact copy on the heap: a read behind its end is found.
  auto const *const first = reinterpret_cast<std::byte const *>(data);
  std::vector<std::byte> const copy(first, first + bytes);
  fuzz(copy);
  return 0;
}

/// What has to hold for every input.
inline void demand(bool holds, char const *what) {
  if (holds) return;
  std::fprintf(stderr, "fuzz: %s\n", what);
  std::abort();
}

/// The input as text.
inline std::string_view text_of(std::span<std::byte const> input) {
  return {reinterpret_cast<char const *>(input.data()), input.size()};
}
