// A heap that looks for mistakes, in place of the ordinary one: build with EXO_CXXFLAGS=-DEXO_HEAP_POISON.
//
// Each block lies between guard zones, which are checked when it is freed: overruns. A freed block is filled with poison and
// kept for a while, and the poison is checked before its memory is used again: writes after it was freed; what is read from it
// is no address that exists. Double frees, and frees of what is no block, are found at once.
//
// A report names the block, its size, and who took and freed it, as return addresses: `addr2line -fe PROGRAM.elf ADDRESS`.
// heap_guard.hpp is the other one: it stops a program at the mistake itself.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstring>
#include <mutex>
#include <utility>

#include "console.hpp"
#include "core.hpp"
#include "heap.hpp"
#include "heap_report.hpp"
#include "lock.hpp"
#include "memory.hpp"

namespace exo {

class checked_heap {
 public:
  static constexpr std::size_t default_alignment = heap::default_alignment;
  static constexpr std::size_t kept_blocks = 256;  // freed ones whose memory is not used again yet

  explicit constexpr checked_heap(page_pool &pool) noexcept : heap_(pool) {}
  checked_heap(checked_heap const &) = delete;
  checked_heap &operator=(checked_heap const &) = delete;

  /// These are as of heap.
  [[nodiscard, gnu::noinline]] void *take(std::size_t bytes, std::size_t alignment = default_alignment) {
    std::size_t const front = align_up(sizeof(head) + zone_bytes, std::max(alignment, default_alignment));
    if (bytes > ~std::size_t{0} - front - zone_bytes) return nullptr;
    void *run = heap_.take(front + bytes + zone_bytes, alignment);
    if (run == nullptr && collect()) run = heap_.take(front + bytes + zone_bytes, alignment);
    if (run == nullptr) return nullptr;
    std::byte *const block = static_cast<std::byte *>(run) + front;
    head_of(block) = {run, bytes, in_use(block), __builtin_return_address(0), nullptr};
    std::memset(block - zone_bytes, zone_fill, zone_bytes);
    std::memset(block, taken_fill, bytes);
    std::memset(block + bytes, zone_fill, zone_bytes);
    return block;
  }

  [[gnu::noinline]] void give(void *address) {
    if (address == nullptr) return;
    void *const caller = __builtin_return_address(0);
    auto *const block = static_cast<std::byte *>(address);
    head &about = known(block);
    if (about.state == freed(block)) report("was freed twice", block, about, caller);
    check(block - zone_bytes, zone_bytes, zone_fill, "was written to in front of its start", block);
    check(block + about.bytes, zone_bytes, zone_fill, "was written to behind its end", block);
    about.state = freed(block);
    about.freed_by = caller;
    std::memset(block, freed_fill, about.bytes);
    std::byte *oldest = nullptr;
    {
      std::lock_guard const guard(lock_);
      oldest = std::exchange(kept_[next_++ % kept_blocks], block);
    }
    forget(oldest);
  }

  [[nodiscard]] void *resize(void *block, std::size_t bytes) {
    void *const moved = take(bytes);
    if (moved == nullptr || block == nullptr) return moved;
    std::memcpy(moved, block, std::min(bytes, size_of(block)));
    give(block);
    return moved;
  }

  [[nodiscard]] std::size_t size_of(void *block) {
    return block == nullptr ? 0 : known(static_cast<std::byte *>(block)).bytes;
  }

  void rest() noexcept { heap_.rest(); }

  /// Checks all that is kept, too; call it at the end to find late mistakes.
  bool collect() {
    for (std::size_t at = 0; at < kept_blocks; ++at) {
      std::byte *block = nullptr;
      {
        std::lock_guard const guard(lock_);
        block = std::exchange(kept_[at], nullptr);
      }
      forget(block);
    }
    return heap_.collect();
  }

 private:
  static constexpr std::size_t zone_bytes = 32;
  static constexpr unsigned char zone_fill = 0xFB, taken_fill = 0xA5, freed_fill = 0xDF;

  struct head {
    void *run;
    std::size_t bytes;
    u64 state;
    void *taken_by;
    void *freed_by;
  };
  static head &head_of(std::byte *block) noexcept { return *reinterpret_cast<head *>(block - zone_bytes - sizeof(head)); }
  static u64 in_use(std::byte const *block) noexcept { return reinterpret_cast<u64>(block) ^ 0x4553'5520'4e49; }
  static u64 freed(std::byte const *block) noexcept { return ~in_use(block); }

  /// The head of what is a block, or was one shortly before.
  head &known(std::byte *block) {
    u64 const address = reinterpret_cast<u64>(block);
    // The heap knows the first page alone of large blocks, and heads of those with a large alignment lie behind it.
    bool const known_page = address % (2 * page_bytes) == 0 || heap_.holds(block - zone_bytes - sizeof(head));
    bool const possible = address % default_alignment == 0 && address > page_bytes && known_page;
    if (!possible || (head_of(block).state != in_use(block) && head_of(block).state != freed(block))) {
      panic("heap: {:#x} was freed, which is the start of no block, or of one whose head was overwritten (freed by {:#x})",
            address, reinterpret_cast<u64>(__builtin_return_address(0)));
    }
    return head_of(block);
  }

  static void check(std::byte const *first, std::size_t bytes, unsigned char fill, char const *what, std::byte *block) {
    for (std::size_t at = 0; at < bytes; ++at) {
      if (first[at] != std::byte{fill}) report(what, block, head_of(block), nullptr, first + at);
    }
  }

  /// Makes the memory of a freed block free.
  void forget(std::byte *block) {
    if (block == nullptr) return;
    check(block, head_of(block).bytes, freed_fill, "was written to after it was freed", block);
    head_of(block).state = 0;
    heap_.give(head_of(block).run);
  }

  [[noreturn]] static void report(char const *what, std::byte const *block, head const &about, void const *again,
                                  std::byte const *at = nullptr) {
    detail::report_block(what, {block, about.bytes, about.taken_by, about.freed_by}, again, at);
  }

  heap heap_;
  spin_lock lock_;
  std::array<std::byte *, kept_blocks> kept_{};
  std::size_t next_ = 0;
};

}  // namespace exo
