// Disks: queues of operations in flight, and a block device on top that waits.
//
// The device reads and writes the program's memory in place: a buffer belongs to it from submit() until its cookie
// comes back from reap(), and must lie in identity-mapped RAM, as all memory of this program's allocators does.
#pragma once

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <new>
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

/// How an operation of one entry ended.
///
/// @error io  the disk did not do it, or says that it did and has read fewer bytes than were asked for
[[nodiscard]] inline result<void> outcome_of(disk_op const &operation, completion const &finished) noexcept {
  if (finished.status == 0 && operation.kind == disk_read && finished.bytes < operation.bytes) return std::unexpected(error::io);
  return done(finished.status);
}

namespace detail {

/// What a disk and its queues share: where they agree that the disk is stuck, and when to reset it.
///
/// A queue that waits in vain makes the epoch odd. Each queue that is in use sees that at its next call and leaves; the
/// last one to leave closes and opens the disk, since no core may use a queue meanwhile, and makes the epoch even again.
struct disk_state {
  u32 disk;
  u32 queues;
  u32 depth;
  std::span<std::byte> memory;
  std::atomic<u32> epoch = 0;
  std::atomic<u32> used = 0;  // queues
  std::atomic<u32> left = 0;  // of those
  bool unsafe = false;        // the disk may still write to memory that it had
  bool broken = false;        // it could not be opened again

  void reset_if_all_left() noexcept {
    u32 all = used.load();
    if ((epoch.load() & 1) == 0 || !left.compare_exchange_strong(all, 0)) return;
    unsafe = core().disk_close(disk) == -static_cast<i64>(error::timeout);
    broken = unsafe || core().disk_open(disk, queues, depth, memory.data(), memory.size()) != 0;
    epoch.fetch_add(1);
  }
};

}  // namespace detail

/// What a disk's queue has counted.
struct disk_counters {
  u64 finished = 0;  ///< operations, with or without an error
  u64 resets = 0;    ///< of the disk, in which what was in flight was given up
};

/// One queue of an open disk, for one core at a time. Nothing here waits.
///
/// Each operation has a deadline: a queue that has some in flight, of which none finishes for as long as its patience, makes
/// the disk stuck. So does a single one while others go on: a queue that was never empty for as long as its patience takes no
/// more until it is, and has once more as long for that.
/// A stuck disk is reset (closed and opened), and all that was in flight comes back at once, with one error `timeout` from
/// each queue: the buffers are the program's again, and what a write left on the disk is not known.
/// A disk of several queues is reset as soon as the owner of each has called try_submit or try_reap, or destroyed it;
/// until then they give error `busy`.
class disk_queue {
 public:
  static constexpr clock::duration default_patience = std::chrono::seconds(10);

  disk_queue(disk_queue &&other) noexcept { take(other); }
  disk_queue &operator=(disk_queue &&other) noexcept {
    if (this != &other) {
      quit();
      take(other);
    }
    return *this;
  }
  ~disk_queue() { quit(); }

  /// Queues operations and rings the doorbell once.
  ///
  /// @return        how many entries were taken, from the front; 0 when the queue is full, or is to become empty first
  /// @error range   an entry is outside the disk or no multiple of its blocks; none was taken
  /// @error timeout, busy, closed, io  as of try_reap; none was taken
  /// @core          the queue's owner      @heap none
  [[nodiscard]] result<std::size_t> try_submit(std::span<disk_op const> operations) noexcept {
    if (state_ == nullptr) return std::unexpected(error::closed);
    if (state_->epoch.load(std::memory_order_acquire) != epoch_) [[unlikely]] return std::unexpected(leave());
    if (drains_) [[unlikely]] return 0;
    result<std::size_t> const taken =
        checked(core().disk_submit(state_->disk, queue_, operations.data(), static_cast<u32>(operations.size())));
    if (taken && *taken != 0) {
      if (in_flight_ == 0) drain_at_ = deadline_ = deadline_after(ticks());
      in_flight_ += operations_in(operations.first(*taken));
    }
    return taken;
  }

