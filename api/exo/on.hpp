// Work on another core's run loop, awaited: `auto sum = co_await exo::on(core_id{1}, [&] { return count(part); })`.
//
// The task that awaits does not go on before the other core is done, so the function may refer to what that task owns.
// Nothing is allocated, and no queue can be full: the request lies in the frame of the task that waits. For messages that
// nobody waits for see try_post.
#pragma once

#include <atomic>
#include <concepts>
#include <coroutine>
#include <optional>
#include <source_location>
#include <type_traits>
#include <utility>

#include "core.hpp"
#include "message.hpp"
#include "nesting.hpp"
#include "result.hpp"
#include "run.hpp"
#include "task.hpp"

namespace exo {

template <typename T>
inline constexpr bool enable_send<result<T>> = enable_send<T>;
template <>
inline constexpr bool enable_send<result<void>> = true;
template <typename T>
inline constexpr bool enable_send<task<T>> = false;  // it stays on its core

namespace detail {

template <typename Function>
class on_awaiter : operation {
 public:
  using returned = std::invoke_result_t<Function &>;
  using value = awaited_result<returned>;
  static_assert(enable_send<value>, "exo::on: what comes back from another core has to own what it holds: see sendable");

  on_awaiter(core_id core, Function function, std::source_location where) noexcept
      : operation([](operation &self) noexcept { static_cast<on_awaiter &>(self).arrive(); }),
        core_(core),
        function_(std::move(function)),
        where_(where) {}

  [[nodiscard]] bool await_ready() const noexcept { return false; }
  bool await_suspend(std::coroutine_handle<> task) noexcept {
    home_ = &run_loop::here();
    run_loop *const there = home_->group().loop_of(core_);
    if (there == nullptr) return false;
    task_ = task;
    there->deliver(*this);
    return true;
  }
  [[nodiscard, gnu::warn_unused_result]] value &&await_resume() noexcept {
    if (!value_) value_.emplace(std::unexpected(error::no_such));
    return *std::move(value_);
  }

 private:
  /// On the other core.
  void arrive() noexcept {
    if constexpr (is_task<returned>) {
      if (result<void> const started = spawn(run_there(*this), where_); !started) {
        value_.emplace(std::unexpected(started.error()));
        go_home();
      }
    } else {
      if constexpr (std::is_void_v<returned>) {
        function_();
        value_.emplace();
      } else {
        value_.emplace(function_());
      }
      go_home();
    }
  }

  static task<void> run_there(on_awaiter &self) {
    if constexpr (std::is_void_v<typename returned::value_type>) {
      co_await self.function_();
      self.value_.emplace();
    } else {
      self.value_.emplace(co_await self.function_());
    }
    self.go_home();
  }

  void go_home() noexcept {
    done = [](operation &self) noexcept { resume(static_cast<on_awaiter &>(self).task_); };
    home_->deliver(*this);
  }

  core_id core_;
  Function function_;
  std::source_location where_;
  run_loop *home_ = nullptr;
  std::coroutine_handle<> task_;
  std::optional<value> value_;
};

template <typename Function>
class on_all_awaiter : operation {
 public:
  explicit on_all_awaiter(Function function) noexcept
      : operation([](operation &self) noexcept { static_cast<on_all_awaiter &>(self).post(); }),
        function_(std::move(function)) {}

  [[nodiscard]] bool await_ready() const noexcept { return false; }
  void await_suspend(std::coroutine_handle<> task) noexcept {
    task_ = task;
    home_ = &run_loop::here();
    post();
  }
  [[nodiscard]] u32 await_resume() const noexcept { return used_; }

 private:
  /// Sends it to every loop; where a ring is full, again in the next turn.
  void post() noexcept {
    for (; next_ < home_->group().cores; ++next_) {
      if (home_->group().loop_of(core_id{next_}) == nullptr || core_id{next_} == home_->core()) continue;
      left_.fetch_add(1, std::memory_order_relaxed);
      if (!try_post(core_id{next_}, [](loan<on_all_awaiter> self) noexcept { self->run(); }, lend(*this))) {
        left_.fetch_sub(1, std::memory_order_relaxed);
        return home_->post(*this);
      }
      ++used_;
    }
    done = [](operation &self) noexcept { resume(static_cast<on_all_awaiter &>(self).task_); };
    ++used_;
    run();
  }

  /// On each core; the last one lets the task go on.
  void run() noexcept {
    function_();
    run_loop &home = *home_;
    if (left_.fetch_sub(1, std::memory_order_acq_rel) == 1) home.deliver(*this);
  }

  Function function_;
  run_loop *home_ = nullptr;
  std::coroutine_handle<> task_;
  u32 next_ = 0;
  u32 used_ = 0;
  std::atomic<u32> left_ = 1;
};

}  // namespace detail

/// Runs function() on the loop of a core, and waits for it. It may return a task, which that core then awaits.
///
/// @return         what it returned: T and task<T> as result<T>, results as they are
/// @error no_such  there is no core of that number, or it has no loop
/// @error memory   there is no memory for the task's frame on that core
/// @core  one with a run loop. Cancelling the task that waits ends nothing here: the other core has its frame
template <std::invocable Function>
[[nodiscard]] auto on(core_id core, Function function,
                      std::source_location where = std::source_location::current()) noexcept {
  return detail::on_awaiter<Function>(core, std::move(function), where);
}

/// Runs function() on all loops at the same time, this core's included, and waits for all; how many those were.
template <std::invocable Function>
  requires std::is_void_v<std::invoke_result_t<Function &>>
[[nodiscard]] auto on_all(Function function) noexcept {
  return detail::on_all_awaiter<Function>(std::move(function));
}

}  // namespace exo
