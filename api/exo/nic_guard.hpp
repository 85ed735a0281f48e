// A NIC with one queue that survives its faults: each frame has a deadline, a stuck device is reset, and what passes is
// counted.
//
//   auto guard = exo::nic_guard::open(0, 64, std::chrono::seconds(2));
//   guard->try_send(frames);                       // as nic_queue
//   guard->try_reap(done);                         // each comes back, at the latest with the status of error::timeout
//
// exo::nic_queue has none of that, and so costs nothing for it. Here an entry costs some ten instructions more.
#pragma once

#include <algorithm>
#include <span>
#include <utility>
#include <vector>

#include "memory.hpp"
#include "nic.hpp"
#include "time.hpp"

namespace exo {

/// What has passed a NIC since it was opened.
struct nic_counts {
  u64 sent = 0;            // frames that the device has taken from memory
  u64 sent_bytes = 0;
  u64 received = 0;
  u64 received_bytes = 0;
  u64 errors = 0;          // frames received with an error, and sent without success
  u64 refused = 0;         // entries that found a full ring
  u64 resets = 0;
};

/// One queue of a NIC of its own, for one core at a time. Nothing waits but a reset, some ten milliseconds.
///
/// A frame in flight longer than the patience makes the NIC stuck: try_reap() closes and opens it. Then all frames in flight
/// come back with status -timeout. Empty buffers are lent to the device again by itself. If it does not open, it is gone:
/// they come back from try_receive() with 0 bytes, and after that all calls return error::closed.
///
/// A link that is down is no fault: link() tells. Frames that a NIC keeps meanwhile come back when their time is over.
class nic_guard {
 public:
  /// Opens a NIC with one queue.
  ///
  /// @param depth     frames in flight per ring: a power of two, 16 to record.depth_max
  /// @param patience  how long a frame may be in flight
  /// @error memory    no RAM for the rings; else as of nic::open
  /// @heap            32 bytes per frame of depth and ring
  [[nodiscard]] static result<nic_guard> open(u32 number, u32 depth, clock::duration patience) noexcept {
    if (number >= info().nics.size()) return std::unexpected(error::no_such);
    auto rings = pages::take(std::max<u64>(nic::ring_bytes(info().nics[number], 1, depth), page_bytes));
    if (!rings) return std::unexpected(rings.error());
    nic_guard made(number, depth, patience, std::move(*rings));
    auto const opened = made.start();
    if (!opened) return std::unexpected(opened.error());
    return made;
  }

  nic_guard(nic_guard &&other) noexcept
      : number_(std::exchange(other.number_, nobody)),
        depth_(other.depth_),
        patience_(other.patience_),
        gone_(other.gone_),
        rings_(std::move(other.rings_)),
        sending_(std::move(other.sending_)),
        receiving_(std::move(other.receiving_)),
        counts_(other.counts_) {}
  nic_guard &operator=(nic_guard &&) = delete;
  ~nic_guard() {
    if (number_ != nobody && !gone_) stop();
  }

  /// Sends frames, as nic_queue::try_send.
  [[nodiscard]] result<std::size_t> try_send(std::span<frame const> frames) noexcept {
    return give(frames, sending_, core().nic_tx);
  }

  /// Takes back sent frames; resets the NIC if one has been in flight too long.
  ///
  /// @return  completions written; status 0, -io, or -timeout: whether it was sent is not known
  /// @error closed  the NIC is gone, and all frames have come back
  [[nodiscard]] result<std::size_t> try_reap(std::span<completion> out) noexcept {
    std::size_t count = 0;
    if (!gone_) {
      count = checked(core().nic_tx_reap(number_, 0, out.data(), static_cast<u32>(out.size()))).value_or(0);
      for (completion &each : out.first(count)) {
        entry const done = sending_.remove(each.cookie);
        each.cookie = done.cookie;
        counts_.errors += each.status != 0;
        counts_.sent += each.status == 0;
        counts_.sent_bytes += each.status == 0 ? done.bytes : 0;
      }
      if (count == 0 && sending_.used != 0 && ticks() >= sending_.oldest()) reset();
    }
    while (count < out.size() && sending_.lost != 0) {
      out[count++] = {sending_.take_lost().cookie, -static_cast<i32>(error::timeout), 0};
      ++counts_.errors;
    }
    if (count == 0 && gone_) return std::unexpected(error::closed);
    return count;
  }

  /// Lends empty buffers to the device, as nic_queue::try_post; each is one entry.
  ///
  /// @error unsupported  a buffer of several entries; none was taken
  [[nodiscard]] result<std::size_t> try_post(std::span<frame const> buffers) noexcept {
    if (std::ranges::any_of(buffers, [](frame const &each) { return (each.flags & frame_more) != 0; })) {
      return std::unexpected(error::unsupported);
    }
    return give(buffers, receiving_, core().nic_rx_post);
  }

  /// Takes received frames, as nic_queue::try_receive. One of 0 bytes is a buffer that came back without a frame.
  ///
  /// @error closed  the NIC is gone, and all buffers have come back
  [[nodiscard]] result<std::size_t> try_receive(std::span<frame> out) noexcept {
    std::size_t count = 0;
    if (!gone_) {
      count = checked(core().nic_rx_reap(number_, 0, out.data(), static_cast<u32>(out.size()))).value_or(0);
      for (frame &each : out.first(count)) {
        each.cookie = receiving_.remove(each.cookie).cookie;
        counts_.errors += each.bytes == 0;
        counts_.received += each.bytes != 0;
        counts_.received_bytes += each.bytes;
      }
      return count;
    }
    while (count < out.size() && receiving_.lost != 0) {
      entry const back = receiving_.take_lost();
      out[count++] = frame_at(reinterpret_cast<std::byte const *>(back.address), 0, back.cookie);
    }
    if (count == 0) return std::unexpected(error::closed);
    return count;
  }