  /// Takes finished operations, in any order; returns how many entries of out were filled.
  ///
  /// @error timeout  the disk was stuck and has been reset: all that was in flight is given up, the queue is empty
  /// @error busy     the disk is stuck, and other queues have yet to leave it: it may still use the buffers. Call again
  /// @error closed   the disk was stuck, and does not open again; the buffers are the program's
  /// @error io       the disk was stuck, and does not close either: it may still use the buffers, so never use them again
  [[nodiscard]] result<std::size_t> try_reap(std::span<completion> out) noexcept {
    if (state_ == nullptr) return std::unexpected(error::closed);
    if (state_->epoch.load(std::memory_order_acquire) != epoch_) [[unlikely]] return std::unexpected(leave());
    result<std::size_t> const taken =
        checked(core().disk_reap(state_->disk, queue_, out.data(), static_cast<u32>(out.size())));
    if (taken && *taken != 0) {
      in_flight_ -= static_cast<u32>(*taken);
      counters_.finished += *taken;
      expect_more();
    } else if (in_flight_ != 0 && ticks() >= deadline_) [[unlikely]] {
      u32 even = epoch_;
      state_->epoch.compare_exchange_strong(even, epoch_ + 1);
      return std::unexpected(leave());
    }
    return taken;
  }

  /// Makes the next completion wake this core once; true if something is finished already.
  /// @error unsupported  the disk has no interrupts: poll
  [[nodiscard]] result<bool> arm() noexcept {
    if (state_ == nullptr) return std::unexpected(error::closed);
    result<u64> const pending = checked(core().disk_arm(state_->disk, queue_));
    if (!pending) return std::unexpected(pending.error());
    return *pending != 0;
  }

  /// Sets how long operations may be in flight without one that finishes, and a single one twice; 10 s if it is not called.
  void be_patient(clock::duration patience) noexcept {
    patience_ = clock::ticks_in(patience);
    drain_at_ = deadline_ = deadline_after(ticks());
  }

  /// The TSC deadline of what is in flight, for core_idle; no_deadline if there is nothing.
  [[nodiscard]] u64 deadline() const noexcept { return in_flight_ == 0 ? no_deadline : deadline_; }

  [[nodiscard]] disk_record const &record() const noexcept { return info().disks[state_->disk]; }
  [[nodiscard]] disk_counters const &counters() const noexcept { return counters_; }

 private:
  friend class disk;
  disk_queue(detail::disk_state &state, u32 queue) noexcept
      : state_(&state), queue_(queue), epoch_(state.epoch.load() & ~1u), patience_(clock::ticks_in(default_patience)) {
    state.used.fetch_add(1);
  }

  void take(disk_queue &other) noexcept {
    state_ = std::exchange(other.state_, nullptr);
    queue_ = other.queue_;
    epoch_ = other.epoch_;
    left_ = other.left_;
    in_flight_ = other.in_flight_;
    counters_ = other.counters_;
    patience_ = other.patience_;
    deadline_ = other.deadline_;
    drain_at_ = other.drain_at_;
    drains_ = other.drains_;
  }

  [[nodiscard]] u64 deadline_after(u64 now) const noexcept {
    u64 sum;
    return __builtin_add_overflow(now, patience_, &sum) ? no_deadline : sum;
  }

  /// Some have finished: when the next one has to, and whether all have to first.
  void expect_more() noexcept {
    if (in_flight_ == 0) {
      drains_ = false;
    } else if (!drains_) {
      u64 const now = ticks();
      deadline_ = deadline_after(now);
      drains_ = now >= drain_at_;
    }
  }

  /// How many operations entries are. Looks at eight at a time, since nearly all operations are of one.
  static u32 operations_in(std::span<disk_op const> entries) noexcept {
    u8 flags = 0;
    disk_op const *each = entries.data(), *const end = each + entries.size();
    for (; end - each >= 8; each += 8) {
      flags |= each[0].flags | each[1].flags | each[2].flags | each[3].flags;
      flags |= each[4].flags | each[5].flags | each[6].flags | each[7].flags;
    }
    for (; each != end; ++each) flags |= each->flags;
    if (flags == 0) [[likely]] return static_cast<u32>(entries.size());
    return static_cast<u32>(std::ranges::count_if(entries, [](disk_op const &one) { return (one.flags & disk_more) == 0; }));
  }

  /// Takes part in the reset of a stuck disk; what to return until it is done, and once then.
  [[gnu::noinline, gnu::cold]] error leave() noexcept {
    u32 const stuck = epoch_ + 1;
    if (state_->epoch.load() == stuck && !left_) {
      left_ = true;
      state_->left.fetch_add(1);
      state_->reset_if_all_left();
    }
    if (state_->epoch.load() == stuck) return error::busy;
    if (state_->broken) return state_->unsafe ? error::io : error::closed;
    epoch_ += 2;
    left_ = false;
    in_flight_ = 0;
    drains_ = false;
    ++counters_.resets;
    return error::timeout;
  }

