// Faults: signals that Linux sends to the thread at fault become calls of the program's handlers, or a report.
//
// Linux tells vector, error code and address as the CPU gave them. Events never interrupt a thread, so they have no
// handlers here.
#pragma once

#include <sys/mman.h>
#include <ucontext.h>

#include <csignal>
#include <iterator>

#include <exo/console.hpp>

#include "machine.hpp"

namespace native {

inline constexpr int fault_signals[] = {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGTRAP};
inline constinit struct sigaction before[NSIG] = {};  // what was there: nothing, or a sanitizer's own report

inline constexpr u64 vectors_critical = 1 << 2 | 1 << 8 | 1 << 18;  // NMI, double fault, machine check
inline constexpr u32 exit_fault = 128;
inline constexpr u64 page_fault = 14;
inline constexpr u64 error_user = 4;  // of a page fault: the one bit in which a process differs from the machine

inline i64 trap_set(u32 vector, exo::trap_fn handler) {
  if (vector >= exo::trap_count - 1 || (vectors_critical >> vector & 1) != 0) return -error::no_such;
  if (vector >= exo::event_vector && handler != nullptr) return -error::unsupported;
  this_core().handlers[vector] = handler;
  return 0;
}

struct register_place {
  u64 exo::trap_frame::*field;
  int number;  // in ucontext_t
};
inline constexpr register_place registers[] = {
    {&exo::trap_frame::rax, REG_RAX}, {&exo::trap_frame::rbx, REG_RBX}, {&exo::trap_frame::rcx, REG_RCX},
    {&exo::trap_frame::rdx, REG_RDX}, {&exo::trap_frame::rsi, REG_RSI}, {&exo::trap_frame::rdi, REG_RDI},
    {&exo::trap_frame::rbp, REG_RBP}, {&exo::trap_frame::r8, REG_R8},   {&exo::trap_frame::r9, REG_R9},
    {&exo::trap_frame::r10, REG_R10}, {&exo::trap_frame::r11, REG_R11}, {&exo::trap_frame::r12, REG_R12},
    {&exo::trap_frame::r13, REG_R13}, {&exo::trap_frame::r14, REG_R14}, {&exo::trap_frame::r15, REG_R15},
    {&exo::trap_frame::rip, REG_RIP}, {&exo::trap_frame::rsp, REG_RSP}, {&exo::trap_frame::rflags, REG_EFL}};

/// Reports a fault as the core does and ends the process.
[[noreturn]] inline void report(exo::trap_frame const &state) noexcept {
  constexpr char names[] = "DEDBNIBPOFBRUDNMDFCSTSNPSSGPPF..MFACMCXMVECP";
  bool const named = 2 * state.vector + 1 < sizeof(names);
  std::string_view const name = named ? std::string_view(names + 2 * state.vector, 2) : "";
  exo::print("\nexo16: fault #{} vector {} core {}\n", name, state.vector, exo::local().index);
  exo::print("exo16:  rip {:016x} rsp {:016x} cr2 {:016x}\n", state.rip, state.rsp, state.address);
  exo::print("exo16:  err {:016x} flg {:016x} rbp {:016x}\n", state.error, state.rflags, state.rbp);
  exo::print("exo16:  rax {:016x} rbx {:016x} rcx {:016x}\n", state.rax, state.rbx, state.rcx);
  exo::print("exo16:  rdx {:016x} rsi {:016x} rdi {:016x}\n", state.rdx, state.rsi, state.rdi);
  _exit(static_cast<int>(exit_fault + state.vector));
}

/// A signal that is no fault of a core, or that a sanitizer reports better, goes where it would go without us.
inline void pass_on(int signal, bool fault) noexcept {
  sigaction(signal, &before[signal], nullptr);
  if (!fault) std::raise(signal);  // else it comes again by itself
}

inline void on_fault(int signal, siginfo_t *about, void *context) {
  bool const fault = about->si_code > 0;
  if (!fault || exo::host_local == nullptr) return pass_on(signal, fault);
  core_state &core = this_core();
  greg_t *const saved = static_cast<ucontext_t *>(context)->uc_mcontext.gregs;

  exo::trap_frame state{};
  for (auto const &[field, number] : registers) state.*field = static_cast<u64>(saved[number]);
  state.vector = static_cast<u64>(saved[REG_TRAPNO]) % exo::event_vector;
  state.error = static_cast<u64>(saved[REG_ERR]);
  if (state.vector == page_fault) {
    state.address = static_cast<u64>(saved[REG_CR2]);
    state.error &= ~error_user;
  }
  state.cs = static_cast<u64>(saved[REG_CSGSFS]) & 0xFFFF;
  state.ss = static_cast<u64>(saved[REG_CSGSFS]) >> 48;

  exo::trap_fn const handler = core.handlers[state.vector];
  if (handler == nullptr || core.trapped) {
    if (before[signal].sa_handler != SIG_DFL) return pass_on(signal, fault);
    report(state);
  }
  core.trapped = true;
  handler(&state);
  core.trapped = false;
  for (auto const &[field, number] : registers) saved[number] = static_cast<greg_t>(state.*field);
}

inline constexpr u64 trap_stack_bytes = 256 << 10;

/// Gives the calling thread a second stack for handlers: the first one may be full, or at fault.
inline void enter_trap_stack() {
  constexpr int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK;
  void *const first = mmap(nullptr, trap_stack_bytes, PROT_READ | PROT_WRITE, flags, -1, 0);
  stack_t const stack{.ss_sp = first, .ss_flags = 0, .ss_size = trap_stack_bytes};
  if (first == MAP_FAILED || sigaltstack(&stack, nullptr) != 0) refuse("there is no memory for the stack of traps.");
}

inline void catch_faults() {
  struct sigaction action {};
  action.sa_sigaction = on_fault;
  action.sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER;  // a fault in a handler comes here too
  for (int const signal : fault_signals) sigaction(signal, &action, &before[signal]);
}

}  // namespace native
