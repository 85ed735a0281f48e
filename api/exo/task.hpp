// Coroutines on a core's run loop.
//
//   exo::task<exo::result<u64>> total(source &from) {      // a task starts when it is awaited
//     auto first = co_await read(from);                    // what is awaited may fail: a result
//     if (!first) co_return std::unexpected(first.error());
//     co_return *first + co_await count(from);
//   }
//
// The awaiter is the operation: it lies in the frame of the task that waits, and nothing else is allocated. Frames come
// from free lists of the core; a task<result<T>> whose frame cannot be had ends with error::memory, a task<T> panics.
// A task stays on its core.
//
// What does not compile: a task that is made and not awaited, a result that was awaited, alone or with others, and is not
// used (to drop one, write `std::ignore = co_await …`; both with -Werror=unused-result, as the run script has it), a
// coroutine lambda with captures (they would go before the coroutine does), and coroutine parameters that may refer to
// temporaries (const & and &&). What is caught when it runs: a scope that is left before its children.
//
// What is awaited lives until the end of its expression: `auto value = co_await …`, not `auto &&value`.
#pragma once

#include <concepts>
#include <coroutine>
#include <cstddef>
#include <memory>
#include <optional>
#include <source_location>
#include <tuple>
#include <type_traits>
#include <utility>
#include <variant>

#include "cancel.hpp"
#include "console.hpp"
#include "core.hpp"
#include "nesting.hpp"
#include "preemption.hpp"
#include "result.hpp"
#include "run.hpp"
#include "time.hpp"

namespace exo {

template <typename T = void>
class task;

namespace detail {

template <typename T>
inline constexpr bool is_result = false;
template <typename T>
inline constexpr bool is_result<result<T>> = true;

/// T, or what a result<T> holds: results do not nest.
template <typename T>
struct flat {
  using type = result<T>;
};
template <typename T>
struct flat<result<T>> {
  using type = result<T>;
};
template <typename T>
using flat_result = typename flat<T>::type;

/// Where a task brings its value, in the memory of who waits for it.
struct outcome_base {
  /// Says what comes next when the task has ended, if anything does. Null as long as who awaits it has not been suspended,
  /// but is below it on the stack.
  std::coroutine_handle<> (*ended)(outcome_base &self) noexcept = nullptr;
  void *context;  // for ended, set with it
};

template <typename T>
using value_or_nothing = std::conditional_t<std::is_void_v<T>, std::monostate, T>;

template <typename T>
struct outcome : outcome_base {
  std::optional<value_or_nothing<T>> value;  // none before the end
};

struct promise_base {
  outcome_base *outcome;  // both are set when the task is started
  cancel_source *cancel;  // of who awaits it; null: nobody can cancel

  static std::suspend_always initial_suspend() noexcept { return {}; }
  /// The frame goes now, and what comes next is resumed when it is gone.
  [[nodiscard]] std::suspend_never final_suspend() const noexcept {
    if (outcome->ended != nullptr) nesting_here.next(outcome->ended(*outcome));
    return {};
  }
  [[noreturn]] static void unhandled_exception() noexcept { panic("an exception left a task"); }

