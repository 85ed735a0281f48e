// Queues between cores, without locks.
//
// From one core to one other, each side owns one index and keeps a copy of the other's, so the cache line of the other
// side is read only when the copy says "full" or "empty". Between any cores, each slot has a number that tells whose
// turn it is.
#pragma once

#include <array>
#include <atomic>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <utility>

namespace exo {

/// The end of an spsc_ring that appends. There is one: who has it, moved to it perhaps, is the producer.
template <typename Ring>
class spsc_producer {
 public:
  spsc_producer(spsc_producer &&other) noexcept : ring_(std::exchange(other.ring_, nullptr)) {}
  spsc_producer &operator=(spsc_producer &&other) noexcept {
    std::swap(ring_, other.ring_);
    return *this;
  }

  /// As the ring's.
  /// @pre not moved from
  template <typename Value>
  [[nodiscard]] bool try_push(Value &&value) noexcept {
    return ring_->try_push(std::forward<Value>(value));
  }

 private:
  friend Ring;
  explicit spsc_producer(Ring &ring) noexcept : ring_(&ring) {}
  Ring *ring_;
};

/// The end of an spsc_ring that takes; likewise.
template <typename Ring>
class spsc_consumer {
 public:
  spsc_consumer(spsc_consumer &&other) noexcept : ring_(std::exchange(other.ring_, nullptr)) {}
  spsc_consumer &operator=(spsc_consumer &&other) noexcept {
    std::swap(ring_, other.ring_);
    return *this;
  }

  /// As the ring's.
  /// @pre not moved from
  [[nodiscard]] auto try_pop() noexcept { return ring_->try_pop(); }

 private:
  friend Ring;
  explicit spsc_consumer(Ring &ring) noexcept : ring_(&ring) {}
  Ring *ring_;
};

/// A bounded queue for one producer and one consumer. Whether there is one of each is the program's concern, or that of
/// its two ends.
///
/// @tparam Capacity  elements it holds; a power of two
template <typename T, std::size_t Capacity>
class spsc_ring {
  static_assert(std::has_single_bit(Capacity), "exo::spsc_ring: the capacity must be a power of two");

 public:
  /// Its ends, which cannot be copied: call it once, and use the ring through them alone. It has to outlive them.
  [[nodiscard]] std::pair<spsc_producer<spsc_ring>, spsc_consumer<spsc_ring>> ends() noexcept {
    return {spsc_producer<spsc_ring>(*this), spsc_consumer<spsc_ring>(*this)};
  }

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

/// A bounded queue for any number of producers and consumers. Elements of one producer come out in its order.
///
/// The turn of slot s is s + 2kC before the k-th round's write (C the capacity, k from 0) and C more before its read.
/// A core that stops between taking a slot and handing it on holds up the others at that slot.
///
/// @tparam Capacity  elements it holds; a power of two
template <typename T, std::size_t Capacity>
class mpmc_ring {
  static_assert(std::has_single_bit(Capacity), "exo::mpmc_ring: the capacity must be a power of two");

 public:
  mpmc_ring() noexcept {
    for (std::size_t at = 0; at < Capacity; ++at) slots_[at].turn.store(at, std::memory_order_relaxed);
  }
  mpmc_ring(mpmc_ring const &) = delete;
  mpmc_ring &operator=(mpmc_ring const &) = delete;
  ~mpmc_ring() {
    while (try_pop()) {
    }
  }

  /// Appends an element; false when the ring is full, and then value is unchanged.
  /// @core any
  [[nodiscard]] bool try_push(T &&value) noexcept { return place(std::move(value)); }
  [[nodiscard]] bool try_push(T const &value) noexcept { return place(value); }

  /// Takes the oldest element, if there is one.
  /// @core any
  [[nodiscard]] std::optional<T> try_pop() noexcept {
    slot *const mine = take_slot(head_, Capacity);
    if (mine == nullptr) return std::nullopt;
    std::optional<T> value(std::move(mine->value));
    std::destroy_at(&mine->value);
    mine->turn.store(mine->turn.load(std::memory_order_relaxed) + Capacity, std::memory_order_release);
    return value;
  }

 private:
  struct slot {
    std::atomic<std::uint64_t> turn = 0;
    union {
      T value;
    };
    slot() noexcept {}
    ~slot() {}
  };

  /// Takes the slot at an index if it is the turn of that side: writers come `after` 0, readers `after` Capacity.
  slot *take_slot(std::atomic<std::uint64_t> &index, std::uint64_t after) noexcept {
    std::uint64_t at = index.load(std::memory_order_relaxed);
    for (;;) {
      slot &candidate = slots_[at % Capacity];
      std::uint64_t const round = at / Capacity;
      std::uint64_t const turn = at % Capacity + 2 * round * Capacity + after;
      auto const ahead = static_cast<std::int64_t>(candidate.turn.load(std::memory_order_acquire) - turn);
      if (ahead < 0) return nullptr;
      if (ahead > 0) {
        at = index.load(std::memory_order_relaxed);
      } else if (index.compare_exchange_weak(at, at + 1, std::memory_order_relaxed)) {
        return &candidate;
      }
    }
  }

  template <typename Value>
  bool place(Value &&value) noexcept {
    slot *const mine = take_slot(tail_, 0);
    if (mine == nullptr) return false;
    std::construct_at(&mine->value, std::forward<Value>(value));
    mine->turn.store(mine->turn.load(std::memory_order_relaxed) + Capacity, std::memory_order_release);
    return true;
  }

  static constexpr std::size_t line = 64;

  alignas(line) std::atomic<std::uint64_t> tail_ = 0;  // next to write
  alignas(line) std::atomic<std::uint64_t> head_ = 0;  // next to read
  alignas(line) std::array<slot, Capacity> slots_;
};

}  // namespace exo
