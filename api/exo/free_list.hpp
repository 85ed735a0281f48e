// A list of free blocks whose links lie in the blocks. Any core gives blocks back to it, its owner takes all at once; so
// there is no lock, and a block that was taken and given again in between does no harm.
#pragma once

#include <atomic>

namespace exo::detail {

struct [[gnu::may_alias]] free_block {
  free_block *next;
};

class returned_list {
 public:
  /// @core any
  void push(free_block &block) noexcept {
    block.next = first_.load(std::memory_order_relaxed);
    while (!first_.compare_exchange_weak(block.next, &block, std::memory_order_release, std::memory_order_relaxed)) {
    }
  }

  /// All blocks, the newest first.
  /// @core any; the blocks are the caller's
  [[nodiscard]] free_block *take_all() noexcept {
    if (first_.load(std::memory_order_relaxed) == nullptr) return nullptr;
    return first_.exchange(nullptr, std::memory_order_acquire);
  }

 private:
  std::atomic<free_block *> first_ = nullptr;
};

}  // namespace exo::detail
