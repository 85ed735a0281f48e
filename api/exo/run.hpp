// The run loop: one on each core, which runs what is ready, takes messages, watches the time and polls the core's queues.
//
//   exo::result<int> const status = exo::run(my_main);   // task<int> my_main();  see task.hpp
//
// Work runs to completion, a piece at a time; nothing is preempted, so what lies on one core needs no lock. A loop that
// finds nothing to do spins a little and then halts until the next deadline, a message or an armed queue.
//
// Loops know each other by the group that they were started in, which lies in pages of its own; there is nothing global
// but the pointer of each core to its loop.
#pragma once

#include <algorithm>
#include <array>
#include <atomic>
#include <bit>
#include <chrono>
#include <concepts>
#include <cstddef>
#include <memory>
#include <source_location>
#include <span>
#include <utility>

#include "console.hpp"
#include "core.hpp"
#include "frame_pool.hpp"
#include "memory.hpp"
#include "message.hpp"
#include "preemption.hpp"
#include "result.hpp"
#include "smp.hpp"
#include "stack_pool.hpp"
#include "system_heap.hpp"
#include "time.hpp"
#include "timer_heap.hpp"

namespace exo {

/// Something to be done, in the memory of who wants it. It is on one list at a time, and off it when `done` is called.
struct operation {
  explicit constexpr operation(void (*what)(operation &) noexcept) noexcept : done(what) {}
  operation(operation const &) = delete;
  operation &operator=(operation const &) = delete;

  void (*done)(operation &self) noexcept;
  operation *next = nullptr;
};

/// Operations in the order in which they came.
class operation_list {
 public:
  [[nodiscard]] constexpr bool empty() const noexcept { return first_ == nullptr; }
  [[nodiscard]] operation *first() const noexcept { return first_; }

  void push(operation &what) noexcept {
    what.next = nullptr;
    (last_ != nullptr ? last_->next : first_) = &what;
    last_ = &what;
  }

  /// Takes the first one off, which there is.
  operation &pop() noexcept {
    operation &taken = *first_;
    first_ = taken.next;
    if (first_ == nullptr) last_ = nullptr;
    return taken;
  }

  /// Takes one off from where it is; O(n).
  void remove(operation const &what) noexcept {
    operation *before = nullptr;
    for (operation **link = &first_; *link != nullptr; link = &(*link)->next) {
      if (*link == &what) {
        *link = what.next;
        if (last_ == &what) last_ = before;
        return;
      }
      before = *link;
    }
  }

 private:
  operation *first_ = nullptr;
  operation *last_ = nullptr;
};

/// A device queue, or anything else that a loop looks at in each turn. It must be off the loop when it goes.
struct poller {
  struct functions {
    u32 (*poll)(poller &self) noexcept;         // does what there is to do; how much that was
    result<bool> (*arm)(poller &self) noexcept;  // as disk_queue::arm
    u64 (*deadline)(poller const &self) noexcept = nullptr;  // when it is to be polled at the latest, a TSC deadline
  };
  explicit poller(functions const &what) noexcept : calls(&what) {}
  poller(poller const &) = delete;
  poller &operator=(poller const &) = delete;

  functions const *calls;
  poller *next = nullptr;
};

/// What a loop has done so far. Written by its core alone; any core may read it.
struct alignas(64) loop_counters {
  std::atomic<u64> busy_ticks = 0;  // TSC ticks in turns that found something to do
  std::atomic<u64> idle_ticks = 0;  // in the others, spinning and halting
  std::atomic<u64> turns = 0;
  std::atomic<u64> operations = 0;
  std::atomic<u64> messages = 0;
  std::atomic<u64> polls = 0;  // of pollers
  std::atomic<u64> halts = 0;
  std::atomic<u64> wakes = 0;  // sent to other cores that had halted
};

namespace detail {

struct loop_group;

/// A task that nothing waits for but its loop, and where it was spawned.
struct root_task {
  root_task *next = nullptr;
  root_task **link = nullptr;
  std::source_location where;
  void (*stop)(root_task &self) noexcept = nullptr;
};

inline void count(std::atomic<u64> &counter, u64 by = 1) noexcept {
  counter.store(counter.load(std::memory_order_relaxed) + by, std::memory_order_relaxed);
}

}  // namespace detail

class run_loop {
 public:
  run_loop(detail::loop_group &group, u32 core, loop_counters &counters) noexcept
      : core_(core),
        stop_([](operation &) noexcept { here().stop(); }),
        group_(group),
        counters_(counters) {}
  run_loop(run_loop const &) = delete;
  run_loop &operator=(run_loop const &) = delete;