  void quit() noexcept {
    if (state_ == nullptr) return;
    if (left_ && state_->epoch.load() == epoch_ + 1) state_->left.fetch_sub(1);
    state_->used.fetch_sub(1);
    if (state_->used.load() != 0) state_->reset_if_all_left();
    state_ = nullptr;
  }

  detail::disk_state *state_ = nullptr;  // null when moved from
  u32 queue_ = 0;
  u32 epoch_ = 0;
  bool left_ = false;
  u32 in_flight_ = 0;
  disk_counters counters_;
  u64 patience_ = 0;
  u64 deadline_ = 0;   // of the next completion; where drains_, of all
  u64 drain_at_ = 0;   // if the queue has not been empty by then, it drains
  bool drains_ = false;
};

/// An open disk. It must outlive its queues; when it goes the disk is reset and all buffers are the program's again.
class disk {
 public:
  disk(disk &&other) noexcept : state_(std::exchange(other.state_, nullptr)), taken_(other.taken_), memory_(std::move(other.memory_)) {}
  disk &operator=(disk &&other) noexcept {
    disk moved(std::move(other));
    std::swap(state_, moved.state_);
    std::swap(taken_, moved.taken_);
    memory_.swap(moved.memory_);
    return *this;
  }
  ~disk() {
    if (state_ == nullptr) return;
    bool const unsafe = core().disk_close(state_->disk) == -static_cast<i64>(error::timeout);
    if (unsafe || state_->unsafe) memory_.release();  // the disk may still write there
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
    u32 const number = static_cast<u32>(id);
    if (number >= info().disks.size()) return std::unexpected(error::no_such);
    disk_record const &record = info().disks[number];
    if (queues == 0 || queues > record.queue_max) return std::unexpected(error::range);
    u32 const cut = std::min(depth, record.depth_max);
    u64 const bytes = (u64{queues} * cut * record.depth_bytes + 63) & ~u64{63};
    result<pages> memory = pages::take(bytes + sizeof(detail::disk_state));
    if (!memory) return std::unexpected(memory.error());
    result<void> const opened = done(core().disk_open(number, queues, cut, memory->data(), bytes));
    if (!opened) {
      if (opened.error() == error::timeout) memory->release();  // the disk may know it by now
      return std::unexpected(opened.error());
    }
    auto *const state = new (memory->data() + bytes)
        detail::disk_state{.disk = number, .queues = queues, .depth = cut, .memory = memory->span().first(bytes)};
    return disk(*state, std::move(*memory));
  }

  /// Hands out the queues one by one; each belongs to who got it.
  /// @error no_such  all are handed out
  [[nodiscard]] result<disk_queue> take_queue() noexcept {
    if (taken_ == state_->queues) return std::unexpected(error::no_such);
    return disk_queue(*state_, taken_++);
  }

  [[nodiscard]] u32 block_bytes() const noexcept { return record().block_bytes; }
  [[nodiscard]] u64 blocks() const noexcept { return record().blocks; }
  [[nodiscard]] bool read_only() const noexcept { return (record().features & disk_read_only) != 0; }
  [[nodiscard]] disk_record const &record() const noexcept { return info().disks[state_->disk]; }

 private:
  disk(detail::disk_state &state, pages memory) noexcept : state_(&state), memory_(std::move(memory)) {}

  detail::disk_state *state_;  // behind the queues in memory_; null when moved from
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
/// A device that completes nothing for the patience given is stuck: error timeout. A disk_queue's disk is reset, and the
/// next call starts anew. If the owners of its other queues let that wait for as long again, or it cannot be reset, it is
/// given up: error timeout, then and ever after, because it may still use the buffer; so is one with a driver in a header.
template <operation_queue Queue>
class queue_blocks {
 public:
  static constexpr u64 piece_bytes = 64 * 1024;  // of one operation that moves data
  static constexpr u64 clear_bytes = 32 << 20;   // of one that discards or zeroes: it may take as long as writing them

  explicit queue_blocks(Queue queue, clock::duration patience = disk_queue::default_patience) noexcept
      : queue_(std::move(queue)), patience_(patience) {
    if constexpr (resets) queue_.be_patient(patience);
  }

