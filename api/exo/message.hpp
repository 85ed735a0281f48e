// Messages between cores: a closure in one cache line, in a ring that one core writes and one other reads.
//
// What goes to another core has to own what it uses, or say that it does not: see sendable.
#pragma once

#include <atomic>
#include <concepts>
#include <cstddef>
#include <functional>
#include <memory>
#include <ranges>
#include <tuple>
#include <type_traits>
#include <utility>

#include "core.hpp"

namespace exo {

/// Whether a value may go to another core by itself. Pointers and views only borrow what they point at, which may be
/// gone when the other core looks; specialise this for types that hold such a thing safely, or use lend().
template <typename T>
inline constexpr bool enable_send =
    !std::is_reference_v<T> && !std::is_pointer_v<T> && !std::ranges::borrowed_range<T> && !std::ranges::view<T>;
template <typename T>
inline constexpr bool enable_send<std::reference_wrapper<T>> = false;

/// A value that may go to another core.
template <typename T>
concept sendable = enable_send<T> && std::is_nothrow_move_constructible_v<T>;

/// Something that the sender promises to keep until the other core is done with it.
template <typename T>
class loan {
 public:
  explicit loan(T &what) noexcept : what_(&what) {}
  T &operator*() const noexcept { return *what_; }
  T *operator->() const noexcept { return what_; }

 private:
  T *what_;
};

/// Makes something go to another core by its address: `try_post(core, work, exo::lend(counter))`.
template <typename T>
[[nodiscard]] loan<T> lend(T &what) noexcept {
  return loan<T>(what);
}

/// A function without captures, and values that it is called with.
template <typename Function, typename... Args>
concept sendable_call = std::is_empty_v<std::remove_cvref_t<Function>> && (sendable<std::decay_t<Args>> && ...) &&
                        std::invocable<std::remove_cvref_t<Function>, std::decay_t<Args>...>;

namespace detail {

/// What a message may hold; with the function's address it is a cache line.
inline constexpr std::size_t message_bytes = 56;

struct message {
  void (*run)(message &self) noexcept;  // and destroys what is in it
  alignas(8) std::byte held[message_bytes];
};
static_assert(sizeof(message) == 64);

/// One core's messages to one other. The slots lie behind it in memory.
class message_ring {
 public:
  static std::size_t bytes(u32 depth) noexcept { return sizeof(message_ring) + depth * sizeof(message); }

  /// @param depth  a power of two; bytes(depth) lie at this
  explicit message_ring(u32 depth) noexcept : mask_(depth - 1) {}

  /// False when the ring is full.
  /// @core the sender
  template <typename Function, typename... Args>
  [[nodiscard]] bool try_push(Args &&...args) noexcept {
    using values = std::tuple<std::decay_t<Args>...>;
    static_assert(sizeof(values) <= message_bytes && alignof(values) <= 8,
                  "exo: a message holds up to 56 bytes; send a std::unique_ptr to what is larger");
    u32 const tail = tail_.load(std::memory_order_relaxed);
    if (tail - head_seen_ > mask_) {
      head_seen_ = head_.load(std::memory_order_acquire);
      if (tail - head_seen_ > mask_) return false;
    }
    message &slot = slots()[tail & mask_];
    slot.run = [](message &self) noexcept {
      auto *const held = reinterpret_cast<values *>(self.held);
      std::apply(Function{}, std::move(*held));
      std::destroy_at(held);
    };
    std::construct_at(reinterpret_cast<values *>(slot.held), std::forward<Args>(args)...);
    tail_.store(tail + 1, std::memory_order_release);
    return true;
  }

  /// Runs messages in their order, up to so many; returns how many.
  /// @core the receiver
  u32 run(u32 most) noexcept {
    u32 const first = head_.load(std::memory_order_relaxed);
    u32 const there = tail_.load(std::memory_order_acquire) - first;
    u32 const count = there < most ? there : most;
    for (u32 head = first; head != first + count;) {
      message &slot = slots()[head & mask_];
      slot.run(slot);
      head_.store(++head, std::memory_order_release);
    }
    return count;
  }

  [[nodiscard]] bool empty() const noexcept {
    return head_.load(std::memory_order_relaxed) == tail_.load(std::memory_order_acquire);
  }

 private:
  message *slots() noexcept { return reinterpret_cast<message *>(this + 1); }

  alignas(64) std::atomic<u32> tail_ = 0;  // next to write; the sender's
  u32 head_seen_ = 0;
  u32 const mask_;
  alignas(64) std::atomic<u32> head_ = 0;  // next to run; the receiver's
};
static_assert(sizeof(message_ring) == 128);

}  // namespace detail
}  // namespace exo
