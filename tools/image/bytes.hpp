// Files as rows of bytes, for the image maker.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

using bytes = std::vector<unsigned char>;
using std::size_t;
using std::uint16_t;
using std::uint32_t;
using std::uint64_t;

inline constexpr size_t SECTOR = 512, MIB = 1 << 20;

[[noreturn]] inline void refuse(std::string const &why) {
  std::fprintf(stderr, "image: %s\n", why.c_str());
  std::exit(2);
}

inline bytes read_file(std::filesystem::path const &path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) refuse("'" + path.string() + "' cannot be read. Is it built?");
  return {std::istreambuf_iterator<char>(file), {}};
}

/// Writes a number at a place, the lowest byte first.
inline void put(bytes &to, size_t at, size_t count, uint64_t value) {
  if (to.size() < at + count) to.resize(at + count);
  for (; count > 0; --count, value >>= 8) to[at++] = static_cast<unsigned char>(value);
}

inline void put(bytes &to, size_t at, std::string const &text) {
  if (to.size() < at + text.size()) to.resize(at + text.size());
  std::ranges::copy(text, to.begin() + static_cast<std::ptrdiff_t>(at));
}

inline uint64_t get(bytes const &from, size_t at, size_t count) {
  uint64_t value = 0;
  if (at > from.size() || from.size() - at < count) return 0;
  for (size_t index = count; index > 0; --index) value = value << 8 | from[at + index - 1];
  return value;
}

constexpr size_t round_up(size_t value, size_t unit) { return (value + unit - 1) / unit * unit; }
