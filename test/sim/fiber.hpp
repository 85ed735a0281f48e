// Stacks to switch between: what runs on a core of a simulated machine, and the scheduler.
#pragma once

#include <sys/mman.h>
#include <unistd.h>

#include <cstddef>
#include <cstdint>
#include <cstdlib>

namespace sim {

/// Saves what a call has to keep on this stack, its place in *from, and goes on at the stack `to`.
extern "C" void sim_switch(void **from, void *to) noexcept;
extern "C" void sim_enter() noexcept;

asm(R"(
  .pushsection .text
  .globl sim_switch
sim_switch:
  .irp register, rbp, rbx, r12, r13, r14, r15
  pushq %\register
  .endr
  subq $8, %rsp
  stmxcsr (%rsp)
  fnstcw 4(%rsp)
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  ldmxcsr (%rsp)
  fldcw 4(%rsp)
  addq $8, %rsp
  .irp register, r15, r14, r13, r12, rbx, rbp
  popq %\register
  .endr
  cld
  ret
  .globl sim_enter
sim_enter:
  movq %r12, %rdi
  callq *%r13
  ud2
  .popsection
)");

inline constexpr std::size_t stack_bytes = 256 << 10;

/// A stack with an unmapped page below it.
class fiber {
 public:
  fiber() = default;
  fiber(fiber const &) = delete;
  fiber &operator=(fiber const &) = delete;
  ~fiber() {
    if (memory_ != nullptr) munmap(memory_, guard_bytes + stack_bytes);
  }

  /// Makes the stack one on which run(argument) begins; it must not return.
  void start(void (*run)(void *), void *argument) {
    if (memory_ == nullptr) map();
    auto *top = reinterpret_cast<std::uint64_t *>(end());
    *--top = 0;  // so that rsp + 8 is a multiple of 16 behind the call in sim_enter
    *--top = 0;
    *--top = reinterpret_cast<std::uint64_t>(&sim_enter);
    *--top = 0;                                          // rbp
    *--top = 0;                                          // rbx
    *--top = reinterpret_cast<std::uint64_t>(argument);  // r12
    *--top = reinterpret_cast<std::uint64_t>(run);       // r13
    *--top = 0;                                          // r14
    *--top = 0;                                          // r15
    *--top = 0x1F80 | std::uint64_t{0x37F} << 32;        // MXCSR and FCW as the ABI wants them
    place_ = top;
  }

  /// Runs what is on this stack until it calls leave().
  void resume() { sim_switch(&caller_, place_); }
  void leave() { sim_switch(&place_, caller_); }

  [[nodiscard]] std::byte *end() const { return memory_ + guard_bytes + stack_bytes; }
  [[nodiscard]] bool contains(std::uint64_t address) const {
    auto const first = reinterpret_cast<std::uint64_t>(memory_) + guard_bytes;
    return memory_ != nullptr && address >= first && address - first < stack_bytes;
  }
  void map() {
    constexpr int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;
    void *const got = mmap(nullptr, guard_bytes + stack_bytes, PROT_READ | PROT_WRITE, flags, -1, 0);
    if (got == MAP_FAILED) std::abort();
    memory_ = static_cast<std::byte *>(got);
    mprotect(memory_, guard_bytes, PROT_NONE);
  }

 private:
  static constexpr std::size_t guard_bytes = 4096;

  std::byte *memory_ = nullptr;
  void *place_ = nullptr;
  void *caller_ = nullptr;
};

}  // namespace sim
