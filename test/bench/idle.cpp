// A machine that waits: every queue of every NIC and disk armed, all cores halted. Says "idle" and goes on until it is ended.
#include <exo/exo.hpp>

#include <algorithm>

namespace {

using namespace exo;

constexpr u32 depth = 16;

/// Of each device: no more than there are cores, as a program has it.
u32 queues_of(auto const &record) { return std::min(record.queue_max, core_count()); }

void *rings(u64 bytes) {
  auto memory = pages::take(bytes);
  if (!memory) panic("no memory");
  return memory->release().data();
}

void check(i64 result, char const *what) {
  if (result != 0) panic("{}: {}", what, result);
}

void arm_all() {
  for (u32 number = 0; number < info().nics.size(); ++number) {
    for (u32 queue = 0; queue < queues_of(info().nics[number]); ++queue) {
      check(core().nic_arm(number, queue, ring_rx | ring_tx), "a NIC is not armed");
    }
  }
  for (u32 number = 0; number < info().disks.size(); ++number) {
    for (u32 queue = 0; queue < queues_of(info().disks[number]); ++queue) {
      check(core().disk_arm(number, queue), "a disk is not armed");
    }
  }
}

}  // namespace

int main() {
  for (u32 number = 0; number < info().nics.size(); ++number) {
    u32 const queues = queues_of(info().nics[number]);
    u64 const bytes = u64{queues} * depth * info().nics[number].depth_bytes;
    check(core().nic_open(number, queues, depth, rings(bytes), bytes), "a NIC does not open");
  }
  for (u32 number = 0; number < info().disks.size(); ++number) {
    u32 const queues = queues_of(info().disks[number]);
    u64 const bytes = u64{queues} * depth * info().disks[number].depth_bytes;
    check(core().disk_open(number, queues, depth, rings(bytes), bytes), "a disk does not open");
  }
  arm_all();
  print("idle: {} NICs, {} disks\n", info().nics.size(), info().disks.size());
  for (;;) {
    core().core_idle(no_deadline);
    arm_all();
  }
}
