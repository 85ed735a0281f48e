// No wake is lost: rounds of arming queues of several kinds at once and halting until their work is done, on two cores that
// change places. The argument is the number of rounds of each core.
// limit: 200
// boot: --cores 2 --args 6000 -- -drive if=none,id=d,format=raw,file="$work/d$(truncate -s 1M "$work/d")" -device virtio-blk-pci,drive=d,num-queues=2,disable-legacy=on,romfile=,addr=10 -drive if=none,id=e,format=raw,file="$work/e$(truncate -s 1M "$work/e")" -device virtio-blk-pci,drive=e,vectors=0,disable-legacy=on,romfile=,addr=12 -netdev hubport,id=a,hubid=0 -netdev hubport,id=b,hubid=0 -device virtio-net-pci,netdev=a,disable-legacy=on,romfile=,addr=14 -device virtio-net-pci,netdev=b,vectors=0,disable-legacy=on,romfile=,addr=16
// boot: --cores 2 --args 2500 --microvm -- -drive if=none,id=d,format=raw,file="$work/d$(truncate -s 1M "$work/d")" -device virtio-blk-device,bus=virtio-mmio-bus.4,drive=d,num-queues=2 -drive if=none,id=e,format=raw,file="$work/e$(truncate -s 1M "$work/e")" -device virtio-blk-device,bus=virtio-mmio-bus.3,drive=e -netdev hubport,id=a,hubid=0 -netdev hubport,id=b,hubid=0 -device virtio-net-device,bus=virtio-mmio-bus.2,netdev=a -device virtio-net-device,bus=virtio-mmio-bus.1,netdev=b
// boot: --cores 2 --args 2500 -- -drive if=none,id=d,format=raw,file="$work/d$(truncate -s 1M "$work/d")" -device nvme,drive=d,serial=1,addr=10 -drive if=none,id=e,format=raw,file="$work/e$(truncate -s 1M "$work/e")" -device ide-hd,bus=ide.0,drive=e -netdev hubport,id=a,hubid=0 -netdev hubport,id=b,hubid=0 -device e1000,netdev=a,romfile=,addr=14 -device e1000e,netdev=b,romfile=,addr=16
// soak: --cores 2 --args 1000000 -- -drive if=none,id=d,format=raw,file="$work/d$(truncate -s 1M "$work/d")" -device virtio-blk-pci,drive=d,num-queues=2,disable-legacy=on,romfile=,addr=10 -drive if=none,id=e,format=raw,file="$work/e$(truncate -s 1M "$work/e")" -device virtio-blk-pci,drive=e,vectors=0,disable-legacy=on,romfile=,addr=12 -netdev hubport,id=a,hubid=0 -netdev hubport,id=b,hubid=0 -device virtio-net-pci,netdev=a,disable-legacy=on,romfile=,addr=14 -device virtio-net-pci,netdev=b,vectors=0,disable-legacy=on,romfile=,addr=16
// soak: --cores 2 --args 100000 --microvm -- -drive if=none,id=d,format=raw,file="$work/d$(truncate -s 1M "$work/d")" -device virtio-blk-device,bus=virtio-mmio-bus.4,drive=d,num-queues=2 -drive if=none,id=e,format=raw,file="$work/e$(truncate -s 1M "$work/e")" -device virtio-blk-device,bus=virtio-mmio-bus.3,drive=e -netdev hubport,id=a,hubid=0 -netdev hubport,id=b,hubid=0 -device virtio-net-device,bus=virtio-mmio-bus.2,netdev=a -device virtio-net-device,bus=virtio-mmio-bus.1,netdev=b
// soak: --cores 2 --args 1000000 -- -drive if=none,id=d,format=raw,file="$work/d$(truncate -s 1M "$work/d")" -device nvme,drive=d,serial=1,addr=10 -drive if=none,id=e,format=raw,file="$work/e$(truncate -s 1M "$work/e")" -device ide-hd,bus=ide.0,drive=e -netdev hubport,id=a,hubid=0 -netdev hubport,id=b,hubid=0 -device e1000,netdev=a,romfile=,addr=14 -device e1000e,netdev=b,romfile=,addr=16
#include "check.hpp"

#include <charconv>
#include <cstring>

using namespace check;

