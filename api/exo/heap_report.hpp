// What the heaps that look for mistakes say of a block.
#pragma once

#include <cstddef>

#include "console.hpp"
#include "core.hpp"

namespace exo::detail {

/// A block, its size as it was asked for, and the return addresses of who took and freed it.
struct heap_history {
  void const *block;
  std::size_t bytes;
  void const *taken_by;
  void const *freed_by;
};

/// Ends the program.
///
/// @param what   happened to the block
/// @param again  who freed it now, null if that is not the mistake
/// @param at     where something else stands than should, or null
[[noreturn, gnu::noinline, gnu::cold]] inline void report_block(char const *what, heap_history const &about,
                                                                void const *again, std::byte const *at = nullptr) {
  print("exo16: heap: the block of {} bytes at {:#x} {}\n", about.bytes, reinterpret_cast<u64>(about.block), what);
  if (at != nullptr) print("exo16: heap: at {:#x} there is {:#x}\n", reinterpret_cast<u64>(at), static_cast<u32>(*at));
  print("exo16: heap: taken by {:#x}, freed by {:#x}, again by {:#x}; addr2line -fe PROGRAM.elf tells the lines\n",
        reinterpret_cast<u64>(about.taken_by), reinterpret_cast<u64>(about.freed_by), reinterpret_cast<u64>(again));
  panic("heap: a block {}", what);
}

}  // namespace exo::detail