  /// This core's loop, null if it runs none.
  [[nodiscard]] static run_loop *current() noexcept { return current_; }
  /// This core's loop; panics if it runs none.
  [[nodiscard]] static run_loop &here() noexcept {
    if (current_ == nullptr) panic("this core has no run loop: call it from what exo::run has started");
    return *current_;
  }

  [[nodiscard]] core_id core() const noexcept { return core_id{core_}; }

  /// Runs an operation in one of the next turns.
  /// @core this one
  void post(operation &what) noexcept {
    unpreempted const section;
    ready_.push(what);
  }

  /// The same from any core. Never fails: the operation brings its own memory.
  /// @core any
  void deliver(operation &what) noexcept {
    what.next = inbox_.load(std::memory_order_relaxed);
    while (!inbox_.compare_exchange_weak(what.next, &what, std::memory_order_seq_cst, std::memory_order_relaxed)) {
    }
    rouse();
  }

  void add(timer_node &timer) noexcept {
    unpreempted const section;
    timers_.add(timer);
  }
  void remove(timer_node &timer) noexcept {
    unpreempted const section;
    timers_.remove(timer);
  }
  void add(poller &one) noexcept {
    unpreempted const section;
    one.next = std::exchange(pollers_, &one);
  }
  void remove(poller &one) noexcept {
    unpreempted const section;
    for (poller **link = &pollers_; *link != nullptr; link = &(*link)->next) {
      if (*link == &one) {
        *link = one.next;
        return;
      }
    }
  }

  [[nodiscard]] detail::frame_pool &frames() noexcept { return frames_; }
  [[nodiscard]] detail::stack_pool &stacks() noexcept { return stacks_; }
  [[nodiscard]] loop_counters const &counters() const noexcept { return counters_; }
  [[nodiscard]] detail::loop_group &group() noexcept { return group_; }

  /// Roots are cancelled when the loops end, and waited for.
  void add(detail::root_task &root) noexcept {
    unpreempted const section;
    root.link = &roots_;
    root.next = std::exchange(roots_, &root);
    if (root.next != nullptr) root.next->link = &root.next;
    if (stopping_) root.stop(root);
  }
  void remove(detail::root_task &root) noexcept {
    unpreempted const section;
    *root.link = root.next;
    if (root.next != nullptr) root.next->link = root.link;
  }

  /// One turn: a batch of what is ready, what other cores sent, what is due, what the pollers find; how much it was.
  u32 turn() noexcept {
    detail::count(counters_.turns);
    u32 const ready = run_ready();
    u32 const others = take_inbox() + take_messages() + run_timers() + poll_all();
    // Long batches while nothing else wants the core, short ones when something does.
    batch_ = others != 0 ? batch_min : ready == batch_ ? std::min(2 * batch_, batch_max) : batch_;
    return ready + others;
  }

  /// Turns until the group ends; see exo::run.
  void run() noexcept;

 private:
  friend struct detail::loop_group;
  template <typename Function, typename... Args>
    requires sendable_call<Function, Args...>
  friend result<void> try_post(core_id core, Function &&function, Args &&...args) noexcept;

  static constexpr u32 batch_min = 16;
  static constexpr u32 batch_max = 1024;
  static constexpr u32 spin_turns = 500;
  static constexpr auto unarmed_poll = std::chrono::microseconds(100);  // pollers without interrupts

  /// After something was put where this loop looks, with a locked instruction: either this sees that the core has
  /// halted, or the core sees what was put.
  void rouse() noexcept {
    if (!asleep_.load(std::memory_order_seq_cst)) return;
    wake(core_id{core_});
    if (current_ != nullptr) detail::count(current_->counters_.wakes);
  }

  u32 run_ready() noexcept {
    u32 ran = 0;
    for (; ran < batch_ && !ready_.empty(); ++ran) {
      operation &first = ready_.pop();
      first.done(first);
    }
    if (ran != 0) detail::count(counters_.operations, ran);
    return ran;
  }

