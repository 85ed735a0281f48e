// virtio SCSI: several disks at once, disks that refuse or fail, a controller that is stuck, one that is removed.
// boot: --args many -- -device virtio-scsi-pci,id=s,romfile= -drive if=none,id=a,format=raw,file="$work/a$(truncate -s 1M "$work/a")" -drive if=none,id=b,format=raw,file="$work/b$(truncate -s 2M "$work/b")" -drive if=none,id=c,format=raw,file="$work/c$(truncate -s 4M "$work/c")" -device scsi-hd,bus=s.0,scsi-id=0,lun=0,drive=a,serial=first -device scsi-hd,bus=s.0,scsi-id=3,lun=5,drive=b,logical_block_size=4096,physical_block_size=4096 -device scsi-hd,bus=s.0,scsi-id=3,lun=300,drive=c -device scsi-cd,bus=s.0,scsi-id=9
// boot: --args read-only -- -device virtio-scsi-pci,romfile= -drive if=none,id=d,format=raw,read-only=on,file="$work/disk$(truncate -s 1M "$work/disk")" -device scsi-hd,drive=d
// boot: --args no-cache -- -device virtio-scsi-pci,romfile= -drive if=none,id=d,format=raw,cache=writethrough,file="$work/disk$(truncate -s 1M "$work/disk")" -device scsi-hd,drive=d
// boot: --args bad-block -- -device virtio-scsi-pci,romfile= -drive if=none,id=d,driver=raw,file.driver=blkdebug,file.inject-error.0.event=read_aio,file.inject-error.0.errno=5,file.inject-error.0.sector=100,file.inject-error.0.once=off,file.inject-error.0.iotype=read,file.inject-error.1.event=write_aio,file.inject-error.1.errno=5,file.inject-error.1.sector=200,file.inject-error.1.once=off,file.inject-error.1.iotype=write,file.inject-error.2.event=flush_to_disk,file.inject-error.2.errno=5,file.inject-error.2.once=off,file.inject-error.2.iotype=flush,file.image.driver=file,file.image.filename="$work/disk$(truncate -s 1M "$work/disk")" -device scsi-hd,drive=d,rerror=report,werror=report
// boot: --args stuck -- -device virtio-scsi-pci,romfile= -drive if=none,id=d,format=raw,throttling.iops-total=2,file="$work/disk$(truncate -s 1M "$work/disk")" -device scsi-hd,drive=d
// boot: --args removed -- -machine pc -device virtio-scsi-pci,romfile=,addr=7 -drive if=none,id=d,format=raw,file="$work/disk$(truncate -s 1M "$work/disk")" -device scsi-hd,drive=d
// boot: --args empty -- -device virtio-scsi-pci,romfile=
#include "check.hpp"

#include <exo/drivers/virtio_scsi.hpp>
#include <exo/port.hpp>

#include <algorithm>
#include <array>
#include <cstring>
#include <string_view>

using namespace check;

