// A NIC that is stuck, and one that is taken away while it is busy: all frames come back, and where the NIC is still there
// it goes on.
// boot: --cores 1 -- -machine pc -netdev hubport,id=a,hubid=0 -netdev hubport,id=b,hubid=0 -device virtio-net-pci,netdev=a,romfile= -device virtio-net-pci,netdev=b,romfile=
// boot: --cores 1 -- -machine pc -netdev hubport,id=a,hubid=0 -netdev hubport,id=b,hubid=0 -device e1000,netdev=a,romfile= -device e1000,netdev=b,romfile=
// boot: --cores 1 -- -machine q35 -netdev hubport,id=a,hubid=0 -netdev hubport,id=b,hubid=0 -device e1000e,netdev=a,romfile= -device e1000e,netdev=b,romfile=
#include "check.hpp"

#include <exo/nic_guard.hpp>

using namespace check;

namespace {

constexpr u32 depth = 16;
constexpr u32 command_offset = 4, bus_master = 4;

frame packet(std::byte *at, u64 cookie) { return frame_at(at, 60, cookie); }

/// Reaps until so many frames came back; returns how many of them with this status.
u32 reap(nic_guard &guard, u32 count, i32 status) {
  u32 matching = 0;
  u64 const end = ticks() + 30 * info().tsc_hz;
  for (u32 got = 0; got < count;) {
    completion done{};
    auto const some = guard.try_reap({&done, 1});
    if (!some || ticks() > end) {
      fail(where::current(), "frames do not come back, so many have", got);
      break;
    }
    if (*some == 0) continue;
    that(done.cookie >= 100 && done.cookie < 100 + depth, "a cookie that nobody gave");
    matching += done.status == status;
    ++got;
  }
  return matching;
}

/// Receives one frame and gives its buffer back; whether one came.
bool receives(nic_guard &guard) {
  frame got{};
  for (u64 const end = ticks() + 10 * info().tsc_hz; ticks() < end;) {
    if (guard.try_receive({&got, 1}).value_or(0) == 0) continue;
    same(got.bytes, 60);
    frame const again = frame_at(reinterpret_cast<std::byte *>(got.address), 2048, got.cookie);
    return guard.try_post({&again, 1}).value_or(0) == 1;
  }
  return false;
}

void stuck(nic_guard &sender, nic_guard &receiver, std::byte *memory) {
  std::byte *const out = memory + depth * 2048;
  std::fill_n(out, 60, std::byte{0xFF});
  frame buffers[depth], frames[depth];
  for (u64 at = 0; at < depth; ++at) {
    buffers[at] = frame_at(memory + at * 2048, 2048, at);
    frames[at] = packet(out, 100 + at);
  }
  same(static_cast<i64>(receiver.try_post(buffers).value_or(0)), depth);
  same(static_cast<i64>(sender.try_send({frames, 1}).value_or(0)), 1);
  same(reap(sender, 1, 0), 1);
  that(receives(receiver), "no frame arrives");
  same(static_cast<i64>(sender.counts().sent), 1);
  same(static_cast<i64>(sender.counts().sent_bytes), 60);
  same(static_cast<i64>(receiver.counts().received), 1);

  // Without bus mastering a device reads and writes nothing: it has frames, and never says that it sent them.
  u32 const function = sender.record().function;
  auto const command = static_cast<u32>(core().pci_read(function, command_offset, 2));
  same(core().pci_write(function, command_offset, 2, command & ~bus_master), 0);
  same(static_cast<i64>(sender.try_send(frames).value_or(0)), depth);
  same(reap(sender, depth, -static_cast<i32>(error::timeout)), depth);
  that(sender.counts().resets != 0, "nobody has reset the NIC");

  same(core().pci_write(function, command_offset, 2, command), 0);
  same(static_cast<i64>(sender.try_send({frames, 1}).value_or(0)), 1);
  same(reap(sender, 1, 0) + reap(sender, 0, 0), 1);
  that(receives(receiver), "no frame arrives after the reset");
}

}  // namespace

int main() {
  if (info().nics.size() != 2) return 2;
  std::byte *const memory = take_pages((depth + 1) * 2048);
  auto sender = nic_guard::open(0, depth, std::chrono::milliseconds(500));
  auto receiver = nic_guard::open(1, depth, std::chrono::seconds(5));
  if (!sender || !receiver) return 3;
  that(sender->link() && receiver->link(), "the link is down");
  stuck(*sender, *receiver, memory);
  return verdict();
}
