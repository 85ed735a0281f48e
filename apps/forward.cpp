// forward: moves frames between two NICs, in both directions and with as many cores as both have queues for, and prints
// how many a second. No frame is copied: the buffer that one NIC received into is what the other one sends, and goes
// back to the first one when it is sent.
//
//   seconds=N    end after N seconds with status 0; default: never
//
// A frame that the other NIC has no room for, or refuses, is dropped, and counted. Where both NICs can, they are opened for
// long frames: jumbo frames, and TCP segments that the sender has left joined.
#include <algorithm>
#include <array>
#include <atomic>
#include <bit>
#include <charconv>
#include <cstring>
#include <exo/exo.hpp>
#include <exo/net/checksum.hpp>
#include <exo/nic.hpp>
#include <optional>
#include <string_view>
#include <utility>
#include <vector>

namespace {

using exo::u32;
using exo::u64;

constexpr u32 depth_most = 256;
constexpr std::size_t batch_entries = 128;
constexpr std::size_t header_bytes = 22;  // with two VLAN tags
constexpr int polls_before_halt = 100;
constexpr u64 seconds_most = 1'000'000;

/// What one direction of one core has done; another core reads it.
struct tally {
  std::atomic<u64> forwarded = 0, dropped = 0;
};

void add(std::atomic<u64> &counter, u64 some) {
  counter.store(counter.load(std::memory_order_relaxed) + some, std::memory_order_relaxed);
}

/// Fills in the checksum that a sender on this machine has left to the NIC, when the next NIC does not either. Such a frame
/// has one entry: see long_frames_pass().
void fill_checksum(exo::frame &frame) {
  std::span const bytes(reinterpret_cast<std::byte *>(frame.address), frame.bytes);
  std::size_t const place = std::size_t{frame.checksum_start} + frame.checksum_offset;
  if (place + 2 <= bytes.size()) {
    exo::net::store16(bytes, place, exo::net::checksum().add(bytes.subspan(frame.checksum_start)).value());
  }
  frame.flags &= exo::frame_more;
}

/// Says where the headers of joined TCP segments end: what came may count in some of the payload.
void set_header_bytes(exo::frame &first) {
  constexpr std::size_t data_offset = 12;  // in words of 4 bytes, its upper half (RFC 9293 §3.1)
  std::span const bytes(reinterpret_cast<exo::u8 const *>(first.address), first.bytes);
  std::size_t const place = first.checksum_start + data_offset;
  if (place < bytes.size()) first.header_bytes = static_cast<exo::u16>(first.checksum_start + bytes[place] / 16 * 4);
}

/// Whether one NIC can send all that another one receives if both are opened for long frames. What verifies checksums may
/// hand over joined segments, too.
bool long_frames_pass(exo::nic_record const &from, exo::nic_record const &to) {
  constexpr u32 joined = exo::nic_checksum | exo::nic_tcp4 | exo::nic_tcp6;
  if ((from.offloads & to.offloads & exo::nic_long) == 0) return false;
  return (from.offloads & exo::nic_checksum_good) == 0 || (to.offloads & joined) == joined;
}

constinit std::size_t buffer_bytes = 2048;  // a power of two; frames as long as both NICs' MTU fit

/// From a queue of one NIC to a queue of the other.
class lane {
 public:
  lane(exo::nic_queue &from, exo::nic_queue &to, std::span<std::byte> buffers, tally &counts)
      : from_(from), to_(to), buffers_(buffers.data()), counts_(counts), fills_((to.record().offloads & exo::nic_checksum) != 0) {
    next_.fill(none);
    for (u64 number = 0; number < buffers.size() / buffer_bytes; ++number) lend(number);
    give_back();
  }

  /// Moves what is there; returns whether that was anything.
  bool poll() {
    exo::completion done[batch_entries];
    std::size_t const sent = to_.try_reap(done).value_or(0);
    for (exo::completion const &each : std::span(done, sent)) lend_frame(each.cookie);
    in_flight_ -= sent;

    std::size_t const received = from_.try_receive(std::span(batch_).subspan(held_)).value_or(0), end = held_ + received;
    std::size_t first = 0, begin = 0;  // of the frames to send, of the frame that is looked at
    for (std::size_t at = held_; at < end; ++at) {
      if ((batch_[at].flags & exo::frame_more) != 0) continue;
      std::span const parts = std::span(batch_).subspan(begin, at + 1 - begin);
      if (parts.back().bytes == 0) {
        send(std::span(batch_).subspan(first, begin - first));
        drop(parts);
        first = at + 1;
      } else {
        prepare(parts);
      }
      begin = at + 1;
    }
    send(std::span(batch_).subspan(first, begin - first));
    hold(std::span(batch_).subspan(begin, end - begin));
    give_back();
    return received + sent != 0;
  }

