// Disks for tasks: any number of operations at a time, each awaited where it is begun.
//
//   exo::task_disk disk(*opened.take_queue());          // on the core whose tasks use it
//   auto const got = co_await disk.read(exo::lba{7}, buffer);
//
// An operation lies in the frame of the task that waits. What the queue has no room for waits in the order of arrival; all
// that came in a turn of the loop goes to the device at once, with one doorbell. The device has the buffer until the wait is
// over: cancelling, a deadline too, ends the wait of an operation that the device does not have yet at once, and that of any
// other when the device is done with it, or was reset because it did nothing for as long as the queue's patience.
#pragma once

#include <algorithm>
#include <array>
#include <coroutine>
#include <cstddef>
#include <span>
#include <utility>

#include "console.hpp"
#include "core.hpp"
#include "disk.hpp"
#include "result.hpp"
#include "run.hpp"
#include "task.hpp"

namespace exo {

/// @tparam Queue  disk_queue, or that of a driver in a header
template <operation_queue Queue = disk_queue>
class task_disk : poller {
  class awaiter;

 public:
  /// Polls the queue in this core's loop from now on.
  /// @core one with a run loop: the one whose tasks use it, and that destroys it
  explicit task_disk(Queue queue) noexcept : poller(calls_of_this), queue_(std::move(queue)) {
    run_loop::here().add(static_cast<poller &>(*this));
  }
  task_disk(task_disk const &) = delete;
  task_disk &operator=(task_disk const &) = delete;
  /// Panics if tasks still wait: the device would write to what is theirs no longer.
  ~task_disk() {
    if (in_flight_ != nullptr || !waiting_.empty()) panic("a task_disk goes while tasks wait for it: join them first");
    run_loop::here().remove(static_cast<poller &>(*this));
  }

  /// Reads whole blocks.
  ///
  /// @param into        unchanged by others, and there, until the wait is over
  /// @error range       no whole blocks, outside the disk, or more than record().bytes_max; or the memory is not aligned as
  ///                    record().address_mask says
  /// @error io          the device reported an error
  /// @error cancelled   the task was cancelled before the device had the operation
  /// @error timeout     the disk was stuck and has been reset: what a write left on it is not known
  /// @error closed      it was stuck, and does not open again: see keeps_buffers()
  [[nodiscard]] auto read(lba first, std::span<std::byte> into) noexcept { return awaiter(*this, read_op(first, into, 0)); }
  /// Writes whole blocks; parameters and errors as of read(). They last after flush().
  [[nodiscard]] auto write(lba first, std::span<std::byte const> from) noexcept {
    return awaiter(*this, write_op(first, from, 0));
  }
  /// Makes all writes whose waits are over last. A disk without a write cache has nothing to do.
  [[nodiscard]] auto flush() noexcept { return awaiter(*this, flush_op(0)); }

  [[nodiscard]] disk_record const &record() const noexcept { return queue_.record(); }
  /// Whether the device could not be stopped after it was stuck: buffers of operations that ended with closed are not to be
  /// used again.
  [[nodiscard]] bool keeps_buffers() const noexcept { return keeps_buffers_; }

 private:
  static constexpr std::size_t batch_most = 32;

  class awaiter : detail::waiter {
   public:
    awaiter(task_disk &disk, disk_op const &what) noexcept
        : waiter([](cancel_hook &hook) noexcept { static_cast<awaiter &>(static_cast<waiter &>(hook)).give_up(); }),
          disk_(disk),
          what_(what) {}

    [[nodiscard]] bool await_ready() noexcept {
      outcome_ = disk_.check(what_);
      return !outcome_ || (what_.kind == disk_flush && (disk_.record().features & disk_write_cache) == 0);
    }
    template <typename Promise>
    bool await_suspend(std::coroutine_handle<Promise> task) noexcept {
      if (!begin(task)) {
        outcome_ = std::unexpected(error::cancelled);
        return false;
      }
      what_.cookie = reinterpret_cast<u64>(this);
      disk_.waiting_.push(*this);
      return true;
    }
    [[nodiscard, gnu::warn_unused_result]] result<void> &&await_resume() noexcept { return std::move(outcome_); }

   private:
    friend class task_disk;

    void give_up() noexcept {
      if (submitted_) return;
      disk_.waiting_.remove(*this);
      end(std::unexpected(error::cancelled));
    }

    void end(result<void> outcome) noexcept {
      cancel_hook::remove();  // or a cancellation before its turn would post it twice
      outcome_ = outcome;
      run_loop::here().post(*this);
    }

