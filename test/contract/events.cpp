// Handlers of events: they come while the core runs, leave the event bit set, and may make calls.
// limit: 400
// boot: --cores 2 --disk "$work/disk$(truncate -s 1M "$work/disk")" --args loop
// boot: --bochs --cores 2 --args loop
// boot: --native --cores 2 --disk "$work/disk$(truncate -s 1M "$work/disk")" --args loop
// boot: --native --tsan --cores 2 --disk "$work/disk$(truncate -s 1M "$work/disk")"
// boot: --sim --cores 2 --disk "$work/disk$(truncate -s 1M "$work/disk")"
#include "../boot/check.hpp"

using namespace check;

namespace {

constexpr u32 wake_vector = event_vector + event_wake, timer_vector = event_vector + event_timer,
              queue_vector = event_vector + event_queue;

constinit std::atomic<u32> calls = 0;
constinit std::atomic<u64> last_vector = 0;
constinit std::atomic<i64> idle_said = 0;

void note(trap_frame *state) {
  last_vector = state->vector;
  idle_said = core().core_idle(0);
  ++calls;
}

/// Runs without a call until handlers were called so often.
void spin_until(u32 count, where at = where::current()) {
  for (u64 const end = ticks() + 20 * info().tsc_hz; calls < count && ticks() < end;) exo::pause();
  same(calls, count, at);
}

/// Forgets the events that came before.
void begin() {
  core().core_idle(0);
  calls = 0;
}

void timer() {
  begin();
  calling(core().trap_set).gives(0, timer_vector, note);
  u64 const when = ticks() + info().tsc_hz / 500;
  core().timer_set(when);
  spin_until(1);
  that(ticks() >= when, "the handler was called too early");
  same(static_cast<i64>(last_vector), timer_vector);
  same(idle_said, -static_cast<i64>(error::busy));
  same(core().core_idle(0), 1 << event_timer);  // the bit is set as well

  core().timer_set(ticks() + info().tsc_hz / 500);  // and in a halt
  same(core().core_idle(~u64{0}), 1 << event_timer);
  same(calls, 2);
  core().timer_set(ticks() + info().tsc_hz / 500);
  core().timer_set(0);
  core().core_idle(ticks() + info().tsc_hz / 200);
  same(calls, 2);

  calling(core().trap_set).gives(0, timer_vector, nullptr);
  core().timer_set(ticks() + info().tsc_hz / 500);
  same(core().core_idle(~u64{0}), 1 << event_timer);
  same(calls, 2);  // taken back
}

/// A wake interrupts a halted core only; else the bit is all of it.
void wakes() {
  begin();
  calling(core().trap_set).gives(0, wake_vector, note);
  core().core_wake(0);
  same(core().core_idle(0), 1 << event_wake);
  same(calls, 0);
  for (u32 turn = 0; turn < 1000 && calls == 0; ++turn) {  // until this core is halted first
    job other([] {
      core().core_idle(ticks() + info().tsc_hz / 1000);
      core().core_wake(0);
    });
    auto running = run_on(core_id{1}, other);
    same(core().core_idle(~u64{0}), 1 << event_wake);
    running->wait();
  }
  that(calls != 0 && last_vector == wake_vector, "the handler was not called");
  calling(core().trap_set).gives(0, wake_vector, nullptr);
}

void disk_completion() {
  if (info().disks.empty()) return print("no disk\n");
  begin();
  disk_record const &disk = info().disks[0];
  u64 const bytes = u64{16} * disk.depth_bytes;
  same(core().disk_open(0, 1, 16, take_pages(bytes), bytes), 0);
  calling(core().trap_set).gives(0, queue_vector, note);
  disk_op op{};
  op.kind = disk_read;
  op.cookie = 5;
  op.address = address(take_pages(page_bytes));
  op.bytes = 512;
  u32 turns = 0;
  for (; calls == 0 && turns < 1000; ++turns) {
    same(core().disk_submit(0, 0, &op, 1), 1);
    bool const told = core().disk_arm(0, 0) == 0;  // or it was done already
    if (told) spin_until(1);
    completion done{};
    for (u64 const end = ticks() + 20 * info().tsc_hz; core().disk_reap(0, 0, &done, 1) == 0 && ticks() < end;) exo::pause();
    same(static_cast<i64>(done.cookie), 5);
  }
  same(static_cast<i64>(last_vector), queue_vector);
  calling(core().trap_set).gives(0, queue_vector, nullptr);
  same(core().disk_close(0), 0);
}

/// Handlers that print while the interrupted code prints: none waits for the other.
void calls_in_handlers() {
  begin();
  core().trap_set(timer_vector, [](trap_frame *) {
    core().console_write("", 0);
    ++calls;
    if (calls < 20) core().timer_set(ticks() + info().tsc_hz / 5000);
  });
  core().timer_set(ticks() + info().tsc_hz / 5000);
  for (u64 const end = ticks() + 20 * info().tsc_hz; calls < 20 && ticks() < end;) core().console_write("", 0);
  same(calls, 20);
  core().trap_set(timer_vector, nullptr);
}

/// A loop that only a handler can leave: it changes where the core goes on.
void leaves_a_loop() {
  begin();
  core().trap_set(timer_vector, [](trap_frame *state) { state->rip = state->rdx; });
  core().timer_set(ticks() + info().tsc_hz / 500);
  asm volatile(R"(
    leaq 2f(%%rip), %%rdx
1:  pause
    jmp 1b
2:)" : : : "rdx", "memory");
  core().trap_set(timer_vector, nullptr);
}

}  // namespace

int main(int count, char **) {
  timer();
  wakes();
  disk_completion();
  calls_in_handlers();
  if (count > 1) leaves_a_loop();
  return verdict();
}
