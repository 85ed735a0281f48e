// The machine that a process is: its cores and their event bits, and what all calls share.
//
// Made once, before any constructor of the program runs, and never destroyed: cores may run until the process ends.
#pragma once

#include <exo/core.hpp>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstdarg>
#include <cstdio>
#include <cstring>
#include <ctime>
#include <mutex>

namespace native {

using exo::error;
using exo::i64;
using exo::u32;
using exo::u64;
using exo::u8;

/// The result of a call that fails.
constexpr i64 operator-(error why) noexcept { return -static_cast<i64>(why); }

/// What the process exits with when the machine cannot be made: wrong use, as of the run script.
inline constexpr int wrong_use = 2;

/// Ends the process with a sentence that says what is wrong and what to do.
[[noreturn, gnu::format(printf, 1, 2)]] inline void refuse(char const *format, ...) noexcept {
  std::va_list rest;
  va_start(rest, format);
  std::fputs("exo16: ", stderr);
  std::vfprintf(stderr, format, rest);
  std::fputc('\n', stderr);
  va_end(rest);
  _exit(wrong_use);
}

inline constexpr u64 never = ~u64{0};
inline constexpr u32 nobody = ~u32{0};  // no core

struct alignas(64) core_state {
  exo::core_local local{};
  std::atomic<bool> halted = false;
  int bell = -1;  // an eventfd that ends a halt
  std::atomic<exo::entry_fn> entry = nullptr;
  std::atomic<void *> argument = nullptr;
  std::atomic<u64> handled = 0;  // events that have a handler of the program
  std::atomic<u64> upcalls = 0;  // events whose handler is to be called
  int thread = 0;                // as Linux numbers it, for signals
  timer_t alarm{};               // interrupts it when its timer is due, if that has a handler
  bool has_alarm = false;

  // Only its own thread uses these.
  u64 timer = never;
  bool trapped = false;  // in a handler
  std::atomic<u32> locks = 0;  // that it holds: no handler of an event is called then
  std::array<exo::trap_fn, exo::trap_count> handlers{};
};

inline constinit core_state *cores = nullptr;
inline constinit u32 core_count = 0;

inline core_state &this_core() noexcept { return cores[exo::local().index]; }

/// Has the handlers of events that came called on a core: by a signal, so that they get the registers.
inline constexpr int event_signal = SIGUSR1;
inline void interrupt(core_state const &core) noexcept { syscall(SYS_tgkill, getpid(), core.thread, event_signal); }

/// The same on this core, if there are any and it is not in a handler.
inline void call_handlers() noexcept {
  core_state const &core = this_core();
  if (core.upcalls != 0 && !core.trapped && core.locks == 0) std::raise(event_signal);
}

/// A lock that no handler finds held by its own core. For those that are no cores it is an ordinary one.
class guard {
 public:
  explicit guard(std::mutex &mutex) noexcept : mutex_(mutex), core_(exo::host_local == nullptr ? nullptr : &this_core()) {
    if (core_ != nullptr) ++core_->locks;
    mutex_.lock();
  }
  guard(guard const &) = delete;
  guard &operator=(guard const &) = delete;
  void lock() { mutex_.lock(); }      // for a condition variable that waits meanwhile
  void unlock() { mutex_.unlock(); }
  ~guard() {
    mutex_.unlock();
    if (core_ != nullptr && --core_->locks == 0) call_handlers();
  }

 private:
  std::mutex &mutex_;
  core_state *core_;
};

/// Sets an event bit of a core, and wakes it if it is halted. A handler is called with the next call_handlers().
///
/// The other side is core_idle: it says halted before it looks at the bits; this sets the bit before it looks at
/// halted. So one of the two sees the other.
inline void mark(core_state &core, u64 event) noexcept {
  u64 const bit = u64{1} << event;
  std::atomic_ref(core.local.events).fetch_or(bit);
  if ((core.handled & bit) != 0) core.upcalls |= bit;
  if (!core.halted) return;
  u64 const one = 1;
  while (write(core.bell, &one, sizeof(one)) < 0 && errno == EINTR) {
  }
}

/// The same from wherever: the core is interrupted, if it has a handler.
inline void raise(core_state &core, u64 event) noexcept {
  mark(core, event);
  if ((core.upcalls & u64{1} << event) != 0) interrupt(core);
}

/// core_wake: an interrupt only if the core is halted.
inline void wake(core_state &core) noexcept {
  std::atomic_ref(core.local.events).fetch_or(u64{1} << exo::event_wake);
  if (core.halted) raise(core, exo::event_wake);
}

}  // namespace native