    void link() noexcept {
      submitted_ = true;
      before_ = &disk_.in_flight_;
      after_ = std::exchange(disk_.in_flight_, this);
      if (after_ != nullptr) after_->before_ = &after_;
    }
    void unlink() noexcept {
      *before_ = after_;
      if (after_ != nullptr) after_->before_ = before_;
    }

    task_disk &disk_;
    disk_op what_;
    result<void> outcome_;
    bool submitted_ = false;
    awaiter *after_ = nullptr;    // of those in flight
    awaiter **before_ = nullptr;
  };

  static functions const calls_of_this;

  [[nodiscard]] result<void> check(disk_op const &what) const noexcept {
    if (closed_) return std::unexpected(error::closed);
    if (what.kind == disk_flush) return {};
    disk_record const &disk = record();
    bool const whole = what.bytes != 0 && what.bytes % disk.block_bytes == 0 && what.bytes <= disk.bytes_max;
    bool const inside = what.block <= disk.blocks && what.bytes / disk.block_bytes <= disk.blocks - what.block;
    if (!whole || !inside || (what.address & disk.address_mask) != 0) return std::unexpected(error::range);
    return {};
  }

  u32 poll() noexcept { return submit() + reap(); }

  /// Gives the device what waits, as far as it has room.
  u32 submit() noexcept {
    u32 moved = 0;
    std::size_t most = batch_most;
    while (!waiting_.empty()) {
      std::array<disk_op, batch_most> batch;
      std::size_t count = 0;
      for (operation *each = waiting_.first(); each != nullptr && count < most; each = each->next) {
        batch[count++] = static_cast<awaiter &>(*each).what_;
      }
      result<std::size_t> const taken = queue_.try_submit(std::span(batch).first(count));
      if (!taken) {
        if (lost(taken.error()) || taken.error() == error::busy) break;
        most = 1;  // one of them is refused: which, is seen one by one
        if (count > 1) continue;
        static_cast<awaiter &>(waiting_.pop()).end(std::unexpected(taken.error()));
        ++moved;
        continue;
      }
      for (std::size_t each = 0; each < *taken; ++each) static_cast<awaiter &>(waiting_.pop()).link();
      moved += static_cast<u32>(*taken);
      if (*taken < count) break;
    }
    return moved;
  }

  u32 reap() noexcept {
    if (in_flight_ == nullptr) return 0;
    std::array<completion, batch_most> finished;
    result<std::size_t> const count = queue_.try_reap(finished);
    if (!count) {
      lost(count.error());
      return 0;
    }
    for (completion const &each : std::span(finished).first(*count)) {
      auto &ended = *reinterpret_cast<awaiter *>(each.cookie);
      ended.unlink();
      ended.end(outcome_of(ended.what_, each));
    }
    return static_cast<u32>(*count);
  }

  /// Whether an error is about the disk itself. Then all that it had is over; and if it is gone, all that waits.
  bool lost(error why) noexcept {
    if (why != error::timeout && why != error::closed && why != error::io) return false;
    closed_ = why != error::timeout;
    keeps_buffers_ = keeps_buffers_ || why == error::io;
    error const told = closed_ ? error::closed : error::timeout;
    while (in_flight_ != nullptr) {
      awaiter &each = *in_flight_;
      each.unlink();
      each.end(std::unexpected(told));
    }
    while (closed_ && !waiting_.empty()) static_cast<awaiter &>(waiting_.pop()).end(std::unexpected(told));
    return true;
  }

  [[nodiscard]] result<bool> arm() noexcept {
    if (in_flight_ == nullptr && waiting_.empty()) return false;
    return queue_.arm();
  }

  [[nodiscard]] u64 deadline() const noexcept {
    if constexpr (requires { queue_.deadline(); }) return queue_.deadline();
    return no_deadline;
  }

  Queue queue_;
  operation_list waiting_;
  awaiter *in_flight_ = nullptr;
  bool closed_ = false;
  bool keeps_buffers_ = false;
};

template <operation_queue Queue>
inline constexpr poller::functions task_disk<Queue>::calls_of_this{
    .poll = [](poller &self) noexcept { return static_cast<task_disk &>(self).poll(); },
    .arm = [](poller &self) noexcept { return static_cast<task_disk &>(self).arm(); },
    .deadline = [](poller const &self) noexcept { return static_cast<task_disk const &>(self).deadline(); }};

}  // namespace exo
