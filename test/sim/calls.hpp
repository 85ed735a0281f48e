// The call table of the simulated machines: cores, time and console, and a step of the world around every call.
#pragma once

#include <native/pci.hpp>

#include "disks.hpp"

namespace sim {

using native::irq_route;
using native::mem_give;
using native::mem_map;
using native::mem_protect;
using native::mem_query;
using native::pci_read;
using native::pci_write;
inline i64 trap_set(u32 vector, exo::trap_fn handler) { return native::set_handler(vector, handler); }

inline bool echoes = false;  // the console is standard output, too

inline void sys_exit(u32 status) { here().end(static_cast<int>(status)); }
inline void sys_reboot() { here().reboot(); }

inline i64 console_write(void const *text, u64 bytes) {
  if (text == nullptr) return -error::pointer;
  if (bytes > native::virt_end || reinterpret_cast<u64>(text) + bytes < reinterpret_cast<u64>(text)) return -error::range;
  here().output.append(static_cast<char const *>(text), bytes);
  if (echoes) std::fwrite(text, 1, bytes, stdout);
  return static_cast<i64>(bytes);
}

/// Nobody types.
inline i64 console_read(void *text, u64) { return text == nullptr ? -error::pointer : 0; }

/// There is no screen.
inline i64 console_screen(u32 on) { return on > 1 ? -error::range : 0; }

inline i64 core_start(u32 index, exo::entry_fn entry, void *argument) {
  computer &machine = here();
  if (index >= machine.how().cores) return -error::no_such;
  if (entry == nullptr) return -error::pointer;
  core &target = machine.core_at(index);
  if (std::exchange(target.state->local.running, 1) != 0) return -error::busy;
  target.state->entry = entry;
  target.state->argument = argument;
  machine.begin(target, [](void *started) {
    core &mine = *static_cast<core *>(started);
    mine.state->local.events = 0;
    mine.state->entry.load()(mine.state->argument);
    now.step(world::call_ns);
    mine.state->local.running = 0;
    for (;;) now.stop();
  });
  return 0;
}

inline i64 core_wake(u32 index) {
  if (index >= here().how().cores) return -error::no_such;
  here().wake_event(index);
  return 0;
}

inline i64 core_idle(u64 deadline) {
  core &mine = *now.running();
  if (mine.state->trapped) return -error::busy;
  for (;;) {
    if (u64 const events = std::exchange(mine.state->local.events, 0)) return static_cast<i64>(events);
    if (now.now() >= deadline) return 0;
    mine.halted = true;
    if (deadline != never) {
      now.at(deadline, [&mine, machine = mine.machine, life = mine.machine->life(), turn = mine.turns] {
        if (life != machine->life() || turn != mine.turns || !mine.halted) return;
        mine.halted = false;
        now.resume(mine);
      });
    }
    now.stop();
    native::call_handlers();
  }
}

inline i64 timer_set(u64 deadline) {
  core &mine = *now.running();
  u64 const number = ++mine.timers;
  if (deadline == 0 || deadline == never) return 0;
  now.at(std::max(deadline, now.now()), [&mine, machine = mine.machine, life = mine.machine->life(), number] {
    if (life == machine->life() && number == mine.timers) machine->raise(mine.index, exo::event_timer);
  });
  return 0;
}

constexpr char const *call_names[] = {
#define EXO_NOTE(text)
#define EXO_CALL(slot, name, ret, args, doc) #name,
#include "../../api/abi/calls.inc"
#undef EXO_CALL
};

/// Time passes, other cores come first, handlers of events are called; then the call is made, all at once.
inline void before_call() {
  now.step(world::call_ns);
  native::call_handlers();
}

template <auto Function, u32 slot>
struct entry;
template <u32 slot, typename... Arguments, i64 (*function)(Arguments...)>
struct entry<function, slot> {
  static i64 call(Arguments... arguments) {
    before_call();
    i64 const value = function(arguments...);
    core const &mine = *now.running();
    now.note(mine.number, slot, static_cast<u64>(value));
    now.say("%s core %u %s %ld", mine.machine->how().name, mine.index, call_names[slot], value);
    return value;
  }
};
template <u32 slot, typename... Arguments, void (*function)(Arguments...)>
struct entry<function, slot> {
  static void call(Arguments... arguments) {
    before_call();
    function(arguments...);
  }
};

// A call of calls.inc that has no function here does not compile.
inline constexpr exo::calls table = {
#define EXO_CALL(slot, name, ret, args, doc) .name = entry<sim::name, slot>::call,
#include "../../api/abi/calls.inc"
#undef EXO_CALL
#undef EXO_NOTE
};

}  // namespace sim
