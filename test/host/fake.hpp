// A machine for host tests: the whole call table on threads of this process. Errors are those of errors.inc.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstring>
#include <exo/core.hpp>
#include <mutex>
#include <utility>

#include "fake_devices.hpp"
#include "fake_machine.hpp"

namespace fake {

inline void sys_exit(u32 status) { throw exited{status & 0xFF}; }
inline void sys_reboot() { throw exited{0, true}; }

inline i64 console_write(void const *text, u64 bytes) {
  if (text == nullptr) return -error::pointer;
  machine &m = *machine::now;
  std::lock_guard const guard(m.console_mutex);
  m.output.append(static_cast<char const *>(text), bytes);
  m.writes.push_back(bytes);
  return static_cast<i64>(bytes);
}

inline i64 console_read(void *text, u64 bytes) {
  if (text == nullptr) return -error::pointer;
  machine &m = *machine::now;
  std::lock_guard const guard(m.console_mutex);
  u64 const taken = std::min<u64>(bytes, m.input.size());
  std::memcpy(text, m.input.data(), taken);
  m.input.erase(0, taken);
  return static_cast<i64>(taken);
}

inline i64 console_screen(u32 on) {
  if (on > 1) return -error::range;
  machine::now->console_has_screen = on != 0;
  return 0;
}

inline i64 core_start(u32 core, entry_fn entry, void *argument) {
  machine &m = *machine::now;
  if (!m.is_running_core(core)) return -error::no_such;
  if (entry == nullptr) return -error::pointer;
  core_state &target = m.core(core);
  {
    std::lock_guard const guard(target.mutex);
    if (target.local.running != 0) return -error::busy;
    target.local.running = 1;
    target.entry = entry;
    target.argument = argument;
  }
  target.changed.notify_all();
  return 0;
}

inline i64 core_wake(u32 core) {
  if (!machine::now->is_running_core(core)) return -error::no_such;
  machine::now->raise(core, exo::event_wake);
  return 0;
}

inline i64 core_idle(u64 deadline) {
  core_state &core = machine::now->this_core();
  std::unique_lock lock(core.mutex);
  for (;;) {
    u64 const time = exo::ticks();
    if (core.timer != 0 && time >= core.timer) {
      core.timer = 0;
      core.local.events |= u64{1} << exo::event_timer;
    }
    if (core.local.events != 0 || time >= deadline) return static_cast<i64>(std::exchange(core.local.events, 0));
    u64 const next = core.timer != 0 ? std::min(core.timer, deadline) : deadline;
    double const seconds = static_cast<double>(next - time) / static_cast<double>(exo::info().tsc_hz);
    core.changed.wait_for(lock, std::chrono::duration<double>(std::min(seconds, 1.0)));
  }
}

inline i64 timer_set(u64 deadline) {
  core_state &core = machine::now->this_core();
  std::lock_guard const guard(core.mutex);
  core.timer = deadline;
  return 0;
}

inline bool is_page_range(u64 address, u64 bytes) {
  return bytes != 0 && (address | bytes) % exo::page_bytes == 0 && address + bytes > address;
}

inline i64 check_access(u32 access) {
  if (access > 31) return -error::range;
  return (access & exo::access_write) != 0 && (access & exo::access_execute) != 0 ? -error::denied : 0;
}

inline i64 mem_map(u64 virt, u64 phys, u64 bytes, u32 access) {
  if (!is_page_range(virt, bytes) || phys % exo::page_bytes != 0) return -error::range;
  if (i64 const denied = check_access(access)) return denied;
  machine &m = *machine::now;
  std::lock_guard const guard(m.memory_mutex);
  for (u64 at = 0; at < bytes; at += exo::page_bytes) {
    m.mapped[virt + at] = {.phys = phys + at, .page = exo::page_bytes, .access = access, .reserved = 0};
  }
  return 0;
}

inline i64 mem_protect(u64 virt, u64 bytes, u32 access) {
  if (!is_page_range(virt, bytes)) return -error::range;
  if (i64 const denied = check_access(access)) return denied;
  machine &m = *machine::now;
  std::lock_guard const guard(m.memory_mutex);
  for (u64 at = 0; at < bytes; at += exo::page_bytes) {
    if (!m.owns(virt + at) && !m.mapped.contains(virt + at)) return -error::range;
  }
  for (u64 at = 0; at < bytes; at += exo::page_bytes) {
    auto const [page, added] = m.mapped.try_emplace(virt + at, mapping{virt + at, exo::page_bytes, access, 0});
    if (!added) page->second.access = access;
  }
  return 0;
}

inline i64 mem_query(u64 virt, mapping *out) {
  if (out == nullptr) return -error::pointer;
  machine &m = *machine::now;
  std::lock_guard const guard(m.memory_mutex);
  if (auto const found = m.mapped.find(virt & ~(exo::page_bytes - 1)); found != m.mapped.end()) {
    *out = found->second;
    out->phys += virt % exo::page_bytes;
    return 0;
  }
  if (!m.owns(virt)) return -error::range;
  *out = {.phys = virt, .page = exo::page_bytes, .access = exo::access_read | exo::access_write, .reserved = 0};
  return 0;
}

inline i64 mem_give(void *pages, u64 bytes) {
  if (pages == nullptr) return -error::pointer;
  if (!is_page_range(reinterpret_cast<u64>(pages), bytes)) return -error::range;
  machine::now->given_bytes += bytes;
  return 0;
}

inline i64 trap_set(u32 vector, trap_fn handler) {
  if (vector >= exo::trap_count) return -error::no_such;
  machine::now->this_core().traps[vector] = handler;
  return 0;
}

// There is no NIC; fake_nic.hpp is one.
inline i64 nic_open(u32, u32, u32, void *, u64) { return -error::no_such; }
inline i64 nic_close(u32) { return -error::no_such; }
inline i64 nic_tx(u32, u32, frame const *, u32) { return -error::no_such; }
inline i64 nic_tx_reap(u32, u32, completion *, u32) { return -error::no_such; }
inline i64 nic_rx_post(u32, u32, frame const *, u32) { return -error::no_such; }
inline i64 nic_rx_reap(u32, u32, frame *, u32) { return -error::no_such; }
inline i64 nic_arm(u32, u32, u32) { return -error::no_such; }
inline i64 nic_link(u32) { return -error::no_such; }

inline void device_set::raise(u32 core, u64 event) { machine::now->raise(core, event); }
inline bool device_set::is_running_core(u32 core) { return machine::now->is_running_core(core); }
inline device_set &device_set::now() { return machine::now->devices; }

// A call of calls.inc that has no function here does not compile.
inline exo::calls const machine::table = {
#define EXO_NOTE(text)
#define EXO_CALL(slot, name, ret, args, doc) .name = fake::name,
#include "../../api/abi/calls.inc"
#undef EXO_CALL
#undef EXO_NOTE
};

}  // namespace fake
