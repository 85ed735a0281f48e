// Channels for tasks: a task that waits for room or for a value leaves its core to others.
//
//   exo::channel<order, 64> orders;                                        // between any cores
//   if (auto const sent = co_await exo::send(orders, std::move(one)); !sent) co_return …;
//   while (auto got = co_await exo::receive(orders)) work(*got);           // until it is closed and empty
//
// The same channel also takes cores that wait with channel::send and channel::receive.
#pragma once

#include <coroutine>
#include <optional>
#include <utility>

#include "channel.hpp"
#include "core.hpp"
#include "result.hpp"
#include "run.hpp"
#include "sync.hpp"
#include "task.hpp"

namespace exo {

namespace detail {

/// A task's place on a wait list, which another core may let go. `Derived` has try_once(), true when there is an outcome,
/// and list().
template <typename Derived>
class channel_awaiter : waiter, wait_list::place {
 public:
  channel_awaiter() noexcept
      : waiter([](cancel_hook &hook) noexcept { self_of(static_cast<waiter &>(hook)).give_up(); }),
        place([](wait_list::place &mine) noexcept {
          auto &self = static_cast<channel_awaiter &>(mine);
          self.home_->deliver(self);
        }) {
    done = [](operation &mine) noexcept { self_of(static_cast<waiter &>(mine)).come(); };
  }

  [[nodiscard]] bool await_ready() noexcept { return false; }

  template <typename Promise>
  bool await_suspend(std::coroutine_handle<Promise> task) noexcept {
    home_ = &run_loop::here();
    if (!begin(task)) {
      cancelled_ = true;
      return false;
    }
    if (!derived().try_once()) {
      join();
      return true;
    }
    cancel_hook::remove();
    return false;
  }

 protected:
  [[nodiscard]] bool is_cancelled() const noexcept { return cancelled_; }

 private:
  static channel_awaiter &self_of(waiter &mine) noexcept { return static_cast<channel_awaiter &>(mine); }
  Derived &derived() noexcept { return static_cast<Derived &>(*this); }

  /// Goes on the list, and tries once more: what came in between has let nobody go. If that succeeds, the place is still to
  /// be let go before the task can go on.
  void join() noexcept {
    (void)derived().list().join(*this);  // these lists are never closed
    tried_ = derived().try_once();
    if (tried_) derived().list().release();
  }

  /// On the task's core, when its place was let go.
  void come() noexcept {
    if (tried_ || cancelled_ || derived().try_once()) return resume();
    join();
  }

  /// One place cannot be taken off the list, so all are let go; the others come again.
  void give_up() noexcept {
    cancelled_ = !tried_;
    derived().list().release();
  }

  run_loop *home_ = nullptr;
  bool tried_ = false;  // with an outcome
  bool cancelled_ = false;
};

template <typename Channel>
class send_awaiter : public channel_awaiter<send_awaiter<Channel>> {
 public:
  send_awaiter(Channel &to, typename Channel::value_type &&value) noexcept : channel_(to), value_(std::move(value)) {}

  [[nodiscard, gnu::warn_unused_result]] result<void> &&await_resume() noexcept {
    if (this->is_cancelled()) outcome_ = std::unexpected(error::cancelled);
    return std::move(outcome_);
  }

 private:
  friend class channel_awaiter<send_awaiter>;
  wait_list &list() noexcept { return channel_.senders(); }
  bool try_once() noexcept {
    outcome_ = channel_.try_send(std::move(value_));
    return outcome_ || outcome_.error() != error::full;
  }

  Channel &channel_;
  typename Channel::value_type value_;
  result<void> outcome_;
};

template <typename Channel>
class receive_awaiter : public channel_awaiter<receive_awaiter<Channel>> {
 public:
  explicit receive_awaiter(Channel &from) noexcept : channel_(from) {}

  [[nodiscard, gnu::warn_unused_result]] result<typename Channel::value_type> &&await_resume() noexcept {
    if (this->is_cancelled()) outcome_.emplace(std::unexpected(error::cancelled));
    return *std::move(outcome_);
  }

 private:
  friend class channel_awaiter<receive_awaiter>;
  wait_list &list() noexcept { return channel_.receivers(); }
  bool try_once() noexcept {
    outcome_.emplace(channel_.try_receive());
    return *outcome_ || outcome_->error() != error::empty;
  }

  Channel &channel_;
  std::optional<result<typename Channel::value_type>> outcome_;
};

}  // namespace detail

/// Waits for room in a channel and appends a value.
/// @error closed     close() was called
/// @error cancelled  the task was cancelled first; the value is gone
/// @core  one with a run loop
template <typename T, std::size_t Capacity, template <typename, std::size_t> typename Ring>
[[nodiscard]] auto send(channel<T, Capacity, Ring> &to, std::type_identity_t<T> value) noexcept {
  return detail::send_awaiter<channel<T, Capacity, Ring>>(to, std::move(value));
}

/// Waits for a value in a channel and takes it.
/// @error closed     there is none, and there will be none
/// @error cancelled  the task was cancelled first
/// @core  one with a run loop
template <typename T, std::size_t Capacity, template <typename, std::size_t> typename Ring>
[[nodiscard]] auto receive(channel<T, Capacity, Ring> &from) noexcept {
  return detail::receive_awaiter<channel<T, Capacity, Ring>>(from);
}

}  // namespace exo
