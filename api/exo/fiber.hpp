// Fibers: functions with a stack of their own, for code that blocks in the middle of calls, such as a foreign library.
//
//   auto lines = co_await exo::fiber({.name = "parser"}, [&] {
//     while (parse(source, [&] { return exo::wait(disk.read(next, buffer)); })) …   // waits; the core does other work
//     return count;
//   });
//
// A fiber is a task to everyone else: it is awaited, given to a scope, spawned, cancelled and timed like one, and belongs
// to one core. In it, exo::wait(what) is what co_await is in a task. Fibers of a higher priority run first; tasks and all
// else that the loop does come in between.
//
// What a fiber awaits is started on the loop's stack, so its own stack holds only its own calls. A page below that may not
// be touched: a fiber that needs more ends the machine with a report that names it. A single frame larger than a page may
// step over that one; compile such code with -fstack-clash-protection.
#pragma once

#include <array>
#include <atomic>
#include <bit>
#include <concepts>
#include <coroutine>
#include <cstddef>
#include <memory>
#include <optional>
#include <span>
#include <type_traits>
#include <utility>

#include "cancel.hpp"
#include "console.hpp"
#include "core.hpp"
#include "nesting.hpp"
#include "preemption.hpp"
#include "result.hpp"
#include "run.hpp"
#include "stack_pool.hpp"
#include "task.hpp"
#include "time.hpp"

#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/common_interface_defs.h>
#endif
#ifdef __SANITIZE_THREAD__
#include <sanitizer/tsan_interface.h>
#endif

namespace exo {

/// Fibers that are ready run in the order of these, the highest first; those of one priority take turns.
enum class fiber_priority : u8 { lowest = 0, normal = 4, highest = 7 };

struct fiber_options {
  char const *name = "fiber";                         // for reports; outlives the fiber
  std::size_t stack_bytes = std::size_t{64} << 10;    // 8 KiB to 1 GiB
  fiber_priority priority = fiber_priority::normal;
  bool report_overflow = true;                        // false: the program has a page fault handler; see report_overflow()
};

namespace detail {

/// Where a stack that does not run goes on. Everything else lies on it.
struct stack_place {
  void *rsp = nullptr;
  void *rip = nullptr;
  void *rbp = nullptr;
  u32 mxcsr = 0x1F80;  // as the ABI wants them at first
  u16 fcw = 0x37F;
#ifdef __SANITIZE_ADDRESS__
  void *fake_stack = nullptr;
  void const *bottom = nullptr;
  std::size_t bytes = 0;
#endif
#ifdef __SANITIZE_THREAD__
  void *thread = nullptr;
#endif
};

#ifdef __AVX512F__
#define EXO_MORE_VECTORS                                                                                                  \
  , "xmm16", "xmm17", "xmm18", "xmm19", "xmm20", "xmm21", "xmm22", "xmm23", "xmm24", "xmm25", "xmm26", "xmm27", "xmm28", \
      "xmm29", "xmm30", "xmm31", "k1", "k2", "k3", "k4", "k5", "k6", "k7"
#else
#define EXO_MORE_VECTORS
#endif

/// Leaves this stack and goes on where `to` was left. The compiler saves the registers that it needs, and no other; what
/// it does not know of are the stack, the frame pointer and the two control words. Nothing is written below rsp, where the
/// red zone may be.
[[gnu::always_inline]] inline void switch_stack(stack_place &from, stack_place const &to) noexcept {
  auto *left = &from;
  auto const *entered = &to;
  asm volatile(
      "leaq 1f(%%rip), %%rax\n\t"
      "movq %%rsp, (%0)\n\t"
      "movq %%rax, 8(%0)\n\t"
      "movq %%rbp, 16(%0)\n\t"
      "stmxcsr 24(%0)\n\t"
      "fnstcw 28(%0)\n\t"
      "movq (%1), %%rsp\n\t"
      "movq 16(%1), %%rbp\n\t"
      "ldmxcsr 24(%1)\n\t"
      "fldcw 28(%1)\n\t"
      "jmpq *8(%1)\n"
      "1:"
      : "+D"(left), "+S"(entered)
      :
      : "rax", "rbx", "rcx", "rdx", "r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15", "xmm0", "xmm1", "xmm2", "xmm3",
        "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10", "xmm11", "xmm12", "xmm13", "xmm14", "xmm15", "st", "st(1)",
        "st(2)", "st(3)", "st(4)", "st(5)", "st(6)", "st(7)", "cc", "memory" EXO_MORE_VECTORS);
}
#undef EXO_MORE_VECTORS
static_assert(offsetof(stack_place, rip) == 8 && offsetof(stack_place, rbp) == 16 && offsetof(stack_place, mxcsr) == 24 &&
              offsetof(stack_place, fcw) == 28);

/// The same, told to the sanitizers. With Last, `from` is never entered again.
template <bool Last = false>
[[gnu::always_inline]] inline void go_to(stack_place &from, stack_place &to) noexcept {
#ifdef __SANITIZE_ADDRESS__
  __sanitizer_start_switch_fiber(Last ? nullptr : &from.fake_stack, to.bottom, to.bytes);
#endif
#ifdef __SANITIZE_THREAD__
  from.thread = __tsan_get_current_fiber();
  __tsan_switch_to_fiber(to.thread, 0);
#endif
  switch_stack(from, to);
#ifdef __SANITIZE_ADDRESS__
  __sanitizer_finish_switch_fiber(from.fake_stack, &to.bottom, &to.bytes);
#endif
}

/// What awaiters ask of who waits.
struct fiber_promise {
  cancel_source *cancel = nullptr;
};

/// A fiber, in the memory of who awaits it. To awaiters it is a coroutine: it begins as the frames of GCC, clang and MSVC
/// do, with what resumes it and what destroys it, and its promise.
class fiber_state {
 public:
  using handle = std::coroutine_handle<fiber_promise>;
  using suspend_call = std::coroutine_handle<> (*)(void *awaiter, handle self) noexcept;

