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
#include "nesting.hpp"
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

/// Starts a task, in whose outcome `ended` is set already.
template <typename T>
void start(task<T> &what, outcome<T> &to, cancel_source *cancel) noexcept {
  nesting_here.run([&] {
    if (auto const frame = begin(what, to, cancel)) {
      frame.resume();
    } else {
      nesting_here.next(to.ended(to));
    }
  });
}

/// Starts all tasks and waits for all. With Any, the first that ends cancels the others.
template <bool Any, typename... Ts>
class joint_awaiter {
  using all_values = std::tuple<value_or_nothing<Ts>...>;

 public:
  using value = std::conditional_t<Any, first_of<value_or_nothing<Ts>...>, all_values>;

  explicit joint_awaiter(task<Ts>... tasks) noexcept : children_(child<Ts>{std::move(tasks), {}}...) {}
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
    std::apply([&](auto &...each) noexcept { (start_one(each, cancel), ...); }, children_);
    return --left_ != 0;
  }

  // As a reference, so that it is noticed if it is not used: see task_awaiter.
  [[nodiscard, gnu::warn_unused_result]] value &&await_resume() noexcept {
    std::apply([this](auto &...each) noexcept { take_all(each.outcome...); }, children_);
    return *std::move(value_);
  }
  /// Of tasks that return nothing, all that is known is that they have ended.
  value await_resume() noexcept
    requires(!Any && (std::is_void_v<Ts> && ...))
  {
    return {};
  }

 private:
  template <typename T>
  struct child {
    task<T> what;
    detail::outcome<T> outcome;
  };

  template <typename T>
  void start_one(child<T> &each, cancel_source *cancel) noexcept {
    each.outcome.ended = ended;
    each.outcome.context = this;
    start(each.what, each.outcome, cancel);
  }

  static std::coroutine_handle<> ended(outcome_base &which) noexcept {
    joint_awaiter &self = *static_cast<joint_awaiter *>(which.context);
    if (self.first_ == nullptr) {
      self.first_ = &which;
      if constexpr (Any) self.source_.request();
    }
    return --self.left_ == 0 ? self.parent_ : nullptr;
  }

  void take_all(outcome<Ts> &...each) noexcept {
    if constexpr (Any) {
      std::size_t first = 0;
      (void)((&each == first_ || (++first, false)) || ...);
      value_.emplace(first, all_values(*std::move(each.value)...));
    } else {
      value_.emplace(*std::move(each.value)...);
    }
  }

  std::tuple<child<Ts>...> children_;
  outcome_base *first_ = nullptr;
  std::size_t left_ = sizeof...(Ts) + 1;  // one for await_suspend itself
  std::coroutine_handle<> parent_;
  std::optional<value> value_;
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

  [[nodiscard]] bool await_ready() const noexcept { return false; }

  template <typename Promise>
  bool await_suspend(std::coroutine_handle<Promise> parent) noexcept {
    source_.follow(parent.promise().cancel);
    if (deadline <= ticks()) {
      come();
    } else {
      run_loop::here().add(static_cast<timer_node &>(*this));
    }
    outcome_.ended = ended;
    outcome_.context = this;
    start(what_, outcome_, &source_);
    if (outcome_.value) return false;
    parent_ = parent;
    return true;
  }

  [[nodiscard, gnu::warn_unused_result]] T &&await_resume() noexcept {
    T &value = *outcome_.value;
    if (late_ && !value && value.error() == error::cancelled) value = std::unexpected(error::timeout);
    return std::move(value);
  }

 private:
  void come() noexcept {
    late_ = true;
    source_.request();
  }

  static std::coroutine_handle<> ended(outcome_base &outcome) noexcept {
    timeout_awaiter &self = *static_cast<timeout_awaiter *>(outcome.context);
    run_loop::here().remove(static_cast<timer_node &>(self));
    return self.parent_;
  }

  task<T> what_;
  outcome<T> outcome_;
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
  scope() noexcept {
    nothing_.ended = outcome_.ended = ended;
    nothing_.context = outcome_.context = this;
  }
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
    if constexpr (std::is_void_v<T>) {
      detail::start(what, nothing_, &source_);
    } else {
      detail::start(what, outcome_, &source_);
    }
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
      outcome = std::exchange(self.outcome_.value, std::nullopt).value_or(result<void>());
      return std::move(outcome);
    }
  };

  static std::coroutine_handle<> ended(detail::outcome_base &which) noexcept {
    scope &self = *static_cast<scope *>(which.context);
    if (self.outcome_.value && !*self.outcome_.value) self.source_.request();
    return --self.running_ == 0 ? self.parent_ : nullptr;
  }

  std::size_t running_ = 0;
  std::coroutine_handle<> parent_;
  detail::outcome<void> nothing_;          // of all children that return nothing
  detail::outcome<result<void>> outcome_;  // of all others
  cancel_source source_;
};

}  // namespace exo
