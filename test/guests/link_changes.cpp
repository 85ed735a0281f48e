// A NIC that a header drives, whose link goes down and up while it is busy, through QEMU's monitor; test/boot/nics.sh does
// that. Frames go both ways between it and the core's first NIC. With the argument `silent` it has no link state to show:
// then frames that stay away say the same.
#include "check.hpp"

#include <exo/drivers/nics.hpp>

using namespace check;

namespace {

constexpr u32 depth = 64;
constexpr std::chrono::milliseconds silence{300};

template <typename Device>
struct traffic {
  Device &device;
  frame_port &peer;
  u64 came[2] = {};
  u64 last = ticks();  // when frames came from both

  /// Sends one frame each way, and takes what comes.
  void round() {
    auto const one = [](auto &from, auto &to) -> u64 {
      (void)from.try_send(60, [&](std::span<std::byte> frame) {
        std::ranges::fill(frame, std::byte{0xFF});
        net::store_mac(frame, 6, from.mac());
      });
      from.flush();
      return to.try_receive([](net::received_frame const &frame) { same(static_cast<i64>(frame.bytes.size()), 60); });
    };
    u64 const out = one(device, peer), in = one(peer, device);
    if (out + in != 0) last = ticks();
    came[0] += out;
    came[1] += in;
  }

  template <typename Condition>
  void until(Condition condition, char const *what, where at = where::current()) {
    u64 const end = deadline_in(std::chrono::seconds(60));
    while (!condition() && ticks() < end) round();
    that(condition(), what, at);
  }

  void until_more(char const *what, where at = where::current()) {
    until([&, out = came[0], in = came[1]] { return came[0] > out + 100 && came[1] > in + 100; }, what, at);
  }
};

template <typename Device>
void change(Device &device, frame_port &peer, bool silent) {
  traffic<Device> flow{device, peer};
  flow.until_more("no frames");
  that(device.link_speed() != 0, "the link is down");
  print("busy\n");
  if (silent) {
    flow.until([&] { return ticks() - flow.last > clock::ticks_in(silence); }, "frames come without a link");
  } else {
    flow.until([&] { return device.link_speed() == 0; }, "the link does not go down");
  }
  print("link down\n");
  flow.until([&] { return device.link_speed() != 0; }, "the link does not come up");
  flow.until_more("no frames after the link came up");
  that(peer.link_speed() != 0, "the other NIC's link went down");
  frame_counters const &count = device.counters();
  same(static_cast<i64>(count.damaged + count.lost + count.resets), 0);
  if (verdict() == 0) print("link up\n");
}

}  // namespace

int main(int argc, char **) {
  nic_record const &record = info().nics[0];
  auto const rings = pages::take(nic::ring_bytes(record, 1, depth));
  auto const frames = pages::take(frame_port::memory_bytes(record, depth));
  auto card = nic::open(0, 1, depth, rings->span());
  if (!card) return 3;
  auto peer = frame_port::open(std::move(*card->take_queue()), frames->span());
  auto const used = with_first_header_nic([&](auto &device) { change(device, *peer, argc == 2); });
  if (!used) fail(where::current(), used.error().sentence);
  return verdict();
}
