// Block devices: whatever drives a disk, the core or a header, all sizes at all places are read as they were written, and
// cleared where the disk can, which one that `keeps` cannot, and one of `pieces` only 1 MiB at once; and so are blocks of a
// `large` disk of 3 TiB, whose numbers have more than 32 bits. test/boot/ata.cpp has more of ATA disks.
// boot: --args core -- -drive if=none,id=d,format=raw,discard=unmap,file="$work/disk$(truncate -s 8M "$work/disk")" -device virtio-blk-pci,disable-legacy=on,romfile=,drive=d
// boot: --args "core keeps" --disk-model ahci --disk "$work/disk$(truncate -s 8M "$work/disk")"
// boot: --args core -- -drive if=none,id=d,format=raw,discard=unmap,file="$work/disk$(truncate -s 8M "$work/disk")" -device nvme,serial=1,drive=d
// boot: --args "scsi pieces" -- -drive if=none,id=d,format=raw,discard=unmap,file="$work/disk$(truncate -s 8M "$work/disk")" -device virtio-scsi-pci,disable-legacy=on,romfile= -device scsi-hd,drive=d,max_unmap_size=1048576
// boot: --args scsi -- -drive if=none,id=d,format=raw,discard=unmap,file="$work/disk$(truncate -s 8M "$work/disk")" -device virtio-scsi-pci,disable-legacy=on,romfile= -device scsi-hd,drive=d,logical_block_size=4096,physical_block_size=4096
// boot: --args "scsi keeps" -- -machine pc -drive if=none,id=d,format=raw,file="$work/disk$(truncate -s 8M "$work/disk")" -device virtio-scsi-pci,vectors=0,romfile= -device scsi-hd,drive=d,discard_granularity=0
// boot: --args "core large" --disk "$work/disk$(truncate -s 3T "$work/disk")"
// boot: --args "core large" --disk-model ahci --disk "$work/disk$(truncate -s 3T "$work/disk")"
// boot: --args "core large" --disk-model nvme --disk "$work/disk$(truncate -s 3T "$work/disk")"
// boot: --args "scsi large" --disk-model scsi --disk "$work/disk$(truncate -s 3T "$work/disk")"
// boot: --args "ata large" --disk-model ide --disk "$work/disk$(truncate -s 3T "$work/disk")"
#include <exo/drivers/ata.hpp>
#include <exo/drivers/virtio_scsi.hpp>

#include <algorithm>
#include <array>
#include <string_view>

#include "block_checks.hpp"

using namespace check;

