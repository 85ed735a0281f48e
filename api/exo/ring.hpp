// A queue from one core to one other, without locks: each side owns one index and keeps a copy of the other's, so the
// cache line of the other side is read only when the copy says "full" or "empty".
#pragma once

#include <array>
#include <atomic>
#include <bit>
#include <cstddef>
#include <memory>
#include <optional>
#include <utility>

namespace exo {

/// A bounded queue for one producer and one consumer.
///
/// @tparam Capacity  elements it holds; a power of two
template <typename T, std::size_t Capacity>
class spsc_ring {
  static_assert(std::has_single_bit(Capacity), "exo::spsc_ring: the capacity must be a power of two");

 public:
  spsc_ring() = default;
  spsc_ring(spsc_ring const &) = delete;
  spsc_ring &operator=(spsc_ring const &) = delete;
  ~spsc_ring() {
    while (try_pop()) {
    }
  }

  /// Appends an element; false when the ring is full, and then value is unchanged.
  /// @core the producer
  [[nodiscard]] bool try_push(T &&value) noexcept { return place(std::move(value)); }
  [[nodiscard]] bool try_push(T const &value) noexcept { return place(value); }

  /// Takes the oldest element, if there is one.
  /// @core the consumer
  [[nodiscard]] std::optional<T> try_pop() noexcept {
    std::size_t const head = head_.load(std::memory_order_relaxed);
    if (head == tail_seen_) {
      tail_seen_ = tail_.load(std::memory_order_acquire);
      if (head == tail_seen_) return std::nullopt;
    }
    T &element = slots_[head % Capacity].value;
    std::optional<T> value(std::move(element));
    std::destroy_at(&element);
    head_.store(head + 1, std::memory_order_release);
    return value;
  }

 private:
  union slot {
    T value;
    slot() noexcept {}
    ~slot() {}
  };

  template <typename Value>
  bool place(Value &&value) noexcept {
    std::size_t const tail = tail_.load(std::memory_order_relaxed);
    if (tail - head_seen_ == Capacity) {
      head_seen_ = head_.load(std::memory_order_acquire);
      if (tail - head_seen_ == Capacity) return false;
    }
    std::construct_at(&slots_[tail % Capacity].value, std::forward<Value>(value));
    tail_.store(tail + 1, std::memory_order_release);
    return true;
  }

  static constexpr std::size_t line = 64;  // what two cores should not share

  alignas(line) std::atomic<std::size_t> tail_ = 0;  // next to write; the producer's
  std::size_t head_seen_ = 0;
  alignas(line) std::atomic<std::size_t> head_ = 0;  // next to read; the consumer's
  std::size_t tail_seen_ = 0;
  alignas(line) std::array<slot, Capacity> slots_;
};

}  // namespace exo
