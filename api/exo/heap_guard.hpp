// A heap that stops a program at the mistake, in place of the ordinary one: build with EXO_CXXFLAGS=-DEXO_HEAP_GUARD.
//
// Each block has pages of its own and ends where a page begins that may not be touched: what reads or writes behind it
// faults there and then, and the fault report's cr2 is the address. A freed block's pages may not be touched for a while
// either. Bytes that alignment leaves between block and page are checked when it is freed, as is what lies in front of it.
// Double frees, and frees of what is no block, are found at once.
//
// Each block takes two pages at least, and changing their access interrupts all cores: it is slow, and wants memory.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstring>
#include <mutex>
#include <span>
#include <utility>

#include "console.hpp"
#include "core.hpp"
#include "heap_report.hpp"
#include "lock.hpp"
#include "memory.hpp"

namespace exo {

class guarded_heap {
 public:
  static constexpr std::size_t default_alignment = 16;
  static constexpr std::size_t kept_blocks = 256;  // freed ones whose pages are not used again yet

  explicit constexpr guarded_heap(page_pool &pool) noexcept : pool_(pool) {}
  guarded_heap(guarded_heap const &) = delete;
  guarded_heap &operator=(guarded_heap const &) = delete;

  /// These are as of heap.
  [[nodiscard, gnu::noinline]] void *take(std::size_t bytes, std::size_t alignment = default_alignment) {
    alignment = std::max(alignment, default_alignment);
    if (bytes > ~std::size_t{0} / 2 || alignment > ~std::size_t{0} / 8) return nullptr;
    std::size_t const body = align_up(std::max<std::size_t>(bytes, 1), alignment);
    std::size_t const slack = alignment > page_bytes ? alignment : 0;
    std::size_t const run_bytes = align_up(sizeof(head) + body + slack, page_bytes) + page_bytes;
    result<std::byte *> run = pool_.take(run_bytes);
    if (!run && collect()) run = pool_.take(run_bytes);
    if (!run) return nullptr;
    u64 const first = reinterpret_cast<u64>(*run);
    u64 const end = (first + run_bytes - page_bytes) & ~(std::max<u64>(alignment, page_bytes) - 1);
    if (!deny(reinterpret_cast<std::byte *>(end))) {
      pool_.give(first, run_bytes);
      return nullptr;
    }
    std::byte *const block = reinterpret_cast<std::byte *>(end) - body;
    std::memset(block, taken_fill, bytes);
    std::memset(block + bytes, gap_fill, body - bytes);
    head_of(block) = {{*run, run_bytes}, bytes, body, __builtin_return_address(0), in_use(block)};
    return block;
  }

  [[gnu::noinline]] void give(void *address) {
    if (address == nullptr) return;
    void const *const caller = __builtin_return_address(0);
    auto *const block = static_cast<std::byte *>(address);
    refuse_twice(block, caller);
    head const about = known(block);
    for (std::size_t at = about.bytes; at < about.body; ++at) {
      if (block[at] == std::byte{gap_fill}) continue;
      detail::report_block("was written to behind its end", {block, about.bytes, about.taken_by, caller}, nullptr, block + at);
    }
    freed now{about.run, {block, about.bytes, about.taken_by, caller}};
    if (!deny(about.run)) return forget(now);  // no memory for a page table
    {
      std::lock_guard const guard(lock_);
      std::swap(now, kept_[next_++ % kept_blocks]);
    }
    forget(now);
  }

  [[nodiscard]] void *resize(void *block, std::size_t bytes) {
    void *const moved = take(bytes);
    if (moved == nullptr || block == nullptr) return moved;
    std::memcpy(moved, block, std::min(bytes, size_of(block)));
    give(block);
    return moved;
  }

  [[nodiscard]] std::size_t size_of(void *block) const {
    return block == nullptr ? 0 : known(static_cast<std::byte *>(block)).bytes;
  }

  void rest() noexcept {}

  /// Gives the pool all pages that are kept; true if there were some.
  bool collect() {
    bool any = false;
    for (std::size_t at = 0; at < kept_blocks; ++at) {
      freed each;
      {
        std::lock_guard const guard(lock_);
        std::swap(each, kept_[at]);
      }
      any = any || !each.run.empty();
      forget(each);
    }
    return any;
  }

 private:
  static constexpr unsigned char gap_fill = 0xFB, taken_fill = 0xA5;

  struct head {  // in front of the block
    std::span<std::byte> run;  // its pages, with the one that may not be touched
    std::size_t bytes;
    std::size_t body;  // with what alignment adds
    void const *taken_by;
    u64 state;  // last: what is written in front of the block destroys it
  };
  static_assert(sizeof(head) % default_alignment == 0);
  struct freed {
    std::span<std::byte> run;
    detail::heap_history about{};
  };
  static head &head_of(std::byte *block) noexcept { return *(reinterpret_cast<head *>(block) - 1); }
  static u64 in_use(std::byte const *block) noexcept { return reinterpret_cast<u64>(block) ^ 0x4755'4152'4445; }

  /// The head of a block; ends the program if that is none, or what is in front of it was overwritten.
  static head &known(std::byte *block) {
    u64 const address = reinterpret_cast<u64>(block);
    if (address % default_alignment == 0 && address > page_bytes) {
      result<mapping> const there = query(&head_of(block));
      if (there && (there->access & access_write) != 0 && head_of(block).state == in_use(block)) return head_of(block);
    }
    panic("heap: {:#x} was freed or resized, which is the start of no block, or of one that was written to in front of it "
          "(by {:#x})", address, reinterpret_cast<u64>(__builtin_return_address(0)));
  }

  void refuse_twice(std::byte const *block, void const *caller) {
    std::lock_guard const guard(lock_);
    for (freed const &each : kept_) {
      if (each.about.block == block) detail::report_block("was freed twice", each.about, caller);
    }
  }

  static bool deny(std::byte *page) noexcept { return deny({page, page_bytes}); }
  static bool deny(std::span<std::byte> run) noexcept { return guard(run).has_value(); }

  /// Makes the pages of a freed block free. What cannot be used again is kept for good.
  void forget(freed const &what) {
    if (what.run.empty() || !protect(what.run, access::read | access::write)) return;
    pool_.give(reinterpret_cast<u64>(what.run.data()), what.run.size());
  }

  page_pool &pool_;
  spin_lock lock_;  // of what follows
  std::array<freed, kept_blocks> kept_{};
  std::size_t next_ = 0;
};

}  // namespace exo
