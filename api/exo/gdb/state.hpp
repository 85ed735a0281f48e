// What gdb sees and changes of a stopped core: registers in gdb's order, memory, debug registers.
//
// Sources: gdb/features/i386/64bit-*.xml (numbers of the registers); SDM Vol. 1 §10.5 (FXSAVE), Vol. 3B §17.2 (debug
// registers)
#pragma once

#include <array>
#include <cpuid.h>
#include <cstddef>
#include <cstring>
#include <span>

#include "../backtrace.hpp"
#include "../core.hpp"

namespace exo::gdb {

/// A stopped core's registers. They are loaded from here when it goes on.
struct core_state {
  trap_frame *frame = nullptr;
  std::byte *vectors = nullptr;  // as FXSAVE or XSAVE writes them
};

inline constexpr u32 register_count = 57;

/// Bytes of a register in gdb's packets.
constexpr std::size_t register_bytes(u32 number) noexcept {
  if (number < 17) return 8;                  // rax to r15, rip
  if (number >= 24 && number < 32) return 10;  // st0 to st7
  if (number >= 40 && number < 56) return 16;  // xmm0 to xmm15
  return 4;                                   // rflags and segments, the state of the x87, mxcsr
}
inline constexpr std::size_t register_bytes_most = 16;

/// A place in memory, and how many bytes of the register it has; the others read as 0.
struct register_place {
  std::byte *first;
  std::size_t bytes;
};

/// Where a register is kept; nowhere if it cannot differ from what every program has.
inline register_place place_of(core_state const &core, u32 number) noexcept {
  constexpr u64 trap_frame::*general[] = {
      &trap_frame::rax, &trap_frame::rbx, &trap_frame::rcx, &trap_frame::rdx, &trap_frame::rsi, &trap_frame::rdi,
      &trap_frame::rbp, &trap_frame::rsp, &trap_frame::r8,  &trap_frame::r9,  &trap_frame::r10, &trap_frame::r11,
      &trap_frame::r12, &trap_frame::r13, &trap_frame::r14, &trap_frame::r15, &trap_frame::rip, &trap_frame::rflags,
      &trap_frame::cs,  &trap_frame::ss};
  if (number < std::size(general)) {
    return {reinterpret_cast<std::byte *>(&(core.frame->*general[number])), register_bytes(number)};
  }
  if (number < 24) return {nullptr, 0};  // ds, es, fs, gs
  if (number < 32) return {core.vectors + 32 + 16 * (number - 24), 10};
  if (number >= 40 && number < 56) return {core.vectors + 160 + 16 * (number - 40), 16};
  // fctrl, fstat, ftag, fiseg, fioff, foseg, fooff, fop; ftag is the one byte that FXSAVE makes of it
  constexpr struct {
    u8 offset, bytes;
  } x87[] = {{0, 2}, {2, 2}, {4, 1}, {12, 2}, {8, 4}, {20, 2}, {16, 4}, {6, 2}};
  if (number < 40) return {core.vectors + x87[number - 32].offset, x87[number - 32].bytes};
  return {core.vectors + 24, 4};  // mxcsr
}

/// Copies a register out; returns its bytes.
inline std::span<u8 const> get_register(core_state const &core, u32 number,
                                        std::span<u8, register_bytes_most> out) noexcept {
  register_place const place = place_of(core, number);
  std::memset(out.data(), 0, out.size());
  if (place.bytes != 0) std::memcpy(out.data(), place.first, place.bytes);
  return out.first(register_bytes(number));
}

/// Changes a register; `value` has register_bytes() of it.
inline void set_register(core_state const &core, u32 number, u8 const *value) noexcept {
  constexpr std::size_t xsave_components = 512;
  constexpr u8 x87_and_sse = 3;
  register_place const place = place_of(core, number);
  if (place.bytes == 0) return;
  std::memcpy(place.first, value, place.bytes);
  u32 eax = 1, ebx, ecx = 0, edx;
  asm volatile("cpuid" : "+a"(eax), "=b"(ebx), "+c"(ecx), "=d"(edx));
  // XRSTOR takes a component from memory only if the header names it.
  if (number >= 24 && (ecx & bit_OSXSAVE) != 0) core.vectors[xsave_components] |= std::byte{x87_and_sse};
}

/// How many of a number of bytes from an address on are mapped to something.
inline u64 mapped_bytes(u64 address, u64 bytes) noexcept {
  u64 done = 0;
  while (done < bytes && is_readable(address + done, 1)) {
    done += std::min(bytes - done, page_bytes - (address + done) % page_bytes);
  }
  return done;
}

/// Writes memory, text and other read-only pages too: CR0.WP is off meanwhile.
inline void write_memory(u64 address, std::span<u8 const> bytes) noexcept {
  constexpr u64 write_protect = 1 << 16;
  u64 cr0;
  asm volatile("movq %%cr0, %0" : "=r"(cr0));
  asm volatile("movq %0, %%cr0" : : "r"(cr0 & ~write_protect) : "memory");
  for (std::size_t at = 0; at < bytes.size(); ++at) *reinterpret_cast<u8 volatile *>(address + at) = bytes[at];
  asm volatile("movq %0, %%cr0" : : "r"(cr0) : "memory");
}

/// The four breakpoints and watchpoints that the processor keeps, alike on all cores.
class hardware_breakpoints {
 public:
  enum class kind : u8 { execute = 0, write = 1, access = 3 };