  [[nodiscard]] bool sending() const { return in_flight_ != 0; }

 private:
  static constexpr exo::u16 none = 0xFFFF;

  /// Makes what was received a frame to send, and notes its buffers: only the first one's cookie comes back.
  void prepare(std::span<exo::frame> parts) {
    exo::frame &head = parts.front();
    head.flags &= exo::frame_checksum | exo::frame_more;
    if ((head.flags & exo::frame_checksum) != 0 && !fills_) fill_checksum(head);
    if (head.segment_kind != 0) set_header_bytes(head);
    for (std::size_t at = 1; at < parts.size(); ++at) next_[parts[at - 1].cookie] = static_cast<exo::u16>(parts[at].cookie);
  }

  static std::size_t frames_of(std::span<exo::frame const> entries) {
    return static_cast<std::size_t>(std::ranges::count_if(entries, [](exo::frame const &each) {
      return (each.flags & exo::frame_more) == 0;
    }));
  }

  /// Whole frames. If the other NIC refuses one, for its length, each goes by itself, so that the others go.
  void send(std::span<exo::frame> frames) {
    if (frames.empty()) return;
    auto const taken = to_.try_send(frames);
    if (!taken && frames_of(frames) > 1) {
      for (std::size_t begin = 0, at = 0; at < frames.size(); ++at) {
        if ((frames[at].flags & exo::frame_more) != 0) continue;
        send(frames.subspan(begin, at + 1 - begin));
        begin = at + 1;
      }
      return;
    }
    std::size_t const count = frames_of(frames.first(taken.value_or(0)));
    in_flight_ += count;
    add(counts_.forwarded, count);
    drop(frames.subspan(taken.value_or(0)));
  }

  void drop(std::span<exo::frame const> entries) {
    add(counts_.dropped, frames_of(entries));
    for (exo::frame const &each : entries) {
      next_[each.cookie] = none;
      lend(each.cookie);
    }
  }

  /// Keeps the beginning of a frame until the rest of it comes; one of more parts than any has is dropped.
  void hold(std::span<exo::frame> parts) {
    held_ = parts.size();
    if (held_ == batch_.size()) {
      drop(parts);
      held_ = 0;
    } else if (held_ != 0) {
      std::memmove(batch_.data(), parts.data(), parts.size_bytes());
    }
  }

  /// Lends the buffers of a frame that is sent.
  void lend_frame(u64 number) {
    lend(number);
    while ((number = std::exchange(next_[number], none)) != none) lend(number);
  }
  void lend(u64 number) {
    empty_[empty_count_++] = exo::frame_at(buffers_ + number * buffer_bytes, buffer_bytes, number);
    if (empty_count_ == empty_.size()) give_back();
  }
  void give_back() {
    // There are no more buffers than the ring has room for: only a NIC that is gone refuses.
    if (empty_count_ != 0) (void)from_.try_post({empty_.data(), empty_count_});
    empty_count_ = 0;
  }

