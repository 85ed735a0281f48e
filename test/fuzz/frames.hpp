// What a fuzz target of a NIC does: all calls of a frame device in the order that the input says, while the device does what
// the input says.
#pragma once

#include <exo/frame_device.hpp>

#include "machine.hpp"

namespace fuzzed {

/// A good NIC: besides its registers it knows how a frame comes, and where a bad one can do harm.
class nic_model : public model {
 public:
  virtual void arrive(std::span<std::byte const> frame) = 0;
  virtual void damage() = 0;
  virtual void handed_over() {}
};

/// Reads all of a frame: what lies outside the driver's memory is found.
inline u32 sum_of(std::span<std::byte const> frame) {
  u32 sum = 0;
  for (std::byte each : frame) sum += std::to_integer<u32>(each);
  return sum;
}

template <waitable_frame_device Nic>
void use(machine &here, Nic &nic, nic_model &model) {
  std::size_t const longest = nic.mtu() + net::ethernet_header_bytes;
  auto const send = [&](std::size_t bytes) {
    return nic.try_send(bytes, [&](std::span<std::byte> frame) {
      demand(frame.size() == bytes, "a frame of another length is to be filled");
      std::ranges::fill(frame, std::byte{0x11});
    });
  };
  u32 volatile sum = 0;
  auto const receive = [&](bool answers) {
    std::size_t handed = 0;
    std::size_t const count = nic.try_receive([&](net::received_frame const &frame) {
      ++handed;
      model.handed_over();
      demand(frame.bytes.size() <= longest + 4, "a frame is longer than can be");
      sum = sum + sum_of(frame.bytes);
      if (answers) (void)send(60);
    });
    demand(count == handed && count <= receive_batch, "it says another number of frames than it handed over");
    return count;
  };
  std::array<std::byte, 2048> frame{};
  while (!here.rest.empty()) {
    switch (here.next() % 9) {
      case 0: {
        std::size_t const bytes = here.next() * 8u;
        demand(!send(bytes) || bytes <= longest, "a frame longer than the MTU is taken");
        break;
      }
      case 1: nic.flush(); break;
      case 2: receive(false); break;
      case 3: receive(true); break;
      case 4: nic.wait(clock::now() + std::chrono::milliseconds(here.next())); break;
      case 5: (void)nic.drain(clock::now() + std::chrono::milliseconds(here.next())); break;
      case 6: model.damage(); break;
      case 7: model.arrive(std::span(frame).first(14 + here.next() * 6u % 1500)); break;
      case 8: (void)nic.link_speed(); break;
    }
  }
  // It comes out of all that: everything is sent or given up, and then it is either gone, or frames go both ways.
  auto const settled = [&] { return nic.drain(clock::now() + std::chrono::seconds(20)); };
  for (u32 turn = 0; turn < 4; ++turn) {
    receive(false);
    (void)settled();
  }
  if (nic.link_speed() == 0) return;
  while (receive(false) != 0) {
  }
  // What the input has put there may have led it astray by a few places: it is found out when the device comes there.
  u64 const received = nic.counters().received, sent = nic.counters().sent;
  for (u32 turn = 0; turn < 400 && nic.counters().received == received; ++turn) {
    model.arrive(std::span(frame).first(60));
    receive(false);
  }
  if (nic.link_speed() == 0) return;
  demand(nic.counters().received > received, "no frame is received any more");
  demand(send(60) && settled() && nic.counters().sent > sent, "no frame is sent any more");
}

/// Opens a NIC whose device is such a model, and does all that.
template <waitable_frame_device Nic, typename Model>
void fuzz_nic(std::span<std::byte const> input, pci_record const &function) {
  auto const open = [](machine &here, auto use) {
    auto const good = std::make_unique<Model>(here);
    here.device = good.get();
    auto nic = Nic::open(here.record());
    if (nic) use(*nic, *good);
    return nic.has_value();
  };
  static u64 const pages = pages_for(function, [&](machine &here) { return open(here, [](Nic &, Model &) {}); });
  machine here(input, function, pages);
  open(here, [&](Nic &nic, Model &good) { use(here, nic, good); });
}

}  // namespace fuzzed
