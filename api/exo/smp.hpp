// Work on several cores: run on one, run on all, parallel loops; and sync.hpp. Nothing here allocates; what a core needs
// to know lies in the frame of the one that waits for it.
//
// A waiting core spins a little and then halts until it is woken. Events of other kinds that arrive while it waits
// are dropped: poll their queues afterwards.
#pragma once

#include <algorithm>
#include <array>
#include <atomic>
#include <concepts>
#include <cstddef>
#include <limits>
#include <type_traits>
#include <utility>

#include "core.hpp"
#include "lock.hpp"
#include "result.hpp"
#include "ring.hpp"
#include "sync.hpp"
#include "system_heap.hpp"
#include "thread_local.hpp"
#include "time.hpp"

namespace exo {

/// How many cores run; info().cores also lists those that did not start.
[[nodiscard]] inline u32 core_count() noexcept {
  u32 count = 0;
  for (core_record const &each : info().cores) count += each.started;
  return count;
}

namespace detail {

/// Set from the end of a core's work until its next: then `busy` passes, because the core is on its way to idle.
inline constexpr u32 core_max = 1024;
inline constinit std::array<std::atomic<bool>, core_max> leaving{};

[[gnu::always_inline]] inline void enter_core() noexcept {
  enter_thread_local();
  leaving[local().index % core_max].store(false, std::memory_order_relaxed);
}
inline void leave_core() noexcept {
  system_heap.rest();
  leaving[local().index % core_max].store(true, std::memory_order_release);
}

/// core_start that waits for a core whose last work has been waited for already.
inline result<void> start_core(u32 core, entry_fn entry, void *argument) noexcept {
  if (core >= core_max) return std::unexpected(error::no_such);
  for (;;) {
    result<void> const started = done(exo::core().core_start(core, entry, argument));
    if (started || started.error() != error::busy || !leaving[core].load(std::memory_order_acquire)) return started;
    pause();
  }
}

struct job_state {
  void (*body)(job_state &job) noexcept = nullptr;
  signal finished;
  bool running = false;  // the owner's
};

[[gnu::noinline]] inline void run_job(job_state &job) noexcept {
  job.body(job);
  leave_core();
  job.finished.set();
}

#ifndef EXO_HOST
[[gnu::no_stack_protector]]
#endif
inline void job_entry(void *argument) noexcept {
  enter_core();
  run_job(*static_cast<job_state *>(argument));
}

}  // namespace detail

/// Work for another core, in the caller's memory: `exo::job count([&] { … });`. It must outlive its handle.
template <std::invocable Function>
class job : detail::job_state {
 public:
  explicit job(Function function) noexcept : function_(std::move(function)) {
    body = [](job_state &self) noexcept { static_cast<job &>(self).function_(); };
  }
  job(job const &) = delete;
  job &operator=(job const &) = delete;

 private:
  template <std::invocable Other>
  friend result<class running_job> run_on(core_id core, job<Other> &work) noexcept;

  Function function_;
};

/// A job that a core is at; whoever holds this waits for it, at the latest when it goes.
class [[nodiscard]] running_job {
 public:
  running_job(running_job &&other) noexcept : state_(std::exchange(other.state_, nullptr)) {}
  running_job &operator=(running_job &&other) noexcept {
    wait();
    state_ = std::exchange(other.state_, nullptr);
    return *this;
  }
  ~running_job() { wait(); }

  /// Tells without waiting whether the job has ended.
  [[nodiscard]] bool done() const noexcept { return state_ == nullptr || state_->finished.is_set(); }

  /// Waits until the job has ended; its writes are visible then.
  void wait() noexcept {
    if (state_ == nullptr) return;
    state_->finished.wait();
    std::exchange(state_, nullptr)->running = false;
  }

 private:
  template <std::invocable Other>
  friend result<running_job> run_on(core_id core, job<Other> &work) noexcept;
  explicit running_job(detail::job_state &state) noexcept : state_(&state) {}

