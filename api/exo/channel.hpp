// Channels: bounded queues between cores that can be waited for and closed. Who needs neither takes a ring.
#pragma once

#include <atomic>
#include <cstddef>
#include <optional>
#include <utility>

#include "core.hpp"
#include "result.hpp"
#include "ring.hpp"
#include "sync.hpp"

namespace exo {

/// A bounded queue with an end.
///
/// A core that waits here halts until the other side has done something. Tasks wait with exo::send and exo::receive of
/// task_channel.hpp.
///
/// @tparam Capacity  elements it holds; a power of two
/// @tparam Ring      mpmc_ring for any cores on both sides, spsc_ring for one on each
template <typename T, std::size_t Capacity, template <typename, std::size_t> typename Ring = mpmc_ring>
class channel {
 public:
  using value_type = T;

  channel() = default;
  channel(channel const &) = delete;
  channel &operator=(channel const &) = delete;

  /// Appends a value; never waits.
  ///
  /// @error full    there is no room; value is unchanged
  /// @error closed  close() was called; likewise
  [[nodiscard]] result<void> try_send(T &&value) noexcept {
    if (closed_.load(std::memory_order_relaxed)) return std::unexpected(error::closed);
    if (!ring_.try_push(std::move(value))) return std::unexpected(error::full);
    if (receivers_.has_waiters()) receivers_.release();
    return {};
  }
  [[nodiscard]] result<void> try_send(T const &value) noexcept {
    T copy = value;
    return try_send(std::move(copy));
  }

  /// Takes the oldest value; never waits.
  ///
  /// @error empty   there is none now
  /// @error closed  there is none, and there will be none
  [[nodiscard]] result<T> try_receive() noexcept {
    bool const last = closed_.load(std::memory_order_acquire);
    std::optional<T> value = ring_.try_pop();
    if (!value) return std::unexpected(last ? error::closed : error::empty);
    if (senders_.has_waiters()) senders_.release();
    return *std::move(value);
  }

  /// Waits for room and appends a value.
  /// @error closed  close() was called
  [[nodiscard]] result<void> send(T value) noexcept {
    for (;;) {
      result<void> sent = try_send(std::move(value));
      if (sent || sent.error() != error::full) return sent;
      detail::core_place mine;
      (void)senders_.join(mine);  // these lists are never closed
      sent = try_send(std::move(value));
      if (sent || sent.error() != error::full) senders_.release();
      mine.wait();
      if (sent || sent.error() != error::full) return sent;
    }
  }

  /// Waits for a value and takes it.
  /// @error closed  there is none, and there will be none
  [[nodiscard]] result<T> receive() noexcept {
    for (;;) {
      result<T> value = try_receive();
      if (value || value.error() != error::empty) return value;
      detail::core_place mine;
      (void)receivers_.join(mine);
      value = try_receive();
      if (value || value.error() != error::empty) receivers_.release();
      mine.wait();
      if (value || value.error() != error::empty) return value;
    }
  }

  /// Nothing more will be sent: what is in the channel can still be received.
  /// @core any, when no send is under way; a value that is sent meanwhile may be lost
  void close() noexcept {
    closed_.store(true, std::memory_order_release);
    if (receivers_.has_waiters()) receivers_.release();
    if (senders_.has_waiters()) senders_.release();
  }

  /// Where tasks wait; see task_channel.hpp.
  [[nodiscard]] detail::wait_list &senders() noexcept { return senders_; }
  [[nodiscard]] detail::wait_list &receivers() noexcept { return receivers_; }

 private:
  Ring<T, Capacity> ring_;
  std::atomic<bool> closed_ = false;
  detail::wait_list senders_;    // for room
  detail::wait_list receivers_;  // for a value
};

template <typename T, std::size_t Capacity>
using spsc_channel = channel<T, Capacity, spsc_ring>;

}  // namespace exo
