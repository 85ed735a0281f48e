// A GDB stub over the first serial port: in an emulator, and on a physical machine with a cable.
//
//   int main() {
//     exo::gdb_stub const debugger;                                 // waits for gdb
//     exo::gdb_stub const debugger(exo::gdb_wait::no);              // gdb may come at any time
//
//   ./run_x86-64.sh PROGRAM --serial SOCKET, then: gdb build/….elf -ex 'target remote SOCKET'
//
// Every core is a thread. All stop together: at breakpoints, watchpoints (four, by the processor), steps, faults and
// Ctrl-C; what the program prints meanwhile comes up in gdb. The stub stays until the machine ends and uses the fault
// vectors, two events, the serial port's interrupt, and its input, so console_read has none.
//
// It cannot stop a core that has interrupts off, nor stop in trap handlers: a breakpoint there ends the machine with the
// core's report. Without gdb a fault does that too, as always. doc/inside.md tells more.
#pragma once

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstring>
#include <mutex>
#include <string_view>

#include "console.hpp"
#include "core.hpp"
#include "gdb/line.hpp"
#include "gdb/state.hpp"
#include "smp.hpp"
#include "time.hpp"

namespace exo {

/// Whether a gdb_stub waits for gdb before the program goes on.
enum class gdb_wait : bool { no, yes };

/// What the machine ends with when gdb's `kill` ended it.
inline constexpr u32 gdb_kill_status = 122;

namespace gdb {

inline constexpr u32 stop_event = event_count - 2;  // from another core
inline constexpr u32 line_event = event_count - 3;  // from gdb
inline constexpr u32 stop_vector = event_vector + stop_event;
inline constexpr u32 debug_vector = 1, breakpoint_vector = 3;
inline constexpr u64 trap_flag = 1 << 8, resume_flag = 1 << 16;
inline constexpr u32 signal_interrupt = 2, signal_illegal = 4, signal_trap = 5, signal_abort = 6, signal_float = 8,
                     signal_memory = 11;

constexpr u32 signal_of(u64 vector) noexcept {
  switch (vector) {
    case 1:
    case 3:
      return signal_trap;
    case 0:
    case 4:
    case 7:
    case 16:
    case 19:
      return signal_float;
    case 6:
      return signal_illegal;
    default:
      return signal_memory;
  }
}

enum class core_mode : u32 { running, stopped, resumed };

struct stub_core : core_state {
  std::atomic<core_mode> mode{core_mode::running};
  u32 signal = 0;    // why it stopped, to be told; 0: because another one did
  hardware_breakpoints::one watched;  // the watchpoint that was hit, if it has bytes
  bool held = false; // stays while others go on
};

class server {
 public:
  /// Takes traps and serial port on all idle cores. False without a serial port, or when it was done before.
  bool begin() noexcept;

  /// A stop that gdb is told of or waits for.
  void stop(trap_frame &frame, std::byte *vectors, u32 signal, hardware_breakpoints::one watched = {}) noexcept;

  void on_trap(trap_frame &frame, std::byte *vectors) noexcept;
  void on_line(trap_frame &frame, std::byte *vectors) noexcept;
  void on_stop(trap_frame &frame, std::byte *vectors) noexcept {
    if (in_session_.load(std::memory_order_acquire)) stop(frame, vectors, 0);
  }

  void print(std::string_view text) noexcept;
  void end(u32 status) noexcept;

  [[nodiscard]] bool is_attached() const noexcept { return attached_.load(std::memory_order_acquire); }

  std::atomic<bool> waits = false;  // the next breakpoint is the stub's own
  u32 own_signal = signal_trap;

 private:
  static constexpr std::chrono::milliseconds stop_wait{500};  // how long other cores may take to stop
  static constexpr u32 core_most = 256;
  static constexpr std::size_t print_most = 200;

