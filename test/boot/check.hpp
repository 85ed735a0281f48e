// What boot tests of the core share: expectations, and calls that prove that the core keeps its side of System V.
#pragma once

#include <exo/exo.hpp>

#include <atomic>
#include <cstddef>
#include <iterator>
#include <source_location>
#include <type_traits>

namespace check {

using namespace exo;
using where = std::source_location;

inline constinit std::atomic<u32> failures = 0;

/// The status that main returns: 0 when every expectation held.
inline int verdict() noexcept { return failures == 0 ? 0 : 1; }

/// Notes a failure; says the first twenty.
template <typename... Parts>
void fail(where at, char const *what, Parts const &...parts) noexcept {
  if (failures.fetch_add(1) >= 20) return;
  char line[200];
  text_sink out(line);
  format_to(out, "line {} core {}: {}", at.line(), local().index, what);
  (format_to(out, " {}", parts), ...);
  print("{}\n", out.text());
}

inline void that(bool holds, char const *what, where at = where::current()) noexcept {
  if (!holds) fail(at, what);
}

inline void same(i64 is, i64 expected, where at = where::current()) noexcept {
  if (is != expected) fail(at, "is, expected:", is, expected);
}

// --- calls, checked

// A process (--native) cannot turn interrupts off.
#ifdef EXO_HOST
#define EXO_INTERRUPTS_OFF ""
#define EXO_INTERRUPTS_ON ""
#else
#define EXO_INTERRUPTS_OFF "cli"
#define EXO_INTERRUPTS_ON "sti"
#endif

/// Calls routine(arguments[0] .. [5]) with known values in all registers that it has to keep, and garbage in the others.
///
/// @param kept        gets a bit for each of rbx rbp r12 r13 r14 r15 rsp DF MXCSR FCW IF that is not as it has to be
/// @param interrupts  IF during the call
/// @core  one at a time: the way back lies in memory, since no register is to be trusted
extern "C" i64 checked_call(void const *routine, u64 const *arguments, u64 *broken, u64 interrupts) noexcept;

asm(R"(
  .pushsection .text
checked_call:
  .irp register, rbx, rbp, r12, r13, r14, r15, rdx
  pushq %\register
  .endr
  subq $16, %rsp
  movq %rsp, checked_stack(%rip)
  movl %ecx, checked_interrupts(%rip)
  testl %ecx, %ecx
  jnz 1f
  )" EXO_INTERRUPTS_OFF R"(
1:
  movq %rdi, %r11
  movq %rsi, %rax
  movq (%rax), %rdi
  movq 8(%rax), %rsi
  movq 16(%rax), %rdx
  movq 24(%rax), %rcx
  movq 32(%rax), %r8
  movq 40(%rax), %r9
  .set checked_bit, 1
  .irp register, rbx, rbp, r12, r13, r14, r15, r10, rax
  movabsq $0x5a5a5a5aa5000000 + checked_bit, %\register
  .set checked_bit, checked_bit * 2
  .endr
  callq *%r11
  pushfq
  popq %r11
  cld
  xorl %r10d, %r10d
  .set checked_bit, 1
  .irp register, rbx, rbp, r12, r13, r14, r15
  movabsq $0x5a5a5a5aa5000000 + checked_bit, %rcx
  cmpq %rcx, %\register
  je 1f
  orl $checked_bit, %r10d
1:
  .set checked_bit, checked_bit * 2
  .endr
  cmpq checked_stack(%rip), %rsp
  je 1f
  orl $0x40, %r10d
  movq checked_stack(%rip), %rsp
1:
  testl $0x400, %r11d
  jz 1f
  orl $0x80, %r10d
1:
  stmxcsr (%rsp)
  cmpl $0x1f80, (%rsp)
  je 1f
  orl $0x100, %r10d
1:
  fnstcw (%rsp)
  cmpw $0x37f, (%rsp)
  je 1f
  orl $0x200, %r10d
1:
  shrl $9, %r11d
  andl $1, %r11d
  cmpl checked_interrupts(%rip), %r11d
  je 1f
  orl $0x400, %r10d
1:
  )" EXO_INTERRUPTS_ON R"(
  addq $16, %rsp
  popq %rdx
  movq %r10, (%rdx)
  .irp register, r15, r14, r13, r12, rbp, rbx
  popq %\register
  .endr
  retq
  .popsection
  .pushsection .bss
  .balign 8
checked_stack: .skip 8
checked_interrupts: .skip 4
  .popsection
)");
#undef EXO_INTERRUPTS_OFF
#undef EXO_INTERRUPTS_ON

/// Whether calls are made with interrupts on: a routine of the core works either way, and leaves it so.
inline constinit bool interrupts_on = true;

/// How an argument lies in its register: the upper half of a u32 is the caller's garbage.
template <typename Argument>
u64 in_register(Argument argument) noexcept {
  if constexpr (std::is_pointer_v<Argument>) {
    return reinterpret_cast<u64>(argument);
  } else if constexpr (sizeof(Argument) == sizeof(u32)) {
    return u64{0xDEADBEEF00000000} | static_cast<u32>(argument);
  } else {
    return argument;
  }
}

/// An entry of the call table, called through checked_call.
template <typename... Arguments>
struct checked_entry {
  i64 (*routine)(Arguments...);
  where at;

  i64 operator()(Arguments... given) const noexcept {
    constexpr u64 garbage = 0xDEADBEEFDEADBEEF;
    u64 arguments[6] = {garbage, garbage, garbage, garbage, garbage, garbage};
    u64 *next = arguments;
    ((*next++ = in_register(given)), ...);
    u64 broken = 0;
    i64 const value = checked_call(reinterpret_cast<void const *>(routine), arguments, &broken, interrupts_on ? 1 : 0);
    constexpr char const *names[] = {"rbx", "rbp", "r12", "r13", "r14", "r15", "rsp", "DF", "MXCSR", "FCW", "IF"};
    for (u32 bit = 0; bit < std::size(names); ++bit) {
      if ((broken >> bit & 1) != 0) fail(at, "the call does not keep", names[bit]);
    }
    return value;
  }

  void gives(i64 expected, Arguments... given) const noexcept { same((*this)(given...), expected, at); }
  void refuses(error why, Arguments... given) const noexcept { gives(-static_cast<i64>(why), given...); }
};

/// `calling(core().mem_map).refuses(error::range, …)`
template <typename... Arguments>
checked_entry<Arguments...> calling(i64 (*routine)(Arguments...), where at = where::current()) noexcept {
  return {routine, at};
}

/// Runs a test with interrupts on and off in its calls.
template <typename Test>
void with_and_without_interrupts(Test test) noexcept {
#ifndef EXO_HOST
  interrupts_on = false;
  test();
  interrupts_on = true;
#endif
  test();
}

// --- memory

/// Whole pages, kept for good; the test ends at once without them.
inline std::byte *take_pages(u64 bytes, u64 alignment = page_bytes) noexcept {
  auto got = pages::take(bytes, alignment);
  if (!got) panic("no memory for the test");
  return got->release().data();
}

/// What mem_query says, for a comparison before and after.
struct page_state {
  i64 status;
  mapping at;
  bool operator==(page_state const &other) const noexcept {
    return status == other.status && at.phys == other.at.phys && at.page == other.at.page && at.access == other.at.access;
  }
};

inline page_state state_of(u64 virt) noexcept {
  page_state state{};
  state.status = core().mem_query(virt, &state.at);
  return state;
}

inline u64 address(void const *pointer) noexcept { return reinterpret_cast<u64>(pointer); }

}  // namespace check
