// Configuration space where one pair of ports serves all: cores that read, write and route interrupts at the same time do
// not disturb each other.
// boot: --cores 4 -- -machine pc -device virtio-rng-pci,disable-legacy=on,romfile=,addr=6 -device virtio-rng-pci,disable-legacy=on,romfile=,addr=7
// boot: --cores 4 -- -device virtio-rng-pci,disable-legacy=on,romfile=,addr=6 -device virtio-rng-pci,disable-legacy=on,romfile=,addr=7
#include "check.hpp"

using namespace check;

namespace {

constexpr u32 rounds = 3000;

void reads_stay_right() {
  static constinit std::atomic<u64> wrong = 0;
  same(run_on_all([] {
         u32 const me = local().index;
         for (u32 round = 0; round < rounds; ++round) {
           u32 const device = (6 + (me & 1)) << 3;
           if (me < 2) {  // a register of its own
             u32 const value = (round * 7 + me) & 0xFF;
             if (core().pci_write(device, 0x3C, 1, value) != 0) ++wrong;
             if (core().pci_read(device, 0x3C, 1) != value) ++wrong;
           } else if (core().irq_route(device, round & 1, me, event_program + me) != 0) {
             ++wrong;
           }
           pci_record const &record = info().pci[round % info().pci.size()];
           if (core().pci_read(record.function, 0, 4) != (record.vendor | i64{record.device} << 16)) ++wrong;
         }
       }),
       4);
  same(static_cast<i64>(wrong), 0);
}

}  // namespace

int main() {
  reads_stay_right();
  return verdict();
}
