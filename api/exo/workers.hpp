// Cores that help: a pool of the idle ones, which take what any of them offers. parallel.hpp stands on it.
//
//   exo::workers pool;                      // until it goes, the idle cores wait for work, spinning first, then halted
//   exo::parallel::sort(begin, end);        // uses them; without a pool each call makes its own
//
// Who has work offers it to helpers that are free, goes on with it itself, and takes back what nobody began; so a helper
// that is slow to wake holds nobody up. Who waits for a helper takes offers meanwhile. So calls nest as they like.
#pragma once

#include <algorithm>
#include <array>
#include <atomic>
#include <cstddef>
#include <memory>
#include <span>
#include <utility>

#include "core.hpp"
#include "lock.hpp"
#include "memory.hpp"
#include "smp.hpp"
#include "sync.hpp"

namespace exo {

class workers;

namespace detail {

/// Work that helpers may join, in its owner's frame.
struct shared_work {
  explicit shared_work(void (*how)(shared_work &) noexcept) noexcept : help(how), owner(this_core()) {}

  void (*help)(shared_work &self) noexcept;
  core_id const owner;
  std::atomic<u32> finished = 0;  // helpers that are done with it
};

}  // namespace detail

class workers {
 public:
  /// Takes the idle cores. Where there is no memory for their list, or a pool on this core already, it takes none.
  /// @param most  cores to use at most, this one included
  explicit workers(u32 most = ~u32{0}) noexcept {
    if (current_ != nullptr) return;
    u32 const cores = info().cores.size();
    result<pages> memory = pages::take(cores * sizeof(place));
    if (!memory) return;
    memory_ = std::move(*memory);
    places_ = {reinterpret_cast<place *>(memory_.data()), cores};
    for (place &each : places_) std::construct_at(&each, *this);
    mine().present = true;
    current_ = this;
    for (u32 core = 0; core < cores && size_ < most; ++core) {
      if (core == local().index || info().cores[core].started == 0) continue;
      running_.fetch_add(1, std::memory_order_relaxed);
      places_[core].present = true;
      places_[core].state.store(nullptr, std::memory_order_relaxed);
      if (detail::start_core(core, enter, &places_[core])) {
        ++size_;
      } else {
        running_.fetch_sub(1, std::memory_order_relaxed);
        places_[core].present = false;
      }
    }
  }
  workers(workers const &) = delete;
  workers &operator=(workers const &) = delete;
  ~workers() {
    if (places_.empty()) return;
    stop_.store(true, std::memory_order_release);
    for (u32 core = 0; core < places_.size(); ++core) {
      if (places_[core].present && core != local().index) wake(core_id{core});
    }
    if (running_.fetch_sub(1, std::memory_order_acq_rel) != 1) ended_.wait();
    current_ = nullptr;
  }

  /// The pool that this core is in, null if it is in none.
  [[nodiscard]] static workers *current() noexcept { return current_; }
  /// How many cores are in the pool, the one that made it included.
  [[nodiscard]] u32 size() const noexcept { return size_; }

  /// Offers work to free helpers, runs own(), and waits for those that took the offer.
  template <typename Own>
  void share(detail::shared_work &work, u32 helpers_most, Own &&own) noexcept {
    u32 offered = 0;
    for (u32 core = 0; core < places_.size() && offered < helpers_most; ++core) {
      place &each = places_[core];
      if (!each.present || each.state.load(std::memory_order_relaxed) != nullptr) continue;
      detail::shared_work *free = nullptr;
      if (!each.state.compare_exchange_strong(free, &work, std::memory_order_acq_rel)) continue;
      wake(core_id{core});
      ++offered;
    }
    own();
    for (u32 core = 0; core < places_.size() && offered != 0; ++core) {
      std::atomic<detail::shared_work *> &state = places_[core].state;
      detail::shared_work *offer = &work;
      if (state.load(std::memory_order_relaxed) != offer) continue;
      if (state.compare_exchange_strong(offer, nullptr, std::memory_order_acq_rel)) --offered;
    }
    wait(work, offered);
  }

 private:
  struct alignas(64) place {
    explicit place(workers &all) noexcept : pool(all) {}
    workers &pool;
    std::atomic<detail::shared_work *> state = busy();  // what is offered; null: free; busy(): neither
    bool present = false;                              // the core is in the pool
  };

  static detail::shared_work *busy() noexcept {
    return reinterpret_cast<detail::shared_work *>(alignof(detail::shared_work));  // no object lies there
  }
  place &mine() noexcept { return places_[local().index]; }

  /// Takes an offer and helps; false if there is none.
  static bool help_once(place &mine) noexcept {
    detail::shared_work *work = mine.state.load(std::memory_order_acquire);
    if (work == nullptr || work == busy()) return false;
    if (!mine.state.compare_exchange_strong(work, busy(), std::memory_order_acq_rel)) return false;  // taken back
    core_id const owner = work->owner;
    work->help(*work);
    work->finished.fetch_add(1, std::memory_order_acq_rel);  // the work may be gone from here on
    wake(owner);
    mine.state.store(nullptr, std::memory_order_release);
    return true;
  }

  /// Waits for so many helpers of `work`, and helps others meanwhile.
  void wait(detail::shared_work &work, u32 helpers) noexcept {
    if (work.finished.load(std::memory_order_acquire) == helpers) return;
    place &me = mine();
    me.state.store(nullptr, std::memory_order_release);
    for (u32 turn = 0; work.finished.load(std::memory_order_acquire) != helpers; ++turn) {
      if (help_once(me)) {
        turn = 0;
      } else if (turn < spin_turns) {
        pause();
      } else {
        core().core_idle(no_deadline);
      }
    }
    for (detail::shared_work *free = nullptr;
         !me.state.compare_exchange_strong(free, busy(), std::memory_order_acq_rel); free = nullptr) {
      (void)help_once(me);
    }
  }

  [[gnu::noinline]] static void serve(place &mine) noexcept {
    workers &pool = mine.pool;
    current_ = &pool;
    for (u32 turn = 0; !pool.stop_.load(std::memory_order_acquire); ++turn) {
      if (help_once(mine)) {
        turn = 0;
      } else if (turn < spin_turns) {
        pause();
      } else {
        core().core_idle(no_deadline);
      }
    }
    current_ = nullptr;
    detail::leave_core();
    if (pool.running_.fetch_sub(1, std::memory_order_acq_rel) == 1) pool.ended_.set();
  }

#ifndef EXO_HOST
  [[gnu::no_stack_protector]]
#endif
  static void enter(void *mine) noexcept {
    detail::enter_core();
    serve(*static_cast<place *>(mine));
  }

  static constexpr u32 spin_turns = 10'000;

  pages memory_;
  std::span<place> places_;  // by core
  u32 size_ = 1;
  std::atomic<bool> stop_ = false;
  std::atomic<u32> running_ = 1;  // the maker
  detail::signal ended_;

  static inline constinit thread_local workers *current_ = nullptr;
};

}  // namespace exo
