// forward: moves frames between two NICs, in both directions and with as many cores as both have queues for, and prints
// how many a second. No frame is copied: the buffer that one NIC received into is what the other one sends, and goes
// back to the first one when it is sent.
//
//   seconds=N    end after N seconds with status 0; default: never
//
// A frame that the other NIC has no room for is dropped, and counted.
#include <array>
#include <atomic>
#include <bit>
#include <charconv>
#include <exo/exo.hpp>
#include <exo/net/checksum.hpp>
#include <exo/nic.hpp>
#include <optional>
#include <string_view>
#include <vector>

namespace {

using exo::u32;
using exo::u64;

constexpr u32 depth_most = 256;
constexpr std::size_t batch_frames = 128;
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

/// Fills in the checksum that a sender on this machine has left to the NIC, when the next NIC does not either.
void fill_checksum(exo::frame &frame) {
  std::span const bytes(reinterpret_cast<std::byte *>(frame.address), frame.bytes);
  std::size_t const place = std::size_t{frame.checksum_start} + frame.checksum_offset;
  if (place + 2 <= bytes.size()) {
    exo::net::store16(bytes, place, exo::net::checksum().add(bytes.subspan(frame.checksum_start)).value());
  }
  frame.flags = 0;
}

constinit std::size_t buffer_bytes = 2048;  // a power of two; what both NICs receive fits

/// From a queue of one NIC to a queue of the other.
class lane {
 public:
  lane(exo::nic_queue &from, exo::nic_queue &to, std::span<std::byte> buffers, tally &counts)
      : from_(from), to_(to), counts_(counts), fills_((to.record().offloads & exo::nic_checksum) != 0) {
    for (; buffers.size() >= buffer_bytes; buffers = buffers.subspan(buffer_bytes)) lend(buffers.data());
    give_back();
  }

  /// Moves what is there; returns whether that was anything.
  bool poll() {
    exo::completion done[batch_frames];
    std::size_t const sent = to_.try_reap(done).value_or(0);
    for (exo::completion const &each : std::span(done, sent)) lend(reinterpret_cast<std::byte *>(each.cookie));
    in_flight_ -= sent;

    exo::frame batch[batch_frames];
    std::size_t const received = from_.try_receive(batch).value_or(0);
    std::size_t whole = 0;
    for (exo::frame &each : std::span(batch, received)) {
      if (each.bytes == 0) {
        lend(reinterpret_cast<std::byte *>(each.address));
        continue;
      }
      each.cookie = each.address;
      each.flags &= exo::frame_checksum;
      if (each.flags != 0 && !fills_) fill_checksum(each);
      batch[whole++] = each;
    }
    // One frame that the other NIC refuses, for its length, must not hold up those behind it.
    std::size_t taken = 0;
    if (whole != 0) taken = to_.try_send({batch, whole}).value_or(0);
    for (exo::frame const &each : std::span(batch + taken, whole - taken)) lend(reinterpret_cast<std::byte *>(each.address));
    in_flight_ += taken;
    add(counts_.forwarded, taken);
    add(counts_.dropped, received - taken);
    give_back();
    return received + sent != 0;
  }

  [[nodiscard]] bool sending() const { return in_flight_ != 0; }

 private:
  void lend(std::byte *buffer) {
    empty_[empty_count_++] = exo::frame_at(buffer, static_cast<u32>(buffer_bytes), reinterpret_cast<u64>(buffer));
    if (empty_count_ == empty_.size()) give_back();
  }
  void give_back() {
    // There are no more buffers than the ring has room for: only a NIC that is gone refuses.
    if (empty_count_ != 0) (void)from_.try_post({empty_.data(), empty_count_});
    empty_count_ = 0;
  }

  exo::nic_queue &from_, &to_;
  tally &counts_;
  bool fills_;
  std::size_t in_flight_ = 0;
  std::size_t empty_count_ = 0;
  std::array<exo::frame, batch_frames> empty_{};
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

std::optional<exo::nic> open(u32 number, u32 queues) {
  exo::nic_record const &record = exo::info().nics[number];
  u32 const depth = std::min(record.depth_max, depth_most);
  auto rings = exo::pages::take(exo::nic::ring_bytes(record, queues, depth));
  if (!rings) return std::nullopt;
  auto card = exo::nic::open(number, queues, depth, rings->release());
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
  auto left = open(0, queues), right = open(1, queues);
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
  exo::print("forward: {} cores\n", queues);

  u64 const end = seconds == 0 ? exo::no_deadline : exo::ticks() + seconds * exo::info().tsc_hz;
  exo::run_on_all([end] {
    auto const core = static_cast<u32>(exo::this_core());
    if (core < crew.size()) forward(*crew[core], end, core == 0 ? print_rates : nullptr);
  });
  return 0;
}