  /// False if the length or alignment is none that the processor takes, or all four are in use.
  [[nodiscard]] bool add(kind what, u64 address, u64 bytes) noexcept {
    if (what == kind::execute) bytes = 1;
    if (bytes != 1 && bytes != 2 && bytes != 4 && bytes != 8) return false;
    if (address % bytes != 0) return false;
    for (one &each : all_) {
      if (each.bytes != 0) continue;
      each = {.address = address, .bytes = bytes, .what = what};
      return true;
    }
    return false;
  }

  void remove(kind what, u64 address) noexcept {
    for (one &each : all_) {
      if (each.bytes != 0 && each.what == what && each.address == address) each = {};
    }
  }

  void clear() noexcept { all_ = {}; }

  /// Turns them off on this core.
  static void unload() noexcept { asm volatile("movq %0, %%dr7" : : "r"(u64{0})); }

  /// Makes them this core's.
  void load() const noexcept {
    u64 control = 0;
    for (u32 at = 0; at < all_.size(); ++at) {
      if (all_[at].bytes == 0) continue;
      u64 const length = all_[at].bytes == 8 ? 2 : all_[at].bytes - 1;
      control |= u64{2} << 2 * at | (static_cast<u64>(all_[at].what) | length << 2) << (16 + 4 * at);
    }
    unload();
    asm volatile("movq %0, %%dr0" : : "r"(all_[0].address));
    asm volatile("movq %0, %%dr1" : : "r"(all_[1].address));
    asm volatile("movq %0, %%dr2" : : "r"(all_[2].address));
    asm volatile("movq %0, %%dr3" : : "r"(all_[3].address));
    asm volatile("movq %0, %%dr7" : : "r"(control));
  }

  struct one {
    u64 address = 0;
    u64 bytes = 0;  // 0: free
    kind what = kind::execute;
  };

  /// Which of them this core's debug trap is about, if it is; its status is cleared.
  [[nodiscard]] one const *hit() const noexcept {
    u64 status;
    asm volatile("movq %%dr6, %0" : "=r"(status));
    asm volatile("movq %0, %%dr6" : : "r"(u64{0xFFFF0FF0}));
    for (u32 at = 0; at < all_.size(); ++at) {
      if ((status >> at & 1) != 0 && all_[at].bytes != 0) return &all_[at];
    }
    return nullptr;
  }

 private:
  std::array<one, 4> all_{};
};

}  // namespace exo::gdb
