// A disk that is removed while it is busy: its operations end in an error, and the machine goes on with another disk.
// boot: -- -machine pc -drive if=none,id=a,format=raw,file="$work/a$(truncate -s 1M "$work/a")" -device virtio-blk-pci,drive=a,disable-legacy=on,romfile= -drive if=none,id=b,format=raw,file="$work/b$(truncate -s 1M "$work/b")" -device virtio-blk-pci,drive=b,disable-legacy=on,romfile=
// prints: gone, and the other one works
// boot: -- -machine pc -drive if=none,id=a,format=raw,file="$work/a$(truncate -s 1M "$work/a")" -device nvme,drive=a,serial=1 -drive if=none,id=b,format=raw,file="$work/b$(truncate -s 1M "$work/b")" -device virtio-blk-pci,drive=b,disable-legacy=on,romfile=
// prints: gone, and the other one works
#include "check.hpp"

#include <array>

using namespace check;
using namespace std::chrono_literals;

namespace {

// QEMU's ACPI hotplug of PCI on its machine pc (docs/specs/acpi_pci_hotplug): the bus to choose, and a bit for each slot
// whose device is to go.
constexpr u16 slots_eject = 0xae08, bus_select = 0xae10;

void out(u16 port, u32 value) { asm volatile("outl %0, %1" : : "a"(value), "d"(port)); }

void remove(u32 function) {
  out(bus_select, 0);
  out(slots_eject, u32{1} << (function >> 3 & 31));
}

}  // namespace

int main() {
  if (info().disks.size() != 2) panic("there are not two disks");
  constexpr u32 depth = 32;
  auto disk = exo::disk::open(disk_id{0}, 1, depth);
  if (!disk) panic("open: {}", disk.error());
  auto queue = disk->take_queue();
  queue->be_patient(500ms);
  u64 const unit = disk->block_bytes();
  std::byte *const memory = take_pages(depth * unit);
  std::array<completion, depth> done;
  std::array<disk_op, depth> ops;
  for (u32 at = 0; at < depth; ++at) ops[at] = read_op(lba{at}, {memory + at * unit, unit}, at);

  bool gone = false;
  u64 reads = 0;
  result<std::size_t> got = queue->try_submit(ops);
  std::optional<error> why;
  for (u64 const end = ticks() + 60 * info().tsc_hz; !why && ticks() < end;) {
    if (!gone && reads > 10 * depth) {
      remove(queue->record().function);
      gone = true;
    }
    got = queue->try_reap(done);
    if (!got) {
      why = got.error();
    } else if (*got != 0) {
      reads += *got;
      if (!queue->try_submit(std::span(ops).first(*got))) panic("submit");
    }
  }
  that(gone, "the disk was not busy");
  that(why && (*why == error::timeout || *why == error::closed || *why == error::io), "no error after the disk went");
  if (why && *why == error::timeout) {  // the reset succeeded, so to say; then the next operations fail
    auto const more = queue->try_submit(ops);
    for (u64 const end = ticks() + 60 * info().tsc_hz; more && (got = queue->try_reap(done)) && ticks() < end;) exo::pause();
    that(!got || !more, "a disk that is gone works");
  }

  auto other = exo::disk::open(disk_id{1});
  if (!other) panic("the other disk: {}", other.error());
  disk_blocks blocks(std::move(*other->take_queue()));
  that(blocks.read(lba{0}, {memory, unit}).has_value(), "the other disk cannot be read");
  if (verdict() == 0) print("gone, and the other one works\n");
  return verdict();
}