namespace {

constinit std::byte *memory = nullptr;
constexpr u64 memory_bytes = 64 * 1024;
constexpr auto patience = std::chrono::seconds(1);  // of the controller

pci_record const &function() {
  auto const found = find_pci([](pci_function const &each) { return virtio_scsi::probe(each.record()); });
  if (!found) panic("there is no virtio SCSI controller");
  return found->record();
}

/// Submits one operation; gives its status.
i64 status_of(scsi_disk &disk, disk_op const &op) {
  auto const taken = disk.try_submit({&op, 1});
  if (!taken) return -static_cast<i64>(taken.error());
  completion done{};
  for (u64 const end = deadline_in(std::chrono::seconds(30)); *disk.try_reap({&done, 1}) == 0;) {
    if (ticks() > end) panic("no completion");
  }
  return done.status;
}
disk_op reading(u64 block, u64 bytes = 512) { return read_op(lba{block}, {memory, bytes}, 1); }
disk_op writing(u64 block, u64 bytes = 512) { return write_op(lba{block}, {memory, bytes}, 2); }

i64 refused(error why) { return -static_cast<i64>(why); }

bool says(u8 const *field, std::string_view text) {
  return std::equal(text.begin(), text.end(), field, [](char left, u8 right) { return left == static_cast<char>(right); });
}

/// Each disk has what was written to it, while operations of all are in flight.
void many(virtio_scsi &controller) {
  std::array<scsi_address, 8> room;
  auto const places = controller.find(room);
  constexpr std::array<scsi_address, 3> expected{{{0, 0}, {3, 5}, {3, 300}}};
  that(places.size() == 3, "not three disks were found");
  for (scsi_address const &each : expected) that(std::ranges::count(places, each) == 1, "a disk was not found");

  auto const absent = controller.disk({3, 6});
  that(!absent && absent.error().why == error::no_such, "there is a disk where there is none");
  auto const drive = controller.disk({9, 0});
  that(!drive && drive.error().why == error::no_such, "a CD drive is taken for a disk");

  auto first = controller.disk(expected[0]), second = controller.disk(expected[1]), third = controller.disk(expected[2]);
  if (!first || !second || !third) return fail(where::current(), "a disk does not open");
  same(static_cast<i64>(first->record().blocks), 2048);
  same(static_cast<i64>(second->record().blocks), 512);
  same(second->record().block_bytes, 4096);
  same(static_cast<i64>(third->record().blocks), 8192);
  that(first->record().bytes_max >= 64 * 1024, "operations are short");
  that(says(first->record().model, "QEMU    QEMU HARDDISK "), "the model is another");
  that(says(first->record().serial, "first "), "the serial number is another");

  std::array<scsi_disk *, 3> const disks{&*first, &*second, &*third};
  for (u32 turn = 0; turn < 2; ++turn) {  // write, read
    std::array<u64, 3> in_flight{};
    for (u64 each = 0; each < disks.size(); ++each) {
      for (u64 at = 0; at < 4; ++at) {
        std::span const part(memory + (each * 4 + at) * 4096, 4096);
        u64 const blocks = 4096 / disks[each]->record().block_bytes;
        if (turn == 0) std::ranges::fill(part, static_cast<std::byte>(each * 16 + at + 1));
        disk_op const op = turn == 0 ? write_op(lba{at * blocks}, part, each * 100 + at) : read_op(lba{at * blocks}, part, each * 100 + at);
        same(static_cast<i64>(*disks[each]->try_submit({&op, 1})), 1);
        ++in_flight[each];
      }
    }
    u64 const end = deadline_in(std::chrono::seconds(20));
    while (in_flight != std::array<u64, 3>{} && ticks() < end) {
      for (u64 each = disks.size(); each-- > 0;) {
        completion done{};
        if (*disks[each]->try_reap({&done, 1}) == 0) continue;
        same(done.status, 0);
        same(static_cast<i64>(done.cookie / 100), static_cast<i64>(each));  // its own
        --in_flight[each];
      }
    }
    that(in_flight == std::array<u64, 3>{}, "completions are missing");
    for (u64 at = 0; at < 12 * 4096 && turn == 1; ++at) {
      if (memory[at] != static_cast<std::byte>(at / 16384 * 16 + at / 4096 % 4 + 1)) return fail(where::current(), "other data at", at);
    }
    if (turn == 0) std::memset(memory, 0, memory_bytes);
  }
}

void read_only(scsi_disk &disk) {
  same(disk.record().features & disk_read_only, disk_read_only);
  same(status_of(disk, reading(0)), 0);
  same(status_of(disk, writing(0)), refused(error::unsupported));
  for (u8 const kind : {u8{disk_zero}, u8{disk_discard}}) {
    disk_op clearing = reading(0);
    clearing.kind = kind;
    same(status_of(disk, clearing), refused(error::unsupported));
  }
  disk_op const both[] = {reading(0), writing(0)};
  that(!disk.try_submit(both), "one of both is taken");
  same(status_of(disk, reading(1)), 0);
}

void no_cache(scsi_disk &disk) {
  same(disk.record().features & disk_write_cache, 0);
  same(status_of(disk, writing(5)), 0);
  same(status_of(disk, flush_op(0)), refused(error::unsupported));
  same(status_of(disk, reading(5)), 0);
}

/// Block 100 cannot be read, block 200 cannot be written, and nothing can be flushed.
void bad_block(scsi_disk &disk) {
  for (u32 round = 0; round < 3; ++round) {
    same(status_of(disk, reading(99)), 0);
    same(status_of(disk, reading(100)), refused(error::io));
    same(status_of(disk, reading(98, 4096)), refused(error::io));
    same(status_of(disk, reading(101)), 0);
    same(status_of(disk, writing(100)), 0);
    same(status_of(disk, writing(200)), refused(error::io));
    same(status_of(disk, writing(201)), 0);
    same(status_of(disk, flush_op(0)), refused(error::io));
    same(status_of(disk, reading(200)), 0);
  }
}

/// A disk of two operations a second, and more of them than end in time.
void stuck(virtio_scsi &controller, scsi_disk &disk) {
  std::array<disk_op, 8> ops;
  for (u64 at = 0; at < ops.size(); ++at) ops[at] = read_op(lba{at}, {memory, 512}, at);
  same(static_cast<i64>(*disk.try_submit(ops)), ops.size());
  std::array<completion, 8> done;
  std::size_t came = 0, late = 0;
  for (u64 const end = deadline_in(std::chrono::seconds(60)); came < ops.size() && ticks() < end;) {
    std::size_t const some = *disk.try_reap(done);
    for (completion const &each : std::span(done).first(some)) late += each.status == refused(error::timeout) ? 1 : 0;
    came += some;
  }
  same(static_cast<i64>(came), ops.size());
  that(late > 0 && controller.resets() > 0, "the controller was not reset");
  u64 const end = deadline_in(std::chrono::seconds(20));  // it works again, as slow as before
  while (status_of(disk, reading(1)) != 0) {
    if (ticks() > end) return fail(where::current(), "the disk does not come back");
  }
}

/// The machine takes the controller out while operations are in flight (ACPI hotplug of QEMU's pc: bus 0, eject slot 7).
void removed(virtio_scsi &controller, scsi_disk &disk) {
  std::array<disk_op, 16> ops;
  for (u64 at = 0; at < ops.size(); ++at) ops[at] = read_op(lba{at}, {memory, 512}, at);
  same(static_cast<i64>(*disk.try_submit(ops)), ops.size());
  port_out<u32>(0xAE10, 0);
  port_out<u32>(0xAE08, 1 << 7);
  same(core().pci_read(function().function, 0, 2), 0xFFFF);
  std::array<completion, 16> done;
  std::size_t came = 0;
  for (u64 const end = deadline_in(std::chrono::seconds(20)); came < ops.size() && ticks() < end;) {
    came += *disk.try_reap(done);
  }
  same(static_cast<i64>(came), ops.size());
  u64 const end = deadline_in(std::chrono::seconds(20));  // what was in flight may have ended before; then this notices
  while (status_of(disk, reading(0)) != refused(error::closed)) {
    if (ticks() > end) return fail(where::current(), "a controller that is gone takes operations");
  }
  std::array<scsi_address, 2> room;
  that(controller.find(room).empty(), "a disk of a controller that is gone");
  that(!virtio_scsi::open(function()), "a controller that is gone opens");
}

}  // namespace

int main(int argc, char **argv) {
  if (argc != 2) return 2;
  std::string_view const kind = argv[1];
  memory = take_pages(memory_bytes);
  auto controller = virtio_scsi::open(function(), patience);
  if (!controller) return 3;
  if (kind == "many") {
    many(*controller);
    return verdict();
  }
  std::array<scsi_address, 2> room;
  auto const places = controller->find(room);
  if (kind == "empty") {
    that(places.empty(), "a disk where there is none");
    return verdict();
  }
  if (places.size() != 1) return 4;
  auto disk = controller->disk(places[0]);
  if (!disk) return 5;
  if (kind == "read-only") read_only(*disk);
  if (kind == "no-cache") no_cache(*disk);
  if (kind == "bad-block") bad_block(*disk);
  if (kind == "stuck") stuck(*controller, *disk);
  if (kind == "removed") removed(*controller, *disk);
  return verdict();
}
