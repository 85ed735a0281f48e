// Lists of free blocks that any core gives back and their owner takes, without a lock: one whose links lie in the blocks, of
// which all are taken at once, so that a block that was taken and given again in between does no harm; and one of addresses.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>

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

/// The same by address, for a few blocks: whoever takes them need not go along links, from one cache miss to the next.
///
/// @tparam Capacity  a power of two
template <std::size_t Capacity>
class returned_ring {
 public:
  /// Puts the block in that give() returns; false, and give() is not called, when there is no place.
  ///
  /// What give() writes to a block is behind the locked instruction, which would wait for the cache line that it goes to.
  /// @core any
  template <typename Function>
  [[nodiscard]] bool try_push(Function &&give) noexcept {
    std::size_t at = tail_.load(std::memory_order_relaxed);
    do {
      if (at - head_.load(std::memory_order_acquire) >= Capacity) return false;
    } while (!tail_.compare_exchange_weak(at, at + 1, std::memory_order_relaxed));
    slots_[at % Capacity].store(give(), std::memory_order_release);
    return true;
  }

  /// Takes blocks until there are none, or the next core has a place and has not put its block there yet.
  /// @core the owner
  template <typename Function>
  void take_all(Function &&take) {
    std::size_t const first = head_.load(std::memory_order_relaxed);
    std::size_t at = first;
    while (void *const block = slots_[at % Capacity].load(std::memory_order_acquire)) {
      slots_[at++ % Capacity].store(nullptr, std::memory_order_relaxed);
      take(block);
    }
    if (at != first) head_.store(at, std::memory_order_release);
  }

 private:
  alignas(64) std::atomic<std::size_t> tail_ = 0;  // the next place to be given out
  alignas(64) std::atomic<std::size_t> head_ = 0;  // the next to be looked at; who pushes sees that the one before is empty
  alignas(64) std::array<std::atomic<void *>, Capacity> slots_{};
};

}  // namespace exo::detail