  fiber_state(fiber_options const &how, std::span<std::byte> stack, void (*run)(fiber_state &) noexcept) noexcept
      : options(how), stack_(stack), run_(run) {
    constexpr std::size_t top_bytes = 8;  // a return address of 0: calls end here, and rsp is as behind a call
    auto *const top = reinterpret_cast<u64 *>(stack.data() + stack.size() - top_bytes);
    *top = 0;
    place_.rsp = top;
    place_.rip = reinterpret_cast<void *>(&begin);
#ifdef __SANITIZE_ADDRESS__
    place_.bottom = stack.data();
    place_.bytes = stack.size();
#endif
#ifdef __SANITIZE_THREAD__
    place_.thread = __tsan_create_fiber(0);
#endif
  }
  fiber_state(fiber_state const &) = delete;
  fiber_state &operator=(fiber_state const &) = delete;
  ~fiber_state() {
#ifdef __SANITIZE_THREAD__
    __tsan_destroy_fiber(place_.thread);
#endif
  }

  /// Lets it begin, for a task that waits until it has ended.
  void start(std::coroutine_handle<> joiner, cancel_source *cancel) noexcept {
    joiner_ = joiner;
    promise_.cancel = cancel;
    make_ready();
  }

  /// Leaves the fiber until the awaiter resumes it.
  void wait_for(void *awaiter, suspend_call suspend) noexcept {
    unpreempted const section;
    awaiter_ = awaiter;
    suspend_ = suspend;
    leave();
  }

  [[nodiscard]] bool may_use(u64 address) const noexcept { return address - first() < stack_.size(); }
  [[nodiscard]] bool overflows_at(u64 address) const noexcept {
    return address - (first() - stack_pool::guard_bytes) < stack_pool::guard_bytes;
  }
  [[nodiscard]] u64 first() const noexcept { return reinterpret_cast<u64>(stack_.data()); }
  [[nodiscard]] std::size_t stack_bytes() const noexcept { return stack_.size(); }

 private:
  friend class fiber_queue;

  [[nodiscard]] handle as_handle() noexcept { return handle::from_address(this); }
  void make_ready() noexcept;
  void leave() noexcept;
  [[noreturn]] static void begin() noexcept;

  void (*resume_)(void *self) noexcept = [](void *self) noexcept { static_cast<fiber_state *>(self)->make_ready(); };
  void (*destroy_)(void *) noexcept = [](void *) noexcept { panic("a fiber is destroyed by who has no business with it"); };
  fiber_promise promise_;

 public:
  fiber_options const options;

 private:
  fiber_state *next_ = nullptr;
  stack_place place_;
  std::span<std::byte> const stack_;
  void (*const run_)(fiber_state &self) noexcept;
  suspend_call suspend_ = nullptr;  // of the awaiter; null: it only lets others run
  void *awaiter_ = nullptr;
  bool ended_ = false;
#ifdef EXO_PREEMPTION
  u32 sections_ = 1;  // in which it may not be preempted, as it left them; it begins in one
#endif
  std::coroutine_handle<> joiner_;
};

/// A core's fibers that are ready. It runs one in each of its turns on the loop's ready list.
class fiber_queue : operation {
 public:
  constexpr fiber_queue() noexcept
      : operation([](operation &self) noexcept { static_cast<fiber_queue &>(self).run_next(); }) {}

  /// The fiber whose stack this core is on; null for the loop's.
  [[nodiscard]] fiber_state *running() const noexcept { return running_; }

