// Preemption of fibers by the core's timer: one that computes for long gives way to others of its priority or a higher
// one, and to the tasks of its core.
//
//   #define EXO_PREEMPTION                    // before the first include, in each file of the program
//   #include <exo/fiber_preemption.hpp>
//   auto const slices = exo::preemption::start(std::chrono::milliseconds(1));   // on this core, while `slices` lives
//
// Only code of the program on a fiber's own stack is preempted: not what runs on the loop's, no call of the core (nor, in a
// process, of its libraries), and nothing in a section of exo::unpreempted, as all locks of these headers are while they are
// held, the heap while it is at work, and local statics while they are made. What is preempted is kept on the fiber's stack:
// all registers, with those of SSE, AVX and AVX-512.
#pragma once

#include <cpuid.h>

#include <chrono>
#include <utility>

#include "core.hpp"
#include "fiber.hpp"
#include "result.hpp"
#include "time.hpp"

#ifndef EXO_PREEMPTION

namespace exo {

/// Without EXO_PREEMPTION nothing is preempted.
class preemption {
 public:
  template <typename Slice>
  static result<preemption> start(Slice) noexcept {
    static_assert(sizeof(Slice) == 0,
                  "exo::preemption: define EXO_PREEMPTION before the first include, in all files of the program");
    return std::unexpected(error::unsupported);
  }
};

}  // namespace exo

#else

// Goes on where the timer came, with the address of that and the red zone of that code above it on the stack: saves all
// registers, waits until the fiber's turn comes again, and returns there.
// SPEC  SDM Vol. 1 §13.7 (XSAVE): the header, 64 bytes at 512, has to be 0
extern "C" {
void exo_preempt() noexcept;
[[gnu::used]] inline void exo_preempted() noexcept { exo::detail::fibers_here.preempt_running(); }
// 0: the CPU or its system has no XSAVE, so there are 512 bytes of FXSAVE.
[[gnu::used]] inline constinit exo::u32 exo_preempt_xsave_bytes = 0;
}

asm(R"(
  .pushsection .text.exo_preempt, "axG", @progbits, exo_preempt, comdat
  .weak exo_preempt
  .type exo_preempt, @function
exo_preempt:
  pushfq
  .irp register, rbp, rax, rbx, rcx, rdx, rsi, rdi, r8, r9, r10, r11, r12, r13, r14, r15
  pushq %\register
  .endr
  movq %rsp, %rbx
  cld
  movl exo_preempt_xsave_bytes(%rip), %eax
  testl %eax, %eax
  jz 1f
  subq %rax, %rsp
  andq $-64, %rsp
  leaq 512(%rsp), %rdi
  xorl %eax, %eax
  movl $8, %ecx
  rep stosq
  orl $-1, %eax
  cltd
  xsave64 (%rsp)
  callq exo_preempted
  orl $-1, %eax
  cltd
  xrstor64 (%rsp)
  jmp 2f
1:
  subq $512, %rsp
  andq $-16, %rsp
  fxsave64 (%rsp)
  callq exo_preempted
  fxrstor64 (%rsp)
2:
  movq %rbx, %rsp
  .irp register, r15, r14, r13, r12, r11, r10, r9, r8, rdi, rsi, rdx, rcx, rbx, rax, rbp
  popq %\register
  .endr
  popfq
  retq $128
  .popsection
)");

namespace exo {

namespace detail {

inline constexpr u32 timer_vector = event_vector + event_timer;
inline constexpr u64 red_zone_bytes = 128;

/// What exo_preempt needs on the fiber's stack, and the calls from there on.
inline u64 preempt_stack_bytes() noexcept { return red_zone_bytes + 64 + 17 * 8 + 1024 + exo_preempt_xsave_bytes; }

inline void on_slice_end(trap_frame *state) noexcept {
  fiber_queue &fibers = fibers_here;
  fibers.armed = false;
  fiber_state const *const fiber = fibers.running();
  if (fiber == nullptr || fibers.slice == 0) return;  // the next fiber that runs sets the timer
  u64 const now = ticks();
  if (now < fibers.slice_end) return fibers.arm(fibers.slice_end);  // it was set for the fiber before
  bool const in_program = state->rip >= info().program_first && state->rip < info().program_end;
  u64 const rsp = state->rsp;
  if (!in_program || unpreempted_sections() != 0 || !fiber->may_use(rsp) || !fiber->may_use(rsp - preempt_stack_bytes())) {
    return fibers.arm(now + fibers.slice / 4 + 1);
  }
  auto *const return_address = reinterpret_cast<u64 *>(rsp - red_zone_bytes) - 1;
  *return_address = state->rip;
  state->rsp = reinterpret_cast<u64>(return_address);
  state->rip = reinterpret_cast<u64>(&exo_preempt);
}

inline void find_xsave_bytes() noexcept {
  u32 eax, ebx, ecx, edx;
  __cpuid(1, eax, ebx, ecx, edx);
  if ((ecx & bit_OSXSAVE) == 0) return;
  __cpuid_count(0xD, 0, eax, ebx, ecx, edx);  // EBX: for all that is enabled now
  exo_preempt_xsave_bytes = ebx;
}

}  // namespace detail

/// While it lives, the fibers of the core that made it are preempted. It has the core's timer meanwhile.
class preemption {
 public:
  static constexpr clock::duration least_slice = std::chrono::microseconds(10);

  /// @param slice        how long a fiber runs, at most, while others are ready; least_slice or more
  /// @error range        slice is shorter
  /// @error busy         this core's fibers are preempted already
  /// @error unsupported  in the simulator, or with the thread sanitizer: there code is not interrupted
  /// @core  one with a run loop
  [[nodiscard]] static result<preemption> start(clock::duration slice) noexcept {
#ifdef __SANITIZE_THREAD__
    return std::unexpected(error::unsupported);
#endif
    if (slice < least_slice) return std::unexpected(error::range);
    detail::fiber_queue &fibers = detail::fibers_here;
    if (fibers.slice != 0) return std::unexpected(error::busy);
    detail::find_xsave_bytes();
    if (result<void> const set = done(core().trap_set(detail::timer_vector, detail::on_slice_end)); !set) {
      return std::unexpected(set.error());
    }
    fibers.slice = clock::ticks_in(slice);
    return preemption(&fibers);
  }

  preemption(preemption &&other) noexcept : fibers_(std::exchange(other.fibers_, nullptr)) {}
  preemption &operator=(preemption &&) = delete;
  ~preemption() {
    if (fibers_ == nullptr) return;
    unpreempted const section;
    fibers_->slice = 0;
    fibers_->armed = false;
    core().timer_set(0);
    core().trap_set(detail::timer_vector, nullptr);
  }

 private:
  explicit preemption(detail::fiber_queue *fibers) noexcept : fibers_(fibers) {}

  detail::fiber_queue *fibers_;
};

}  // namespace exo

#endif