  /// Moves what was delivered to the ready list; it was put on top, so the order is turned round.
  u32 take_inbox() noexcept {
    if (inbox_.load(std::memory_order_relaxed) == nullptr) return 0;
    operation *newest = inbox_.exchange(nullptr, std::memory_order_acquire);
    operation *oldest = nullptr;
    while (newest != nullptr) {
      operation *const next = newest->next;
      newest->next = oldest;
      oldest = std::exchange(newest, next);
    }
    u32 taken = 0;
    for (; oldest != nullptr; ++taken) post(*std::exchange(oldest, oldest->next));
    return taken;
  }

  u32 take_messages() noexcept;

  u32 run_timers() noexcept {
    if (timers_.empty()) return 0;
    u32 ran = 0;
    u64 const now = ticks();
    for (timer_node *due; ran < batch_max && (due = timers_.take_due(now)) != nullptr; ++ran) due->due(*due);
    return ran;
  }

  u32 poll_all() noexcept {
    u32 found = 0;
    for (poller *each = pollers_; each != nullptr;) {
      poller *const next = each->next;  // it may take itself off
      detail::count(counters_.polls);
      found += each->calls->poll(*each);
      each = next;
    }
    return found;
  }

  [[nodiscard]] bool has_messages() const noexcept {
    bool any = inbox_.load(std::memory_order_seq_cst) != nullptr;
    for (auto const &each : pending_) any = any || each.load(std::memory_order_seq_cst) != 0;
    return any;
  }

  void stop() noexcept;
  [[nodiscard]] bool has_ended() noexcept;

  /// Halts until there may be something to do.
  void halt(u64 deadline) noexcept {
    deadline = std::min(deadline, timers_.first_deadline());
    for (poller *each = pollers_; each != nullptr; each = each->next) {
      result<bool> const armed = each->calls->arm(*each);
      if (armed && *armed) return;
      if (!armed) deadline = std::min(deadline, deadline_in(unarmed_poll));
      if (each->calls->deadline != nullptr) deadline = std::min(deadline, each->calls->deadline(*each));
    }
    asleep_.store(true, std::memory_order_seq_cst);
    if (!has_messages()) {
      detail::count(counters_.halts);
      detail::idle(deadline);
    }
    asleep_.store(false, std::memory_order_relaxed);
  }

  static constexpr u32 pending_words = 4;
  static constexpr u32 core_max = 64 * pending_words;

  // What other cores write: one line.
  alignas(64) std::atomic<operation *> inbox_ = nullptr;         // the newest first
  std::array<std::atomic<u64>, pending_words> pending_{};  // a bit for each core whose ring may have something
  std::atomic<bool> asleep_ = false;

  // What only this core uses.
  alignas(64) operation_list ready_;
  u32 batch_ = batch_min;
  u32 const core_;
  u64 const pending_bit_ = u64{1} << core_ % 64;  // of this core in others' pending_
  poller *pollers_ = nullptr;
  timer_heap timers_;
  detail::root_task *roots_ = nullptr;
  bool stopping_ = false;
  bool finished_ = false;  // stopping, and without a task
  u64 stop_deadline_ = no_deadline;
  operation stop_;
  std::atomic<bool> ended_ = false;
  detail::loop_group &group_;
  loop_counters &counters_;
  detail::frame_pool frames_;
  detail::stack_pool stacks_;

  static inline constinit thread_local run_loop *current_ = nullptr;
};

/// What the loops of a program are started with.
struct run_options {
  u32 cores = ~u32{0};                                             // at most; this one included
  u32 message_depth = 64;                                          // a power of two: messages under way from core to core
  clock::duration patience = std::chrono::seconds(1);              // how long tasks may take to end at shutdown
};

namespace detail {

/// The loops that were started together, their rings and their counters, all in the same pages.
struct loop_group {
  static constexpr std::size_t rings_most = std::size_t{32} << 20;  // bytes; with many cores rings get shorter
  static constexpr u32 depth_min = 8;

  pages memory;
  u32 cores = 0;  // of the machine; there is a ring from each to each
  u64 patience = 0;  // ticks
  std::byte *rings = nullptr;
  std::size_t from_stride = 0;  // bytes from a sender's ring to the next sender's of the same receiver
  std::size_t to_stride = 0;    // and to the same sender's of the next receiver
  std::span<loop_counters> counters;
  std::array<run_loop *, run_loop::core_max> loops{};  // null: that core has none
  std::atomic<u32> unfinished = 0;                     // loops that have or may get tasks
  std::atomic<u32> running = 0;                        // other cores that will still look at this
  std::atomic<bool> late = false;                      // something had to be given up

