// core_start, core_wake, core_idle and timer_set: good arguments, every bad one, and what is left afterwards.
// limit: 400
// boot: --cores 3
// boot: --bochs --cores 3
// boot: --native --cores 3
// boot: --sim --cores 3
#include "../boot/check.hpp"

using namespace check;

namespace {

constinit std::atomic<u32> started_on = ~0u;
constinit std::atomic<void *> got = nullptr;
constinit std::atomic<bool> hold = false;

void note(void *argument) {
  got = argument;
  started_on = local().index;
  while (hold) exo::pause();
}

/// Starts `note` on a core that may still be on its way to idle, and waits until it has run.
void run_note(u32 core_number, void *argument) {
  started_on = ~0u;
  while (calling(core().core_start)(core_number, note, argument) == -static_cast<i64>(error::busy)) exo::pause();
  while (started_on == ~0u) exo::pause();
  same(started_on, core_number);
  that(got == argument, "another argument came");
}

void start() {
  run_note(1, &got);
  run_note(2, nullptr);
  for (u32 const none : {3u, 4u, 255u, 0x80000000u, ~0u}) {
    calling(core().core_start).refuses(error::no_such, none, note, nullptr);
    calling(core().core_wake).refuses(error::no_such, none);
  }
  calling(core().core_start).refuses(error::pointer, 1, nullptr, nullptr);
  calling(core().core_start).refuses(error::busy, 0, note, nullptr);

  hold = true;
  run_note(1, &hold);
  started_on = ~0u;
  calling(core().core_start).refuses(error::busy, 1, note, nullptr);
  calling(core().core_start).refuses(error::pointer, 1, nullptr, nullptr);
  hold = false;
  run_note(1, &got);  // what was refused is not made up for
}

void idle() {
  interrupts_on = true;  // core_idle turns them on
  core().core_idle(0);
  calling(core().core_idle).gives(0, 0);
  calling(core().core_idle).gives(0, 1);                  // long past
  calling(core().core_idle).gives(0, ticks() + 100'000);  // nothing comes
  calling(core().core_wake).gives(0, 0);
  calling(core().core_idle).gives(1 << event_wake, ~u64{0});
  calling(core().core_idle).gives(0, 0);  // taken once
  calling(core().core_wake).gives(0, 0);
  calling(core().core_wake).gives(0, 0);
  calling(core().core_idle).gives(1 << event_wake, 0);  // two are one
  calling(core().core_wake).gives(0, 1);
}

void timer() {
  u64 const wait = info().tsc_hz / 1000;
  u64 before = ticks();
  calling(core().timer_set).gives(0, before + wait);
  calling(core().core_idle).gives(1 << event_timer, ~u64{0});
  that(ticks() >= before + wait, "the timer event came too early");

  for (u64 const past : {u64{1}, u64{2}, ticks()}) {
    calling(core().timer_set).gives(0, past);
    calling(core().core_idle).gives(1 << event_timer, ~u64{0});
  }
  for (u64 const never : {u64{0}, ~u64{0}, u64{1} << 63, ticks() + info().tsc_hz * 3600}) {
    u64 first = 0;
    do {  // until it is taken back before its time: the host may stop this core for long
      core().core_idle(0);
      first = ticks() + 20 * wait;
      calling(core().timer_set).gives(0, first);
      calling(core().timer_set).gives(0, never);
    } while (ticks() >= first);
    calling(core().core_idle).gives(0, first + 3 * wait);
  }
  calling(core().timer_set).gives(0, 0);
  calling(core().core_idle).gives(0, ticks() + wait);

  before = ticks();  // core_idle's own deadline leaves timer_set's alone
  calling(core().timer_set).gives(0, before + 400 * wait);
  calling(core().core_idle).gives(0, before + wait);
  calling(core().core_idle).gives(1 << event_timer, ~u64{0});
  that(ticks() >= before + 400 * wait, "the timer event came too early behind another deadline");
}

}  // namespace

int main() {
  same(core_count(), 3);
  with_and_without_interrupts(start);
  idle();
  timer();
  return verdict();
}
