// Several tasks at once, on one core: all of them, the first of them, one with a time limit, or any number in a scope.
// Whatever is started is also joined: nothing goes on when the wait for it is over.
#pragma once

#include <array>
#include <coroutine>
#include <cstddef>
#include <source_location>
#include <tuple>
#include <type_traits>
#include <utility>
#include <variant>

#include "cancel.hpp"
#include "console.hpp"
#include "core.hpp"
#include "preemption.hpp"
#include "result.hpp"
#include "run.hpp"
#include "task.hpp"
#include "time.hpp"

namespace exo {

/// What when_any gives: which task was the first to end, and what all returned; the others were cancelled.
template <typename... Values>
struct first_of {
  std::size_t first;
  std::tuple<Values...> values;
};

namespace detail {

template <typename T>
using value_or_nothing = std::conditional_t<std::is_void_v<T>, std::monostate, T>;

template <typename T>
value_or_nothing<T> joined_value(task<T> const &ended) noexcept {
  if constexpr (std::is_void_v<T>) {
    task_value<T>(ended.frame());
    return {};
  } else {
    return task_value<T>(ended.frame());
  }
}

/// Starts all tasks and waits for all. With Any, the first that ends cancels the others.
template <bool Any, typename... Ts>
class joint_awaiter {
 public:
  explicit joint_awaiter(task<Ts>... tasks) noexcept : tasks_(std::move(tasks)...) {}
  joint_awaiter(joint_awaiter const &) = delete;
  joint_awaiter &operator=(joint_awaiter const &) = delete;

  [[nodiscard]] bool await_ready() const noexcept { return false; }

  template <typename Promise>
  bool await_suspend(std::coroutine_handle<Promise> parent) noexcept {
    parent_ = parent;
    cancel_source *cancel = parent.promise().cancel;
    if constexpr (Any) {
      source_.follow(cancel);
      cancel = &source_;
    }
    std::apply([&](auto &...each) noexcept { (start_one(each, cancel), ...); }, tasks_);
    return --left_ != 0;
  }

  [[nodiscard]] auto await_resume() noexcept {
    auto values = std::apply([](auto &...each) noexcept { return std::tuple(joined_value(each)...); }, tasks_);
    if constexpr (Any) {
      return first_of<value_or_nothing<Ts>...>{first_, std::move(values)};
    } else {
      return values;
    }
  }

 private:
  static constexpr std::size_t none = sizeof...(Ts);

  template <typename T>
  void start_one(task<T> &each, cancel_source *cancel) noexcept {
    std::size_t const number = next_++;
    if (each.frame()) frames_[number] = &each.frame().promise();
    if (!start(each, ended, this, cancel)) (void)ended_one(number);
  }

  static std::coroutine_handle<> ended(promise_base &promise) noexcept {
    joint_awaiter &self = *static_cast<joint_awaiter *>(promise.context);
    std::size_t number = 0;
    while (self.frames_[number] != &promise) ++number;
    return self.ended_one(number) ? self.parent_ : std::noop_coroutine();
  }

  /// True for the last one.
  bool ended_one(std::size_t number) noexcept {
    if (first_ == none) {
      first_ = number;
      if constexpr (Any) source_.request();
    }
    return --left_ == 0;
  }

  std::tuple<task<Ts>...> tasks_;
  std::array<promise_base *, sizeof...(Ts)> frames_{};
  std::size_t next_ = 0;
  std::size_t first_ = none;
  std::size_t left_ = sizeof...(Ts) + 1;  // one for await_suspend itself
  std::coroutine_handle<> parent_;
  [[no_unique_address]] std::conditional_t<Any, cancel_source, std::monostate> source_;
};

template <typename T>
class timeout_awaiter : timer_node {
 public:
  timeout_awaiter(u64 when, task<T> what) noexcept
      : timer_node([](timer_node &timer) noexcept { static_cast<timeout_awaiter &>(timer).come(); }),
        what_(std::move(what)) {
    deadline = when;
  }

  [[nodiscard]] bool await_ready() const noexcept { return !what_.frame(); }

  template <typename Promise>
  bool await_suspend(std::coroutine_handle<Promise> parent) noexcept {
    source_.follow(parent.promise().cancel);
    if (deadline <= ticks()) {
      come();
    } else {
      run_loop::here().add(static_cast<timer_node &>(*this));
    }
    start(what_, ended, this, &source_);
    if (what_.frame().done()) return false;
    parent_ = parent;
    return true;
  }

  [[nodiscard, gnu::warn_unused_result]] T &&await_resume() noexcept {
    if (!what_.frame()) return std::move(without_frame<T>.value);
    T &value = *what_.frame().promise().value;
    if (late_ && !value && value.error() == error::cancelled) value = std::unexpected(error::timeout);
    return std::move(value);
  }

