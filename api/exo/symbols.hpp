// Names of the program's functions at run time. A program that uses this carries a table of them, which tools/program.sh
// makes from its symbols and links to it; others carry nothing.
#pragma once

#include <algorithm>
#include <span>
#include <string_view>

#include "console.hpp"
#include "core.hpp"

namespace exo {

namespace detail {

struct symbol_entry {
  u32 address;
  u32 name;  // bytes from the first entry
};

extern "C" [[gnu::weak]] symbol_entry const exo_symbol_first[];
extern "C" [[gnu::weak]] symbol_entry const exo_symbol_end[];  // behind it lie the names, each ending with 0

}  // namespace detail

/// An address as a function and the distance from its beginning. Without a table, or outside it, the name is empty.
struct symbol {
  u64 address;
  std::string_view name;
  u64 offset = 0;

  [[nodiscard]] static symbol of(u64 address) noexcept {
    using namespace detail;
    if (static_cast<symbol_entry const *>(exo_symbol_first) == nullptr) return {.address = address, .name = {}};
    std::span const all(exo_symbol_first, exo_symbol_end);
    auto const address_of = [](symbol_entry const &each) { return u64{each.address}; };
    auto const above = std::ranges::upper_bound(all, address, {}, address_of);
    if (above == all.begin() || address >= info().program_end) return {.address = address, .name = {}};
    symbol_entry const &found = *(above - 1);
    char const *const name = reinterpret_cast<char const *>(exo_symbol_first) + found.name;
    return {.address = address, .name = name, .offset = address - found.address};
  }
};

/// Prints as `function+0x12`, or as the address alone.
template <>
struct formatter<symbol> {
  static void write(text_sink &out, symbol const &value) noexcept {
    if (value.name.empty()) return format_to(out, "{:#x}", value.address);
    format_to(out, "{}+{:#x}", value.name, value.offset);
  }
};

}  // namespace exo
