// What each page of RAM is in use for: a number for every page, found by two loads.
//
// Two levels, as in page tables: a root with an entry for each 2 MiB between the lowest and the highest RAM of the machine,
// and pages of entries that are made as they are needed, and kept.
#pragma once

#include <algorithm>
#include <array>
#include <atomic>
#include <cstddef>
#include <memory>

#include "core.hpp"
#include "page_pool.hpp"

namespace exo::detail {

class page_map {
 public:
  constexpr page_map() = default;

  /// Makes the root, over info().memory; false when there is no memory for it. The map is empty until then.
  /// @core one, before others use it
  [[nodiscard]] bool start(page_pool &pool) noexcept {
    u64 first = ~u64{0};
    u64 end = 0;
    for (memory_range const &each : info().memory) {
      first = std::min(first, each.first);
      end = std::max(end, each.first + each.bytes);
    }
    if (end <= first) return false;
    first &= ~(leaf_span - 1);
    u64 const count = (end - first + leaf_span - 1) / leaf_span;
    result<std::byte *> const memory = pool.take(count * sizeof(leaf_pointer));
    if (!memory) return false;
    root_ = reinterpret_cast<leaf_pointer *>(*memory);
    std::uninitialized_value_construct_n(root_, count);
    first_ = first;
    count_ = count;
    return true;
  }

  /// The number of the page that an address lies in; 0 if it has none, or is no address of RAM.
  /// @core any
  [[nodiscard]] u64 find(void const *address) const noexcept {
    u64 const at = reinterpret_cast<u64>(address) - first_;
    if (at / leaf_span >= count_) return 0;
    leaf const *const below = root_[at / leaf_span].load(std::memory_order_acquire);
    return below == nullptr ? 0 : (*below)[at / page_bytes % leaf_entries].load(std::memory_order_relaxed);
  }

  /// Sets the number of whole pages; false, and nothing set, when there is no memory for entries or it is not RAM.
  /// @core one at a time; others may call find() and clear()
  [[nodiscard]] bool set(page_pool &pool, std::byte const *first, u64 bytes, u64 number) noexcept {
    u64 const begin = reinterpret_cast<u64>(first) - first_;
    if ((begin + bytes - 1) / leaf_span >= count_) return false;
    for (u64 at = begin / leaf_span; at <= (begin + bytes - 1) / leaf_span; ++at) {
      if (root_[at].load(std::memory_order_relaxed) != nullptr) continue;
      result<std::byte *> const memory = pool.take(sizeof(leaf));
      if (!memory) return false;
      root_[at].store(std::construct_at(reinterpret_cast<leaf *>(*memory)), std::memory_order_release);
    }
    fill(begin, bytes, number);
    return true;
  }

  /// Takes the numbers of whole pages back.
  void clear(std::byte const *first, u64 bytes) noexcept { fill(reinterpret_cast<u64>(first) - first_, bytes, 0); }

  /// Takes the number of one page back, if it is still this one. Of several cores that try, one gets true.
  [[nodiscard]] bool clear_if(std::byte const *page, u64 number) noexcept {
    return entry(reinterpret_cast<u64>(page) - first_).compare_exchange_strong(number, 0, std::memory_order_relaxed);
  }

 private:
  static constexpr u64 leaf_entries = page_bytes / sizeof(u64);
  static constexpr u64 leaf_span = leaf_entries * page_bytes;
  using leaf = std::array<std::atomic<u64>, leaf_entries>;
  using leaf_pointer = std::atomic<leaf *>;

  [[nodiscard]] std::atomic<u64> &entry(u64 at) noexcept {
    return (*root_[at / leaf_span].load(std::memory_order_relaxed))[at / page_bytes % leaf_entries];
  }
  void fill(u64 begin, u64 bytes, u64 number) noexcept {
    for (u64 at = begin; at < begin + bytes; at += page_bytes) entry(at).store(number, std::memory_order_relaxed);
  }

  leaf_pointer *root_ = nullptr;
  u64 first_ = 0;
  u64 count_ = 0;  // entries of the root
};

}  // namespace exo::detail
