// Frame devices: whatever drives a NIC, the core or a header, frames of all lengths go both ways, whole and in order.
//
// The peer is the core's first NIC; the device is the first that a header drives, else the core's second one. An argument is
// `removed`, or a number: so many frames go over the device, half of them each way, and nothing else is done.
// boot: --cores 2 -- -netdev hubport,id=a,hubid=0 -netdev hubport,id=b,hubid=0 -device virtio-net-pci,netdev=a,romfile= -device virtio-net-pci,netdev=b,romfile=
// boot: --cores 2 -- -netdev hubport,id=a,hubid=0 -netdev hubport,id=b,hubid=0 -device virtio-net-pci,netdev=a,romfile= -device e1000,netdev=b,romfile=
// boot: --cores 2 -- -netdev hubport,id=a,hubid=0 -netdev hubport,id=b,hubid=0 -device virtio-net-pci,netdev=a,romfile= -device rtl8139,netdev=b,romfile=
// boot: --cores 2 -- -netdev hubport,id=a,hubid=0 -netdev hubport,id=b,hubid=0 -device virtio-net-pci,netdev=a,romfile= -device ne2k_pci,netdev=b,romfile=
// boot: --cores 2 -- -netdev hubport,id=a,hubid=0 -netdev hubport,id=b,hubid=0 -device virtio-net-pci,netdev=a,romfile= -device vmxnet3,netdev=b,romfile=
// boot: --cores 2 -- -machine pc -netdev hubport,id=a,hubid=0 -netdev hubport,id=b,hubid=0 -device virtio-net-pci,netdev=a,romfile= -device vmxnet3,netdev=b,romfile=
// boot: --cores 2 -- -netdev hubport,id=a,hubid=0 -netdev hubport,id=b,hubid=0 -device virtio-net-pci,netdev=a,romfile=,host_mtu=9000 -device vmxnet3,netdev=b,romfile=
// boot: --args removed -- -machine pc -netdev hubport,id=b,hubid=0 -device rtl8139,netdev=b,romfile=,addr=7
// boot: --args removed -- -machine pc -netdev hubport,id=b,hubid=0 -device ne2k_pci,netdev=b,romfile=,addr=7
// boot: --args removed -- -machine pc -netdev hubport,id=b,hubid=0 -device vmxnet3,netdev=b,romfile=,addr=7
// soak: --cores 2 --args 1000000 -- -netdev hubport,id=a,hubid=0 -netdev hubport,id=b,hubid=0 -device virtio-net-pci,netdev=a,romfile= -device rtl8139,netdev=b,romfile=
// soak: --cores 2 --args 1000000 -- -netdev hubport,id=a,hubid=0 -netdev hubport,id=b,hubid=0 -device virtio-net-pci,netdev=a,romfile= -device ne2k_pci,netdev=b,romfile=
// soak: --cores 2 --args 1000000 -- -netdev hubport,id=a,hubid=0 -netdev hubport,id=b,hubid=0 -device virtio-net-pci,netdev=a,romfile= -device vmxnet3,netdev=b,romfile=
#include "check.hpp"

#include <exo/drivers/nics.hpp>
#include <exo/port.hpp>

#include <algorithm>
#include <array>
#include <charconv>
#include <cstring>
#include <utility>

using namespace check;

