// Block devices: whatever drives a disk, the core or a header, all sizes at all places are read as they were written, and
// cleared where the disk can.
// boot: --args core -- -drive if=none,id=d,format=raw,discard=unmap,file="$work/disk$(truncate -s 8M "$work/disk")" -device virtio-blk-pci,disable-legacy=on,romfile=,drive=d
// boot: --args scsi-pieces -- -drive if=none,id=d,format=raw,discard=unmap,file="$work/disk$(truncate -s 8M "$work/disk")" -device virtio-scsi-pci,disable-legacy=on,romfile= -device scsi-hd,drive=d,max_unmap_size=1048576
// boot: --args scsi -- -drive if=none,id=d,format=raw,discard=unmap,file="$work/disk$(truncate -s 8M "$work/disk")" -device virtio-scsi-pci,disable-legacy=on,romfile= -device scsi-hd,drive=d,logical_block_size=4096,physical_block_size=4096
// boot: --args scsi-keeps -- -machine pc -drive if=none,id=d,format=raw,file="$work/disk$(truncate -s 8M "$work/disk")" -device virtio-scsi-pci,vectors=0,romfile= -device scsi-hd,drive=d,discard_granularity=0
#include "block_checks.hpp"

#include <exo/drivers/virtio_scsi.hpp>

#include <algorithm>
#include <array>
#include <cstring>
#include <string_view>

using namespace check;

namespace {

constexpr u64 memory_bytes = 256 * 1024;

u64 pattern(u64 block, u64 at, u64 round) { return (block + at * 3 + round * 5) * 0x9E3779B97F4A7C15; }

void fill(std::span<std::byte> memory, u64 first, u64 block_bytes, u64 round) {
  for (u64 at = 0; at < memory.size(); at += 8) {
    u64 const word = pattern(first + at / block_bytes, at % block_bytes, round);
    std::memcpy(memory.data() + at, &word, 8);
  }
}

bool filled(std::span<std::byte const> memory, u64 first, u64 block_bytes, u64 round) {
  for (u64 at = 0; at < memory.size(); at += 8) {
    u64 const word = pattern(first + at / block_bytes, at % block_bytes, round);
    if (std::memcmp(memory.data() + at, &word, 8) != 0) return false;
  }
  return true;
}

template <block_device Device>
void all_sizes_and_places(Device &device, std::span<std::byte> memory) {
  u64 const unit = device.block_bytes(), end = device.blocks();
  u64 round = 0;
  for (u64 blocks = 1; blocks * unit <= memory_bytes; blocks = blocks * 2 + 1) {
    for (u64 const place : {u64{0}, u64{1}, end / 2 - 3, end - blocks}) {
      for (u64 const shift : {0, 8, 1000}) {  // unaligned memory
        std::span const part = memory.subspan(shift, blocks * unit);
        fill(part, place, unit, ++round);
        that(device.write(lba{place}, part).has_value(), "a write fails");
        std::ranges::fill(part, std::byte{});
        that(device.read(lba{place}, part).has_value(), "a read fails");
        if (!filled(part, place, unit, round)) return fail(where::current(), "other data; block, blocks", place, blocks);
      }
    }
  }
  that(device.flush().has_value(), "a flush fails");
}

template <block_device Device>
void whole_disk(Device &device, std::span<std::byte> memory) {
  u64 const unit = device.block_bytes(), at_once = memory_bytes / unit;
  for (u32 round = 100; round < 102; ++round) {
    for (u64 first = 0; first < device.blocks(); first += at_once) {
      fill(memory.first(memory_bytes), first, unit, round);
      that(device.write(lba{first}, memory.first(memory_bytes)).has_value(), "a write fails");
    }
    for (u64 first = 0; first < device.blocks(); first += at_once) {
      that(device.read(lba{first}, memory.first(memory_bytes)).has_value(), "a read fails");
      if (!filled(memory.first(memory_bytes), first, unit, round)) fail(where::current(), "other data from", first);
    }
  }
}

template <block_device Device>
void refuses(Device &device, std::span<std::byte> memory) {
  u64 const unit = device.block_bytes(), end = device.blocks();
  auto const is_range = [](result<void> const &outcome, where at = where::current()) {
    that(!outcome && outcome.error() == error::range, "it is not refused as out of range", at);
  };
  is_range(device.read(lba{end}, memory.first(unit)));
  is_range(device.read(lba{end - 1}, memory.first(2 * unit)));
  is_range(device.write(lba{end}, memory.first(unit)));
  is_range(device.write(lba{~u64{0}}, memory.first(unit)));
  is_range(device.read(lba{0}, memory.first(unit - 1)));
  is_range(device.write(lba{0}, memory.first(unit + 8)));
  that(device.read(lba{0}, {}).has_value(), "nothing cannot be read");
}

template <block_device Device>
void test(Device &device, bool clears) {
  std::span const memory(take_pages(memory_bytes + page_bytes), memory_bytes + page_bytes);
  same(static_cast<i64>(device.blocks() * device.block_bytes()), 8 << 20);
  all_sizes_and_places(device, memory);
  whole_disk(device, memory);
  refuses(device, memory);
  a_block_device_clears(device, clears, clears);
  all_sizes_and_places(device, memory);
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
  // Two entries, one operation.
  disk_op parts[] = {read_op(lba{1}, {memory, 8}, 70), read_op(lba{0}, {memory + 8, unit - 8}, 99)};
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
  {
    disk_queue queue = *opened->take_queue();
    full_queue(queue, 32);
    disk_blocks blocks(std::move(queue));
    test(blocks, true);
  }
}

void scsi_disks(bool clears, bool in_pieces) {
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
    test(blocks, clears);
    same(static_cast<i64>(controller->resets()), 0);
  }
}

}  // namespace

int main(int argc, char **argv) {
  if (argc != 2) return 2;
  std::string_view const kind = argv[1];
  kind == "core" ? core_disk() : scsi_disks(kind != "scsi-keeps", kind == "scsi-pieces");
  return verdict();
}