  void put(fiber_state &ready) noexcept {
    unpreempted const section;
    auto const level = static_cast<std::size_t>(ready.options.priority) % levels;
    ready.next_ = nullptr;
    (ready_[level].last != nullptr ? ready_[level].last->next_ : ready_[level].first) = &ready;
    ready_[level].last = &ready;
    filled_ |= 1u << level;
    if (!posted_) post();
  }

  void leave(fiber_state &self) noexcept {
    hold_preemption();
    go_to(self.place_, loop_);
    allow_preemption();
  }
  [[noreturn]] void end(fiber_state &self) noexcept {
    hold_preemption();
    self.ended_ = true;
    go_to<true>(self.place_, loop_);
    __builtin_unreachable();
  }
  /// On a fiber's stack for the first time.
  void entered() noexcept {
    allow_preemption();
#ifdef __SANITIZE_ADDRESS__
    __sanitizer_finish_switch_fiber(nullptr, &loop_.bottom, &loop_.bytes);
#endif
  }

  bool reports_overflow = false;  // this core has the handler

#ifdef EXO_PREEMPTION
  u64 slice = 0;         // ticks; 0: fibers are not preempted
  u64 slice_end = 0;     // of the fiber that runs
  bool volatile armed = false;  // the timer will come at slice_end or before; the handler clears it

  void arm(u64 deadline) noexcept {
    armed = true;
    core().timer_set(deadline);
  }
  /// On the fiber's stack: lets others run.
  void preempt_running() noexcept { leave(*running_); }
#endif

 private:
  static constexpr std::size_t levels = static_cast<std::size_t>(fiber_priority::highest) + 1;
  struct ready_list {
    fiber_state *first = nullptr;
    fiber_state *last = nullptr;
  };

  void post() noexcept {
    posted_ = true;
    run_loop::here().post(*this);
  }

  void run_next() noexcept {
    auto const level = static_cast<std::size_t>(std::bit_width(filled_) - 1);
    ready_list &list = ready_[level];
    fiber_state &next = *list.first;
    list.first = next.next_;
    if (list.first == nullptr) {
      list.last = nullptr;
      filled_ &= ~(1u << level);
    }
    posted_ = false;
    if (filled_ != 0) post();
    run(next);
  }

  void run(fiber_state &fiber) noexcept {
    for (;;) {
      enter(fiber);
      if (fiber.ended_) return resume(fiber.joiner_);
      if (fiber.suspend_ == nullptr) return put(fiber);
      // The awaiter may have resumed the fiber by now, that is put it into the queue again.
      std::coroutine_handle<> then;
      nesting_here.run([&] { then = std::exchange(fiber.suspend_, nullptr)(fiber.awaiter_, fiber.as_handle()); });
      if (then == nullptr) return;
      if (then.address() != &fiber) return resume(then);
    }
  }

  void enter(fiber_state &fiber) noexcept {
    running_ = &fiber;
#ifdef EXO_PREEMPTION
    unpreempted_sections() = fiber.sections_;
    if (slice != 0) {
      slice_end = ticks() + slice;
      // From here on the handler sets the timer again until the fiber is on its stack.
      std::atomic_signal_fence(std::memory_order_seq_cst);
      if (!armed) arm(slice_end);
    }
#endif
    go_to(loop_, fiber.place_);
    running_ = nullptr;
#ifdef EXO_PREEMPTION
    fiber.sections_ = std::exchange(unpreempted_sections(), 0);
#endif
  }

