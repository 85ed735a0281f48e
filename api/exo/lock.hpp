// A lock for a few instructions' work. Cores spin on it; nothing sleeps, so hold it briefly.
#pragma once

#include <atomic>

namespace exo {

/// Tells the processor that this is a waiting loop.
inline void pause() noexcept { __builtin_ia32_pause(); }

/// A lock that waits by reading, so that waiting cores leave the bus alone. Fits std::lock_guard.
class spin_lock {
 public:
  spin_lock() = default;
  spin_lock(spin_lock const &) = delete;
  spin_lock &operator=(spin_lock const &) = delete;

  void lock() noexcept {
    while (taken_.exchange(true, std::memory_order_acquire)) {
      while (taken_.load(std::memory_order_relaxed)) pause();
    }
  }

  [[nodiscard]] bool try_lock() noexcept { return !taken_.exchange(true, std::memory_order_acquire); }

  void unlock() noexcept { taken_.store(false, std::memory_order_release); }

 private:
  std::atomic<bool> taken_ = false;
};

}  // namespace exo
