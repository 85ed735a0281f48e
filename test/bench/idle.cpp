// A machine that waits: every queue of every NIC and disk armed, all cores halted. Says "idle" and goes on until it is ended.
#include <exo/exo.hpp>

namespace {

using namespace exo;

constexpr u32 depth = 16;

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
    check(core().nic_arm(number, 0, ring_rx | ring_tx), "a NIC is not armed");
  }
  for (u32 number = 0; number < info().disks.size(); ++number) check(core().disk_arm(number, 0), "a disk is not armed");
}

}  // namespace

int main() {
  for (u32 number = 0; number < info().nics.size(); ++number) {
    u64 const bytes = u64{depth} * info().nics[number].depth_bytes;
    check(core().nic_open(number, 1, depth, rings(bytes), bytes), "a NIC does not open");
  }
  for (u32 number = 0; number < info().disks.size(); ++number) {
    u64 const bytes = u64{depth} * info().disks[number].depth_bytes;
    check(core().disk_open(number, 1, depth, rings(bytes), bytes), "a disk does not open");
  }
  arm_all();
  print("idle\n");
  for (;;) {
    core().core_idle(no_deadline);
    arm_all();
  }
}