  /// Makes the loops of the machine's cores; only the caller's is to run yet.
  [[nodiscard]] static result<loop_group *> make(run_options const &options) noexcept {
    if (options.cores == 0 || !is_power_of_two(options.message_depth)) return std::unexpected(error::range);
    if (run_loop::current() != nullptr) return std::unexpected(error::busy);
    u32 const cores = std::min(info().cores.size(), run_loop::core_max);
    std::size_t const pairs = std::size_t{cores} * cores;
    u32 depth = options.message_depth;
    while (depth > depth_min && pairs * message_ring::bytes(depth) > rings_most) depth /= 2;

    std::size_t const counter_bytes = align_up(cores * sizeof(loop_counters), page_bytes);
    std::size_t const own_bytes = align_up(sizeof(loop_group), page_bytes);
    std::size_t const loop_bytes = align_up(cores * sizeof(run_loop), page_bytes);
    result<pages> taken =
        pages::take(counter_bytes + own_bytes + loop_bytes + pairs * message_ring::bytes(depth));
    if (!taken) return std::unexpected(taken.error());
    std::byte *const first = taken->data();
    auto *const counters = reinterpret_cast<loop_counters *>(first);
    auto *const loops = reinterpret_cast<run_loop *>(first + counter_bytes + own_bytes);
    auto *const group = std::construct_at(reinterpret_cast<loop_group *>(first + counter_bytes));
    group->memory = std::move(*taken);
    group->cores = cores;
    group->from_stride = message_ring::bytes(depth);
    group->to_stride = cores * message_ring::bytes(depth);
    group->patience = clock::ticks_in(options.patience);
    group->rings = first + counter_bytes + own_bytes + loop_bytes;
    group->counters = {counters, cores};
    for (u32 core = 0; core < cores; ++core) {
      std::construct_at(counters + core);
      group->loops[core] = std::construct_at(loops + core, *group, core, counters[core]);
    }
    for (std::size_t pair = 0; pair < pairs; ++pair) {
      std::construct_at(reinterpret_cast<message_ring *>(group->rings + pair * message_ring::bytes(depth)), depth);
    }
    return group;
  }

  /// Starts the other cores' loops, as far as they are idle; this core's, which is returned, has yet to run.
  run_loop &start(u32 most) noexcept {
    u32 const me = local().index;
    u32 used = 1;
    for (u32 core = 0; core < cores; ++core) {
      if (core == me) continue;
      running.fetch_add(1, std::memory_order_relaxed);
      if (used < most && start_core(core, enter, loops[core])) {
        ++used;
      } else {
        running.fetch_sub(1, std::memory_order_relaxed);
        std::destroy_at(std::exchange(loops[core], nullptr));
      }
    }
    unfinished.store(used, std::memory_order_relaxed);
    return *(run_loop::current_ = loops[me]);
  }

  /// Lets all loops end, this core's with the others.
  void stop() noexcept {
    for (run_loop *each : loops) {
      if (each != nullptr) each->deliver(each->stop_);
    }
  }

  /// Waits for the other cores, and gives the memory back; error timeout if something had to be given up. Then the
  /// memory is kept, because it may still be used.
  [[nodiscard]] result<void> end() noexcept {
    u64 deadline = deadline_in(clock::duration_of(patience));
    while (running.load(std::memory_order_acquire) != 0 && ticks() < deadline) {
      exo::core().core_idle(deadline_in(std::chrono::microseconds(50)));
    }
    if (running.load(std::memory_order_acquire) != 0) {
      for (run_loop const *each : loops) {
        if (each == nullptr || each->core() == this_core() || each->ended_.load(std::memory_order_acquire)) continue;
        print("exo16: core {} does not come back to its run loop; it was told to end {} ms ago\n", each->core(),
              patience * 1000 / info().tsc_hz);
      }
      return std::unexpected(error::timeout);
    }
    if (late.load(std::memory_order_relaxed)) return std::unexpected(error::timeout);
    for (run_loop *each : loops) {
      if (each != nullptr) std::destroy_at(each);
    }
    pages const last = std::move(memory);  // this lies in them
    return {};
  }

  [[nodiscard]] run_loop *loop_of(core_id core) const noexcept {
    u32 const number = static_cast<u32>(core);
    return number < cores ? loops[number] : nullptr;
  }

  [[nodiscard]] message_ring &ring(u32 from, u32 to) const noexcept {
    return *reinterpret_cast<message_ring *>(rings + from * from_stride + to * to_stride);
  }

