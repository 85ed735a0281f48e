// Counts a text on a disk: every core counts stripes whose next bytes are being read meanwhile.
//
// Each core has a lane of reads in flight, and each disk queue serves the lanes of one or more cores: one where the
// disk has as many queues as there are cores. A core that looks for its next piece takes the queue if no other core is
// at it, asks for new reads in all lanes of the queue and hands finished ones to whom they belong. So a queue has one
// user at a time, none waits for a certain core, and memory is bounded by the reads in flight.
#pragma once

#include <exo/disk.hpp>
#include <exo/lock.hpp>
#include <expected>
#include <mutex>

#include "tally.hpp"

namespace wordcount {

/// Why there is no summary: error memory, or a disk error and, if it was one read's, its blocks.
struct failure {
  exo::error why;
  u64 first_block = 0;
  u64 blocks = 0;
};

inline constexpr std::size_t reads_per_core = 8;

/// How much one read takes: as much as pays, but less where the text or the RAM is small.
[[nodiscard]] constexpr std::size_t read_bytes_for(u64 text_bytes, unsigned cores, u64 free_bytes) noexcept {
  constexpr u64 least = exo::page_bytes;
  constexpr u64 most = 128 * 1024;
  u64 const reads = cores * reads_per_core;
  // No core's lane holds more than a quarter of its share of the text, and all of them an eighth of the RAM.
  return std::bit_floor(std::clamp(std::min(text_bytes / (4 * reads), free_bytes / (8 * reads)), least, most));
}

template <memory_source Memory>
class disk_count {
 public:
  /// @param disk        open, with none of its queues taken; closed before the buffers are used again
  /// @param queues      of the disk
  /// @param cores       not fewer than queues
  /// @param text_bytes  counted from block 0, not more than the disk has
  /// @param buffers     identity-mapped: cores * reads_per_core reads
  disk_count(exo::disk &disk, unsigned queues, unsigned cores, u64 text_bytes, std::span<std::byte> buffers) noexcept
      : block_bytes_(disk.block_bytes()),
        read_bytes_(buffers.size() / (cores * reads_per_core)),
        tally_(cores, text_bytes, read_bytes_),
        lanes_(cores),
        channels_(queues) {
    for (channel &each : channels_) each.queue.emplace(std::move(*disk.take_queue()));
    std::byte *next = buffers.data();
    for (lane &each : lanes_) {
      for (read &slot : each.reads) slot.buffer = std::exchange(next, next + read_bytes_);
    }
  }

  /// Counts the text on a team of cores.
  template <typename Team>
  [[nodiscard]] std::expected<summary, failure> run(Team &&team) noexcept {
    if (!tally_.ready() || lanes_.empty() || channels_.empty()) return std::unexpected(failure{exo::error::memory});
    team(static_cast<unsigned>(lanes_.size()), [this](unsigned core) { count(core); });
    if (failed_) return std::unexpected(failure_);
    auto const found = tally_.summarize(team);
    if (!found) return std::unexpected(failure{exo::error::memory});
    return *found;
  }

 private:
  static constexpr u64 unknown = ~u64{0};
  static constexpr unsigned polls_before_halt = 1000;
  static constexpr auto halt_time = std::chrono::microseconds(50);

  /// A piece of a stripe. The queue's user owns it while it is free or being read, the lane's core once it is filled.
  struct read {
    enum class phase : u8 { free, in_flight, filled };
    std::atomic<phase> now = phase::free;
    bool ends_stripe = false;
    std::size_t stripe_index = 0;
    u64 text_bytes = 0;
    u64 first_block = 0;
    std::byte *buffer = nullptr;
  };

  /// The reads of one core, used in turn, in the order of its text.
  struct lane {
    std::array<read, reads_per_core> reads;
    u64 asked = 0;                      // reads given out; the queue's user's, as is part
    std::optional<stripe> part;         // what is left to ask for of the stripe
    std::atomic<u64> total = unknown;   // reads that there are, when the text has come to its end
    u64 counted = 0;                    // reads counted; the core's
  };

  /// A disk queue, and operations that it has not taken yet.
  struct channel {
    exo::spin_lock lock;
    std::optional<exo::disk_queue> queue;
    std::array<exo::disk_op, 32> batch;
    std::size_t batched = 0;
  };