namespace {

constexpr std::size_t header_bytes = net::ethernet_header_bytes, shortest = 60;
constinit std::size_t longest = 1514;
constexpr std::chrono::seconds patience{20};

/// Byte `at` of frame `number`. The first eight behind the header are the number itself.
std::byte pattern(u64 number, std::size_t at) {
  return static_cast<std::byte>(at < header_bytes + 8 ? number >> 8 * (at - header_bytes) : at * 7 + number);
}

/// A broadcast of an ethertype for experiments.
void write_frame(std::span<std::byte> frame, net::mac_address const &from, u64 number) {
  std::ranges::fill(frame.first(6), std::byte{0xFF});
  net::store_mac(frame, 6, from);
  frame[12] = std::byte{0x88};
  frame[13] = std::byte{0xB5};
  for (std::size_t at = header_bytes; at < frame.size(); ++at) frame[at] = pattern(number, at);
}

u64 number_of(std::span<std::byte const> frame) {
  u64 number = 0;
  std::memcpy(&number, frame.data() + header_bytes, sizeof(number));
  return number;
}

/// Whether it is the frame with this number and these bytes, and zeros where a device has filled it up to the shortest.
bool is_frame(std::span<std::byte const> frame, std::size_t bytes, u64 number) {
  if (frame.size() != bytes && frame.size() != std::max(bytes, shortest)) return false;
  for (std::size_t at = header_bytes; at < frame.size(); ++at) {
    if (frame[at] != (at < bytes ? pattern(number, at) : std::byte{})) return false;
  }
  return true;
}

template <waitable_frame_device Device>
bool send(Device &device, std::size_t bytes, u64 number) {
  return device.try_send(bytes, [&](std::span<std::byte> frame) {
    same(static_cast<i64>(frame.size()), static_cast<i64>(bytes));
    write_frame(frame, device.mac(), number);
  });
}

/// Hands over the next frames until `count` came or the time is over.
template <waitable_frame_device Device, typename Consume>
void receive(Device &device, u64 count, Consume consume, where at = where::current()) {
  u64 const end = deadline_in(patience);
  for (u64 got = 0; got < count;) {
    got += device.try_receive([&](net::received_frame const &frame) { consume(frame.bytes); });
    if (ticks() > end) return fail(at, "frames are missing; expected, came", count, got);
  }
}

template <waitable_frame_device From, waitable_frame_device To>
void all_lengths(From &from, To &to) {
  u64 number = 0;
  std::size_t const step = longest > 2000 ? 7 : 1;
  for (std::size_t bytes = longest - (longest - header_bytes - 8) / step * step; bytes <= longest && failures == 0; bytes += step) {
    that(send(from, bytes, ++number), "there is no room for one frame");
    from.flush();
    receive(to, 1, [&](std::span<std::byte const> frame) {
      if (!is_frame(frame, bytes, number)) fail(where::current(), "another frame; length, came", bytes, frame.size());
    });
  }
  that(!send(from, longest + 1, 0), "a frame longer than the MTU is taken");
}

/// As many frames as the sender has room for, at once.
template <waitable_frame_device From, waitable_frame_device To>
void full_rings(From &from, To &to) {
  for (u32 round = 0; round < 200 && failures == 0; ++round) {
    u64 sent = 0, next = 0;
    while (sent < 8 && send(from, 60 + (sent * 131 + round) % 1400, sent)) ++sent;
    that(sent >= 2, "there is room for one frame only");
    from.flush();
    receive(to, sent, [&](std::span<std::byte const> frame) {
      if (!is_frame(frame, 60 + (next * 131 + round) % 1400, next)) {
        fail(where::current(), "another frame, or order; expected, came", next, number_of(frame));
      }
      ++next;
    });
  }
  that(from.drain(clock::now() + patience), "what was received is not sent");
}

/// Both ways at once, `count` frames each; each side lets so many be on their way as the other has room for.
template <waitable_frame_device Left, waitable_frame_device Right>
void flood(Left &left, Right &right, u64 count = 5'000) {
  constexpr u64 window = 6;
  u64 sent[2] = {}, came[2] = {};
  auto const turn = [&](auto &from, auto &to, u32 way) {
    while (sent[way] < count && sent[way] - came[way] < window && send(from, 60 + sent[way] % 700, sent[way])) ++sent[way];
    from.flush();
    to.try_receive([&](net::received_frame const &frame) {
      if (!is_frame(frame.bytes, 60 + came[way] % 700, came[way])) {
        fail(where::current(), "another frame, or order; expected, came", came[way], number_of(frame.bytes));
      }
      ++came[way];
    });
  };
  u64 end = 0;
  for (u64 before = ~u64{0}; (came[0] < count || came[1] < count) && failures == 0;) {
    if (std::exchange(before, came[0] + came[1]) != came[0] + came[1]) end = deadline_in(2 * patience);
    turn(left, right, 0);
    turn(right, left, 1);
    if (ticks() > end) fail(where::current(), "frames are lost; came", came[0], came[1]);
  }
}

/// More frames than the receiver has room for, while it does not look: what it has is whole, and it goes on. What the
/// emulated wire holds back it may deliver in another order.
template <waitable_frame_device From, waitable_frame_device To>
void overrun(From &from, To &to) {
  constexpr u64 count = 300;
  std::array<bool, count> seen{};
  u64 sent = 0;
  u64 const enough = deadline_in(std::chrono::milliseconds(500));
  while (sent < count && ticks() < enough) {
    if (send(from, longest, sent)) ++sent;
    from.flush();
  }
  u64 came = 0;
  for (u64 quiet = deadline_in(std::chrono::milliseconds(200)); ticks() < quiet;) {
    std::size_t const some = to.try_receive([&](net::received_frame const &frame) {
      u64 const number = number_of(frame.bytes);
      if (number >= sent || std::exchange(seen[number], true) || !is_frame(frame.bytes, longest, number)) {
        fail(where::current(), "a frame that is damaged or came before; number", number);
      }
    });
    came += some;
    if (some != 0) quiet = deadline_in(std::chrono::milliseconds(200));
  }
  that(came >= 4, "hardly any frame was kept");
  that(from.drain(clock::now() + patience), "the sender is stuck");
}

/// The peer sends at odd times from another core: a frame that came between looking and halting would be missed.
template <waitable_frame_device Peer, waitable_frame_device Device>
void waits(Peer &peer, Device &device) {
  constexpr u32 rounds = 1'000;
  static constinit std::atomic<u32> wanted = 0;
  wanted = 0;
  job sending([&peer] {
    for (u32 round = 1; round <= rounds && failures == 0; ++round) {
      for (u64 const end = deadline_in(patience); wanted.load() != round; exo::pause()) {
        if (ticks() > end) return fail(where::current(), "the receiver hangs in round", round);
      }
      for (u64 const later = ticks() + round * 97 % 4096; ticks() < later;) exo::pause();
      that(send(peer, 64, round), "there is no room");
      peer.flush();
    }
  });
  auto running = run_on(core_id{1}, sending);
  that(running.has_value(), "core 1 does not start");
  for (u32 round = 1; round <= rounds && failures == 0; ++round) {
    wanted.store(round);
    clock::time_point const end = clock::now() + patience;
    std::size_t came = 0;
    while (came == 0) {
      came = device.try_receive([&](net::received_frame const &frame) {
        that(is_frame(frame.bytes, 64, round), "another frame");
      });
      if (came == 0) device.wait(end);
      if (clock::now() >= end) return fail(where::current(), "no frame wakes in round", round);
    }
  }
}

/// When nothing comes it sleeps until the deadline: a device without an interrupt is looked at every millisecond.
template <waitable_frame_device Device>
void sleeps(Device &device) {
  for (u32 round = 0; round < 20; ++round) {  // it may wake early, but not every time
    clock::time_point const end = clock::now() + std::chrono::milliseconds(20);
    device.wait(end);
    if (clock::now() >= end) return;
  }
  fail(where::current(), "it never sleeps");
}

template <waitable_frame_device Peer, waitable_frame_device Device>
void test(Peer &peer, Device &device) {
  that(device.link_speed() != 0, "the link is down");
  same(static_cast<i64>(device.mtu() + header_bytes), static_cast<i64>(longest));
  that(device.mac() != peer.mac() && device.mac() != net::mac_address{} && !device.mac().is_group(), "no good address");
  all_lengths(device, peer);
  all_lengths(peer, device);
  full_rings(device, peer);
  full_rings(peer, device);
  flood(device, peer);
  overrun(peer, device);
  flood(device, peer);
  waits(peer, device);
  sleeps(device);
}

/// What was the device's is the program's again: frames that come now go nowhere.
template <waitable_frame_device Peer>
void closed_device_leaves_memory_alone(Peer &peer) {
  auto const memory = pages::take(1 << 20);  // the lowest there is, as the device had
  std::ranges::fill(memory->span(), std::byte{0x5A});
  for (u64 number = 0; number < 50; ++number) {
    (void)send(peer, longest, number);
    peer.flush();
  }
  for (u64 const end = deadline_in(std::chrono::milliseconds(5)); ticks() < end;) exo::pause();
  bool const untouched = std::ranges::all_of(memory->span(), [](std::byte each) { return each == std::byte{0x5A}; });
  that(untouched, "the device wrote into memory after it was closed");
}

/// The core's NIC of a number, as a port; it stays open.
template <typename Use>
void with_nic(u32 number, Use use) {
  nic_record const &record = info().nics[number];
  constexpr u32 depth = 64;
  auto const rings = pages::take(nic::ring_bytes(record, 1, depth));
  auto const frames = pages::take(frame_port::memory_bytes(record, depth));
  auto card = nic::open(number, 1, depth, rings->span());
  if (!card) return fail(where::current(), "a NIC of the core does not open");
  auto port = frame_port::open(std::move(*card->take_queue()), frames->span());
  use(*port);
}

/// Of the NICs that headers drive, only vmxnet3 has frames of more than 1,514 bytes.
void jumbo(frame_port &peer) {
  auto const found = find_pci([](pci_function const &each) { return vmxnet3::probe(each.record()); });
  for (u32 const mtu : {59u, 9001u}) {
    auto const refused = vmxnet3::open(found->record(), mtu);
    that(!refused && refused.error().why == error::range, "an MTU that the device does not have");
  }
  auto device = vmxnet3::open(found->record(), static_cast<u32>(peer.mtu()));
  if (!device) return fail(where::current(), device.error().sentence);
  test(peer, *device);
}

/// The machine takes the NIC out while frames are on their way (ACPI hotplug of QEMU's pc: bus 0, eject slot 7).
template <waitable_frame_device Device>
void removed(Device &device) {
  for (u64 number = 0; number < 4; ++number) (void)send(device, longest, number);
  device.flush();
  port_out<u32>(0xAE10, 0);
  port_out<u32>(0xAE08, 1 << 7);
  u64 const end = deadline_in(patience);
  while (device.link_speed() != 0) {  // noticed at once, or when what was sent does not end
    (void)send(device, 60, 1);
    if (ticks() > end) return fail(where::current(), "a NIC that is gone has a link");
  }
  same(static_cast<i64>(device.try_receive([](net::received_frame const &) {})), 0);
  device.wait(clock::now() + std::chrono::milliseconds(5));
  (void)device.drain(clock::now() + std::chrono::milliseconds(5));
  while (send(device, 60, 1)) {
    if (ticks() > end) return fail(where::current(), "a NIC that is gone takes frames");
  }
}

void soak(frame_port &peer, u64 frames) {
  auto const used = with_first_header_nic([&](auto &device) {
    u64 const begin = ticks();
    flood(device, peer, frames / 2);
    frame_counters const &count = device.counters();
    print("{} frames sent, {} received, {} damaged, {} lost, {} resets, {} s\n", count.sent, count.received, count.damaged,
          count.lost, count.resets, (ticks() - begin) / info().tsc_hz);
    same(static_cast<i64>(count.damaged + count.lost + count.resets), 0);
  });
  if (!used) fail(where::current(), used.error().sentence);
}

}  // namespace

