// What a call through the table costs beside the routine: every instruction of one is single-stepped, and those between
// the routine's first and its `ret` are left out. The sum must be what the TSC counted for the same call.
#include <array>

#include "count.hpp"

namespace {

using exo::u64;

constexpr u64 trap_flag = 1 << 8;
constexpr exo::u32 vector_debug = 1;
constexpr exo::u32 vector_breakpoint = 3;

std::array<u64, 256> executed;  // addresses of instructions
std::size_t steps;

void begin_or_end(exo::trap_frame *state) noexcept {
  state->rflags ^= trap_flag;
  if ((state->rflags & trap_flag) != 0) executed[0] = state->rip;
}

/// Comes after each instruction, with the address of the next.
void step(exo::trap_frame *state) noexcept {
  if (++steps < executed.size()) executed[steps] = state->rip;
}

/// A routine that ends at its first test: there is no such core.
[[gnu::always_inline]] inline void call() noexcept { (void)exo::core().core_wake(~exo::u32{0}); }

bool in_program(u64 address) noexcept { return address >= exo::info().program_first && address < exo::info().program_end; }

}  // namespace

int main() {
  if (exo::core().trap_set(vector_breakpoint, begin_or_end) < 0 || exo::core().trap_set(vector_debug, step) < 0) {
    exo::print("call: the traps cannot be set\n");
    return 1;
  }
  asm volatile("int3" ::: "memory");
  call();
  asm volatile("int3" ::: "memory");

  u64 of_caller = 0;
  for (u64 const address : std::span(executed).first(std::min(steps, executed.size()))) of_caller += in_program(address);
  u64 const counted = bench::instructions_of([] { call(); });
  if (of_caller == 0 || counted != steps) {
    exo::print("call: {} instructions by the TSC, {} by single steps\n", counted, steps);
    return 1;
  }
  exo::print("figure call-null {} instructions\n", of_caller + 1);  // and the `ret`
}