  fiber_state *running_ = nullptr;
  u32 filled_ = 0;  // a bit for each level that has fibers
  bool posted_ = false;
  std::array<ready_list, levels> ready_{};
  stack_place loop_;
};

inline constinit thread_local fiber_queue fibers_here;

inline void fiber_state::make_ready() noexcept { fibers_here.put(*this); }
inline void fiber_state::leave() noexcept { fibers_here.leave(*this); }

inline void fiber_state::begin() noexcept {
  fiber_state &self = *fibers_here.running();
  fibers_here.entered();
  self.run_(self);
  fibers_here.end(self);
}

/// What an awaitable is waited for by.
template <typename Awaitable>
decltype(auto) awaiter_of(Awaitable &&what) noexcept {
  if constexpr (requires { std::forward<Awaitable>(what).operator co_await(); }) {
    return std::forward<Awaitable>(what).operator co_await();
  } else if constexpr (requires { operator co_await(std::forward<Awaitable>(what)); }) {
    return operator co_await(std::forward<Awaitable>(what));
  } else {
    return std::forward<Awaitable>(what);
  }
}

template <typename Awaitable>
using waited_value =
    std::remove_cvref_t<decltype(awaiter_of(std::declval<Awaitable>()).await_resume())>;

/// Starts an awaiter on the loop's stack. What comes next: the fiber itself, another coroutine, or (null) the loop.
template <typename Awaiter>
std::coroutine_handle<> suspend_in(void *what, fiber_state::handle self) noexcept {
  auto &awaiter = *static_cast<Awaiter *>(what);
  using returned = decltype(awaiter.await_suspend(self));
  if constexpr (std::is_void_v<returned>) {
    awaiter.await_suspend(self);
    return nullptr;
  } else if constexpr (std::is_same_v<returned, bool>) {
    return awaiter.await_suspend(self) ? std::coroutine_handle<>() : self;
  } else {
    return awaiter.await_suspend(self);
  }
}

template <typename Awaiter>
decltype(auto) wait_with(Awaiter &&awaiter) {
  fiber_state *const self = fibers_here.running();
  if (self == nullptr) panic("exo::wait was called outside of a fiber; a task writes co_await");
  if (!awaiter.await_ready()) {
    using plain = std::remove_reference_t<Awaiter>;
    self->wait_for(const_cast<std::remove_cv_t<plain> *>(std::addressof(awaiter)), suspend_in<plain>);
  }
  return awaiter.await_resume();
}

}  // namespace detail

/// Waits in a fiber for whatever a task can co_await, and gives what that gives.
/// @core the fiber's; panics outside of a fiber
template <typename Awaitable>
  requires(!std::is_void_v<detail::waited_value<Awaitable>>)
[[nodiscard]] detail::waited_value<Awaitable> wait(Awaitable &&what) {
  return detail::wait_with(detail::awaiter_of(std::forward<Awaitable>(what)));
}
template <typename Awaitable>
  requires std::is_void_v<detail::waited_value<Awaitable>>
void wait(Awaitable &&what) {
  detail::wait_with(detail::awaiter_of(std::forward<Awaitable>(what)));
}

/// Whether this code runs in a fiber, so that it may call exo::wait.
[[nodiscard]] inline bool in_fiber() noexcept { return detail::fibers_here.running() != nullptr; }

/// For a page fault handler: says which fiber's stack is full, if that is what the fault is about.
/// @return  whether it was; the fiber cannot go on
inline bool report_overflow(trap_frame const &state) noexcept {
  detail::fiber_state const *const fiber = detail::fibers_here.running();
  if (fiber == nullptr || !fiber->overflows_at(state.address)) return false;
  print("\nexo16: core {}: the stack of fiber '{}' is full: give it more than {} bytes (fiber_options.stack_bytes)\n",
        local().index, fiber->options.name, fiber->stack_bytes());
  return true;
}

namespace detail {

inline constexpr u32 page_fault_vector = 14;

/// The report of the core follows, since the same instruction faults again.
inline void on_page_fault(trap_frame *state) noexcept {
  report_overflow(*state);
  core().trap_set(page_fault_vector, nullptr);
}

template <typename Function>
class fiber_awaiter : fiber_state {
 public:
  using returned = std::invoke_result_t<Function &>;

  fiber_awaiter(fiber_options const &how, std::span<std::byte> stack, Function &function) noexcept
      : fiber_state(how, stack, [](fiber_state &self) noexcept { static_cast<fiber_awaiter &>(self).call(); }),
        function_(function) {}

  [[nodiscard]] static bool await_ready() noexcept { return false; }
  template <typename Promise>
  void await_suspend(std::coroutine_handle<Promise> parent) noexcept {
    start(parent, parent.promise().cancel);
  }
  [[nodiscard, gnu::warn_unused_result]] flat_result<returned> &&await_resume() noexcept { return *std::move(value_); }

 private:
  void call() noexcept {
    if constexpr (std::is_void_v<returned>) {
      function_();
      value_.emplace();
    } else {
      value_.emplace(function_());
    }
  }

  Function &function_;
  std::optional<flat_result<returned>> value_;
};

}  // namespace detail

/// A task that runs function() on a stack of its own.
///
/// @return         what it returned: T as result<T>, results as they are
/// @error range    how.stack_bytes is less than 8 KiB or more than 1 GiB
/// @error memory   there is no memory for the stack, or for the frame of the task
/// @core  one with a run loop
template <std::invocable Function>
[[nodiscard]] task<detail::flat_result<std::invoke_result_t<Function &>>> fiber(fiber_options how, Function function) {
  result<std::span<std::byte>> const stack = run_loop::here().stacks().take(how.stack_bytes);
  if (!stack) co_return std::unexpected(stack.error());
  if (how.report_overflow && !std::exchange(detail::fibers_here.reports_overflow, true)) {
    core().trap_set(detail::page_fault_vector, detail::on_page_fault);
  }
  detail::fiber_awaiter<Function> running(how, *stack, function);
  auto value = co_await running;
  run_loop::here().stacks().give(*stack);
  co_return value;
}
template <std::invocable Function>
[[nodiscard]] auto fiber(Function function) {
  return fiber(fiber_options{}, std::move(function));
}

}  // namespace exo
