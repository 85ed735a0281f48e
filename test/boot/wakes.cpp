// No wake is lost: 100,000 rounds between two cores, a wake at any moment of going to sleep, and timers against wakes.
// boot: --cores 2
// boot: --cores 2 -- -smp 2,sockets=2
#include "check.hpp"

using namespace check;

namespace {

constinit std::atomic<u64> ball = 0;
constinit std::atomic<u64> lost = 0;

/// Waits until the ball has a value; counts it when only the deadline ends the sleep though the ball is there.
void wait_for(u64 value) {
  while (ball != value) {
    i64 const events = core().core_idle(ticks() + 10 * info().tsc_hz);
    if (events == 0 && ball == value) ++lost;
    if ((events & ~i64{1 << event_wake}) != 0) fail(where::current(), "an event that nobody raised", events);
  }
}

/// Runs a job on core 1.
template <typename Function>
running_job start(job<Function> &work) {
  auto running = run_on(core_id{1}, work);
  if (!running) panic("core 1 does not start");
  return std::move(*running);
}

void ping_pong() {
  constexpr u64 rounds = 100'000;
  job other([] {
    for (u64 round = 0; round < rounds; ++round) {
      wait_for(2 * round + 1);
      ball = 2 * round + 2;
      core().core_wake(0);
    }
  });
  auto const running = start(other);
  for (u64 round = 0; round < rounds; ++round) {
    ball = 2 * round + 1;
    core().core_wake(1);
    wait_for(2 * round + 2);
  }
  same(static_cast<i64>(lost), 0);
}

/// The wake comes at another distance from the other core's idle each time.
void wake_at_any_moment() {
  constexpr u64 rounds = 5'000;
  static constinit std::atomic<u64> going = 0, back = 0, late = 0;
  job other([] {
    for (u64 round = 1; round <= rounds; ++round) {
      going = round;
      if (core().core_idle(ticks() + 10 * info().tsc_hz) == 0) ++late;
      back = round;
    }
  });
  auto const running = start(other);
  for (u64 round = 1; round <= rounds; ++round) {
    while (going < round) {
    }
    for (u64 turn = 0; turn < round % 200; ++turn) asm volatile("" : : : "memory");
    while (back < round) core().core_wake(1);
  }
  same(static_cast<i64>(late), 0);
}

/// Timer and wake at the same time: both events come. A wake may be seen twice, when its interrupt is late.
void timer_and_wake() {
  static constinit std::atomic<u64> turn = 0;
  constexpr u64 rounds = 500;
  u64 const slice = info().tsc_hz / 10'000;
  job other([] {
    for (u64 round = 1; round <= rounds; ++round) {
      while (turn < round) {
      }
      core().core_wake(0);
    }
  });
  auto const running = start(other);
  core().core_idle(0);
  for (u64 round = 1; round <= rounds; ++round) {
    core().timer_set(ticks() + slice / 10);
    turn = round;
    u64 seen = 0;
    while (seen != (1 << event_wake | 1 << event_timer)) {
      i64 const events = core().core_idle(ticks() + 10 * info().tsc_hz);
      that(events != 0, "an event is lost");
      that((seen & static_cast<u64>(events) & 1 << event_timer) == 0, "a timer event came twice");
      seen |= static_cast<u64>(events);
    }
  }
}

/// Deadlines against the HPET, a clock of its own: no sleep is too short, and both clocks agree how long
/// it was, but for those between whose clock reads a busy host put a pause.
void deadlines_against_another_clock() {
  auto const *hpet = reinterpret_cast<u32 volatile const *>(0xFED00000);
  u64 const period = hpet[1];  // femtoseconds
  constexpr u32 rounds = 40;
  u32 good = 0;
  for (u32 round = 0; round < rounds; ++round) {
    u64 const wait = info().tsc_hz / 200;
    u32 const before = hpet[0xF0 / 4];
    u64 const first = ticks();
    if (round % 2 == 0) {
      same(core().core_idle(first + wait), 0);
    } else {
      core().timer_set(first + wait);
      same(core().core_idle(~u64{0}), 1 << event_timer);
    }
    u64 const slept = ticks() - first;
    u64 const hpet_ticks = u64{hpet[0xF0 / 4] - before};
    u64 const expected = hpet_ticks * period / 1000 * (info().tsc_hz / 1'000'000) / 1'000'000;
    that(slept >= wait, "back before the deadline");
    u64 const off = expected > slept ? expected - slept : slept - expected;
    if (off * 20 < slept) ++good;
  }
  that(good * 4 > rounds, "sleeps are not as long as another clock says");
}

}  // namespace

int main() {
  ping_pong();
  wake_at_any_moment();
  timer_and_wake();
#ifndef EXO_HOST  // a process has no HPET
  deadlines_against_another_clock();
#endif
  return verdict();
}
