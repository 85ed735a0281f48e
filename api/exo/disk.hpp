// Disks: queues of operations in flight, and a block device on top that waits.
//
// The device reads and writes the program's memory in place: a buffer belongs to it from submit() until its cookie
// comes back from reap(), and must lie in identity-mapped RAM, as all memory of this program's allocators does.
#pragma once

#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>
#include <optional>
#include <span>
#include <utility>

#include "block.hpp"
#include "core.hpp"
#include "memory.hpp"
#include "result.hpp"
#include "time.hpp"

namespace exo {

/// A disk's number, 0 to info().disks.size() - 1.
enum class disk_id : u32 {};

/// An operation that reads blocks into memory. The cookie comes back with the completion.
[[nodiscard]] inline disk_op read_op(lba first, std::span<std::byte> into, u64 cookie) noexcept {
  return {.address = reinterpret_cast<u64>(into.data()), .cookie = cookie,
          .bytes = static_cast<u32>(into.size()), .flags = 0, .kind = disk_read, .reserved = 0, .block = number(first)};
}

/// An operation that writes blocks from memory.
[[nodiscard]] inline disk_op write_op(lba first, std::span<std::byte const> from, u64 cookie) noexcept {
  return {.address = reinterpret_cast<u64>(from.data()), .cookie = cookie,
          .bytes = static_cast<u32>(from.size()), .flags = 0, .kind = disk_write, .reserved = 0, .block = number(first)};
}

/// An operation that makes all writes completed before it last.
[[nodiscard]] inline disk_op flush_op(u64 cookie) noexcept {
  return {.address = 0, .cookie = cookie, .bytes = 0, .flags = 0, .kind = disk_flush, .reserved = 0, .block = 0};
}

/// One queue of an open disk, for one core at a time. Nothing here waits.
class disk_queue {
 public:
  disk_queue(disk_queue &&other) noexcept
      : record_(std::exchange(other.record_, nullptr)), disk_(other.disk_), queue_(other.queue_) {}
  disk_queue &operator=(disk_queue &&other) noexcept {
    record_ = std::exchange(other.record_, nullptr);
    disk_ = other.disk_;
    queue_ = other.queue_;
    return *this;
  }

  /// Queues operations and rings the doorbell once.
  ///
  /// @return       how many entries were taken, from the front; 0 when the queue is full
  /// @error range  an entry is outside the disk or no multiple of its blocks; none was taken
  /// @error closed the disk was closed
  /// @core         the queue's owner      @heap none
  [[nodiscard]] result<std::size_t> try_submit(std::span<disk_op const> operations) noexcept {
    if (record_ == nullptr) return std::unexpected(error::closed);
    return checked(core().disk_submit(disk_, queue_, operations.data(), static_cast<u32>(operations.size())));
  }

  /// Takes finished operations, in any order; returns how many entries of out were filled.
  [[nodiscard]] result<std::size_t> try_reap(std::span<completion> out) noexcept {
    if (record_ == nullptr) return std::unexpected(error::closed);
    return checked(core().disk_reap(disk_, queue_, out.data(), static_cast<u32>(out.size())));
  }

  /// Makes the next completion wake this core once; true if something is finished already.
  /// @error unsupported  the disk has no interrupts: poll
  [[nodiscard]] result<bool> arm() noexcept {
    if (record_ == nullptr) return std::unexpected(error::closed);
    result<u64> const pending = checked(core().disk_arm(disk_, queue_));
    if (!pending) return std::unexpected(pending.error());
    return *pending != 0;
  }

  [[nodiscard]] disk_record const &record() const noexcept { return *record_; }

 private:
  friend class disk;
  disk_queue(disk_record const &record, u32 disk, u32 queue) noexcept : record_(&record), disk_(disk), queue_(queue) {}

