// Who called: the stack of interrupted code, by the frame pointers that programs are compiled with.
#pragma once

#include <cstddef>
#include <cstring>
#include <span>

#include "core.hpp"

namespace exo {

/// Where code can lie: the core's text and the program.
[[nodiscard]] inline bool is_core_text(u64 address) noexcept { return address >> 20 == 1 && address < table_address; }
[[nodiscard]] inline bool is_code(u64 address) noexcept {
  return is_core_text(address) || (address >= info().program_first && address < info().program_end);
}

/// Whether a few bytes can be read.
[[nodiscard]] inline bool is_readable(u64 address, u64 bytes) noexcept {
  if (bytes == 0 || address > ~u64{0} - bytes) return false;
  for (u64 const each : {address, address + bytes - 1}) {
    mapping found{};
    if (core().mem_query(each, &found) != 0 || (found.access & access_read) == 0) return false;
  }
  return true;
}

namespace detail {

/// Whether some words can be read, wherever the stack lies; an address that lies in this core's is not asked about.
inline bool are_stack_words(u64 address, u64 count) noexcept {
  u64 const bytes = count * sizeof(u64);
  if (address % sizeof(u64) != 0) return false;
  core_record const &record = info().cores[local().index];
  return address - (record.stack_end - record.stack_bytes) <= record.stack_bytes - bytes || is_readable(address, bytes);
}

/// GCC gives functions that call nothing no frame: their return address is on top of the stack, and so is that of a
/// function at its first instruction. A word there is one if a call of the function stands before it; else 0.
inline u64 frameless_return(u64 rip, u64 rsp) noexcept {
  constexpr u64 function_most = 4096, longest_call = 7;
  if (!are_stack_words(rsp, 1)) return 0;
  u64 const word = *reinterpret_cast<u64 const *>(rsp);
  if (!is_code(word) || !is_readable(word - longest_call, longest_call)) return 0;
  auto const *const behind = reinterpret_cast<u8 const *>(word);
  if (behind[-5] == 0xE8) {  // call rel32
    i32 distance;
    std::memcpy(&distance, behind - sizeof(distance), sizeof(distance));
    u64 const target = word + static_cast<u64>(static_cast<i64>(distance));
    if (target <= rip && rip - target < function_most) return word;
  }
  bool const through_table = behind[-2] == 0xFF || behind[-3] == 0xFF || behind[-6] == 0xFF || behind[-7] == 0xFF;
  return through_table && is_core_text(rip) && !is_core_text(word) ? word : 0;
}

}  // namespace detail

/// Collects where interrupted code was, and then return addresses, innermost first, as far as frame pointers lead: to the
/// beginning of the stack, a function without one, or a word that is no frame. Never faults, whatever the registers hold.
///
/// @return  how many of `out` were filled
/// @core    the one that was interrupted, in a trap handler
inline std::size_t walk_stack(trap_frame const &state, std::span<u64> out) noexcept {
  std::size_t count = 0;
  auto const put = [&](u64 address) {
    if (count < out.size()) out[count++] = address;
  };
  put(state.rip);
  if (u64 const caller = detail::frameless_return(state.rip, state.rsp); caller != 0) put(caller);
  for (u64 rbp = state.rbp; count < out.size() && detail::are_stack_words(rbp, 2);) {
    u64 const *const frame = reinterpret_cast<u64 const *>(rbp);
    if (!is_code(frame[1])) break;
    put(frame[1]);
    if (frame[0] <= rbp) break;  // stacks grow down: only upwards
    rbp = frame[0];
  }
  return count;
}

}  // namespace exo
