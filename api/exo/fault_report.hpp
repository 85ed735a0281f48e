// Faults with the names of functions, on every output, also on the screen of a physical machine. The core's own report
// follows as always.
//
//   int main() {
//     exo::report_faults();
#pragma once

#include <array>

#include "backtrace.hpp"
#include "console.hpp"
#include "core.hpp"
#include "smp.hpp"
#include "symbols.hpp"

namespace exo {

namespace detail {

inline constexpr u32 breakpoint_vector = 3;
// What a core raises by itself when a program goes wrong: #DE #BP #OF #BR #UD #NM #TS #NP #SS #GP #PF #MF #AC #XM.
inline constexpr std::array<u32, 14> fault_vectors{0, 3, 4, 5, 6, 7, 10, 11, 12, 13, 14, 16, 17, 19};

inline void report_fault(trap_frame *state) noexcept {
  core().console_screen(1);
  std::array<u64, 16> stack;
  std::size_t const depth = walk_stack(*state, stack);
  print("\n");
  for (std::size_t at = 0; at < depth; ++at) {
    // A return address may be the next function's; the call before it is not.
    symbol where = symbol::of(at == 0 ? stack[0] : stack[at] - 1);
    if (at != 0) ++where.offset, ++where.address;
    print("exo16: core {} {} {}\n", local().index, at == 0 ? "in" : "by", where);
  }
  core().trap_set(static_cast<u32>(state->vector), nullptr);  // the same instruction faults again, and the core reports
  if (state->vector == breakpoint_vector) --state->rip;
}

}  // namespace detail

/// Makes this core, and all that are idle, say the functions' names before a fault ends the machine.
/// @core any, outside handlers      @heap none
inline void report_faults() noexcept {
  run_on_all([] {
    for (u32 const vector : detail::fault_vectors) core().trap_set(vector, detail::report_fault);
  });
}

}  // namespace exo