  disk_record const *record_;  // null when moved from
  u32 disk_;
  u32 queue_;
};

/// An open disk. It must outlive its queues; when it goes the disk is reset and all buffers are the program's again.
class disk {
 public:
  disk(disk &&other) noexcept
      : record_(std::exchange(other.record_, nullptr)),
        id_(other.id_),
        queues_(other.queues_),
        taken_(other.taken_),
        memory_(std::move(other.memory_)) {}
  disk &operator=(disk &&other) noexcept {
    disk moved(std::move(other));
    std::swap(record_, moved.record_);
    std::swap(id_, moved.id_);
    std::swap(queues_, moved.queues_);
    std::swap(taken_, moved.taken_);
    memory_.swap(moved.memory_);
    return *this;
  }
  ~disk() {
    if (record_ != nullptr) core().disk_close(static_cast<u32>(id_));
  }

  /// Opens a disk.
  ///
  /// @param queues   how many, 1 to the disk's queue_max
  /// @param depth    operations in flight per queue; cut to the disk's depth_max
  /// @error no_such  there is no disk of that number
  /// @error range    the disk has fewer queues, or depth is no power of two
  /// @error memory   too little RAM for the queues
  /// @error busy     the disk is open already
  [[nodiscard]] static result<disk> open(disk_id id, u32 queues = 1, u32 depth = 128) noexcept {
    if (static_cast<u32>(id) >= info().disks.size()) return std::unexpected(error::no_such);
    disk_record const &record = info().disks[static_cast<u32>(id)];
    if (queues == 0 || queues > record.queue_max) return std::unexpected(error::range);
    u32 const cut = std::min(depth, record.depth_max);
    result<pages> memory = pages::take(std::max<u64>(u64{queues} * cut * record.depth_bytes, 1));
    if (!memory) return std::unexpected(memory.error());
    result<void> const opened =
        done(core().disk_open(static_cast<u32>(id), queues, cut, memory->data(), memory->size()));
    if (!opened) return std::unexpected(opened.error());
    return disk(record, id, queues, std::move(*memory));
  }

  /// Hands out the queues one by one; each belongs to who got it.
  /// @error no_such  all are handed out
  [[nodiscard]] result<disk_queue> take_queue() noexcept {
    if (taken_ == queues_) return std::unexpected(error::no_such);
    return disk_queue(*record_, static_cast<u32>(id_), taken_++);
  }

  [[nodiscard]] u32 block_bytes() const noexcept { return record_->block_bytes; }
  [[nodiscard]] u64 blocks() const noexcept { return record_->blocks; }
  [[nodiscard]] bool read_only() const noexcept { return (record_->features & disk_read_only) != 0; }

 private:
  disk(disk_record const &record, disk_id id, u32 queues, pages memory) noexcept
      : record_(&record), id_(id), queues_(queues), memory_(std::move(memory)) {}

  disk_record const *record_;  // null when moved from
  disk_id id_;
  u32 queues_;
  u32 taken_ = 0;
  pages memory_;
};

/// What takes operations and gives their completions back, without waiting: disk_queue, and drivers in headers.
///
/// record       what the disk is
/// try_submit   how many entries were taken, from the front
/// try_reap     how many entries of out were filled
/// arm          the next completion wakes this core; true if there is one already; unsupported: poll
template <typename Queue>
concept operation_queue =
    requires(Queue &queue, Queue const &same, std::span<disk_op const> operations, std::span<completion> out) {
      { same.record() } noexcept -> std::same_as<disk_record const &>;
      { queue.try_submit(operations) } noexcept -> std::same_as<result<std::size_t>>;
      { queue.try_reap(out) } noexcept -> std::same_as<result<std::size_t>>;
      { queue.arm() } noexcept -> std::same_as<result<bool>>;
    };
static_assert(operation_queue<disk_queue>);

/// A block device over one queue: each call waits for all of its operations, many of which are in flight at once.
///
/// A device that completes nothing for the patience given is given up: error timeout, then and ever after, because it
/// may still use the buffer. Close the disk before using that buffer again.
template <operation_queue Queue>
class queue_blocks {
 public:
  static constexpr u64 piece_bytes = 64 * 1024;  // of one operation

  explicit queue_blocks(Queue queue, clock::duration patience = std::chrono::seconds(10)) noexcept
      : queue_(std::move(queue)), patience_(patience) {}

