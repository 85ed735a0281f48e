// Handlers of faults and events: signals that Linux sends to a core's thread become calls of the program's handlers.
//
// A fault is Linux's own signal, and tells vector, error code and address as the CPU gave them. For an event the core that
// raises it sends event_signal to the thread of the core that it is for, which so is interrupted wherever it is.
#pragma once

#include <sys/mman.h>
#include <ucontext.h>

#include <bit>
#include <iterator>

#include <exo/backtrace.hpp>
#include <exo/console.hpp>

#include "machine.hpp"

namespace native {

inline constexpr int fault_signals[] = {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGTRAP};
inline constinit struct sigaction before[NSIG] = {};  // what was there: nothing, or a sanitizer's own report

inline constexpr u64 vectors_critical = 1 << 2 | 1 << 8 | 1 << 18;  // NMI, double fault, machine check
inline constexpr u32 exit_fault = 128;
inline constexpr std::size_t trace_most = 16;  // return addresses in a report
inline constexpr u64 page_fault = 14;
inline constexpr u64 error_user = 4;  // of a page fault: the one bit in which a process differs from the machine

/// Looks for events that nobody has raised: of a timer, of a NIC. Null where each is raised.
inline void (*look_around)(core_state &core) noexcept = nullptr;

/// trap_set, but for what makes events come while a core runs.
inline i64 set_handler(u32 vector, exo::trap_fn handler) noexcept {
  if (vector >= exo::trap_count - 1 || (vectors_critical >> vector & 1) != 0) return -error::no_such;
  core_state &core = this_core();
  u64 const bit = vector >= exo::event_vector ? u64{1} << (vector - exo::event_vector) : 0;
  if (handler == nullptr) core.handled &= ~bit;
  core.handlers[vector] = handler;
  if (handler != nullptr) core.handled |= bit;
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

/// Reports a fault as the core does and ends the machine.
[[noreturn]] inline void report(exo::trap_frame const &state) noexcept {
  constexpr char names[] = "DEDBNIBPOFBRUDNMDFCSTSNPSSGPPF..MFACMCXMVECP";
  bool const named = 2 * state.vector + 1 < sizeof(names);
  std::string_view const name = named ? std::string_view(names + 2 * state.vector, 2) : "";
  exo::print("\nexo16: fault #{} vector {} core {}\n", name, state.vector, exo::local().index);
  exo::print("exo16:  rip {:016x} rsp {:016x} cr2 {:016x}\n", state.rip, state.rsp, state.address);
  exo::print("exo16:  err {:016x} flg {:016x} rbp {:016x}\n", state.error, state.rflags, state.rbp);
  exo::print("exo16:  rax {:016x} rbx {:016x} rcx {:016x}\n", state.rax, state.rbx, state.rcx);
  exo::print("exo16:  rdx {:016x} rsi {:016x} rdi {:016x}\n", state.rdx, state.rsi, state.rdi);
  std::array<u64, 1 + trace_most> stack;
  std::array<char, 80 + 17 * trace_most> line;
  exo::text_sink trace(line);
  trace.put("exo16: trace");
  std::size_t const depth = exo::walk_stack(state, stack);
  for (std::size_t at = 1; at < depth; ++at) exo::format_to(trace, " {:016x}", stack[at]);
  exo::print("{}\n", trace.text());
  exo::core().sys_exit(static_cast<u32>(exit_fault + state.vector));
  __builtin_unreachable();
}

/// A signal that is no fault of a core, or that a sanitizer reports better, goes where it would go without us.
inline void pass_on(int signal, bool fault) noexcept {
  sigaction(signal, &before[signal], nullptr);
  if (!fault) std::raise(signal);  // else it comes again by itself
}

inline exo::trap_frame frame_of(greg_t const *saved) noexcept {
  exo::trap_frame state{};
  for (auto const &[field, number] : registers) state.*field = static_cast<u64>(saved[number]);
  state.cs = static_cast<u64>(saved[REG_CSGSFS]) & 0xFFFF;
  state.ss = static_cast<u64>(saved[REG_CSGSFS]) >> 48;
  return state;
}

/// Calls a handler of the program; what it changes in the state goes back into the registers.
inline void call_handler(core_state &core, exo::trap_fn handler, exo::trap_frame &state, greg_t *saved) noexcept {
  core.trapped = true;
  handler(&state);
  core.trapped = false;
  for (auto const &[field, number] : registers) saved[number] = static_cast<greg_t>(state.*field);
}

inline void on_fault(int signal, siginfo_t *about, void *context) {
  bool const fault = about->si_code > 0;
  if (!fault || exo::host_local == nullptr) return pass_on(signal, fault);
  int const old_errno = errno;
  core_state &core = this_core();
  greg_t *const saved = static_cast<ucontext_t *>(context)->uc_mcontext.gregs;

  exo::trap_frame state = frame_of(saved);
  state.vector = static_cast<u64>(saved[REG_TRAPNO]) % exo::event_vector;
  state.error = static_cast<u64>(saved[REG_ERR]);
  if (state.vector == page_fault) {
    state.address = static_cast<u64>(saved[REG_CR2]);
    state.error &= ~error_user;
  }
  exo::trap_fn const handler = core.handlers[state.vector];
  if (handler == nullptr || core.trapped) {
    if (before[signal].sa_handler != SIG_DFL) return pass_on(signal, fault);
    report(state);
  }
  call_handler(core, handler, state, saved);
  call_handlers();  // of events that came meanwhile
  errno = old_errno;
}

/// Whoever is in a handler or holds a lock when this comes calls again at the end of it.
inline void on_event(int, siginfo_t *, void *context) {
  if (exo::host_local == nullptr) return;
  int const old_errno = errno;
  core_state &core = this_core();
  if (look_around != nullptr) look_around(core);
  while (!core.trapped && core.locks == 0 && core.upcalls != 0) {
    auto const event = static_cast<u32>(std::countr_zero(core.upcalls.load()));
    core.upcalls &= ~(u64{1} << event);
    exo::trap_fn const handler = core.handlers[exo::event_vector + event];
    if (handler == nullptr) continue;  // taken back meanwhile
    greg_t *const saved = static_cast<ucontext_t *>(context)->uc_mcontext.gregs;
    exo::trap_frame state = frame_of(saved);
    state.vector = exo::event_vector + event;
    call_handler(core, handler, state, saved);
  }
  errno = old_errno;
}

inline constexpr u64 trap_stack_bytes = 256 << 10;

/// Gives the calling thread a second stack for handlers: the first one may be full, or at fault.
inline void enter_trap_stack() {
  constexpr int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK;
  void *const first = mmap(nullptr, trap_stack_bytes, PROT_READ | PROT_WRITE, flags, -1, 0);
  stack_t const stack{.ss_sp = first, .ss_flags = 0, .ss_size = trap_stack_bytes};
  if (first == MAP_FAILED || sigaltstack(&stack, nullptr) != 0) refuse("there is no memory for the stack of traps.");
}

inline void catch_signals() {
  struct sigaction action {};
  action.sa_sigaction = on_fault;
  action.sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER;  // a fault in a handler comes here too
  for (int const signal : fault_signals) sigaction(signal, &action, &before[signal]);
  action.sa_sigaction = on_event;
  action.sa_flags |= SA_RESTART;
  sigaction(event_signal, &action, nullptr);
}

}  // namespace native
