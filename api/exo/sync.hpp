// Waiting for other cores: barrier, latch, once. Nothing here allocates: who waits is on a list in its own frame.
//
// A waiting core spins a little and then halts until it is woken. Events of other kinds that arrive while it waits
// are dropped: poll their queues afterwards.
#pragma once

#include <atomic>
#include <concepts>
#include <cstddef>
#include <utility>

#include "core.hpp"
#include "lock.hpp"
#include "system_heap.hpp"
#include "time.hpp"

namespace exo {

/// Sets another core's wake event, so that it returns from core_idle now or at once when it enters it.
inline void wake(core_id core) noexcept { exo::core().core_wake(static_cast<u32>(core)); }

namespace detail {

/// Something that happens once, that one core waits for.
class signal {
 public:
  [[nodiscard]] bool is_set() const noexcept { return state_.load(std::memory_order_acquire) == set_state; }

  /// The waiting core may destroy the signal as soon as the exchange is done.
  void set() noexcept {
    u32 const waiter = state_.exchange(set_state, std::memory_order_acq_rel);
    if (waiter != unset_state) wake(core_id{waiter});
  }

  void wait() noexcept {
    for (unsigned turn = 0; turn < spin_turns; ++turn) {
      if (is_set()) return;
      pause();
    }
    u32 expected = unset_state;
    if (!state_.compare_exchange_strong(expected, local().index, std::memory_order_acq_rel)) return;
    while (!is_set()) idle(no_deadline);
  }

  void clear() noexcept { state_.store(unset_state, std::memory_order_relaxed); }

 private:
  static constexpr u32 unset_state = ~u32{0};
  static constexpr u32 set_state = unset_state - 1;
  static constexpr unsigned spin_turns = 2000;

  std::atomic<u32> state_ = unset_state;  // or the number of the core that halts for it
};

/// Who waits for one thing, each with a place in its own frame: a core that halts, or a task (task_channel.hpp).
class wait_list {
 public:
  struct place {
    explicit place(void (*how)(place &) noexcept) noexcept : let_go(how) {}

    place *next = nullptr;
    void (*let_go)(place &mine) noexcept;  // the place may be gone as soon as this has done its work
  };

  /// False once the list is closed: then there is nothing to wait for.
  [[nodiscard]] bool join(place &mine) noexcept {
    mine.next = first_.load(std::memory_order_acquire);
    do {
      if (mine.next == closed()) return false;
    } while (!first_.compare_exchange_weak(mine.next, &mine, std::memory_order_seq_cst));
    return true;
  }

  /// Lets everyone go, and takes new ones.
  void release() noexcept { take_all(nullptr); }
  /// Lets everyone go, and whoever comes from now on.
  void close() noexcept { take_all(closed()); }

  /// Tells whether someone is on the list, after everything that this core has written is visible to all: so either
  /// this sees a place, or who joined it sees what was written.
  [[nodiscard]] bool has_waiters() noexcept {
    place *const first = first_.fetch_add(0, std::memory_order_seq_cst);
    return first != nullptr && first != closed();
  }

  [[nodiscard]] bool is_closed() const noexcept { return first_.load(std::memory_order_acquire) == closed(); }

 private:
  static place *closed() noexcept { return reinterpret_cast<place *>(alignof(place)); }  // no object lies there

  void take_all(place *then) noexcept {
    for (place *each = first_.exchange(then, std::memory_order_acq_rel); each != nullptr && each != closed();) {
      place *const next = each->next;
      each->let_go(*each);
      each = next;
    }
  }

  std::atomic<place *> first_ = nullptr;
};

/// A core's place.
class core_place : public wait_list::place {
 public:
  core_place() noexcept
      : place([](place &mine) noexcept { static_cast<core_place &>(mine).released_.set(); }) {}

  void wait() noexcept { released_.wait(); }

 private:
  signal released_;
};

}  // namespace detail

/// A place where a fixed number of cores wait for each other, again and again.
class barrier {
 public:
  explicit barrier(u32 cores) noexcept : cores_(cores), missing_(cores) {}
  barrier(barrier const &) = delete;
  barrier &operator=(barrier const &) = delete;

  /// Waits until all have arrived; what each wrote before is visible to all afterwards.
  void arrive_and_wait() noexcept {
    detail::core_place mine;
    (void)waiting_.join(mine);  // this list is never closed
    if (missing_.fetch_sub(1, std::memory_order_acq_rel) != 1) return mine.wait();

    // All places are on the list now, and no core can come again before it is released.
    missing_.store(cores_, std::memory_order_relaxed);
    waiting_.release();
  }

 private:
  u32 const cores_;
  std::atomic<u32> missing_;
  detail::wait_list waiting_;
};

/// A count that goes down to 0 once; any number of cores wait for that.
class latch {
 public:
  explicit latch(u32 count) noexcept : missing_(count) {
    if (count == 0) waiting_.close();
  }
  latch(latch const &) = delete;
  latch &operator=(latch const &) = delete;

  /// Counts down; what was written before is visible to all who wait. Below 0 is ignored.
  void count_down(u32 by = 1) noexcept {
    u32 left = missing_.load(std::memory_order_relaxed);
    do {
      if (left == 0) return;
    } while (!missing_.compare_exchange_weak(left, left - (by < left ? by : left), std::memory_order_acq_rel,
                                             std::memory_order_relaxed));
    if (by >= left) waiting_.close();
  }

  [[nodiscard]] bool try_wait() const noexcept { return waiting_.is_closed(); }

  void wait() noexcept {
    detail::core_place mine;
    if (waiting_.join(mine)) mine.wait();
  }

  void arrive_and_wait() noexcept {
    count_down();
    wait();
  }

 private:
  std::atomic<u32> missing_;
  detail::wait_list waiting_;
};

/// Something that one core does, whichever comes first, and that is done when call() returns on any core.
class once {
 public:
  once() = default;
  once(once const &) = delete;
  once &operator=(once const &) = delete;

  template <std::invocable Function>
  void call(Function &&function) noexcept {
    if (waiting_.is_closed()) return;
    if (!taken_.exchange(true, std::memory_order_acq_rel)) {
      std::forward<Function>(function)();
      return waiting_.close();
    }
    detail::core_place mine;
    if (waiting_.join(mine)) mine.wait();
  }

 private:
  std::atomic<bool> taken_ = false;
  detail::wait_list waiting_;
};

}  // namespace exo
