// Locks for a few instructions' work. Cores spin on them; nothing sleeps, so hold them briefly.
//
// All fit std::lock_guard, rw_lock also std::shared_lock. Which one:
//   spin_lock    one byte; the fastest where few cores meet, and unfair where many do
//   ticket_lock  first come, first served
//   rw_lock      many readers or one writer; a waiting writer holds new readers back
//   seqlock      a small value that is read often: readers write nothing and never hold the writer up
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <type_traits>

#include "preemption.hpp"

namespace exo {

/// Tells the processor that this is a waiting loop.
inline void pause() noexcept { __builtin_ia32_pause(); }

/// A lock that waits by reading, so that waiting cores leave the bus alone.
class spin_lock {
 public:
  spin_lock() = default;
  spin_lock(spin_lock const &) = delete;
  spin_lock &operator=(spin_lock const &) = delete;

  void lock() noexcept {
    detail::hold_preemption();
    while (taken_.exchange(true, std::memory_order_acquire)) {
      while (taken_.load(std::memory_order_relaxed)) pause();
    }
  }

  [[nodiscard]] bool try_lock() noexcept {
    return detail::hold_preemption_if([&] { return !taken_.exchange(true, std::memory_order_acquire); });
  }

  void unlock() noexcept {
    taken_.store(false, std::memory_order_release);
    detail::allow_preemption();
  }

 private:
  std::atomic<bool> taken_ = false;
};

/// A lock that serves in the order of arrival.
class ticket_lock {
 public:
  ticket_lock() = default;
  ticket_lock(ticket_lock const &) = delete;
  ticket_lock &operator=(ticket_lock const &) = delete;

  void lock() noexcept {
    detail::hold_preemption();
    std::uint32_t const mine = next_.fetch_add(1, std::memory_order_relaxed);
    while (serving_.load(std::memory_order_acquire) != mine) pause();
  }

  [[nodiscard]] bool try_lock() noexcept {
    std::uint32_t now = serving_.load(std::memory_order_acquire);
    return detail::hold_preemption_if([&] { return next_.compare_exchange_strong(now, now + 1, std::memory_order_relaxed); });
  }

  /// Only the holder changes what is served, so this needs no locked instruction.
  void unlock() noexcept {
    serving_.store(serving_.load(std::memory_order_relaxed) + 1, std::memory_order_release);
    detail::allow_preemption();
  }

 private:
  std::atomic<std::uint32_t> next_ = 0;
  std::atomic<std::uint32_t> serving_ = 0;
};

/// Many readers, or one writer. Do not lock it for reading twice on one core: a writer may wait in between.
class rw_lock {
 public:
  rw_lock() = default;
  rw_lock(rw_lock const &) = delete;
  rw_lock &operator=(rw_lock const &) = delete;

  void lock() noexcept {
    detail::hold_preemption();
    while ((state_.fetch_or(writer, std::memory_order_relaxed) & writer) != 0) {
      while ((state_.load(std::memory_order_relaxed) & writer) != 0) pause();
    }
    while (state_.load(std::memory_order_acquire) != writer) pause();  // the readers go
  }

  [[nodiscard]] bool try_lock() noexcept {
    std::uint32_t free = 0;
    return detail::hold_preemption_if(
        [&] { return state_.compare_exchange_strong(free, writer, std::memory_order_acquire, std::memory_order_relaxed); });
  }

  void unlock() noexcept {
    state_.store(0, std::memory_order_release);
    detail::allow_preemption();
  }

  void lock_shared() noexcept {
    while (!try_lock_shared()) pause();
  }

  [[nodiscard]] bool try_lock_shared() noexcept {
    return detail::hold_preemption_if([&] { return try_add_reader(); });
  }

  void unlock_shared() noexcept {
    state_.fetch_sub(1, std::memory_order_release);
    detail::allow_preemption();
  }

 private:
  bool try_add_reader() noexcept {
    std::uint32_t readers = state_.load(std::memory_order_relaxed);
    while ((readers & writer) == 0) {
      if (state_.compare_exchange_weak(readers, readers + 1, std::memory_order_acquire, std::memory_order_relaxed)) {
        return true;
      }
    }
    return false;
  }

  static constexpr std::uint32_t writer = 1u << 31;  // holds it or waits; below: how many readers hold it

  std::atomic<std::uint32_t> state_ = 0;
};

/// A value that one core writes at a time and any core reads: a reader that met a writer reads again.
///
/// The value lies in atomic words, so that a read that comes to nothing is no data race (H. Boehm, "Can seqlocks get
/// along with programming language memory models?", MSPC 2012). On x86-64 they are plain moves.
template <typename T>
  requires std::is_trivially_copyable_v<T>
class seqlock {
 public:
  explicit seqlock(T const &value = {}) noexcept { put(value); }
  seqlock(seqlock const &) = delete;
  seqlock &operator=(seqlock const &) = delete;

  /// @core any; waits while a writer is at it
  [[nodiscard]] T load() const noexcept {
    for (T value;;) {
      if (try_load(value)) return value;
      pause();
    }
  }

  /// Reads once; false if a writer was at it, and then value is not to be used.
  [[nodiscard]] bool try_load(T &value) const noexcept {
    std::uint32_t const before = sequence_.load(std::memory_order_acquire);
    words copy;
    for (std::size_t at = 0; at < word_count; ++at) copy[at] = words_[at].load(std::memory_order_acquire);
    if (before % 2 != 0 || sequence_.load(std::memory_order_relaxed) != before) return false;
    std::memcpy(static_cast<void *>(&value), copy.data(), sizeof(T));
    return true;
  }

  /// @core one at a time
  void store(T const &value) noexcept {
    detail::hold_preemption();
    std::uint32_t const before = sequence_.load(std::memory_order_relaxed);
    sequence_.store(before + 1, std::memory_order_relaxed);
    put(value);
    sequence_.store(before + 2, std::memory_order_release);
    detail::allow_preemption();
  }

 private:
  static constexpr std::size_t word_count = (sizeof(T) + sizeof(std::uint64_t) - 1) / sizeof(std::uint64_t);
  using words = std::array<std::uint64_t, word_count>;

  /// Release, so that who reads one of the words also sees the odd sequence number.
  void put(T const &value) noexcept {
    words copy{};
    std::memcpy(copy.data(), &value, sizeof(T));
    for (std::size_t at = 0; at < word_count; ++at) words_[at].store(copy[at], std::memory_order_release);
  }

  std::atomic<std::uint32_t> sequence_ = 0;  // odd while a writer is at it
  std::array<std::atomic<std::uint64_t>, word_count> words_;
};

}  // namespace exo
