// One thread for each core: start, wake, idle and timer. Core 0 is the thread that runs main.
#pragma once

#include <poll.h>
#include <pthread.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>

#include <algorithm>
#include <ctime>

#include "machine.hpp"
#include "nic.hpp"
#include "traps.hpp"

namespace native {

inline i64 core_wake(u32 core) {
  if (core >= core_count) return -error::no_such;
  wake(cores[core]);
  return 0;
}

inline i64 core_start(u32 core, exo::entry_fn entry, void *argument) {
  if (core >= core_count) return -error::no_such;
  if (entry == nullptr) return -error::pointer;
  core_state &target = cores[core];
  if (std::atomic_ref(target.local.running).exchange(1) != 0) return -error::busy;
  target.argument = argument;
  target.entry = entry;  // last: the core looks at it whatever wakes it
  wake(target);
  return 0;
}


/// Ticks as a time for the kernel; an hour at most, after which the caller looks again.
inline std::timespec time_of(u64 ticks) noexcept {
  constexpr u64 second = 1'000'000'000;
  u64 const hz = exo::info().tsc_hz;
  u64 const seconds = std::min<u64>(ticks / hz, 3600);
  return {.tv_sec = static_cast<std::time_t>(seconds), .tv_nsec = static_cast<long>(ticks % hz * second / hz)};
}

inline constexpr u64 timer_bit = u64{1} << exo::event_timer;
inline constexpr u64 queue_bit = u64{1} << exo::event_queue;

/// Has the core interrupted when its timer is due. Only for one whose timer has a handler: it may run and look at no clock.
inline void set_alarm(core_state &core) noexcept {
  if (!core.has_alarm || (core.handled & timer_bit) == 0) return;
  u64 const now = exo::ticks();
  itimerspec when{};
  if (core.timer != never) when.it_value = time_of(core.timer > now ? core.timer - now : 0);
  if (core.timer != never && when.it_value.tv_sec == 0) when.it_value.tv_nsec |= 1;  // 0 would take it back
  timer_settime(core.alarm, 0, &when, nullptr);
}

inline i64 timer_set(u64 deadline) {
  core_state &core = this_core();
  core.timer = deadline == 0 ? never : deadline;
  set_alarm(core);
  return 0;
}

inline i64 trap_set(u32 vector, exo::trap_fn handler) {
  core_state &core = this_core();
  if (vector == exo::event_vector + exo::event_timer && handler != nullptr && !core.has_alarm) {
    sigevent how{};
    how.sigev_notify = SIGEV_THREAD_ID;
    how.sigev_signo = event_signal;
    how._sigev_un._tid = core.thread;
    if (timer_create(CLOCK_MONOTONIC, &how, &core.alarm) != 0) return -error::memory;
    core.has_alarm = true;
  }
  i64 const result = set_handler(vector, handler);
  set_alarm(core);
  return result;
}

/// Notes the event of each armed queue that has work, after a poll.
inline void mark_queues(core_state &core, std::span<pollfd const> waits, std::span<ring_state *const> rings) noexcept {
  for (std::size_t at = 0; at < waits.size(); ++at) {
    u32 mine = core.local.index;  // unless another core has armed it since
    if (waits[at].revents != 0 && rings[at]->armed_core.compare_exchange_strong(mine, nobody)) mark(core, exo::event_queue);
  }
}

/// What a signal for a core may be about, besides what others raised: its timer, and queues that it has armed.
inline void look(core_state &core) noexcept {
  if (core.timer != never && (core.handled & timer_bit) != 0) {
    if (exo::ticks() >= core.timer) {
      core.timer = never;
      mark(core, exo::event_timer);
    } else {
      set_alarm(core);  // the kernel's clock is not the TSC: it came too early
    }
  }
  if ((core.handled & queue_bit) == 0) return;
  std::array<pollfd, armed_max> waits;
  std::array<ring_state *, armed_max> rings;
  u32 const armed = collect_armed(core.local.index, waits.data(), rings.data());
  if (poll(waits.data(), armed, 0) > 0) mark_queues(core, {waits.data(), armed}, {rings.data(), armed});
}

/// Waits for the bell, an armed queue or the time; notes the event of a queue that has work.
inline void halt(core_state &core, u64 wait) noexcept {
  std::array<pollfd, 1 + armed_max> waits;
  std::array<ring_state *, armed_max> rings;
  waits[0] = {.fd = core.bell, .events = POLLIN, .revents = 0};
  u32 const armed = collect_armed(core.local.index, waits.data() + 1, rings.data());
  std::timespec const time = time_of(wait);
  if (ppoll(waits.data(), 1 + armed, &time, nullptr) <= 0) return;
  mark_queues(core, {waits.data() + 1, armed}, {rings.data(), armed});
  call_handlers();
  u64 rung = 0;
  if (waits[0].revents != 0) (void)!read(core.bell, &rung, sizeof(rung));
}

inline i64 core_idle(u64 deadline) {
  core_state &core = this_core();
  if (core.trapped) return -error::busy;
  for (bool looked = false;; looked = true) {
    core.halted = true;
    u64 const now = exo::ticks();
    if (now >= core.timer && (core.handled & timer_bit) == 0) {
      core.timer = never;
      std::atomic_ref(core.local.events).fetch_or(u64{1} << exo::event_timer);
    }
    u64 const events = std::atomic_ref(core.local.events).exchange(0);
    if (events != 0 || (looked && now >= deadline)) {
      core.halted = false;
      return static_cast<i64>(events);
    }
    u64 const until = (core.handled & timer_bit) == 0 ? std::min(deadline, core.timer) : deadline;
    halt(core, until > now ? until - now : 0);
  }
}

/// A core other than the first: waits for core_start, again and again.
inline void *core_thread(void *state) {
  core_state &core = *static_cast<core_state *>(state);
  exo::host_local = &core.local;
  core.thread = gettid();
  enter_trap_stack();
  prctl(PR_SET_TIMERSLACK, 1);
  for (;;) {
    core_idle(never);
    exo::entry_fn const entry = core.entry.exchange(nullptr);
    if (entry == nullptr) continue;
    entry(core.argument);
    std::atomic_ref(core.local.running).store(0);
  }
}

inline constexpr u64 stack_bytes = 8 << 20;

/// Where a thread's stack lies.
inline void describe_stack(pthread_t thread, exo::core_record &record) noexcept {
  pthread_attr_t attributes;
  void *first = nullptr;
  std::size_t bytes = 0;
  if (pthread_getattr_np(thread, &attributes) != 0) return;
  pthread_attr_getstack(&attributes, &first, &bytes);
  pthread_attr_destroy(&attributes);
  record.stack_bytes = bytes;
  record.stack_end = reinterpret_cast<u64>(first) + bytes;
}

/// Makes the cores; the calling thread is core 0, and runs.
inline exo::core_record *make_cores(u32 count) {
  core_count = count;
  cores = new core_state[count];
  for (u32 index = 0; index < count; ++index) {
    cores[index].local.self = reinterpret_cast<u64>(&cores[index].local);
    cores[index].local.index = index;
    cores[index].bell = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (cores[index].bell < 0) refuse("there are not enough files for %u cores; see ulimit -n.", count);
  }
  cores[0].local.running = 1;
  exo::host_local = &cores[0].local;
  cores[0].thread = gettid();
  look_around = look;
  prctl(PR_SET_TIMERSLACK, 1);
  return new exo::core_record[count];
}

/// Starts the threads of all cores but the first; the table has to be there.
inline void start_cores(exo::core_record *records) {
  pthread_attr_t attributes;
  pthread_attr_init(&attributes);
  pthread_attr_setstacksize(&attributes, stack_bytes);
  for (u32 index = 0; index < core_count; ++index) {
    pthread_t thread = pthread_self();
    if (index != 0 && pthread_create(&thread, &attributes, core_thread, &cores[index]) != 0) {
      refuse("core %u cannot be started: %s. Give --cores a smaller number.", index, std::strerror(errno));
    }
    records[index] = {};
    records[index].apic_id = index;
    records[index].started = 1;
    records[index].local = cores[index].local.self;
    describe_stack(thread, records[index]);
  }
  pthread_attr_destroy(&attributes);
}

}  // namespace native