  detail::job_state *state_;
};

/// Runs a job on an idle core.
///
/// @return         the handle that waits for it
/// @error no_such  there is no core of that number, or it did not start
/// @error busy     the core runs something, or the job runs already
/// @core  any      @heap  none
template <std::invocable Function>
[[nodiscard]] result<running_job> run_on(core_id core, job<Function> &work) noexcept {
  detail::job_state &state = work;
  if (state.running) return std::unexpected(error::busy);
  state.finished.clear();
  result<void> const started = detail::start_core(static_cast<u32>(core), detail::job_entry, &state);
  if (!started) return std::unexpected(started.error());
  state.running = true;
  return running_job(state);
}

namespace detail {

struct crew {
  crew(void (*routine)(void *) noexcept, void *object) noexcept : body(routine), function(object) {}

  void (*body)(void *function) noexcept;
  void *function;
  std::atomic<u32> working = 1;  // the caller
  signal finished;
};

[[gnu::noinline]] inline void run_crew(crew &all) noexcept {
  all.body(all.function);
  leave_core();
  if (all.working.fetch_sub(1, std::memory_order_acq_rel) == 1) all.finished.set();
}

#ifndef EXO_HOST
[[gnu::no_stack_protector]]
#endif
inline void crew_entry(void *argument) noexcept {
  enter_core();
  run_crew(*static_cast<crew *>(argument));
}

/// Starts idle cores on a crew's work, and counts the caller in; returns how many that makes.
inline u32 start_crew(crew &all, u32 most) noexcept {
  u32 used = 1;
  for (u32 core = 0; core < info().cores.size() && used < most; ++core) {
    if (core == local().index || info().cores[core].started == 0) continue;
    all.working.fetch_add(1, std::memory_order_relaxed);
    if (start_core(core, crew_entry, &all)) {
      ++used;
    } else {
      all.working.fetch_sub(1, std::memory_order_relaxed);
    }
  }
  return used;
}

/// Waits for those that start_crew started, when the caller has done its part.
inline void wait_for_crew(crew &all) noexcept {
  if (all.working.fetch_sub(1, std::memory_order_acq_rel) != 1) all.finished.wait();
}

}  // namespace detail

/// Runs function() on this core and on every other one that is idle, at the same time; waits for all.
///
/// @param most  cores to use at most, this one included
/// @return      how many cores ran it
/// @core  any   @heap  none
template <std::invocable Function>
u32 run_on_all(Function &&function, u32 most = ~u32{0}) noexcept {
  using plain = std::remove_reference_t<Function>;
  plain *called = &function;
  detail::crew all([](void *each) noexcept { (**static_cast<plain **>(each))(); }, &called);
  u32 const used = detail::start_crew(all, most);
  function();
  detail::wait_for_crew(all);
  return used;
}

/// Runs a loop on all idle cores and this one.
///
/// Cores take the next part when they are done with one; parts shrink towards the end, so that uneven work evens out.
///
/// @param function  function(index) for each index, or function(first, last) for each part
/// @param grain     indices of a part at least; 1 where an index is much work
/// @core  any       @heap  none
template <std::integral Index, typename Function>
  requires std::invocable<Function &, Index> || std::invocable<Function &, Index, Index>
void parallel_for(Index first, std::type_identity_t<Index> last, Function &&function, u64 grain = 1) noexcept {
  if (first >= last) return;
  u64 const count = static_cast<u64>(last) - static_cast<u64>(first);
  u64 const least = std::max<u64>(grain, 1);
  u64 const parts = 2 * u64{core_count()};
  std::atomic<u64> cursor = 0;
  auto const work = [&]() noexcept {
    u64 at = cursor.load(std::memory_order_relaxed);
    while (at < count) {
      u64 const part = std::min(std::max((count - at) / parts, least), count - at);
      if (!cursor.compare_exchange_weak(at, at + part, std::memory_order_relaxed)) continue;
      Index const begin = static_cast<Index>(static_cast<u64>(first) + at);
      Index const end = static_cast<Index>(static_cast<u64>(first) + at + part);
      if constexpr (std::invocable<Function &, Index, Index>) {
        function(begin, end);
      } else {
        for (Index index = begin; index != end; ++index) function(index);
      }
      at = cursor.load(std::memory_order_relaxed);
    }
  };
  u64 const useful = (count + least - 1) / least;
  run_on_all(work, static_cast<u32>(std::min<u64>(useful, std::numeric_limits<u32>::max())));
}

}  // namespace exo
