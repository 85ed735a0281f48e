// From the core's entry to main and back: contract check, thread-local storage, constructors, arguments, exit.
//
// A program includes this (through exo.hpp) in any number of its files and defines main with or without arguments.
#pragma once

#ifndef EXO_HOST

#include <cstddef>
#include <cstring>
#include <span>

#include "arguments.hpp"
#include "console.hpp"
#include "core.hpp"
#include "libc.hpp"
#include "memory.hpp"
#include "thread_local.hpp"

namespace exo::detail {

using main_fn = int(int count, char **arguments);
using constructor_fn = void (*)(int count, char **arguments, char **environment);
using destructor_fn = void (*)();

extern "C" {
main_fn program_main __asm__("main");  // one without parameters ignores what it is given

// The linker's: lists of what is called before and after main.
[[gnu::visibility("hidden")]] extern constructor_fn const preinit_first[] __asm__("__preinit_array_start");
[[gnu::visibility("hidden")]] extern constructor_fn const preinit_end[] __asm__("__preinit_array_end");
[[gnu::visibility("hidden")]] extern constructor_fn const init_first[] __asm__("__init_array_start");
[[gnu::visibility("hidden")]] extern constructor_fn const init_end[] __asm__("__init_array_end");
[[gnu::visibility("hidden")]] extern destructor_fn const fini_first[] __asm__("__fini_array_start");
[[gnu::visibility("hidden")]] extern destructor_fn const fini_end[] __asm__("__fini_array_end");
}

/// What a program exits with that does not fit its core.
inline constexpr int mismatch_status = 120;

struct arguments {
  int count;
  char **values;  // ends with null, twice: the environment behind it is empty
};

/// Splits a copy of the command line; argv[0] is the program.
inline arguments make_arguments(char const *command_line) noexcept {
  static char program[] = "program";
  std::size_t const bytes = std::strlen(command_line) + 1;
  std::size_t const most = bytes / 2 + 1;
  result<std::byte *> const memory = system_pages.take((most + 3) * sizeof(char *) + bytes);
  if (!memory) panic("no memory for the command line");
  auto **const values = reinterpret_cast<char **>(*memory);
  auto *const text = reinterpret_cast<char *>(values + most + 3);
  std::memcpy(text, command_line, bytes);
  values[0] = program;
  std::size_t const count = 1 + split_arguments(text, {values + 1, most});
  values[count] = values[count + 1] = nullptr;
  return {.count = static_cast<int>(count), .values = values};
}

[[noreturn]] inline void exit_program(int status) noexcept __asm__("exit");
[[gnu::used, noreturn]] inline void exit_program(int status) noexcept {
  libc::run_exit_calls();
  for (destructor_fn const *each = fini_end; each != fini_first;) (*--each)();
  end_machine(static_cast<u32>(status));
}

[[gnu::noinline]] inline int run_program(table_header const &header) noexcept {
  if (header.revision != table_revision || header.call_count < sizeof(calls) / sizeof(void *)) {
    print("exo16: the program needs revision {} with {} calls; this core has revision {} with {}\n", table_revision,
          sizeof(calls) / sizeof(void *), header.revision, header.call_count);
    return mismatch_status;
  }
  system_pages.start(info().memory);
  make_thread_blocks();
  arguments const given = make_arguments(info().command_line);
  char **const environment = given.values + given.count + 1;
  for (auto const *each = preinit_first; each != preinit_end; ++each) (*each)(given.count, given.values, environment);
  for (auto const *each = init_first; each != init_end; ++each) (*each)(given.count, given.values, environment);
  exit_program(program_main(given.count, given.values));
}

/// Where the core enters the program. No canary yet, and no table to complain through if the magic is another.
[[gnu::used, gnu::no_stack_protector]] inline int start(table_header const *header) noexcept
    __asm__("_start");
[[gnu::used, gnu::no_stack_protector]] inline int start(table_header const *header) noexcept {
  if (header->magic != table_magic) return mismatch_status;
  enter_first_thread_head();
  return run_program(*header);
}

}  // namespace exo::detail

#endif