 private:
  [[gnu::noinline]] static void run(run_loop &loop) noexcept {
    loop.run();
    loop_group &group = loop.group();
    loop.ended_.store(true, std::memory_order_release);
    leave_core();
    group.running.fetch_sub(1, std::memory_order_release);
  }

#ifndef EXO_HOST
  [[gnu::no_stack_protector]]
#endif
  static void enter(void *loop) noexcept {
    enter_core();
    run(*static_cast<run_loop *>(loop));
  }
};

}  // namespace detail

inline u32 run_loop::take_messages() noexcept {
  u32 ran = 0;
  for (u32 word = 0; word < pending_words; ++word) {
    if (pending_[word].load(std::memory_order_relaxed) == 0) continue;
    for (u64 bits = pending_[word].exchange(0, std::memory_order_acquire); bits != 0; bits &= bits - 1) {
      u32 const from = 64 * word + static_cast<u32>(std::countr_zero(bits));
      detail::message_ring &ring = group_.ring(from, core_);
      ran += ring.run(batch_max);
      if (!ring.empty()) pending_[word].fetch_or(bits & (0 - bits), std::memory_order_relaxed);
    }
  }
  if (ran != 0) detail::count(counters_.messages, ran);
  return ran;
}

inline void run_loop::stop() noexcept {
  stopping_ = true;
  stop_deadline_ = deadline_in(clock::duration_of(group_.patience));
  for (detail::root_task *each = roots_; each != nullptr; each = each->next) each->stop(*each);
}

/// Whether this loop is to end now: when no loop has a task left, or when its patience is at its end.
inline bool run_loop::has_ended() noexcept {
  if (!stopping_) return false;
  if (roots_ == nullptr) {
    if (!std::exchange(finished_, true) && group_.unfinished.fetch_sub(1, std::memory_order_acq_rel) == 1) {
      for (run_loop const *each : group_.loops) {
        if (each != nullptr && each != this) wake(each->core());
      }
    }
    if (group_.unfinished.load(std::memory_order_acquire) == 0) return true;
  }
  if (ticks() < stop_deadline_) return false;
  for (detail::root_task const *each = roots_; each != nullptr; each = each->next) {
    group_.late.store(true, std::memory_order_relaxed);
    print("exo16: core {}: the task spawned at {}:{} has not ended {} ms after it was cancelled\n", core_,
          each->where.file_name(), each->where.line(), group_.patience * 1000 / info().tsc_hz);
  }
  return true;
}

inline void run_loop::run() noexcept {
  current_ = this;
  u32 idle_turns = 0;
  for (u64 since = ticks(); !has_ended();) {
    bool const busy = turn() != 0;
    if (busy) {
      idle_turns = 0;
    } else if (++idle_turns < spin_turns) {
      pause();
    } else {
      idle_turns = 0;
      halt(stopping_ ? stop_deadline_ : no_deadline);
    }
    u64 const now = ticks();
    detail::count(busy ? counters_.busy_ticks : counters_.idle_ticks, now - since);
    since = now;
  }
  current_ = nullptr;
}

/// Runs function(args...) on another core's loop, or on this one's, in one of its next turns. Nobody waits for it.
///
/// @param function  has no captures; what it needs are args, which own what they use: see sendable
/// @error no_such   there is no core of that number, or it has no loop
/// @error full      as many messages as options.message_depth are under way to that core
/// @core  one with a run loop      @heap  none
template <typename Function, typename... Args>
  requires sendable_call<Function, Args...>
[[nodiscard]] result<void> try_post(core_id core, Function &&, Args &&...args) noexcept {
  unpreempted const section;
  run_loop &me = run_loop::here();
  run_loop *const to = me.group_.loop_of(core);
  if (to == nullptr) return std::unexpected(error::no_such);
  detail::message_ring &ring = me.group_.ring(me.core_, to->core_);
  if (!ring.try_push<std::remove_cvref_t<Function>>(std::forward<Args>(args)...)) return std::unexpected(error::full);
  to->pending_[me.core_ / 64].fetch_or(me.pending_bit_, std::memory_order_seq_cst);
  to->rouse();
  return {};
}

/// What each core's loop has done so far, by the core's number; one page for up to 64 cores.
/// @core one with a run loop
[[nodiscard]] inline std::span<loop_counters const> all_counters() noexcept { return run_loop::here().group().counters; }

}  // namespace exo
