// pci_read, pci_write and irq_route: good arguments, every bad one, and registers that are as before after it.
// limit: 400
// boot: --cores 2 -- -device virtio-rng-pci,disable-legacy=on,romfile=,addr=7
// boot: --cores 2 -- -machine pc -device virtio-rng-pci,disable-legacy=on,romfile=,addr=7
// boot: --bochs
// boot: --native
// boot: --sim
#include "../boot/check.hpp"

using namespace check;

namespace {

constexpr u32 device = 7 << 3;
constexpr u32 scratch = 0x3C;  // interrupt line: a register that software may use as it likes

void reads() {
  auto const read = calling(core().pci_read);
  i64 const id = read(device, 0, 4);
  same(id & 0xFFFF, 0x1AF4);
  for (u32 offset = 0; offset < 64; offset += 4) {
    i64 const whole = read(device, offset, 4);
    for (u32 at = 0; at < 4; ++at) read.gives(whole >> 8 * at & 0xFF, device, offset + at, 1);
    for (u32 at = 0; at < 4; at += 2) read.gives(whole >> 8 * at & 0xFFFF, device, offset + at, 2);
  }
  read.gives(0xFFFFFFFF, 30 << 3, 0, 4);  // no function there
  read.gives(0xFFFF, 30 << 3, 2, 2);
  read.gives(0xFF, 30 << 3, 3, 1);
}

void writes() {
  auto const write = calling(core().pci_write);
  auto const read = calling(core().pci_read);
  for (u32 const value : {0x5Au, 0xFFu, 0u, 0x12345A5Au}) {
    write.gives(0, device, scratch, 1, value);
    read.gives(value & 0xFF, device, scratch, 1);
  }
  i64 const id = read(device, 0, 4);
  write.gives(0, device, 0, 4, 0);  // read-only: nothing happens
  read.gives(id, device, 0, 4);
  i64 const command = read(device, 4, 2);
  write.gives(0, device, 4, 2, 0);
  read.gives(0, device, 4, 2);
  write.gives(0, device, 4, 2, static_cast<u32>(command));
  read.gives(command, device, 4, 2);
  write.gives(0, 30 << 3, scratch, 4, 1);  // into the void
}

/// Functions where there can be none: the same with any devices.
void nowhere() {
  for (u32 const none : {u32{1} << 16, 0x80000000u, ~0u, u32{255} << 8}) {
    calling(core().pci_read).refuses(error::no_such, none | device, 0, 4);
    calling(core().pci_write).refuses(error::no_such, none | device, scratch, 1, 1);
  }
  for (u32 const none : {7u << 3 | 1, 29u << 3, 0x10000u | device, 0x80000000u | device}) {
    calling(core().irq_route).refuses(error::no_such, none, 0, 0, event_program);
  }
  calling(core().irq_route).refuses(error::unsupported, ~u32{0}, 0, 0, event_program);
}

void refuses() {
  auto const write = calling(core().pci_write);
  auto const read = calling(core().pci_read);
  write.gives(0, device, scratch, 1, 0x5A);
  u32 const end = (info().features & machine_ecam) != 0 ? 4096 : 256;
  for (u32 const width : {0u, 3u, 5u, 8u, 0x80000000u, ~0u}) {
    read.refuses(error::range, device, 0, width);
    read.refuses(error::range, device, scratch, width);
    write.refuses(error::range, device, scratch, width, 1);
  }
  struct place {
    u32 offset, width;
  };
  for (auto const [offset, width] : {place{1, 2}, place{1, 4}, place{2, 4}, place{3, 4}, place{scratch + 1, 2},
                                     place{end, 1}, place{end, 2}, place{end, 4}, place{end - 1, 2}, place{end - 2, 4},
                                     place{0x80000000, 4}, place{0xFFFFFFFC, 4}, place{0xFFFFFFFF, 1}}) {
    read.refuses(error::range, device, offset, width);
    write.refuses(error::range, device, offset, width, 1);
  }
  read.gives(0xFF & read(device, end - 1, 1), device, end - 1, 1);
  read.gives(0x5A, device, scratch, 1);
}

pci_record const &record_of(u32 function) {
  auto const all = info().pci;
  for (pci_record const &each : all) {
    if (each.function == function) return each;
  }
  panic("the function is not listed");
}

void routes() {
  auto const route = calling(core().irq_route);
  pci_record const &it = record_of(device);
  that(it.msix_count == 2, "the device has not the two MSI-X entries of this test");
  route.gives(0, device, 0, 0, event_program);
  route.gives(0, device, 1, 1, event_count - 1);
  u32 const offset = static_cast<u32>(core().pci_read(device, it.msix + 4u, 4));
  auto const *table = reinterpret_cast<u32 volatile *>(it.bar[offset & 7] + (offset & ~7u));
  u32 const before[8] = {table[0], table[1], table[2], table[3], table[4], table[5], table[6], table[7]};
  same(before[2], static_cast<i64>(event_vector + event_program));
  same(before[6], static_cast<i64>(event_vector + event_count - 1));
  same(before[4] - before[0], 0x1000);  // APIC ids 0 and 1

  for (u32 const none : {2u, 255u, 0x80000000u, ~0u}) route.refuses(error::no_such, device, 0, none, event_program);
  for (u32 const entry : {2u, 2048u, 0x80000000u, ~0u}) route.refuses(error::range, device, entry, 0, event_program);
  for (u32 const event : {0u, 1u, 31u, 32u, 0x80000000u, ~0u}) route.refuses(error::range, device, 0, 0, event);
  u32 const host_bridge = 0;  // has no interrupt of any kind
  route.refuses(error::unsupported, host_bridge, 0, 0, event_program);
  route.refuses(error::range, host_bridge, 1, 0, event_program);
  for (u32 at = 0; at < 8; ++at) same(table[at], before[at]);
}

}  // namespace

int main() {
  bool has_device = false;
  for (pci_record const &each : info().pci) has_device |= each.function == device && each.vendor == 0x1AF4;
  if (!has_device) print("without the device of this test\n");
  with_and_without_interrupts([=] {
    nowhere();
    if (!has_device) return;
    reads();
    writes();
    refuses();
    routes();
  });
  return verdict();
}