  static void *operator new(std::size_t bytes) noexcept {
    unpreempted const section;
    return run_loop::here().frames().take(bytes);
  }
  static void operator delete(void *frame, std::size_t bytes) noexcept {
    unpreempted const section;
    run_loop::here().frames().give(frame, bytes);
  }
};

template <typename T>
struct promise_value : promise_base {
  void return_value(T what) noexcept {
    auto &value = static_cast<detail::outcome<T> &>(*outcome).value;
    if constexpr (std::same_as<T, result<void>>) {
      if (value && !*value) return;  // the children of a scope have one place for all, where the first error stays
    }
    value.emplace(std::move(what));
  }
};
template <>
struct promise_value<void> : promise_base {
  void return_void() noexcept { static_cast<detail::outcome<void> &>(*outcome).value.emplace(); }
};

template <typename T>
struct task_promise;

/// What becomes a task. GCC makes a task of another type only when the frame is complete, so that a register holds its
/// address until then.
template <typename T>
struct made_frame {
  std::coroutine_handle<task_promise<T>> frame;
};

template <typename T>
struct task_promise : promise_value<T> {
  made_frame<T> get_return_object() noexcept {
    auto const frame = std::coroutine_handle<task_promise>::from_promise(*this);
    // GCC 12 lays out the frame of a coroutine that begins with `if (co_await …)` so that no handle fits it.
    if (reinterpret_cast<u64>(frame.address()) % frame_pool::unit != 0) {
      panic("the compiler misplaced a task's promise: give what is awaited in its first `if` a name before");
    }
    return {frame};
  }
  static made_frame<T> get_return_object_on_allocation_failure() noexcept { return {nullptr}; }
};

/// Parameters of a coroutine that stay valid as long as it runs.
template <typename Parameter>
inline constexpr bool outlives_call =
    !std::is_rvalue_reference_v<Parameter> &&
    !(std::is_lvalue_reference_v<Parameter> && std::is_const_v<std::remove_reference_t<Parameter>>);

/// The promise of a coroutine whose first parameter is a reference to an object, which may be a closure: one with captures
/// would be gone while the coroutine runs. The body is compiled when the closure's type is complete. It adds nothing, so
/// that its frames are those of task_promise.
template <typename T, typename Object, typename... Parameters>
struct member_promise : task_promise<T> {
  member_promise() noexcept {
    if constexpr (std::is_invocable_r_v<task<T>, Object, Parameters...>) {
      static_assert(std::is_empty_v<std::remove_cvref_t<Object>>,
                    "exo::task: a coroutine lambda may have no captures, they are gone before it ends; give it parameters");
    }
  }
};

template <typename T, typename... Parameters>
struct promise_for {
  using type = task_promise<T>;
};
template <typename T, typename Object, typename... Parameters>
  requires std::is_class_v<Object>
struct promise_for<T, Object &, Parameters...> {
  using type = member_promise<T, Object &, Parameters...>;
  static_assert(sizeof(type) == sizeof(task_promise<T>) && alignof(type) == alignof(task_promise<T>));
};

/// The first one may be the object of a member function.
template <typename... Parameters>
inline constexpr bool all_outlive_call = true;
template <typename First, typename... Rest>
inline constexpr bool all_outlive_call<First, Rest...> =
    (outlives_call<First> ||
     (std::is_lvalue_reference_v<First> && std::is_class_v<std::remove_reference_t<First>>)) &&
    (outlives_call<Rest> && ...);

template <typename T>
class task_awaiter;

}  // namespace detail

/// A coroutine that runs when it is awaited, and whose frame this owns until then.
template <typename T>
class [[nodiscard("a task that is not awaited does nothing")]] task {
 public:
  using value_type = T;
  using promise_type = detail::task_promise<T>;
  using handle = std::coroutine_handle<promise_type>;

  task(detail::made_frame<T> made) noexcept : frame_(made.frame) {}
  task(task &&other) noexcept : frame_(std::exchange(other.frame_, nullptr)) {}
  task &operator=(task &&) = delete;
  ~task() {
    if (frame_) frame_.destroy();
  }

  /// Awaiting a task that was made by a call: `co_await work()`, or `co_await std::move(made)`.
  [[nodiscard]] auto operator co_await() && noexcept { return detail::task_awaiter<T>(*this); }

  /// The frame until the task is started, null if there was no memory for one.
  [[nodiscard]] handle frame() const noexcept { return frame_; }
  /// For who starts it, see detail::begin: it owns itself from then on.
  [[nodiscard]] handle release() noexcept { return std::exchange(frame_, nullptr); }

 private:
  handle frame_;
};

namespace detail {

template <typename T>
inline constexpr bool is_task = false;
template <typename T>
inline constexpr bool is_task<task<T>> = true;

/// What awaiting the call of a function gives, as a result.
template <typename T>
struct awaited {
  using type = flat_result<T>;
};
template <typename T>
struct awaited<task<T>> {
  using type = flat_result<T>;
};
template <typename T>
using awaited_result = typename awaited<T>::type;

/// Takes a task's frame and says where its value goes. Null if it has none; then that is the value, or a panic.
template <typename T>
std::coroutine_handle<task_promise<T>> begin(task<T> &what, outcome<T> &to, cancel_source *cancel) noexcept {
  auto const frame = what.release();
  if (!frame) {
    if constexpr (is_result<T>) {
      to.value.emplace(std::unexpect, error::memory);
    } else {
      panic("no memory is left for the frame of a task; make it a task<result<...>> to handle that");
    }
    return nullptr;
  }
  frame.promise().outcome = &to;
  frame.promise().cancel = cancel;
  return frame;
}

/// Awaits a child. It runs on the stack of who awaits it, who is not suspended if the child ends without waiting.
template <typename T>
class child_awaiter {
 public:
  explicit child_awaiter(task<T> &what) noexcept : what_(what) {}