  exo::nic_queue &from_, &to_;
  std::byte *buffers_;  // each has its number as cookie
  tally &counts_;
  bool fills_;
  std::size_t in_flight_ = 0;
  std::size_t empty_count_ = 0;
  std::array<exo::frame, batch_entries> empty_{};
  std::array<exo::frame, batch_entries> batch_{};
  std::size_t held_ = 0;                      // entries in it of a frame that has not come whole
  std::array<exo::u16, depth_most> next_{};   // of each buffer that is sent: the one with the frame's next part
};

/// What a core works on: a queue of each NIC.
struct work {
  exo::nic_queue left, right;
  exo::pages buffers;
  tally to_right{}, to_left{};
};

/// Halts until a queue has something, or the deadline.
void wait(work &mine, bool sending, u64 deadline) {
  u64 const rings = sending ? exo::ring_rx | exo::ring_tx : exo::ring_rx;
  for (exo::nic_queue *queue : {&mine.left, &mine.right}) {
    auto const pending = queue->arm(rings);
    if (!pending) deadline = std::min(deadline, exo::deadline_in(std::chrono::milliseconds(1)));
    if (pending.value_or(false)) return;
  }
  exo::core().core_idle(deadline);
}

/// Forwards until the deadline.
///
/// @param each_second  called each second, if it is not null
void forward(work &mine, u64 end, void (*each_second)()) {
  auto const half = mine.buffers.size() / 2;
  lane right(mine.left, mine.right, mine.buffers.span().first(half), mine.to_right);
  lane left(mine.right, mine.left, mine.buffers.span().subspan(half), mine.to_left);
  u64 next = exo::ticks() + exo::info().tsc_hz;
  for (int polls = 0; exo::ticks() < end;) {
    bool const busy = right.poll() | left.poll();
    polls = busy ? 0 : polls + 1;
    if (exo::ticks() >= next) {
      if (each_second != nullptr) each_second();
      next += exo::info().tsc_hz;
    }
    if (polls < polls_before_halt) continue;
    wait(mine, right.sending() || left.sending(), std::min(next, end));
    polls = 0;
  }
}

std::vector<std::unique_ptr<work>> crew;

void print_rates() {
  static constinit std::array<u64, 3> before{};
  std::array<u64, 3> now{};
  for (auto const &each : crew) {
    now[0] += each->to_right.forwarded;
    now[1] += each->to_left.forwarded;
    now[2] += each->to_right.dropped + each->to_left.dropped;
  }
  u64 const right = now[0] - before[0], left = now[1] - before[1];
  exo::print("{} frames/s: {} from NIC 0, {} from NIC 1; {} dropped\n", right + left, right, left, now[2] - before[2]);
  before = now;
}

std::optional<exo::nic> open(u32 number, u32 queues, exo::long_frames lengths) {
  exo::nic_record const &record = exo::info().nics[number];
  u32 const depth = std::min(record.depth_max, depth_most);
  auto rings = exo::pages::take(exo::nic::ring_bytes(record, queues, depth));
  if (!rings) return std::nullopt;
  auto card = exo::nic::open(number, queues, depth, rings->release(), lengths);
  if (!card) {
    exo::print("forward: NIC {} does not open: {}\n", number, card.error());
    return std::nullopt;
  }
  return std::move(*card);
}

}  // namespace

int main(int count, char **arguments) {
  u64 seconds = 0;
  for (std::string_view const argument : std::span(arguments, static_cast<std::size_t>(count)).subspan(1)) {
    constexpr std::string_view key = "seconds=";
    if (!argument.starts_with(key)) {
      exo::print("forward: unknown argument {}; known is seconds=N\n", argument);
      return 2;
    }
    char const *const last = argument.data() + argument.size();
    auto const [end, wrong] = std::from_chars(argument.data() + key.size(), last, seconds);
    if (wrong != std::errc{} || end != last || seconds == 0 || seconds > seconds_most) {
      exo::print("forward: {}: it is a number from 1 to {}.\n", argument, seconds_most);
      return 2;
    }
  }
  auto const &nics = exo::info().nics;
  if (nics.size() < 2) {
    exo::print("forward: needs two NICs, and here is {}. Give --net twice.\n", nics.size());
    return 2;
  }

  for (exo::nic_record const &nic : {nics[0], nics[1]}) {
    buffer_bytes = std::max(buffer_bytes, std::bit_ceil(nic.mtu + header_bytes));
  }
  u32 const queues = std::min({exo::core_count(), nics[0].queue_max, nics[1].queue_max});
  bool const both = long_frames_pass(nics[0], nics[1]) && long_frames_pass(nics[1], nics[0]);
  auto const lengths = both ? exo::long_frames::yes : exo::long_frames::no;
  auto left = open(0, queues, lengths), right = open(1, queues, lengths);
  if (!left || !right) return 1;
  for (u32 queue = 0; queue < queues; ++queue) {
    auto from = left->take_queue(), to = right->take_queue();
    if (!from || !to) return 1;
    u64 const depth = std::min(from->depth(), to->depth());
    auto buffers = exo::pages::take(2 * depth * buffer_bytes);
    if (!buffers) {
      exo::print("forward: too little memory for {} cores\n", queues);
      return 1;
    }
    crew.push_back(std::make_unique<work>(std::move(*from), std::move(*to), std::move(*buffers)));
  }
  exo::print("forward: {} cores, {} frames\n", queues, both ? "long" : "short");

  u64 const end = seconds == 0 ? exo::no_deadline : exo::ticks() + seconds * exo::info().tsc_hz;
  exo::run_on_all([end] {
    auto const core = static_cast<u32>(exo::this_core());
    if (core < crew.size()) forward(*crew[core], end, core == 0 ? print_rates : nullptr);
  });
  return 0;
}