  static u32 index_of(stub_core const &core, std::array<stub_core, core_most> const &all) noexcept {
    return static_cast<u32>(&core - all.data());
  }
  [[nodiscard]] static u32 cores() noexcept { return std::min<u32>(info().cores.size(), core_most); }
  [[nodiscard]] static bool exists(u64 thread) noexcept {
    return thread >= 1 && thread <= cores() && info().cores[thread - 1].started != 0;
  }
  [[nodiscard]] bool is_stopped(u32 core) const noexcept {
    return all_[core].mode.load(std::memory_order_acquire) == core_mode::stopped;
  }

  void session(stub_core &self, bool begun) noexcept;
  bool handle(std::string_view packet, stub_core *&told) noexcept;
  void stop_others(u32 self) noexcept;
  void report_stop(stub_core const &core, text_sink &out) noexcept;
  bool resume(packet_reader actions, stub_core *&told) noexcept;
  void release_all() noexcept;
  void read_memory(packet_reader in, text_sink &out) noexcept;
  void write_memory_packet(packet_reader in, text_sink &out) noexcept;
  void change_breakpoint(bool add, packet_reader in, text_sink &out) noexcept;
  void query(packet_reader in, text_sink &out) noexcept;
  static void interrupt(u32 core) noexcept;

  std::array<stub_core, core_most> all_{};
  std::atomic<bool> in_session_ = false;
  std::atomic<bool> attached_ = false;  // gdb is there
  bool begun_ = false;                  // of a packet, the $ was read
  u32 chosen_ = 0;                      // the core that gdb's packets are about
  hardware_breakpoints hardware_;
  packet_line<machine_ports> line_;
  spin_lock line_lock_;
  std::array<char, packet_most> out_{};
};

inline constinit server the_server;

/// Sends an interrupt to a core, as the core does itself. SPEC  SDM Vol. 3A §11.6.1, §11.12.9
inline void server::interrupt(u32 core) noexcept {
  constexpr u32 base_register = 0x1B, x2apic_command = 0x830, command_low = 0x300, command_high = 0x310, pending = 1 << 12;
  constexpr u32 polls = 1 << 16;
  u32 const id = info().cores[core].apic_id;
  if ((info().features & machine_x2apic) != 0) {
    asm volatile("mfence; wrmsr" : : "c"(x2apic_command), "a"(stop_vector), "d"(id) : "memory");
    return;
  }
  u32 low, high;
  asm volatile("rdmsr" : "=a"(low), "=d"(high) : "c"(base_register));
  u64 const base = (u64{high} << 32 | low) & ~u64{0xFFF};
  auto const at = [&](u32 offset) { return reinterpret_cast<u32 volatile *>(base + offset); };
  for (u32 poll = 0; poll < polls && (*at(command_low) & pending) != 0; ++poll) pause();
  *at(command_high) = id << 24;
  *at(command_low) = stop_vector;
}

inline void server::stop_others(u32 self) noexcept {
  for (u32 core = 0; core < cores(); ++core) {
    if (core != self && info().cores[core].started != 0 && !is_stopped(core)) interrupt(core);
  }
  u64 const deadline = deadline_in(stop_wait);
  for (u32 core = 0; core < cores(); ++core) {
    if (core == self || info().cores[core].started == 0) continue;
    while (!is_stopped(core) && ticks() < deadline) pause();
  }
}

inline void server::stop(trap_frame &frame, std::byte *vectors, u32 signal,
                         hardware_breakpoints::one watched) noexcept {
  hardware_breakpoints::unload();  // or reading what is watched would be a fault in a handler
  stub_core &self = all_[local().index];
  self.frame = &frame;
  self.vectors = vectors;
  self.signal = signal;
  self.watched = watched;
  self.held = false;
  frame.rflags &= ~trap_flag;
  self.mode.store(core_mode::stopped, std::memory_order_release);
  while (self.mode.load(std::memory_order_acquire) != core_mode::resumed) {
    if (self.signal != 0) {
      if (!in_session_.exchange(true, std::memory_order_acquire)) {
        if (self.signal != 0 && is_stopped(local().index)) session(self, std::exchange(begun_, false));
        in_session_.store(false, std::memory_order_release);
      }
    } else if (!in_session_.load(std::memory_order_acquire) && !self.held) {
      break;  // the stop ended before this core came to it
    }
    pause();
  }
  hardware_.load();
  self.mode.store(core_mode::running, std::memory_order_release);
}

inline void server::on_trap(trap_frame &frame, std::byte *vectors) noexcept {
  if (frame.vector == breakpoint_vector && waits.exchange(false)) {
    if (own_signal == signal_trap && is_attached()) return;  // gdb came by itself in the meantime
    return stop(frame, vectors, own_signal);
  }
  if (!is_attached()) {
    core().trap_set(static_cast<u32>(frame.vector), nullptr);  // the same again, and the core reports
    if (frame.vector == breakpoint_vector) --frame.rip;
    return;
  }
  hardware_breakpoints::one watched;
  if (frame.vector == debug_vector) {
    if (auto const *const hit = hardware_.hit()) {
      if (hit->what == hardware_breakpoints::kind::execute) {
        frame.rflags |= resume_flag;  // or it would stop there again
      } else {
        watched = *hit;
      }
    }
  }
  stop(frame, vectors, signal_of(frame.vector), watched);
}

/// A byte came while the program ran: Ctrl-C, or the first packet of a gdb that comes now.
inline void server::on_line(trap_frame &frame, std::byte *vectors) noexcept {
  bool stops = false;
  (void)route_line_interrupt(line_event);  // before the bytes are read: those that come behind raise it again
  if (!line_lock_.try_lock()) return;      // who has it reads them, or they raise it again
  while (!in_session_.load(std::memory_order_acquire)) {
    auto const byte = line_.try_get();
    if (!byte) break;
    if (*byte != line_.interrupt && *byte != '$') continue;
    begun_ = *byte == '$';
    stops = true;
    break;
  }
  line_lock_.unlock();
  if (stops) stop(frame, vectors, signal_interrupt);
}

inline void server::session(stub_core &self, bool begun) noexcept {
  stop_others(index_of(self, all_));
  std::lock_guard const guard(line_lock_);
  chosen_ = index_of(self, all_);
  stub_core *told = &self;
  if (is_attached() && !begun) {
    text_sink out(out_);
    report_stop(self, out);
    line_.send(out.text());
  }
  for (;; begun = false) {
    std::string_view const packet = line_.receive(begun);
    attached_.store(true, std::memory_order_release);
    if (handle(packet, told)) return;
  }
}

inline void server::report_stop(stub_core const &core, text_sink &out) noexcept {
  format_to(out, "T{:02x}", core.signal != 0 ? core.signal : u32{0});
  if (core.watched.bytes != 0) {
    bool const write = core.watched.what == hardware_breakpoints::kind::write;
    format_to(out, "{}:{:x};", write ? "watch" : "awatch", core.watched.address);
  }
  format_to(out, "thread:{:x};", index_of(core, all_) + 1);
}

/// Lets all cores go, gdb or not.
inline void server::release_all() noexcept {
  hardware_.clear();
  for (stub_core &each : all_) {
    each.signal = 0;
    each.held = false;
    auto stopped = core_mode::stopped;
    each.mode.compare_exchange_strong(stopped, core_mode::resumed, std::memory_order_acq_rel);
  }
}

/// Does what `vCont;ACTION[:THREAD]…` says: c continues, s steps; the first action that names a thread or none counts.
///
/// @return  false if a core has stopped for a reason of its own that gdb has not been told: then it is told, and none goes
inline bool server::resume(packet_reader actions, stub_core *&told) noexcept {
  std::string_view const all_actions = actions.rest();
  for (u32 core = 0; core < cores(); ++core) {
    stub_core &each = all_[core];
    if (&each == told || !is_stopped(core) || each.signal == 0) continue;
    if (each.frame->vector == debug_vector || each.frame->vector >= event_vector) {
      told = &each;
      chosen_ = core;
      text_sink out(out_);
      report_stop(each, out);
      line_.send(out.text());
      return false;
    }
    // Faults and breakpoints come again, if they are still there.
    if (each.frame->vector == breakpoint_vector) --each.frame->rip;
  }
  for (u32 core = 0; core < cores(); ++core) {
    stub_core &each = all_[core];
    if (!is_stopped(core)) continue;
    char action = 0;
    for (packet_reader in(all_actions); action == 0 && in.take(";");) {
      char const letter = in.rest().empty() ? '\0' : in.rest().front();
      (void)in.take(std::string_view(&letter, 1));
      if (letter == 'C' || letter == 'S') (void)in.number();  // a signal, of which there are none here
      bool meant = true;
      if (in.take(":") && !in.take("-1")) meant = in.number() == core + 1;
      if (meant) action = static_cast<char>(letter | 0x20);
    }
    each.signal = 0;
    each.held = action != 'c' && action != 's';
    if (each.held) continue;
    if (action == 's') each.frame->rflags |= trap_flag;
    each.mode.store(core_mode::resumed, std::memory_order_release);
  }
  return true;
}

inline void server::read_memory(packet_reader in, text_sink &out) noexcept {
  auto const address = in.number();
  bool const comma = in.take(",");
  auto const bytes = in.number();
  if (!address || !comma || !bytes) return out.put("E01");
  u64 const wanted = std::min<u64>(*bytes, (packet_most - 8) / 2);
  u64 const there = mapped_bytes(*address, wanted);
  if (there == 0 && wanted != 0) return out.put("E14");
  for (u64 at = 0; at < there; ++at) put_hex(out, {{*reinterpret_cast<u8 volatile *>(*address + at)}});
}

inline void server::write_memory_packet(packet_reader in, text_sink &out) noexcept {
  auto const address = in.number();
  bool const comma = in.take(",");
  auto const bytes = in.number();
  std::array<u8, packet_most / 2> value;
  if (!address || !comma || !bytes || !in.take(":") || *bytes > value.size()) return out.put("E01");
  auto const part = std::span(value).first(*bytes);
  if (!in.bytes(part)) return out.put("E01");
  if (mapped_bytes(*address, *bytes) != *bytes) return out.put("E14");
  write_memory(*address, part);
  out.put("OK");
}

/// Z1, z1 execute, Z2 write, Z4 access. gdb writes breakpoints of the other kind, Z0, into memory itself.
inline void server::change_breakpoint(bool add, packet_reader in, text_sink &out) noexcept {
  using kind = hardware_breakpoints::kind;
  kind what = kind::execute;
  if (in.take("2")) {
    what = kind::write;
  } else if (in.take("4")) {
    what = kind::access;
  } else if (!in.take("1")) {
    return;
  }
  bool const comma = in.take(",");
  auto const address = in.number();
  if (!comma || !address || !in.take(",")) return out.put("E01");
  auto const bytes = in.number();
  if (!bytes) return out.put("E01");
  if (!add) {
    hardware_.remove(what, *address);
  } else if (!hardware_.add(what, *address, *bytes)) {
    return out.put("E22");
  }
  out.put("OK");
}

inline void server::query(packet_reader in, text_sink &out) noexcept {
  if (in.take("Supported")) {
    format_to(out, "PacketSize={:x};QStartNoAckMode+;vContSupported+;qXfer:features:read+", packet_most);
  } else if (in.take("Xfer:features:read:target.xml:")) {
    // Without it gdb takes this for a process of its own host's system, with registers that only exist there.
    constexpr std::string_view description =
        "<?xml version=\"1.0\"?><!DOCTYPE target SYSTEM \"gdb-target.dtd\"><target version=\"1.0\">"
        "<architecture>i386:x86-64</architecture><osabi>none</osabi></target>";
    auto const offset = in.number();
    auto const bytes = in.take(",") ? in.number() : std::nullopt;
    if (!offset || !bytes || *offset > description.size()) return out.put("E01");
    std::string_view const part = description.substr(*offset, *bytes);
    out.put(*offset + part.size() == description.size() ? 'l' : 'm');
    out.put(part);
  } else if (in.take("fThreadInfo")) {
    char before = 'm';
    for (u32 core = 0; core < cores(); ++core) {
      if (!exists(core + 1)) continue;
      format_to(out, "{}{:x}", before, core + 1);
      before = ',';
    }
  } else if (in.take("sThreadInfo")) {
    out.put('l');
  } else if (in.take("ThreadExtraInfo,")) {
    auto const thread = in.number();
    if (!thread || !exists(*thread)) return out.put("E01");
    u32 const core = static_cast<u32>(*thread - 1);
    bool const runs = reinterpret_cast<core_local const *>(info().cores[core].local)->running != 0;
    std::array<char, 64> text;
    char const *const state = !is_stopped(core) ? ", does not stop: interrupts are off" : runs ? "" : ", idle";
    std::string_view const words = format_to(std::span<char>(text), "core {}{}", core, state);
    put_hex(out, {reinterpret_cast<u8 const *>(words.data()), words.size()});
  } else if (in.take("Attached")) {
    out.put('1');
  } else if (in.take("C")) {
    format_to(out, "QC{:x}", chosen_ + 1);
  }
}

/// Answers a packet. An empty answer says that the packet is not known here.
/// @param told  the core whose stop gdb knows of
/// @return      true if the program goes on
inline bool server::handle(std::string_view packet, stub_core *&told) noexcept {
  text_sink out(out_);
  packet_reader in(packet);
  stub_core const &chosen = all_[chosen_];
  bool const there = is_stopped(chosen_);
  std::array<u8, register_bytes_most> value;
  if (in.take("?")) {
    report_stop(*told, out);
  } else if (in.take("g")) {
    for (u32 number = 0; number < register_count; ++number) {
      if (there) {
        put_hex(out, get_register(chosen, number, value));
      } else {
        out.fill('x', 2 * register_bytes(number));
      }
    }
  } else if (in.take("G")) {
    bool good = there;
    for (u32 number = 0; good && number < register_count; ++number) {
      good = in.bytes(std::span(value).first(register_bytes(number)));
      if (good) set_register(chosen, number, value.data());
    }
    out.put(good ? "OK" : "E01");
  } else if (in.take("p")) {
    auto const number = in.number();
    if (!number || *number >= register_count) {
      out.put("E01");
    } else if (there) {
      put_hex(out, get_register(chosen, static_cast<u32>(*number), value));
    } else {
      out.fill('x', 2 * register_bytes(static_cast<u32>(*number)));
    }
  } else if (in.take("P")) {
    auto const number = in.number();
    bool const good = there && number && *number < register_count && in.take("=") &&
                      in.bytes(std::span(value).first(register_bytes(static_cast<u32>(*number))));
    if (good) set_register(chosen, static_cast<u32>(*number), value.data());
    out.put(good ? "OK" : "E01");
  } else if (in.take("m")) {
    read_memory(in, out);
  } else if (in.take("M")) {
    write_memory_packet(in, out);
  } else if (in.take("Z")) {
    change_breakpoint(true, in, out);
  } else if (in.take("z")) {
    change_breakpoint(false, in, out);
  } else if (in.take("Hg")) {
    auto const thread = in.number();
    if (thread && *thread != 0 && !exists(*thread)) {
      out.put("E01");
    } else {
      if (thread && *thread != 0) chosen_ = static_cast<u32>(*thread - 1);
      out.put("OK");
    }
  } else if (in.take("Hc")) {
    out.put("OK");
  } else if (in.take("T")) {
    auto const thread = in.number();
    out.put(thread && exists(*thread) ? "OK" : "E01");
  } else if (in.take("vCont?")) {
    out.put("vCont;c;C;s;S");
  } else if (in.take("vCont")) {
    return resume(in, told);
  } else if (in.take("QStartNoAckMode")) {
    line_.send("OK");
    line_.acknowledge(false);
    return false;
  } else if (in.take("q")) {
    query(in, out);
  } else if (in.take("D")) {
    line_.send("OK");
    line_.acknowledge(true);
    attached_.store(false, std::memory_order_release);
    release_all();
    return true;
  } else if (in.take("vKill") || in.take("k")) {
    line_.send("OK");
    core().sys_exit(gdb_kill_status);
  }
  line_.send(out.text());
  return false;
}

/// What the program prints while it runs: gdb shows it. Interrupts are off meanwhile, so that the core does not stop inside
/// a packet.
inline void server::print(std::string_view text) noexcept {
  if (!is_attached()) {
    core().console_write(text.data(), text.size());
    return;
  }
  while (!text.empty()) {
    u64 flags;
    asm volatile("pushfq; popq %0; cli" : "=r"(flags) : : "memory");
    if (line_lock_.try_lock()) {
      if (!in_session_.load(std::memory_order_acquire)) {
        std::string_view const part = text.substr(0, print_most);
        std::array<char, 2 * print_most + 1> buffer;
        text_sink out(buffer);
        out.put('O');
        put_hex(out, {reinterpret_cast<u8 const *>(part.data()), part.size()});
        line_.send(out.text(), false);
        text.remove_prefix(part.size());
      }
      line_lock_.unlock();
    }
    asm volatile("pushq %0; popfq" : : "r"(flags) : "memory", "cc");
    pause();
  }
}

/// A program that panics stops once more; one that ends says so.
inline void server::end(u32 status) noexcept {
  if (!is_attached()) return;
  if (status == panic_status) {
    own_signal = signal_abort;
    waits = true;
    asm volatile("int3");
    if (!is_attached()) return;
  }
  std::array<char, 8> buffer;
  std::lock_guard const guard(line_lock_);
  line_.send(format_to(std::span<char>(buffer), "W{:02x}", status & 0xFF), false);
}

// What the core calls. The state of the vector registers lies above the return address (doc/abi.md, Traps).
template <void (server::*Handler)(trap_frame &, std::byte *) noexcept>
[[gnu::noinline]] void enter(trap_frame *state) noexcept {
  (the_server.*Handler)(*state, static_cast<std::byte *>(__builtin_frame_address(0)) + 2 * sizeof(u64));
}

inline void print_to_gdb(std::string_view text) noexcept { the_server.print(text); }
inline void tell_gdb_the_end(u32 status) noexcept { the_server.end(status); }
inline constexpr detail::console_watcher watcher{.print = print_to_gdb, .end = tell_gdb_the_end};

inline bool server::begin() noexcept {
  if (detail::watcher != nullptr || (info().features & machine_serial) == 0) return false;
  run_on_all([] {
    for (u32 vector = 0; vector < event_vector; ++vector) core().trap_set(vector, enter<&server::on_trap>);
    core().trap_set(stop_vector, enter<&server::on_stop>);
    core().trap_set(event_vector + line_event, enter<&server::on_line>);
  });
  (void)route_line_interrupt(line_event);  // without an IOAPIC there is no Ctrl-C
  enable_line_interrupt();
  detail::watcher = &watcher;
  return true;
}

}  // namespace gdb

/// See the head of this file. Made on core 0 while the other cores are idle; a second one does nothing.
class gdb_stub {
 public:
  explicit gdb_stub([[maybe_unused]] gdb_wait how = gdb_wait::yes) noexcept {
#ifndef EXO_HOST  // a process has the host's gdb
    if (!gdb::the_server.begin()) {
      print("exo16: no gdb stub: there is no serial port, or one is there already\n");
    } else if (how == gdb_wait::yes && !gdb::the_server.is_attached()) {
      print("exo16: waiting for gdb on the serial port\n");
      gdb::the_server.waits = true;
      asm volatile("int3");
    }
#endif
  }
  gdb_stub(gdb_stub const &) = delete;
  gdb_stub &operator=(gdb_stub const &) = delete;
};

}  // namespace exo