  [[nodiscard]] static bool await_ready() noexcept { return false; }
  template <typename Promise>
  bool await_suspend(std::coroutine_handle<Promise> parent) noexcept {
    auto const frame = begin(what_, outcome_, parent.promise().cancel);
    if (!frame) return false;
    if (nesting_here.has_room()) {
      frame.resume();
      if (outcome_.value) return false;
    } else {
      nesting_here.next(frame);
    }
    outcome_.context = parent.address();
    outcome_.ended = [](outcome_base &self) noexcept { return std::coroutine_handle<>::from_address(self.context); };
    return true;
  }

 protected:
  outcome<T> outcome_;

 private:
  task<T> &what_;
};
template <typename T>
class task_awaiter : public child_awaiter<T> {
 public:
  using child_awaiter<T>::child_awaiter;
  [[nodiscard]] T await_resume() noexcept {
    if constexpr (!std::is_void_v<T>) return *std::move(this->outcome_.value);
  }
};
/// Awaiters of results return references into themselves, which live until the end of the expression, because GCC 12 says
/// that a result is not used only where a call returns no class.
template <typename T>
class task_awaiter<result<T>> : public child_awaiter<result<T>> {
 public:
  using child_awaiter<result<T>>::child_awaiter;
  [[nodiscard, gnu::warn_unused_result]] result<T> &&await_resume() noexcept { return *std::move(this->outcome_.value); }
};

/// What an awaiter that may wait has in common: the task that waits, its loop, and its hook for cancellation.
class waiter : public operation, public cancel_hook {
 public:
  explicit waiter(void (*cancelled)(cancel_hook &) noexcept) noexcept
      : operation([](operation &self) noexcept { static_cast<waiter &>(self).resume(); }), cancel_hook(cancelled) {}

  /// Notes who waits; false if it is cancelled already.
  template <typename Promise>
  [[nodiscard]] bool begin(std::coroutine_handle<Promise> task) noexcept {
    task_ = task;
    cancel_source *const cancel = task.promise().cancel;
    if (cancel == nullptr) return true;
    if (cancel->requested()) return false;
    cancel->add(*this);
    return true;
  }

  void resume() noexcept {
    cancel_hook::remove();
    detail::resume(task_);
  }

 private:
  std::coroutine_handle<> task_;
};

class delay_awaiter : waiter, timer_node {
 public:
  explicit delay_awaiter(u64 when) noexcept
      : waiter([](cancel_hook &hook) noexcept { static_cast<delay_awaiter &>(static_cast<waiter &>(hook)).give_up(); }),
        timer_node([](timer_node &timer) noexcept { static_cast<delay_awaiter &>(timer).resume(); }) {
    deadline = when;
  }

  [[nodiscard]] bool await_ready() const noexcept { return false; }
  template <typename Promise>
  bool await_suspend(std::coroutine_handle<Promise> task) noexcept {
    if (!begin(task)) {
      outcome_ = std::unexpected(error::cancelled);
      return false;
    }
    if (deadline <= ticks()) {
      cancel_hook::remove();
      return false;
    }
    run_loop::here().add(static_cast<timer_node &>(*this));
    return true;
  }
  [[nodiscard, gnu::warn_unused_result]] result<void> &&await_resume() noexcept { return std::move(outcome_); }

 private:
  void give_up() noexcept {
    outcome_ = std::unexpected(error::cancelled);
    run_loop::here().remove(static_cast<timer_node &>(*this));
    run_loop::here().post(*this);
  }

  result<void> outcome_;
};

struct cancelled_awaiter {
  bool requested = false;
  [[nodiscard]] bool await_ready() const noexcept { return false; }
  template <typename Promise>
  bool await_suspend(std::coroutine_handle<Promise> task) noexcept {
    cancel_source const *const cancel = task.promise().cancel;
    requested = cancel != nullptr && cancel->requested();
    return false;
  }
  [[nodiscard]] bool await_resume() const noexcept { return requested; }
};

class yield_awaiter : operation {
 public:
  yield_awaiter() noexcept
      : operation([](operation &self) noexcept { detail::resume(static_cast<yield_awaiter &>(self).task_); }) {}
  [[nodiscard]] bool await_ready() const noexcept { return false; }
  void await_suspend(std::coroutine_handle<> task) noexcept {
    task_ = task;
    run_loop::here().post(*this);
  }
  void await_resume() const noexcept {}