namespace {

constexpr u32 depth = 16, phase_rounds = 500;
constexpr u32 shared_disk = 0, other_disk = 1, sender = 0, receiver = 1;
constinit std::byte *memory = nullptr;  // a page for each thing that moves
constinit u64 rounds = 0;
constinit std::atomic<u32> arrived = 0;
constinit std::atomic<u64> halts = 0;

std::byte *place(u32 number) { return memory + number * page_bytes; }

/// Both cores come here before they change places.
void meet(u32 phase) {
  ++arrived;
  while (arrived < 2 * (phase + 1) && failures == 0) exo::pause();
}

/// One thing that is begun, reaped, and armed.
struct work {
  enum class kind : u8 { read, send } what;
  u32 device, queue;
  bool pending = false;

  void begin() {
    i64 taken = 0;
    if (what == kind::read) {
      disk_op op{};
      op.kind = disk_read;
      op.address = address(place(4 + device * 2 + queue));
      op.bytes = info().disks[device].block_bytes;
      taken = core().disk_submit(device, queue, &op, 1);
    } else {
      frame const buffer = frame_of(place(1), 2048), out = frame_of(place(0), 60);
      same(core().nic_rx_post(receiver, 0, &buffer, 1), 1);
      taken = core().nic_tx(sender, 0, &out, 1);
    }
    same(taken, 1);
    pending = true;
  }

  void reap() {
    completion done{};
    if (what == kind::read) {
      if (core().disk_reap(device, queue, &done, 1) == 1) pending = false;
    } else {
      frame got{};
      if (core().nic_rx_reap(receiver, 0, &got, 1) == 1) pending = false;
      if (!pending) {
        for (u64 const end = patience(); core().nic_tx_reap(sender, 0, &done, 1) != 1 && ticks() < end;) exo::pause();
      }
    }
  }

  bool arm() const {
    i64 const there = what == kind::read ? core().disk_arm(device, queue) : core().nic_arm(receiver, 0, ring_rx);
    that(there == 0 || there == 1, "a queue cannot be armed");
    return there == 0;
  }

  static frame frame_of(std::byte *at, u32 bytes) {
    frame made{};
    made.address = address(at);
    made.bytes = bytes;
    return made;
  }
  static u64 patience() { return ticks() + 30 * info().tsc_hz; }
};

void wait_for(std::span<work> all, u64 round) {
  for (u64 const end = work::patience();;) {
    bool pending = false, armed = true;
    for (work &each : all) {
      if (each.pending) each.reap();
      pending |= each.pending;
    }
    if (!pending) return;
    for (work &each : all) {
      if (each.pending && !each.arm()) armed = false;
    }
    if (!armed) continue;
    ++halts;
    if (core().core_idle(end) == 0) return fail(where::current(), "a wake is lost in round", round);
  }
}

void run(u32 me) {
  u64 random = 88172645463325252 + me;
  for (u64 round = 0; round < rounds && failures == 0; ++round) {
    u32 const phase = static_cast<u32>(round / phase_rounds), place = (me + phase) % 2;
    if (round % phase_rounds == 0) meet(phase);
    work all[] = {{work::kind::read, shared_disk, place}, {work::kind::read, other_disk, 0}, {work::kind::send, sender, 0}};
    random ^= random << 13, random ^= random >> 7, random ^= random << 17;
    all[0].begin();
    if (place == 0 && (random & 1) != 0) all[1].begin();
    if (place == 0 && (random & 2) != 0) all[2].begin();
    for (u64 turn = 0; turn < (random >> 8) % 2000; ++turn) asm volatile("" : : : "memory");
    wait_for(all, round);
  }
}

}  // namespace

int main(int argc, char **argv) {
  if (argc != 2 || info().disks.size() < 2 || info().nics.size() != 2) return 2;
  std::from_chars(argv[1], argv[1] + std::strlen(argv[1]), rounds);
  memory = take_pages(8 * page_bytes);
  std::memset(place(0), 0xFF, 6);
  for (u32 disk : {shared_disk, other_disk}) {
    u32 const queues = disk == shared_disk ? 2 : 1;
    u64 const bytes = u64{queues} * depth * info().disks[disk].depth_bytes;
    same(info().disks[disk].interrupts, 1);
    same(core().disk_open(disk, queues, depth, take_pages(bytes), bytes), 0);
  }
  for (u32 nic : {sender, receiver}) {
    u64 const bytes = u64{depth} * info().nics[nic].depth_bytes;
    same(info().nics[nic].interrupts, 1);
    same(core().nic_open(nic, 1, depth, take_pages(bytes), bytes), 0);
  }
  job other([] { run(1); });
  {
    auto running = run_on(core_id{1}, other);
    that(running.has_value(), "core 1 does not start");
    run(0);
  }
  print("{} rounds, {} halts\n", rounds, halts.load());
  return verdict();
}
