// Instructions per frame, in batches of 32, without the device's time: between giving a batch to the device and taking it
// back the program waits until all of it is done, and that is not counted.
//
// Needs one core and two NICs that hear each other. The command line is the NICs' name in the figures. What is printed is
// the worst of several rounds.
#include <algorithm>
#include <array>
#include <exo/nic.hpp>

#include "count.hpp"

namespace {

using bench::instructions_of;
using bench::take_pages;
using bench::wait_for_device;
using exo::u32;
using exo::u64;

constexpr std::size_t batch = 32;
constexpr u32 depth = 64;
constexpr std::size_t buffer_bytes = 2048;
constexpr std::size_t frame_bytes = 60;
constexpr int rounds = 16;

using frames = std::array<exo::frame, batch>;
using completions = std::array<exo::completion, batch>;

void expect_batch(std::size_t count, char const *what) {
  if (count != batch) exo::panic("{}: {} of {}", what, count, batch);
}

frames frames_in(std::span<std::byte> memory, std::size_t bytes) {
  frames made;
  for (std::size_t index = 0; index < batch; ++index) {
    made[index] = exo::frame_at(memory.data() + index * buffer_bytes, bytes, index);
  }
  return made;
}

/// A NIC's queue 0, used through its handle.
struct handle {
  exo::nic_queue queue;
  std::size_t send(frames const &all) { return queue.try_send(all).value_or(0); }
  std::size_t reap(completions &done) { return queue.try_reap(done).value_or(0); }
  std::size_t post(frames const &all) { return queue.try_post(all).value_or(0); }
  std::size_t receive(frames &all) { return queue.try_receive(all).value_or(0); }
};

/// A NIC's queue 0, used through the call table.
struct raw {
  u32 nic;
  std::size_t send(frames const &all) { return count(exo::core().nic_tx(nic, 0, all.data(), batch)); }
  std::size_t reap(completions &done) { return count(exo::core().nic_tx_reap(nic, 0, done.data(), batch)); }
  std::size_t post(frames const &all) { return count(exo::core().nic_rx_post(nic, 0, all.data(), batch)); }
  std::size_t receive(frames &all) { return count(exo::core().nic_rx_reap(nic, 0, all.data(), batch)); }
  static std::size_t count(exo::i64 result) { return static_cast<std::size_t>(result); }
};

struct costs {
  u64 transmit = 0;
  u64 receive = 0;
};

/// Sends batches from one NIC to the other.
template <typename Access>
costs of_frames(Access &sender, Access &receiver) {
  frames const out = [] {
    auto const memory = take_pages(batch * buffer_bytes);
    for (std::size_t index = 0; index < batch; ++index) {  // to all, no protocol
      std::fill_n(memory.begin() + static_cast<std::ptrdiff_t>(index * buffer_bytes), 6, std::byte{0xff});
    }
    return frames_in(memory, frame_bytes);
  }();
  frames const buffers = frames_in(take_pages(batch * buffer_bytes), buffer_bytes);
  frames in;
  expect_batch(receiver.post(buffers), "posted");
  // QEMU's e1000 keeps frames back for a second after its receiver was turned on.
  for (u64 const end = exo::ticks() + 2 * exo::info().tsc_hz; exo::ticks() < end;) exo::core().core_idle(end);

  costs worst;
  for (int round = 0; round < rounds; ++round) {
    completions done;
    std::size_t sent = 0, reaped = 0, received = 0, posted = 0;
    u64 const send = instructions_of([&] { sent = sender.send(out); });
    wait_for_device();
    u64 const reap = instructions_of([&] { reaped = sender.reap(done); });
    u64 const receive = instructions_of([&] { received = receiver.receive(in); });
    u64 const post = instructions_of([&] { posted = receiver.post(buffers); });  // all of them have come back
    expect_batch(sent, "sent");
    expect_batch(reaped, "reaped");
    expect_batch(received, "received");
    expect_batch(posted, "posted");
    worst.transmit = std::max(worst.transmit, send + reap);
    worst.receive = std::max(worst.receive, receive + post);
  }
  return worst;
}

exo::nic open_nic(u32 number) {
  auto card = exo::nic::open(number, 1, depth, take_pages(exo::nic::ring_bytes(exo::info().nics[number], 1, depth)));
  if (!card) exo::panic("NIC {} does not open: {}", number, card.error());
  return std::move(*card);
}

}  // namespace

template <typename Access>
void print_costs(Access &&sender, Access &&receiver, char const *kind) {
  costs const cost = of_frames(sender, receiver);
  for (bool const transmit : {true, false}) {
    char name[64]{};
    exo::text_sink out(name);
    exo::format_to(out, "{}-{}{}", exo::info().command_line, transmit ? "tx" : "rx", kind);
    bench::print_figure(name, transmit ? cost.transmit : cost.receive, batch, "instructions");
  }
}

int main() {
  if (exo::info().nics.size() < 2) exo::panic("this is no machine of two NICs");
  {
    exo::nic sender = open_nic(0), receiver = open_nic(1);
    print_costs(handle{*sender.take_queue()}, handle{*receiver.take_queue()}, "");
  }
  {
    exo::nic sender = open_nic(0), receiver = open_nic(1);
    print_costs(raw{0}, raw{1}, "-raw");
  }
}
