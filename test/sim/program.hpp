// What the simulator and the program of a machine know of each other: the program's side is test/sim/program.cpp.
#pragma once

#include <exo/core.hpp>

namespace sim {

using constructor_fn = void (*)(int count, char **arguments, char **environment);
using main_fn = int (*)(int count, char **arguments);

/// What a machine offers to its program.
struct machine_side {
  exo::calls const *table;
  exo::machine_info const *info;
  exo::u64 (*ticks)() noexcept;
  void (*step)() noexcept;  ///< in front of each atomic operation: another core may go on first
  constructor_fn const *constructors;
  exo::u64 constructor_count;
};

/// What a program offers to its machine: `sim_program` is one.
struct program_side {
  void (*attach)(machine_side const *machine) noexcept;        ///< comes first
  void (*set_local)(exo::core_local *local) noexcept;          ///< whenever another core goes on
  int (*run)(main_fn run) noexcept;                            ///< constructors, main, destructors; the exit status
};

}  // namespace sim