  /// As nic_queue::arm.
  [[nodiscard]] result<bool> arm(u64 rings) noexcept {
    if (gone_) return std::unexpected(error::closed);
    auto const pending = checked(core().nic_arm(number_, 0, static_cast<u32>(rings)));
    if (!pending) return std::unexpected(pending.error());
    return *pending != 0;
  }

  /// Whether the link is up.
  [[nodiscard]] bool link() const noexcept { return !gone_ && core().nic_link(number_) > 0; }
  [[nodiscard]] nic_counts const &counts() const noexcept { return counts_; }
  [[nodiscard]] nic_record const &record() const noexcept { return info().nics[number_]; }

 private:
  static constexpr u32 nobody = ~u32{0};
  static constexpr std::size_t batch_entries = 32;

  struct entry {
    u64 cookie, address, deadline;
    u32 bytes;
    bool used, lost;
  };

  /// What the device has of one ring: the device's cookies are places here.
  struct ledger {
    std::vector<entry> entries;
    std::vector<u32> free;
    std::size_t used = 0, lost = 0;

    explicit ledger(u32 depth) : entries(depth) {
      for (u32 place = 0; place < depth; ++place) free.push_back(place);
    }
    u64 add(entry const &one) noexcept {
      u32 const place = free.back();
      free.pop_back();
      entries[place] = one;
      ++used;
      return place;
    }
    entry remove(u64 place) noexcept {
      entries[place].used = false;
      free.push_back(static_cast<u32>(place));
      --used;
      return entries[place];
    }
    /// The first deadline of those that are not lost.
    [[nodiscard]] u64 oldest() const noexcept {
      u64 first = no_deadline;
      for (entry const &each : entries) {
        if (each.used && !each.lost) first = std::min(first, each.deadline);
      }
      return first;
    }
    void lose_all() noexcept {
      for (entry &each : entries) {
        lost += each.used && !each.lost;
        each.lost = each.used;
      }
    }
    entry take_lost() noexcept {
      for (u32 place = 0;; ++place) {
        if (!entries[place].used || !entries[place].lost) continue;
        --lost;
        return remove(place);
      }
    }
  };

  nic_guard(u32 number, u32 depth, clock::duration patience, pages rings)
      : number_(number),
        depth_(depth),
        patience_(clock::ticks_in(patience)),
        rings_(std::move(rings)),
        sending_(depth),
        receiving_(depth) {}

  result<void> start() noexcept {
    gone_ = true;
    auto const opened = done(core().nic_open(number_, 1, depth_, rings_.data(), rings_.size()));
    if (opened) gone_ = false;
    return opened;
  }

  /// A device that does not close may still write to the rings: then they are never used again.
  void stop() noexcept {
    if (core().nic_close(number_) < 0) (void)rings_.release();
  }

  /// Hands entries to the device, under cookies of the ledger. Those of one frame are all taken or none.
  template <typename Call>
  result<std::size_t> give(std::span<frame const> frames, ledger &ring, Call call) noexcept {
    if (gone_) return std::unexpected(error::closed);
    std::size_t taken = 0;
    while (taken < frames.size()) {
      frame batch[batch_entries];
      std::size_t count = 0, whole = 0, known = 0;
      u64 places[batch_entries];
      u64 const deadline = ticks() + patience_;
      for (std::size_t first = 0; taken + count < frames.size() && count < batch_entries; ++count) {
        frame const &one = batch[count] = frames[taken + count];
        if ((one.flags & frame_more) != 0 && taken + count + 1 < frames.size()) continue;
        if (ring.free.empty()) break;
        u32 bytes = 0;
        for (std::size_t at = first; at <= count; ++at) bytes += batch[at].bytes;
        places[known] = ring.add({batch[first].cookie, batch[first].address, deadline, bytes, true, false});
        batch[first].cookie = places[known++];
        whole = first = count + 1;
      }
      auto const some = whole == 0 ? result<std::size_t>(0) : checked(call(number_, 0, batch, static_cast<u32>(whole)));
      // Frames that were not taken leave the ledger; entry `at` is the last one of frame `frame_number`.
      std::size_t frame_number = 0;
      for (std::size_t at = 0; at < whole; ++at) {
        bool const last = (batch[at].flags & frame_more) == 0 || at + 1 == whole;
        if (last && (!some || at >= *some)) ring.remove(places[frame_number]);
        frame_number += last;
      }
      if (!some) return taken != 0 ? result<std::size_t>(taken) : std::unexpected(some.error());
      taken += *some;
      if (*some < whole || whole == 0) break;
    }
    counts_.refused += frames.size() - taken;
    return taken;
  }

  /// Closes and opens the NIC. What was being sent is lost; empty buffers are lent again, or lost too.
  [[gnu::noinline]] void reset() noexcept {
    ++counts_.resets;
    sending_.lose_all();
    if (core().nic_close(number_) < 0) {
      (void)rings_.release();
      gone_ = true;
    } else {
      gone_ = !start();
    }
    if (gone_) return receiving_.lose_all();
    for (u64 place = 0; place < receiving_.entries.size(); ++place) {
      entry const &each = receiving_.entries[place];
      frame const empty = frame_at(reinterpret_cast<std::byte const *>(each.address), each.bytes, place);
      if (each.used) (void)core().nic_rx_post(number_, 0, &empty, 1);  // as it was before: there is room
    }
  }

  u32 number_;
  u32 depth_;
  u64 patience_;
  bool gone_ = true;
  pages rings_;
  ledger sending_, receiving_;
  nic_counts counts_;
};

}  // namespace exo