  [[nodiscard]] u32 block_bytes() const noexcept { return queue_.record().block_bytes; }
  [[nodiscard]] u64 blocks() const noexcept { return queue_.record().blocks; }

  /// Reads whole blocks.
  /// @error range    no whole blocks, or outside the disk
  /// @error io       the device reported an error for some block
  /// @error timeout  see above
  [[nodiscard]] result<void> read(lba first, std::span<std::byte> into) noexcept {
    return transfer(disk_read, first, reinterpret_cast<u64>(into.data()), into.size());
  }

  /// Writes whole blocks; errors as of read. They last after flush().
  [[nodiscard]] result<void> write(lba first, std::span<std::byte const> from) noexcept {
    return transfer(disk_write, first, reinterpret_cast<u64>(from.data()), from.size());
  }

  /// Makes all writes before it last. A disk without a write cache has nothing to do.
  [[nodiscard]] result<void> flush() noexcept {
    if ((queue_.record().features & disk_write_cache) == 0) return {};
    disk_op const operation = flush_op(0);
    return run([&](u64 done_entries) { return done_entries == 0 ? std::optional(operation) : std::nullopt; });
  }

 private:
  result<void> transfer(u8 kind, lba first, u64 address, u64 bytes) noexcept {
    u64 const unit = block_bytes();
    if (bytes % unit != 0 || number(first) > blocks() || bytes / unit > blocks() - number(first)) {
      return std::unexpected(error::range);
    }
    u64 const piece = std::max(piece_bytes, unit);
    return run([=](u64 entry) -> std::optional<disk_op> {
      u64 const at = entry * piece;
      if (at >= bytes) return std::nullopt;
      return disk_op{.address = address + at, .cookie = entry,
                     .bytes = static_cast<u32>(std::min(piece, bytes - at)), .flags = 0, .kind = kind, .reserved = 0,
                     .block = number(first) + at / unit};
    });
  }

  /// Runs operations make(0), make(1), … until it makes no more; after an error only what is in flight is awaited.
  template <typename Make>
  result<void> run(Make make) noexcept {
    if (gave_up_) return std::unexpected(error::timeout);
    result<void> outcome;
    u64 sent = 0;
    u64 in_flight = 0;
    u64 deadline = deadline_in(patience_);
    for (;;) {
      std::array<disk_op, 16> batch;
      std::size_t count = 0;
      while (outcome && count < batch.size()) {
        std::optional<disk_op> const next = make(sent + count);
        if (!next) break;
        batch[count++] = *next;
      }
      std::size_t taken = 0;
      if (count != 0) {
        result<std::size_t> const submitted = queue_.try_submit(std::span(batch).first(count));
        if (submitted) {
          taken = *submitted;
        } else {
          outcome = std::unexpected(submitted.error());
        }
      }
      sent += taken;
      in_flight += taken;
      if (in_flight == 0 && (count == 0 || !outcome)) return outcome;

      std::array<completion, 16> finished;
      result<std::size_t> const reaped = queue_.try_reap(finished);
      if (!reaped) return std::unexpected(reaped.error());
      for (completion const &each : std::span(finished).first(*reaped)) {
        if (each.status < 0 && outcome) outcome = std::unexpected(static_cast<error>(-each.status));
      }
      in_flight -= *reaped;
      if (taken != 0 || *reaped != 0) {
        deadline = deadline_in(patience_);
      } else if (ticks() >= deadline) {
        gave_up_ = true;
        return std::unexpected(error::timeout);
      } else {
        wait(deadline);
      }
    }
  }

  void wait(u64 deadline) noexcept {
    result<bool> const pending = queue_.arm();
    if (!pending) {
      pause();
    } else if (!*pending) {
      core().core_idle(deadline);
    }
  }

  Queue queue_;
  clock::duration patience_;
  bool gave_up_ = false;
};
using disk_blocks = queue_blocks<disk_queue>;
static_assert(block_device<disk_blocks>);

}  // namespace exo