 private:
  std::coroutine_handle<> task_;
};

}  // namespace detail

/// Waits until a TSC deadline; one in the past has come already.
/// @error cancelled  the task was cancelled first
[[nodiscard]] inline detail::delay_awaiter delay_until(u64 deadline) noexcept { return detail::delay_awaiter(deadline); }
/// Waits for at least so long, while the core runs other tasks; not at all for less than nothing.
[[nodiscard]] inline detail::delay_awaiter delay(clock::duration wait) noexcept {
  return detail::delay_awaiter(deadline_in(wait));
}

/// Lets everything else that is ready run first.
[[nodiscard]] inline detail::yield_awaiter yield() noexcept { return {}; }

/// Whether the task that asks is cancelled: `if (co_await exo::cancelled()) …`. For tasks that work long without waiting.
[[nodiscard]] inline auto cancelled() noexcept {
  return detail::cancelled_awaiter{};
}

namespace detail {

/// A task that nobody awaits but its loop. Its frame goes when it has ended.
struct root_coroutine {
  struct promise_type : promise_base, root_task {
    promise_type() noexcept {
      cancel = &source;
      root_task::stop = [](root_task &self) noexcept { static_cast<promise_type &>(self).source.request(); };
    }
    ~promise_type() {
      if (link != nullptr) run_loop::here().remove(static_cast<root_task &>(*this));
    }
    cancel_source source;

    root_coroutine get_return_object() noexcept { return {std::coroutine_handle<promise_type>::from_promise(*this)}; }
    static root_coroutine get_return_object_on_allocation_failure() noexcept { return {nullptr}; }
    static std::suspend_never final_suspend() noexcept { return {}; }
    static void return_void() noexcept {}
  };
  std::coroutine_handle<promise_type> frame;
};

inline root_coroutine run_root(task<void> what) { co_await std::move(what); }

}  // namespace detail

/// Starts a task on this core that nothing waits for: a service. It is cancelled when the loops end, and then has as long
/// as run_options.patience.
///
/// @error memory  there is no memory for its frame, or for that of the one that runs it
/// @core  one with a run loop
[[nodiscard]] inline result<void> spawn(task<void> what,
                                        std::source_location where = std::source_location::current()) noexcept {
  if (!what.frame()) return std::unexpected(error::memory);
  unpreempted const section;  // the task may begin on a fiber's stack
  detail::root_coroutine const root = detail::run_root(std::move(what));
  if (!root.frame) return std::unexpected(error::memory);
  root.frame.promise().where = where;
  run_loop::here().add(static_cast<detail::root_task &>(root.frame.promise()));
  detail::resume(root.frame);
  return {};
}

namespace detail {

template <typename T>
task<void> run_main(task<T> main, std::optional<flat_result<T>> &outcome) {
  if constexpr (std::is_void_v<T>) {
    co_await std::move(main);
    outcome.emplace();
  } else {
    outcome.emplace(co_await std::move(main));
  }
  run_loop::here().group().stop();
}

}  // namespace detail

/// Starts a run loop on this core and on the idle ones, awaits the task that function() makes here, and ends the loops.
///
/// @return          what the task returned
/// @error range     options.cores is 0, or options.message_depth no power of two
/// @error busy      this core has a run loop already
/// @error memory    there are not enough pages for the loops, or for the first frames
/// @error timeout   a task or a core did not end in options.patience after the end of the first task; a line on the
///                  console says which. What it may still use is kept for good
/// @core  any       @heap  pages
template <std::invocable Function>
  requires detail::is_task<std::invoke_result_t<Function>>
[[nodiscard]] auto run(run_options const &options, Function function,
                       std::source_location where = std::source_location::current()) noexcept {
  using value = typename std::invoke_result_t<Function>::value_type;
  using outcome_type = detail::flat_result<value>;
  result<detail::loop_group *> const group = detail::loop_group::make(options);
  if (!group) return outcome_type(std::unexpected(group.error()));
  std::optional<outcome_type> outcome;
  run_loop &loop = (*group)->start(options.cores);
  if (result<void> const started = spawn(detail::run_main<value>(function(), outcome), where); !started) {
    outcome.emplace(std::unexpected(started.error()));
    (*group)->stop();
  }
  loop.run();
  result<void> const ended = (*group)->end();
  if (!ended) return outcome_type(std::unexpected(ended.error()));
  return *std::move(outcome);
}
template <std::invocable Function>
  requires detail::is_task<std::invoke_result_t<Function>>
[[nodiscard]] auto run(Function function, std::source_location where = std::source_location::current()) noexcept {
  return run(run_options{}, std::move(function), where);
}

}  // namespace exo

/// Tasks whose parameters may be gone before they are do not compile.
template <typename T, typename... Parameters>
struct std::coroutine_traits<exo::task<T>, Parameters...> {
  static_assert(exo::detail::all_outlive_call<Parameters...>,
                "exo::task: a coroutine's parameters may be no T const & or T &&, which can refer to what is gone before it "
                "ends; pass values, or T & for what outlives it");
  using promise_type = typename exo::detail::promise_for<T, Parameters...>::type;
};
