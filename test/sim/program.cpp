// The program's side of the simulator, linked into every program that runs in it: start and end, and operator new.
#include "program.hpp"

#include <exo/arguments.hpp>
#include <exo/system_heap.hpp>
#include <exo/memory.hpp>

#include <cstdlib>
#include <cstring>
#include <new>

namespace {

sim::machine_side const *machine = nullptr;

void attach(sim::machine_side const *mine) noexcept {
  machine = mine;
  exo::host_table = mine->table;
  exo::host_info = mine->info;
  exo::host_ticks = mine->ticks;
}

void set_local(exo::core_local *local) noexcept { exo::host_local = local; }

struct exit_call {
  void (*function)(void *);
  void *argument;
  exit_call *next;
};
constinit exit_call *exit_calls = nullptr;  // the last one first

int run(sim::main_fn main) noexcept {
  exo::system_pages.start(exo::info().memory);
  auto const line = exo::info().command_line;
  std::size_t const bytes = std::strlen(line) + 1;
  char *const text = new char[bytes];
  std::memcpy(text, line, bytes);
  char **const values = new char *[bytes / 2 + 4]();  // two at the end are null: the environment is empty
  static char name[] = "program";
  values[0] = name;
  auto const count = static_cast<int>(1 + exo::split_arguments(text, std::span(values + 1, bytes / 2 + 1)));
  for (exo::u64 at = 0; at < machine->constructor_count; ++at) machine->constructors[at](count, values, values + count + 1);
  int const status = main(count, values);
  while (exit_calls != nullptr) {
    exit_call const *const each = std::exchange(exit_calls, exit_calls->next);
    each->function(each->argument);
  }
  return status;
}


/// Memory of the machine; scenario() and check() belong to none.
void *try_take(std::size_t bytes, std::size_t alignment = alignof(std::max_align_t)) noexcept {
  if (machine != nullptr) return exo::system_heap.take(bytes, alignment);
  return std::aligned_alloc(alignment, (bytes + alignment - 1) / alignment * alignment);
}

void give(void *block) noexcept { machine == nullptr ? std::free(block) : exo::system_heap.give(block); }

void *take(std::size_t bytes, std::size_t alignment = alignof(std::max_align_t)) noexcept {
  void *const block = try_take(bytes, alignment);
  if (block == nullptr) exo::panic("operator new: no {} bytes of memory are left in one piece", bytes);
  return block;
}

}  // namespace

extern "C" {

extern sim::program_side const sim_program;
sim::program_side const sim_program{attach, set_local, run};

void sim_step() noexcept {
  if (machine != nullptr) machine->step();
}

// This object's own, so that destructors of globals run when main has returned, not when the simulator ends.
[[gnu::visibility("hidden")]] int __cxa_atexit(void (*function)(void *), void *argument, void *) noexcept {
  exit_calls = new exit_call{function, argument, exit_calls};
  return 0;
}
}

// The machine's RAM, not the simulator's: it is gone with the machine, and lies where it lay the last time.
void *operator new(std::size_t bytes) { return take(bytes); }
void *operator new[](std::size_t bytes) { return take(bytes); }
void *operator new(std::size_t bytes, std::align_val_t alignment) { return take(bytes, static_cast<std::size_t>(alignment)); }
void *operator new[](std::size_t bytes, std::align_val_t alignment) { return take(bytes, static_cast<std::size_t>(alignment)); }
void *operator new(std::size_t bytes, std::nothrow_t const &) noexcept { return try_take(bytes); }
void *operator new[](std::size_t bytes, std::nothrow_t const &) noexcept { return try_take(bytes); }
void operator delete(void *block) noexcept { give(block); }
void operator delete[](void *block) noexcept { give(block); }
void operator delete(void *block, std::size_t) noexcept { give(block); }
void operator delete[](void *block, std::size_t) noexcept { give(block); }
void operator delete(void *block, std::align_val_t) noexcept { give(block); }
void operator delete[](void *block, std::align_val_t) noexcept { give(block); }
void operator delete(void *block, std::size_t, std::align_val_t) noexcept { give(block); }
void operator delete[](void *block, std::size_t, std::align_val_t) noexcept { give(block); }

