// Guest instructions of a piece of work. Under -icount shift=0 the TSC counts instructions, so a difference is exact and
// the same in every run.
#pragma once

#include <exo/exo.hpp>

namespace bench {

/// TSC ticks from before work() to after it.
template <typename Work>
[[gnu::always_inline]] inline exo::u64 ticks_of(Work &&work) noexcept {
  exo::u64 const begin = exo::ticks();
  asm volatile("" ::: "memory");
  work();
  asm volatile("" ::: "memory");
  return exo::ticks() - begin;
}

/// Instructions of work(), without those of the measurement.
template <typename Work>
[[gnu::always_inline]] inline exo::u64 instructions_of(Work &&work) noexcept {
  exo::u64 const own = ticks_of([] {});
  return ticks_of(work) - own;
}

/// Whole pages, kept for good.
inline std::span<std::byte> take_pages(exo::u64 bytes) noexcept {
  auto memory = exo::pages::take(bytes);
  if (!memory) exo::panic("no memory");
  return memory->release();
}

/// Gives the device some milliseconds: instructions that the host has to run, where a halted core's time would jump.
inline void wait_for_device() noexcept {
  exo::u64 const deadline = exo::ticks() + 5'000'000;
  while (exo::ticks() < deadline) {
    for (int turn = 0; turn < 100'000; ++turn) asm volatile("");
  }
}

/// Prints a figure with one digit behind the point.
inline void print_figure(char const *name, exo::u64 sum, exo::u64 count, char const *unit) noexcept {
  exo::u64 const tenths = (10 * sum + count / 2) / count;
  exo::print("figure {} {}.{} {}\n", name, tenths / 10, tenths % 10, unit);
}

}  // namespace bench
