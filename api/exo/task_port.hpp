// Frames for tasks: a frame_port whose frames and free buffers tasks wait for.
//
//   exo::task_port port(*exo::frame_port::open(…));      // on the core whose tasks use it
//   while (auto got = co_await port.receive([&](exo::net::received_frame const &frame) { … })) …
//   auto const sent = co_await port.send(bytes, [&](std::span<std::byte> frame) { … });
//
// Nothing is copied and no buffer leaves the port: a received frame is looked at, and a frame to be sent is written, in the
// device's own buffer while the task's function runs. So cancelling a wait leaves nothing with the device.
#pragma once

#include <concepts>
#include <coroutine>
#include <cstddef>
#include <span>
#include <type_traits>
#include <utility>

#include "console.hpp"
#include "core.hpp"
#include "frame_port.hpp"
#include "result.hpp"
#include "run.hpp"
#include "task.hpp"

namespace exo {

class task_port : poller {
  class frame_wait;

 public:
  /// Polls the port in this core's loop from now on.
  /// @core one with a run loop: the one whose tasks use it, and that destroys it
  explicit task_port(frame_port port) noexcept : poller(calls_of_this), port_(std::move(port)) {
    run_loop::here().add(static_cast<poller &>(*this));
  }
  task_port(task_port const &) = delete;
  task_port &operator=(task_port const &) = delete;
  ~task_port() {
    if (!receivers_.empty() || !senders_.empty()) panic("a task_port goes while tasks wait for it: join them first");
    run_loop::here().remove(static_cast<poller &>(*this));
  }

  /// Waits until frames have come and calls consume(net::received_frame) for each, 32 at most; how many it was. Of several
  /// tasks that wait the first gets them.
  /// @error cancelled  the task was cancelled first
  template <std::invocable<net::received_frame> Consume>
  [[nodiscard]] auto receive(Consume consume) noexcept {
    return receive_awaiter<Consume>(*this, std::move(consume));
  }

  /// Waits for a free buffer and lets fill(std::span<std::byte>) write a frame of `bytes`, which is sent in this turn.
  /// @error range      it is longer than MTU and header
  /// @error cancelled  the task was cancelled first; fill was not called
  template <std::invocable<std::span<std::byte>> Fill>
  [[nodiscard]] auto send(std::size_t bytes, Fill fill) noexcept {
    return send_awaiter<Fill>(*this, bytes, std::move(fill));
  }

  [[nodiscard]] net::mac_address mac() const noexcept { return port_.mac(); }
  [[nodiscard]] std::size_t mtu() const noexcept { return port_.mtu(); }
  /// The port itself, for what does not wait.
  [[nodiscard]] frame_port &port() noexcept { return port_; }

 private:
  /// Who waits for frames or for a buffer.
  class frame_wait : public detail::waiter {
   public:
    frame_wait(task_port &port, operation_list &list, bool (*attempt)(frame_wait &)) noexcept
        : waiter([](cancel_hook &hook) noexcept { static_cast<frame_wait &>(static_cast<waiter &>(hook)).give_up(); }),
          port_(port),
          list_(list),
          attempt_(attempt) {}

    [[nodiscard]] static bool await_ready() noexcept { return false; }
    template <typename Promise>
    bool await_suspend(std::coroutine_handle<Promise> task) noexcept {
      if (outcome_ && !begin(task)) outcome_ = std::unexpected(error::cancelled);
      if (!outcome_) return false;
      list_.push(*this);
      return true;
    }
    [[nodiscard, gnu::warn_unused_result]] result<std::size_t> &&await_resume() noexcept { return std::move(outcome_); }

    [[nodiscard]] bool attempt() { return attempt_(*this); }

   protected:
    task_port &port_;
    result<std::size_t> outcome_ = 0;

   private:
    void give_up() noexcept {
      list_.remove(*this);
      outcome_ = std::unexpected(error::cancelled);
      run_loop::here().post(*this);
    }

    operation_list &list_;
    bool (*attempt_)(frame_wait &self);
  };

  template <typename Consume>
  class receive_awaiter : public frame_wait {
   public:
    receive_awaiter(task_port &port, Consume consume) noexcept
        : frame_wait(port, port.receivers_,
                     [](frame_wait &self) {
                       auto &mine = static_cast<receive_awaiter &>(self);
                       mine.outcome_ = mine.port_.port_.try_receive(mine.consume_);
                       return *mine.outcome_ != 0;
                     }),
          consume_(std::move(consume)) {}

   private:
    Consume consume_;
  };

  template <typename Fill>
  class send_awaiter : public frame_wait {
   public:
    send_awaiter(task_port &port, std::size_t bytes, Fill fill) noexcept
        : frame_wait(port, port.senders_,
                     [](frame_wait &self) {
                       auto &mine = static_cast<send_awaiter &>(self);
                       return mine.port_.port_.try_send(mine.bytes_, mine.fill_);
                     }),
          bytes_(bytes),
          fill_(std::move(fill)) {
      if (bytes > port.mtu() + net::ethernet_header_bytes) this->outcome_ = std::unexpected(error::range);
    }
    [[nodiscard, gnu::warn_unused_result]] result<void> &&await_resume() noexcept {
      if (!this->outcome_) sent_ = std::unexpected(this->outcome_.error());
      return std::move(sent_);
    }

   private:
    result<void> sent_;
    std::size_t bytes_;
    Fill fill_;
  };

  static functions const calls_of_this;

  u32 poll() {
    u32 const moved = serve(receivers_) + serve(senders_);
    port_.flush();
    return moved;
  }

  static u32 serve(operation_list &list) {
    u32 served = 0;
    for (; !list.empty() && static_cast<frame_wait &>(*list.first()).attempt(); ++served) {
      auto &done = static_cast<frame_wait &>(list.pop());
      done.cancel_hook::remove();  // or a cancellation before its turn would post it twice
      run_loop::here().post(done);
    }
    return served;
  }

  [[nodiscard]] result<bool> arm() noexcept {
    if (receivers_.empty() && senders_.empty()) return false;
    // Frames that nobody waits for yet would keep the core awake.
    result<bool> const pending = port_.arm(!senders_.empty());
    if (pending && *pending && receivers_.empty()) return std::unexpected(error::unsupported);
    return pending;
  }

  frame_port port_;
  operation_list receivers_;
  operation_list senders_;
};

inline constexpr poller::functions task_port::calls_of_this{
    .poll = [](poller &self) noexcept { return static_cast<task_port &>(self).poll(); },
    .arm = [](poller &self) noexcept { return static_cast<task_port &>(self).arm(); }};

}  // namespace exo