int main(int argc, char **argv) {
  u64 frames = 0;
  if (argc == 2) std::from_chars(argv[1], argv[1] + std::strlen(argv[1]), frames);
  if (argc == 2 && frames == 0) {
    auto const used = with_first_header_nic([](auto &device) { removed(device); });
    if (!used) fail(where::current(), used.error().sentence);
    auto const again = with_first_header_nic([](auto &) {});
    that(!again, "a NIC that is gone opens");
    return verdict();
  }
  with_nic(0, [frames](frame_port &peer) {
    if (info().nics.size() > 1) return with_nic(1, [&](frame_port &device) { test(peer, device); });
    if (frames != 0) return soak(peer, frames);
    longest = peer.mtu() + header_bytes;
    if (peer.mtu() > 1500) return jumbo(peer);
    for (u32 round = 0; round < 2; ++round) {  // the second time after it was closed
      auto const used = with_first_header_nic([&](auto &device) {
        test(peer, device);
        frame_counters const &count = device.counters();
        same(static_cast<i64>(count.damaged + count.lost + count.resets), 0);
        that(count.sent > 5'000 && count.received > 5'000, "the counters do not count");
      });
      if (!used) fail(where::current(), used.error().sentence);
      closed_device_leaves_memory_alone(peer);
    }
  });
  return verdict();
}
