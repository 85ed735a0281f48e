// What a fuzz target of a NIC does: all calls of a frame device in the order that the input says, while the device does what
// the input says. As long as that is what a good one does, each frame has to go its way, whole and in order.
#pragma once

#include <deque>
#include <exo/frame_device.hpp>

#include "machine.hpp"

namespace fuzzed {

/// A good NIC: besides its registers it knows how a frame comes, and where a bad one can do harm.
class nic_model : public model {
 public:
  explicit nic_model(machine &here) : here_(here) {}

  /// A frame comes; false if the device has no room for it.
  virtual bool arrive(std::span<std::byte const> frame) = 0;
  /// The device does what it should not.
  virtual void damage() = 0;
  virtual void handed_over() {}
  /// Whether frames can come.
  [[nodiscard]] virtual bool listens() const = 0;
  /// Whether it may interrupt.
  [[nodiscard]] virtual bool interrupts() const = 0;
  /// Whether a driver with so many frames on their way has no room for another, and would have if it looked.
  [[nodiscard]] virtual bool full_and_done(u64) const { return false; }

  void halts() final {
    demand(interrupts() || !here_.honest, "the core halts, and the device may not wake it");
    ++halted;
  }

  std::deque<std::vector<std::byte>> incoming, outgoing;  // on their way to the program, to the wire
  u64 halted = 0;                                         // how often the core did

  /// The next of some frames is this one.
  static void take(std::deque<std::vector<std::byte>> &from, std::span<std::byte const> frame, char const *wrong) {
    demand(!from.empty() && std::ranges::equal(from.front(), frame), wrong);
    from.pop_front();
  }

 protected:
  /// A frame is given to the device.
  void is_given() const { demand(here_.present, "a device that is gone is given a frame to send"); }
  /// A frame goes out.
  void sends(std::span<std::byte const> frame) {
    demand(frame.size() >= 60 && frame.size() <= 1514, "it sends what is no frame");
    if (here_.honest) take(outgoing, frame, "another frame is sent than was queued");
  }

  machine &here_;
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
  u8 number = 0;
  u64 taken_frames = 0;
  auto const made = [&number](std::size_t bytes) {
    std::vector<std::byte> frame(bytes);
    for (std::byte &each : frame) each = std::byte{number++};
    ++number;
    return frame;
  };
  auto const send = [&](std::size_t bytes) {
    auto frame = made(bytes);
    bool const taken = nic.try_send(bytes, [&](std::span<std::byte> to) {
      demand(to.size() == bytes, "a frame of another length is to be filled");
      std::ranges::copy(frame, to.begin());
    });
    frame.resize(std::max(bytes, shortest_frame_bytes));
    if (taken) model.outgoing.push_back(std::move(frame));
    taken_frames += taken;
    return taken;
  };
  auto const arrive = [&](std::size_t bytes) {
    auto frame = made(bytes);
    if (model.arrive(frame)) model.incoming.push_back(std::move(frame));
  };
  u32 volatile sum = 0;
  auto const receive = [&](bool answers) {
    std::size_t handed = 0;
    std::size_t const count = nic.try_receive([&](net::received_frame const &frame) {
      ++handed;
      model.handed_over();
      demand(frame.bytes.size() <= longest + 4, "a frame is longer than can be");
      sum = sum + sum_of(frame.bytes);
      if (here.honest) model.take(model.incoming, frame.bytes, "another frame is handed over than came");
      if (answers) (void)send(60);
    });
    demand(count == handed && count <= receive_batch, "it says another number of frames than it handed over");
    return count;
  };
  // A core halts if there is nothing to do, and not with something to do: it might never be woken.
  auto const wait = [&](clock::duration patience) {
    auto const busy = [&] {
      return !model.incoming.empty() || model.full_and_done(taken_frames - nic.counters().sent);
    };
    bool const before = busy();
    u64 const halted = model.halted;
    nic.wait(clock::now() + patience);
    if (!here.honest) return;
    demand(!before || halted == model.halted, "the core halts, and there is something to do");
    demand(busy() || halted != model.halted, "the core does not halt, and there is nothing to do");
  };
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
      case 4: wait(std::chrono::milliseconds(here.next())); break;
      case 5: (void)nic.drain(clock::now() + std::chrono::milliseconds(here.next())); break;
      case 6:
        here.honest = false;
        model.damage();
        break;
      case 7: arrive(14 + here.next() * 6u % 1500); break;
      case 8: demand(nic.link_speed() != 0 || !here.honest, "the link is up, and it says that it is down"); break;
    }
    demand(!model.interrupts(), "the device may interrupt, and nobody waits for it");
  }
  // It comes out of all that: everything is sent or given up, and then it is either gone, or frames go both ways.
  auto const settled = [&] { return nic.drain(clock::now() + std::chrono::seconds(20)); };
  for (u32 turn = 0; turn < 4; ++turn) {
    receive(false);
    (void)settled();
  }
  if (nic.link_speed() == 0) return demand(!here.honest, "it is taken for gone");
  while (receive(false) != 0) {
  }
  frame_counters const &count = nic.counters();
  if (here.honest) {
    demand(model.incoming.empty() && model.outgoing.empty(), "a frame is lost");
    demand(count.damaged + count.lost + count.resets == 0, "a good device is reset");
  }
  // What the input has put there may have led it astray by a few places: it is found out when the device comes there.
  u64 const received = count.received, sent = count.sent;
  for (u32 turn = 0; turn < 400 && count.received == received; ++turn) {
    arrive(60);
    receive(false);
  }
  if (nic.link_speed() == 0) return;
  demand(count.received > received, "no frame is received any more");
  for (u32 turn = 0; turn < 2 && count.sent == sent; ++turn) {  // the first one may find the device stuck
    (void)send(60);
    (void)settled();
  }
  demand(count.sent > sent || nic.link_speed() == 0, "no frame is sent any more");
}

/// Opens a NIC whose device is such a model, and does all that.
template <waitable_frame_device Nic, typename Model>
void fuzz_nic(std::span<std::byte const> input, pci_record const &function) {
  auto const open = [](machine &here, auto use) {
    auto const good = std::make_unique<Model>(here);
    here.device = good.get();
    if (auto nic = Nic::open(here.record())) {
      use(*nic, *good);
    } else {
      return false;
    }
    demand(!good->listens() || !here.honest, "the device goes on when it is closed");
    return true;
  };
  static u64 const pages = pages_for(function, [&](machine &here) { return open(here, [](Nic &, Model &) {}); });
  machine here(input, function, pages);
  open(here, [&](Nic &nic, Model &good) { use(here, nic, good); });
}

}  // namespace fuzzed
