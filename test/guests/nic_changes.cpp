// NICs that change while they are busy, through QEMU's monitor; test/boot/nics.sh does that, on the machine pc.
// Between two NICs frames go without end. The first NIC's link goes down and up; then the NIC is taken away.
#include "check.hpp"

#include <exo/nic_guard.hpp>

using namespace check;

namespace {

constexpr u32 depth = 32;
constexpr u64 buffer_bytes = 2048;

// QEMU's ACPI hotplug of PCI (docs/specs/acpi_pci_hotplug): a bit for each slot that is to go, and one to write for each
// that may, of the bus chosen with the last one.
constexpr u16 slots_down = 0xae04, slots_eject = 0xae08, bus_select = 0xae10;

u32 in(u16 number) {
  u32 value;
  asm volatile("inl %1, %0" : "=a"(value) : "d"(number));
  return value;
}
void out(u16 number, u32 value) { asm volatile("outl %0, %1" : : "a"(value), "d"(number)); }

/// Lets a device go that QEMU wants to take.
bool removed() {
  out(bus_select, 0);
  u32 const down = in(slots_down);
  if (down != 0) out(slots_eject, down);
  return down != 0;
}

struct traffic {
  nic_guard &sender, &receiver;
  std::byte *memory;
  u64 came = 0;
  bool gone = false;

  /// Sends one frame, and takes what comes.
  void round() {
    frame const one = frame_at(memory + depth * buffer_bytes, 60, 7);
    if (!gone) (void)sender.try_send({&one, 1});
    completion done[depth];
    auto const reaped = sender.try_reap(done);
    gone |= !reaped && reaped.error() == error::closed;
    frame got[depth];
    std::size_t const some = receiver.try_receive(got).value_or(0);
    for (frame &each : std::span(got, some)) each.bytes = buffer_bytes;
    came += some;
    if (some != 0) same(static_cast<i64>(receiver.try_post({got, some}).value_or(0)), static_cast<i64>(some));
  }

  template <typename Condition>
  void until(Condition condition, char const *what, where at = where::current()) {
    u64 const end = ticks() + 60 * info().tsc_hz;
    while (!condition() && ticks() < end) round();
    that(condition(), what, at);
  }
};

}  // namespace

int main() {
  if (info().nics.size() != 2) return 2;
  std::byte *const memory = take_pages((depth + 1) * buffer_bytes);
  std::fill_n(memory + depth * buffer_bytes, 6, std::byte{0xFF});
  auto sender = nic_guard::open(0, depth, std::chrono::seconds(1));
  auto receiver = nic_guard::open(1, depth, std::chrono::seconds(1));
  if (!sender || !receiver) return 3;
  frame buffers[depth];
  for (u64 at = 0; at < depth; ++at) buffers[at] = frame_at(memory + at * buffer_bytes, buffer_bytes, at);
  same(static_cast<i64>(receiver->try_post(buffers).value_or(0)), depth);

  traffic flow{*sender, *receiver, memory};
  flow.until([&] { return flow.came > 100; }, "no frames");
  print("busy\n");
  flow.until([&] { return !sender->link(); }, "the link does not go down");
  print("link down\n");
  flow.until([&] { return sender->link(); }, "the link does not come up");
  flow.until([&, before = flow.came] { return flow.came > before + 100; }, "no frames after the link came up");
  print("link up\n");
  bool asked = false;
  flow.until([&] { return asked = asked || removed(); }, "nobody removes the NIC");
  flow.until([&] { return flow.gone; }, "a NIC that is gone takes frames");
  that(!sender->link(), "a NIC that is gone has a link");
  completion done{};
  that(sender->try_reap({&done, 1}) == std::unexpected(error::closed), "frames of a NIC that is gone are left");
  that(receiver->link(), "the other NIC's link went down");
  if (verdict() == 0) print("gone, and the other one is there\n");
  return verdict();
}