 private:
  void come() noexcept {
    late_ = true;
    source_.request();
  }

  static std::coroutine_handle<> ended(promise_base &promise) noexcept {
    timeout_awaiter &self = *static_cast<timeout_awaiter *>(promise.context);
    run_loop::here().remove(static_cast<timer_node &>(self));
    return self.parent_ ? self.parent_ : std::noop_coroutine();
  }

  task<T> what_;
  bool late_ = false;
  std::coroutine_handle<> parent_;
  cancel_source source_;
};

}  // namespace detail

/// Runs tasks at once and waits for all: `auto [a, b] = co_await when_all(one(), two())`. A task<void> gives monostate.
template <typename... Ts>
[[nodiscard]] auto when_all(task<Ts>... tasks) noexcept {
  return detail::joint_awaiter<false, Ts...>(std::move(tasks)...);
}

/// Runs tasks at once until one has ended, cancels the others, and waits for them too.
template <typename... Ts>
  requires(sizeof...(Ts) > 0)
[[nodiscard]] auto when_any(task<Ts>... tasks) noexcept {
  return detail::joint_awaiter<true, Ts...>(std::move(tasks)...);
}

/// Runs a task and cancels it at a TSC deadline; with one in the past, before it starts. Ends when the task has.
/// @error timeout  it was cancelled for that, and said so; a task that got its value all the same returns that
template <typename T>
[[nodiscard]] auto with_deadline(u64 deadline, task<result<T>> what) noexcept {
  return detail::timeout_awaiter<result<T>>(deadline, std::move(what));
}
template <typename T>
[[nodiscard]] auto with_timeout(clock::duration wait, task<result<T>> what) noexcept {
  return with_deadline(deadline_in(wait), std::move(what));
}

/// Tasks that run at once and are joined together: any number of them, spawned at any time.
///
///   exo::scope children;
///   for (job &each : jobs) if (!children.spawn(work(each))) break;
///   exo::result<void> const all = co_await children.join();
///
/// The first that fails cancels the others. A scope that goes while children run panics: they would use what goes with it.
class scope {
 public:
  scope() = default;
  scope(scope const &) = delete;
  scope &operator=(scope const &) = delete;
  ~scope() {
    if (running_ != 0) panic("a scope is left while {} of its tasks run: co_await its join() first", running_);
  }

  /// Starts a task, which runs until it waits for the first time.
  /// @error memory  its frame could not be had
  template <typename T>
    requires(std::is_void_v<T> || std::same_as<T, result<void>>)
  [[nodiscard]] result<void> spawn(task<T> what) noexcept {
    if (!what.frame()) return std::unexpected(error::memory);
    unpreempted const section;  // the task may begin on a fiber's stack
    ++running_;
    auto const frame = what.release();
    detail::promise_base &promise = frame.promise();
    promise.finish = ended<T>;
    promise.context = this;
    promise.cancel = &source_;
    frame.resume();
    return {};
  }

  /// Makes the tasks' waits end with error::cancelled.
  void cancel() noexcept { source_.request(); }
  [[nodiscard]] std::size_t running() const noexcept { return running_; }

  /// Waits for all; gives the first error of a child. Cancelling the task that waits cancels the children.
  [[nodiscard]] auto join() noexcept { return join_awaiter{*this}; }

 private:
  struct join_awaiter {
    scope &self;
    result<void> outcome = {};
    [[nodiscard]] bool await_ready() const noexcept { return self.running_ == 0; }
    template <typename Promise>
    bool await_suspend(std::coroutine_handle<Promise> parent) noexcept {
      self.source_.follow(parent.promise().cancel);
      self.parent_ = parent;
      return true;
    }
    [[nodiscard, gnu::warn_unused_result]] result<void> &&await_resume() noexcept {
      self.parent_ = nullptr;
      outcome = std::exchange(self.outcome_, {});
      return std::move(outcome);
    }
  };

  template <typename T>
  static std::coroutine_handle<> ended(detail::promise_base &promise) noexcept {
    scope &self = *static_cast<scope *>(promise.context);
    auto &child = static_cast<detail::task_promise<T> &>(promise);
    if constexpr (!std::is_void_v<T>) {
      if (!*child.value && self.outcome_) {
        self.outcome_ = *child.value;
        self.source_.request();
      }
    }
    std::coroutine_handle<detail::task_promise<T>>::from_promise(child).destroy();
    return --self.running_ == 0 && self.parent_ ? self.parent_ : std::noop_coroutine();
  }

  std::size_t running_ = 0;
  std::coroutine_handle<> parent_;
  result<void> outcome_;
  cancel_source source_;
};

}  // namespace exo
