// Cores that help: a pool of the idle ones, which take what any of them offers. parallel.hpp stands on it.
//
//   exo::workers pool;                      // until it goes, the idle cores wait for work, spinning first, then halted
//   exo::parallel::sort(begin, end);        // uses them; without a pool each call makes its own
//
// Work is stolen: who forks keeps what is left open on a list of its own and goes on with the rest; a core without work
// takes the oldest, which is the largest, from anybody's list. So a helper that is slow to wake holds nobody up, and uneven
// work evens out. Who waits for a helper takes what that helper has forked from the work in question, and nothing else: so
// no core gets into a second, unrelated piece in the middle of one, and stacks stay as deep as the calls are nested.
#pragma once

#include <algorithm>
#include <array>
#include <atomic>
#include <cstddef>
#include <memory>
#include <mutex>
#include <span>
#include <utility>

#include "core.hpp"
#include "lock.hpp"
#include "memory.hpp"
#include "smp.hpp"
#include "sync.hpp"
#include "system_heap.hpp"

namespace exo {

class workers;

namespace detail {

/// Work that helpers may join, in its owner's frame.
struct shared_work {
  explicit shared_work(void (*how)(shared_work &) noexcept) noexcept : help(how), owner(this_core()) {}

  void (*help)(shared_work &self) noexcept;
  core_id const owner;
  shared_work *parent = nullptr;  // what the owner was at when it forked this
  shared_work *older = nullptr;   // on the owner's list; this and what follows under its lock
  shared_work *newer = nullptr;
  u32 wanted = 0;  // helpers that may still join; 0: it is on no list
  u32 joined = 0;
  std::atomic<u32> finished = 0;  // helpers that are done with it
};

}  // namespace detail

class workers {
 public:
  /// Takes the idle cores. Where there is no memory for their list, or a pool on this core already, it takes none.
  /// @param most        cores to use at most, this one included
  /// @param spin_turns  how often a core looks for work before it halts
  explicit workers(u32 most = ~u32{0}, u32 spin_turns = 10'000) noexcept : spin_turns_(spin_turns) {
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
    stop_.store(true, std::memory_order_seq_cst);
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

  /// Opens work to helpers, runs own(), closes it, and waits for those that joined it.
  template <typename Own>
  void share(detail::shared_work &work, u32 helpers_most, Own &&own) noexcept {
    if (helpers_most == 0 || size_ == 1) return own();
    place &me = mine();
    work.parent = std::exchange(me.at, &work);
    work.wanted = helpers_most;
    me.open(work);
    wake_some(helpers_most);
    own();
    u32 const helpers = me.close(work);
    me.at = work.parent;
    wait(me, work, helpers);
  }

 private:
  using work = detail::shared_work;
  enum class rest : u8 { none, idle, waits };  // whether a core halts: for any work, for its helpers

  struct alignas(64) place {
    explicit place(workers &all) noexcept : pool(all) {}

    void open(work &mine) noexcept {
      std::lock_guard const guard(lock);
      mine.older = newest;
      if (newest != nullptr) newest->newer = &mine;
      newest = &mine;
      if (mine.older == nullptr) oldest.store(&mine, std::memory_order_seq_cst);
    }

    /// Takes work off the list, if it is still there; returns how many have joined it.
    u32 close(work &mine) noexcept {
      std::lock_guard const guard(lock);
      if (mine.wanted != 0) remove(mine);
      return mine.joined;
    }

    /// Joins the oldest that is open, of those that were forked on the way to `root`'s end; null: of all.
    work *join(work const *root) noexcept {
      if (oldest.load(std::memory_order_seq_cst) == nullptr) return nullptr;
      std::lock_guard const guard(lock);
      work *found = oldest.load(std::memory_order_relaxed);
      while (found != nullptr && root != nullptr && !belongs(*found, *root)) found = found->newer;
      if (found == nullptr) return nullptr;
      ++found->joined;
      if (--found->wanted == 0) remove(*found);
      return found;
    }

    workers &pool;
    bool present = false;                         // the core is in the pool
    std::atomic<rest> resting = rest::none;
    work *at = nullptr;                           // the core's own: what it does now
    alignas(64) spin_lock lock;                   // of the list
    std::atomic<work *> oldest = nullptr;         // changed under the lock
    work *newest = nullptr;

   private:
    /// Whoever forked something waits for it, so what is on a list has all its ancestors.
    static bool belongs(work const &some, work const &root) noexcept {
      work const *each = &some;
      while (each != nullptr && each != &root) each = each->parent;
      return each != nullptr;
    }

    void remove(work &some) noexcept {
      (some.newer != nullptr ? some.newer->older : newest) = some.older;
      if (some.older != nullptr) {
        some.older->newer = some.newer;
      } else {
        oldest.store(some.newer, std::memory_order_seq_cst);
      }
    }
  };

  place &mine() noexcept { return places_[local().index]; }

  /// Wakes cores that halt, as many as can help. Either this sees that a core halts, or that one sees what was opened.
  void wake_some(u32 helpers) noexcept {
    if (resting_.load(std::memory_order_seq_cst) == 0) return;
    for (u32 core = 0; core < places_.size() && helpers != 0; ++core) {
      if (rest const before = rouse(core); before == rest::idle) --helpers;
    }
  }
  rest rouse(u32 core) noexcept {
    std::atomic<rest> &resting = places_[core].resting;
    if (resting.load(std::memory_order_seq_cst) == rest::none) return rest::none;
    rest const before = resting.exchange(rest::none, std::memory_order_acq_rel);
    if (before != rest::none) wake(core_id{core});
    return before;
  }

  work *join_any(work const *root) noexcept {
    u32 const own = local().index, cores = static_cast<u32>(places_.size());
    for (u32 step = 1; step < cores; ++step) {
      if (work *const found = places_[(own + step) % cores].join(root)) return found;
    }
    return nullptr;
  }

  void help(place &me, work &with) noexcept {
    u32 const owner = static_cast<u32>(with.owner);
    work *const before = std::exchange(me.at, &with);
    with.help(with);
    me.at = before;
    with.finished.fetch_add(1, std::memory_order_seq_cst);  // it may be gone from here on
    rouse(owner);
  }

  /// Helps with what belongs to `root` until ended(); spins first and halts then.
  template <typename Ended>
  void help_until(place &me, work const *root, Ended ended) noexcept {
    for (u32 turn = 0; !ended(); ++turn) {
      work *found = join_any(root);
      if (found == nullptr && turn < spin_turns_) {
        pause();
        continue;
      }
      if (found == nullptr) {
        me.resting.store(root == nullptr ? rest::idle : rest::waits, std::memory_order_seq_cst);
        resting_.fetch_add(1, std::memory_order_seq_cst);
        found = join_any(root);
        if (found == nullptr && !ended()) detail::idle(no_deadline);
        resting_.fetch_sub(1, std::memory_order_relaxed);
        me.resting.store(rest::none, std::memory_order_relaxed);
      }
      if (found == nullptr) continue;
      help(me, *found);
      turn = 0;
    }
  }

  void wait(place &me, work &mine, u32 helpers) noexcept {
    help_until(me, &mine, [&] { return mine.finished.load(std::memory_order_seq_cst) == helpers; });
  }

  [[gnu::noinline]] static void serve(place &mine) noexcept {
    workers &pool = mine.pool;
    current_ = &pool;
    pool.help_until(mine, nullptr, [&] { return pool.stop_.load(std::memory_order_seq_cst); });
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

  u32 const spin_turns_;
  pages memory_;
  std::span<place> places_;  // by core
  u32 size_ = 1;
  std::atomic<bool> stop_ = false;
  std::atomic<u32> resting_ = 0;  // cores that halt, or are about to
  std::atomic<u32> running_ = 1;  // the maker
  detail::signal ended_;

  static inline constinit thread_local workers *current_ = nullptr;
};

}  // namespace exo