  void count(unsigned core) noexcept {
    lane &own = lanes_[core];
    unsigned polls = 0;
    while (!failed_.load(std::memory_order_relaxed)) {
      serve(core % channels_.size());
      read &next = own.reads[own.counted % reads_per_core];
      if (next.now.load(std::memory_order_acquire) == read::phase::filled) {
        if (!count_read(core, next)) return fail({exo::error::memory});
        next.now.store(read::phase::free, std::memory_order_release);
        ++own.counted;
        polls = 0;
      } else if (own.counted == own.total.load(std::memory_order_acquire)) {
        return;
      } else if (++polls < polls_before_halt) {
        exo::pause();
      } else {
        exo::core().core_idle(exo::deadline_in(halt_time));
      }
    }
  }

  bool count_read(unsigned core, read const &piece) noexcept {
    std::string_view const text(reinterpret_cast<char const *>(piece.buffer), piece.text_bytes);
    return tally_.counter(core).feed(text) && (!piece.ends_stripe || tally_.hand_in(core, piece.stripe_index));
  }

  /// Keeps a queue full and hands out what it has finished, unless another core is doing it.
  void serve(std::size_t index) noexcept {
    channel &at = channels_[index];
    std::unique_lock const mine(at.lock, std::try_to_lock);
    if (!mine) return;
    for (std::size_t core = index; core < lanes_.size(); core += channels_.size()) ask(at, lanes_[core]);
    if (at.batched != 0) {
      auto const taken = at.queue->try_submit(std::span(at.batch).first(at.batched));
      if (!taken) return fail(stuck(index, taken.error()));
      std::copy(at.batch.begin() + *taken, at.batch.begin() + at.batched, at.batch.begin());
      at.batched -= *taken;
    }
    std::array<exo::completion, 32> finished;
    auto const count = at.queue->try_reap(finished);
    if (!count) return fail(stuck(index, count.error()));
    for (exo::completion const &each : std::span(finished).first(*count)) {
      read &done = *reinterpret_cast<read *>(each.cookie);
      if (auto const outcome = exo::outcome_of(operation(done), each); !outcome) return fail(in_blocks(outcome.error(), done));
      done.now.store(read::phase::filled, std::memory_order_release);
    }
  }

  [[nodiscard]] exo::disk_op operation(read &of) const noexcept {
    std::span const buffer(of.buffer, exo::align_up(of.text_bytes, block_bytes_));
    return exo::read_op(exo::lba{of.first_block}, buffer, reinterpret_cast<u64>(&of));
  }

  /// Asks for reads as long as the lane and the batch have room and there is text.
  void ask(channel &at, lane &to) noexcept {
    while (at.batched < at.batch.size() && to.total.load(std::memory_order_relaxed) == unknown) {
      read &next = to.reads[to.asked % reads_per_core];
      if (next.now.load(std::memory_order_acquire) != read::phase::free) return;
      if (!to.part && !(to.part = tally_.claim())) return to.total.store(to.asked, std::memory_order_release);

      next.stripe_index = to.part->index;
      next.text_bytes = std::min<u64>(read_bytes_, to.part->bytes);
      next.first_block = to.part->first / block_bytes_;
      next.ends_stripe = next.text_bytes == to.part->bytes;
      next.now.store(read::phase::in_flight, std::memory_order_relaxed);
      at.batch[at.batched++] = operation(next);

      to.part->first += next.text_bytes;
      to.part->bytes -= next.text_bytes;
      if (next.ends_stripe) to.part.reset();
      ++to.asked;
    }
  }

  /// What a queue that does nothing more is blamed for: the first read that waits for it.
  failure stuck(std::size_t index, exo::error why) const noexcept {
    if (why == exo::error::busy) why = exo::error::timeout;  // another queue has to leave the disk before its reset
    for (std::size_t core = index; core < lanes_.size(); core += channels_.size()) {
      for (read const &each : lanes_[core].reads) {
        if (each.now.load(std::memory_order_relaxed) == read::phase::in_flight) return in_blocks(why, each);
      }
    }
    return {why};
  }

  failure in_blocks(exo::error why, read const &of) const noexcept {
    return {why, of.first_block, exo::align_up(of.text_bytes, block_bytes_) / block_bytes_};
  }

  /// Makes all cores stop; what failed first is told.
  void fail(failure const &what) noexcept {
    std::lock_guard const guard(failure_lock_);
    if (!failed_.exchange(true)) failure_ = what;
  }

  u64 const block_bytes_;
  u64 const read_bytes_;
  tally<Memory> tally_;
  owned_array<lane, Memory> lanes_;
  owned_array<channel, Memory> channels_;
  std::atomic<bool> failed_ = false;
  exo::spin_lock failure_lock_;
  failure failure_{};
};

}  // namespace wordcount