  [[nodiscard]] u32 block_bytes() const noexcept { return queue_.record().block_bytes; }
  [[nodiscard]] u64 blocks() const noexcept { return queue_.record().blocks; }

  /// Reads whole blocks.
  /// @error range    no whole blocks, or outside the disk
  /// @error io       the device reported an error for some block
  /// @error timeout  see above
  [[nodiscard]] result<void> read(lba first, std::span<std::byte> into) noexcept {
    return transfer(disk_read, first, reinterpret_cast<u64>(into.data()), into.size(), piece_bytes);
  }

  /// Writes whole blocks; errors as of read. They last after flush().
  [[nodiscard]] result<void> write(lba first, std::span<std::byte const> from) noexcept {
    return transfer(disk_write, first, reinterpret_cast<u64>(from.data()), from.size(), piece_bytes);
  }

  /// Makes all writes before it last. A disk without a write cache has nothing to do.
  [[nodiscard]] result<void> flush() noexcept {
    if ((queue_.record().features & disk_write_cache) == 0) return {};
    disk_op const operation = flush_op(0);
    return run([&](u64 entry) { return entry == 0 ? std::optional(operation) : std::nullopt; });
  }

  /// Tells the disk that blocks are needed no longer: they may read as anything until they are written again.
  /// @error unsupported  the disk has no disk_can_discard, or is read-only
  /// @error              others as of read()
  [[nodiscard]] result<void> discard(lba first, u64 blocks) noexcept { return clear(disk_discard, disk_can_discard, first, blocks); }

  /// Makes blocks zeros; errors as of discard(), for disk_can_zero. They last after flush().
  [[nodiscard]] result<void> zero(lba first, u64 blocks) noexcept { return clear(disk_zero, disk_can_zero, first, blocks); }

 private:
  static constexpr bool resets = std::same_as<Queue, disk_queue>;

  result<void> clear(u8 kind, u32 feature, lba first, u64 count) noexcept {
    if ((queue_.record().features & (feature | disk_read_only)) != feature) return std::unexpected(error::unsupported);
    if (count > blocks()) return std::unexpected(error::range);
    return transfer(kind, first, 0, count * block_bytes(), clear_bytes);
  }

  /// @param address  0 where there is no memory
  /// @param most     bytes of one operation
  result<void> transfer(u8 kind, lba first, u64 address, u64 bytes, u64 most) noexcept {
    u64 const unit = block_bytes();
    if (bytes % unit != 0 || number(first) > blocks() || bytes / unit > blocks() - number(first)) {
      return std::unexpected(error::range);
    }
    u64 const piece = std::max(std::min<u64>(most, queue_.record().bytes_max / unit * unit), unit);
    return run([=](u64 entry) -> std::optional<disk_op> {
      u64 const at = entry * piece;
      if (at >= bytes) return std::nullopt;
      return disk_op{.address = address == 0 ? 0 : address + at, .cookie = entry,
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
        } else if (stuck(submitted.error())) {
          return std::unexpected(error::timeout);
        } else {
          outcome = std::unexpected(submitted.error());
        }
      }
      sent += taken;
      in_flight += taken;
      if (in_flight == 0 && (count == 0 || !outcome)) return outcome;

      std::array<completion, 16> finished;
      result<std::size_t> const reaped = queue_.try_reap(finished);
      if (!reaped) return std::unexpected(stuck(reaped.error()) ? error::timeout : reaped.error());
      for (completion const &each : std::span(finished).first(*reaped)) {
        if (outcome) outcome = outcome_of(*make(each.cookie), each);
      }
      in_flight -= *reaped;
      if (taken != 0 || *reaped != 0) {
        deadline = deadline_in(patience_);
      } else if (!resets && ticks() >= deadline) {
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

  /// Sees to the reset of a stuck disk; true if that is what the error is about.
  bool stuck(error why) noexcept {
    if constexpr (!resets) return false;
    u64 const deadline = deadline_in(patience_);
    while (why == error::busy && ticks() < deadline) {
      pause();
      result<std::size_t> const again = queue_.try_reap({});
      if (again) return true;
      why = again.error();
    }
    gave_up_ = why == error::busy || why == error::io;
    return gave_up_ || why == error::timeout;
  }

  Queue queue_;
  clock::duration patience_;
  bool gave_up_ = false;
};
using disk_blocks = queue_blocks<disk_queue>;
static_assert(clearing_block_device<disk_blocks>);

}  // namespace exo
