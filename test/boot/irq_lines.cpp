// Interrupts of real devices: by MSI, which cores may share, and over lines that two functions share; on the core that they are
// routed to, none lost.
// boot: --cores 2 -- -device edu,addr=6 -device e1000,romfile=,mitigation=off,addr=4 -device e1000,romfile=,mitigation=off,addr=8
// boot: --cores 2 -- -machine pc -device edu,addr=6 -device e1000,romfile=,mitigation=off,addr=4 -device e1000,romfile=,mitigation=off,addr=8
// boot: --cores 2 --pvh -- -device edu,addr=6 -device e1000,romfile=,mitigation=off,addr=4 -device e1000,romfile=,mitigation=off,addr=8
// boot: --cores 2 --uefi -- -device edu,addr=6 -device e1000,romfile=,mitigation=off,addr=4 -device e1000,romfile=,mitigation=off,addr=8
#include "check.hpp"

using namespace check;

namespace {

/// A device that interrupts when it is asked to.
struct raiser {
  u32 function = 0;
  u64 registers = 0;
  u32 raise_at = 0, clear_at = 0, enable_at = 0;
  bool reading_clears = false;

  [[nodiscard]] u32 volatile &at(u32 offset) const { return *reinterpret_cast<u32 volatile *>(registers + offset); }
  void enable() const {
    if (enable_at != 0) at(enable_at) = 1;
  }
  void raise() const { at(raise_at) = 1; }
  void clear() const {
    if (reading_clears) {
      static_cast<void>(static_cast<u32>(at(clear_at)));
    } else {
      at(clear_at) = 1;
    }
  }
};

raiser find(u16 vendor, u16 device, u32 nth) {
  for (pci_record const &each : info().pci) {
    if (each.vendor != vendor || each.device != device || nth-- != 0) continue;
    if (vendor == 0x1234) return {each.function, each.bar[0], 0x60, 0x64, 0, false};  // QEMU's edu
    return {each.function, each.bar[0], 0xC8, 0xC0, 0xD0, true};                      // e1000: ICS, ICR, IMS
  }
  panic("a device of this test is missing");
}

constinit raiser edu, lines[2];

u64 patience() { return ticks() + 20 * info().tsc_hz; }
u64 moment() { return ticks() + info().tsc_hz / 500; }

i64 route(raiser const &from, u32 to, u32 event) { return calling(core().irq_route)(from.function, 0, to, event); }

/// Waits for an event of this core.
bool comes(u32 event, u64 deadline) {
  while (ticks() < deadline) {
    if ((core().core_idle(deadline) >> event & 1) != 0) return true;
  }
  return false;
}

void quiet(u32 event, where at = where::current()) { that(!comes(event, moment()), "an interrupt that nobody raised", at); }
void woken(u32 event, where at = where::current()) { that(comes(event, patience()), "no interrupt came", at); }

void by_message() {
  u32 const event = event_program;
  for (u32 round = 0; round < 100; ++round) {
    same(route(edu, 0, event), 0);
    edu.raise();
    woken(event);
    edu.clear();
    edu.raise();  // still routed
    woken(event);
    edu.clear();
  }
  quiet(event);
}

/// A message goes to all cores that have asked for it since the last one; after that to the last of them alone.
void message_to_both() {
  static constinit std::atomic<u32> turn = 0;
  constexpr u32 event = event_program + 8, rounds = 40;
  auto const until = [](u32 value) {
    for (u64 const end = patience(); turn < value && ticks() < end;) exo::pause();
    that(turn >= value, "the other core does not answer");
  };
  job other([&] {
    for (u32 round = 0; round < rounds && failures == 0; ++round) {
      until(4 * round);
      same(core().irq_route(edu.function, 0, 1, event), 0);
      turn = 4 * round + 1;
      woken(event);
      turn = 4 * round + 2;
      until(4 * round + 3);
      if (round % 10 == 0) quiet(event);
      turn = 4 * round + 4;
    }
  });
  auto running = run_on(core_id{1}, other);
  that(running.has_value(), "core 1 does not start");
  for (u32 round = 0; round < rounds && failures == 0; ++round) {
    until(4 * round + 1);
    same(route(edu, 0, event), 0);
    edu.raise();
    woken(event);
    until(4 * round + 2);
    edu.clear();
    edu.raise();
    woken(event);
    edu.clear();
    turn = 4 * round + 3;
    until(4 * round + 4);
  }
}

constinit std::atomic<u32> taken = 0;

void over_a_line() {
  u32 const event = event_program + 1;
  raiser const &it = lines[0];
  for (u32 round = 0; round < 100; ++round) {
    same(route(it, 0, event), 1);
    it.raise();
    woken(event);
    quiet(event);  // masked, though the line is held
    same(route(it, 0, event), 1);
    woken(event);  // it is still held
    it.clear();
    same(route(it, 0, event), 1);
    same(route(it, 0, event), 1);  // twice is as once
    if (round % 10 == 0) quiet(event);
    it.raise();
    it.clear();
    comes(event, ticks());
  }
}

/// However long the device holds its line, one irq_route brings one interrupt.
void no_storm() {
  u32 const event = event_program + 2;
  raiser const &it = lines[0];
  same(core().trap_set(event_vector + event, [](trap_frame *) { ++taken; }), 0);
  for (u32 round = 1; round <= 50; ++round) {
    it.raise();
    same(route(it, 0, event), 1);
    woken(event);
    quiet(event);
    same(taken, round);
    it.clear();
  }
  same(core().trap_set(event_vector + event, nullptr), 0);
}

/// The next irq_route moves the line to another core and event.
void moves() {
  static constinit std::atomic<u32> turn = 0;
  constexpr u32 rounds = 200;
  auto const until = [](u32 value) {
    for (u64 const end = patience(); turn != value && ticks() < end;) core().core_idle(moment());
  };
  job other([&] {
    for (u32 round = 0; round < rounds; ++round) {
      u32 const event = event_program + round % 5;
      until(4 * round);
      same(core().irq_route(lines[1].function, 0, 1, event), 1);
      turn = 4 * round + 1;
      woken(event);
      lines[1].clear();
      turn = 4 * round + 3;
      core().core_wake(0);
    }
  });
  auto running = run_on(core_id{1}, other);
  that(running.has_value(), "core 1 does not start");
  for (u32 round = 0; round < rounds; ++round) {
    raiser const &it = lines[1];
    until(4 * round + 1);
    it.raise();
    until(4 * round + 3);
    it.raise();
    same(route(it, 0, event_program + 7), 1);
    woken(event_program + 7);
    it.clear();
    turn = 4 * round + 4;
    core().core_wake(1);
  }
}

/// Two cores wait for two functions on one line: each interrupt reaches the core that waits for that function. They work as
/// a driver does: clear the cause, unmask the line, look for work, halt.
void shared_by_cores() {
  static constinit std::atomic<u32> asked[2] = {};
  constexpr u32 rounds = 2'000;
  auto const waits = [](u32 me) {
    for (u32 round = 1; round <= rounds; ++round) {
      for (u64 const end = patience();;) {
        lines[me].clear();
        same(core().irq_route(lines[me].function, 0, me, event_program + me), 1);
        if (asked[me] >= round) break;
        if (core().core_idle(end) == 0) return fail(where::current(), "a wake is lost in round", round);
      }
      ++asked[1 - me];
      lines[1 - me].raise();
    }
  };
  job other([&] { waits(1); });
  auto running = run_on(core_id{1}, other);
  that(running.has_value(), "core 1 does not start");
  asked[0] = asked[1] = 1;
  lines[0].raise();
  lines[1].raise();
  waits(0);
}

void refusals() {
  auto const route = calling(core().irq_route);
  route.refuses(error::range, lines[0].function, 1, 0, event_program);
  route.refuses(error::range, edu.function, 1, 0, event_program);
  route.refuses(error::no_such, lines[0].function, 0, 2, event_program);
  route.refuses(error::unsupported, ~u32{0}, 200, 0, event_program);  // no IOAPIC has it
  u32 const line = static_cast<u32>(core().pci_read(lines[0].function, 0x3C, 1));
  for (u32 const none : {0u, 16u, 255u}) {
    core().pci_write(lines[0].function, 0x3C, 1, none);
    route.refuses(error::unsupported, lines[0].function, 0, 0, event_program);
  }
  core().pci_write(lines[0].function, 0x3C, 1, line);
  for (pci_record const &each : info().pci) {
    if (each.class_revision >> 16 == 0x0600) route.refuses(error::unsupported, each.function, 0, 0, event_program);
  }
}

/// A line that is no function's: the same one, by its number.
void by_number() {
  u32 const line = static_cast<u32>(core().pci_read(lines[0].function, 0x3C, 1));
  lines[0].raise();
  same(calling(core().irq_route)(~u32{0}, line, 0, event_program), 1);
  woken(event_program);
  lines[0].clear();
}

}  // namespace

int main() {
  edu = find(0x1234, 0x11E8, 0);
  for (u32 each : {0u, 1u}) lines[each] = find(0x8086, 0x100E, each);
  refusals();
  same(route(edu, 0, event_program), 0);
  for (raiser const &each : lines) {
    same(route(each, 0, event_program), 1);
    each.enable();
    each.clear();
  }
  print("lines {} and {}\n", core().pci_read(lines[0].function, 0x3C, 1), core().pci_read(lines[1].function, 0x3C, 1));
  by_message();
  message_to_both();
  over_a_line();
  no_storm();
  by_number();
  moves();
  shared_by_cores();
  return verdict();
}