namespace {

// --- disks of many blocks

/// Where 28 and 32 bits end, and at the end: eight blocks on both sides come back, and none of them lies where another one does.
template <block_device Device>
void large(Device &device) {
  constexpr u64 count = 8;
  u64 const unit = device.block_bytes(), bytes = count * unit, round = 3;
  u64 const places[] = {0, (u64{1} << 28) - count / 2, (u64{1} << 32) - count / 2, device.blocks() - count};
  std::byte *const memory = take_pages(bytes);
  that(device.blocks() > u64{1} << 32, "the disk is not large");
  for (u64 const place : places) {
    fill_blocks({memory, bytes}, place * unit, round);
    same(status_of(device.write(lba{place}, {memory, bytes})), 0);
  }
  for (u64 const place : places) {
    same(status_of(device.read(lba{place}, {memory, bytes})), 0);
    if (!holds_blocks({memory, bytes}, place * unit, round)) fail(where::current(), "other data; block", place);
  }
  same(status_of(device.read(lba{device.blocks() - count + 1}, {memory, bytes})), -static_cast<i64>(error::range));
}

enum class kinds : u8 { clears, keeps, large };
constinit kinds kind = kinds::clears;

template <block_device Device>
void test(Device &device, u64 alignment = 1) {
  if (kind == kinds::large) return large(device);
  bool const clears = kind != kinds::keeps;
  same(static_cast<i64>(device.blocks() * device.block_bytes()), 8 << 20);
  a_block_device_works(device, alignment);
  a_block_device_is_filled(device, 9);
  a_block_device_clears(device, clears, clears);
  a_block_device_works(device, alignment);
}

// --- operations, on whatever takes them

template <operation_queue Queue>
void wait_for_one(Queue &queue, completion &done) {
  u64 const end = deadline_in(std::chrono::seconds(20));
  while (*queue.try_reap({&done, 1}) == 0) {
    if (queue.arm() == false) core().core_idle(end);
    if (ticks() >= end) return fail(where::current(), "no completion wakes");
  }
  same(done.status, 0);
}

/// More than there is room for, in parts, and each of them once.
template <operation_queue Queue>
void full_queue(Queue &queue, u32 depth) {
  u32 const unit = queue.record().block_bytes;
  std::byte *const memory = take_pages(u64{depth} * unit + page_bytes);
  std::array<disk_op, 96> ops{};
  for (u64 at = 0; at < ops.size(); ++at) ops[at] = read_op(lba{at}, {memory + at % depth * unit, unit}, at);
  std::array<bool, ops.size()> came{};
  std::size_t sent = 0, done = 0;
  bool was_full = false;
  u64 const end = deadline_in(std::chrono::seconds(20));
  while (done < ops.size() && ticks() < end) {
    auto const taken = queue.try_submit(std::span(ops).subspan(sent));
    if (!taken) return fail(where::current(), "a submit fails");
    sent += *taken;
    was_full = was_full || sent < ops.size();
    std::array<completion, 5> finished;
    auto const some = queue.try_reap(finished);
    for (completion const &each : std::span(finished).first(*some)) {
      same(each.status, 0);
      same(each.bytes, unit);
      that(each.cookie < sent && !std::exchange(came[each.cookie], true), "a cookie came twice, or none that was given");
      ++done;
    }
  }
  same(static_cast<i64>(done), ops.size());
  that(was_full, "the queue was never full");
  // One that is wrong: none is taken.
  ops[3].block = queue.record().blocks;
  auto const refused = queue.try_submit(std::span(ops).first(5));
  that(!refused && refused.error() == error::range, "a wrong operation is taken");
  std::array<completion, 5> none;
  same(static_cast<i64>(*queue.try_reap(none)), 0);
  // Two entries, one operation; they join at a page, where all disks take that.
  std::byte *const page = memory + page_bytes;
  disk_op parts[] = {read_op(lba{1}, {page - 8, 8}, 70), read_op(lba{0}, {page, unit - 8}, 99)};
  parts[0].flags = disk_more;
  same(static_cast<i64>(*queue.try_submit(parts)), 2);
  wait_for_one(queue, none[0]);
  same(static_cast<i64>(none[0].cookie), 70);
  same(none[0].bytes, unit);

  // A lost wake-up would sleep until the deadline.
  same(queue.record().interrupts, 1);
  for (u32 round = 0; round < 300 && failures == 0; ++round) {
    same(static_cast<i64>(*queue.try_submit(std::span(ops).first(1))), 1);
    wait_for_one(queue, none[0]);
  }
}

void core_disk() {
  auto opened = disk::open(disk_id{0}, 1, 32);
  disk_queue queue = *opened->take_queue();
  full_queue(queue, 32);
  u64 const alignment = queue.record().address_mask + 1;
  disk_blocks blocks(std::move(queue));
  test(blocks, alignment);
}

void scsi_disks(bool in_pieces) {
  auto const found = find_pci([](pci_function const &each) { return virtio_scsi::probe(each.record()); });
  for (u32 round = 0; round < 2; ++round) {  // the second time after it was closed
    auto controller = virtio_scsi::open(found->record());
    if (!controller) return fail(where::current(), controller.error().sentence);
    std::array<scsi_address, 4> places;
    auto const disks = controller->find(places);
    same(static_cast<i64>(disks.size()), 1);
    auto opened = controller->disk(disks[0]);
    if (!opened) return fail(where::current(), opened.error().sentence);
    that((opened->record().bytes_max == 1 << 20) == in_pieces, "an operation is longer than what the disk clears at once");
    full_queue(*opened, virtio_scsi::depth);
    scsi_blocks blocks(std::move(*opened));
    test(blocks);
    same(static_cast<i64>(controller->resets()), 0);
  }
}

/// A disk that takes one operation at a time, by DMA and by PIO.
void ata_disks() {
  auto const found = find_pci([](pci_function const &each) { return ata_controller::probe(each.record()); });
  auto controller = ata_controller::open(found->record());
  if (!controller) return fail(where::current(), controller.error().sentence);
  auto disk = controller->disk({.channel = 0, .unit = 0});
  if (!disk) return fail(where::current(), disk.error().sentence);
  test(*disk);
  disk->use_pio();
  test(*disk);
}

}  // namespace

int main(int argc, char **argv) {
  std::string_view const driver = argc > 1 ? argv[1] : "", word = argc > 2 ? argv[2] : "";
  kind = word == "large" ? kinds::large : word == "keeps" ? kinds::keeps : kinds::clears;
  if (driver == "core") {
    core_disk();
  } else if (driver == "scsi") {
    scsi_disks(word == "pieces");
  } else if (driver == "ata") {
    ata_disks();
  } else {
    return 2;
  }
  return verdict();
}
