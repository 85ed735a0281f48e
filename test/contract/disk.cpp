// The disk calls with every bad argument: the listed error, and a queue that works as before after each.
// limit: 400
// boot: --disk "$work/disk$(truncate -s 1M "$work/disk")"
// boot: --disk "$work/disk$(truncate -s 1M "$work/disk")" --disk-model ahci
// boot: --disk "$work/disk$(truncate -s 1M "$work/disk")" --disk-model nvme
// boot: --native --disk "$work/disk$(truncate -s 1M "$work/disk")"
// boot: --sim --disk "$work/disk$(truncate -s 1M "$work/disk")"
#include "../boot/check.hpp"
#include "array_calls.hpp"

#include <algorithm>

using namespace check;

namespace {

constexpr u32 depth = 16;
constinit std::byte *memory = nullptr;
constinit u64 memory_bytes = 0;
constinit std::byte *buffer = nullptr;

disk_record const &the_disk() { return info().disks[0]; }
u32 disk_count() { return static_cast<u32>(info().disks.size()); }  // the one given, and perhaps what the machine boots from

u32 queues_at_once() { return std::min(2u, the_disk().queue_max); }

disk_op operation(u64 cookie, u8 kind = disk_read, u64 block = 0, u32 bytes = 512) {
  disk_op made{};
  made.kind = kind;
  made.cookie = cookie;
  made.block = block;
  made.address = address(buffer);
  made.bytes = bytes;
  return made;
}

completion finished(where at = where::current()) {
  completion done{};
  i64 got = 0;
  for (u64 const end = ticks() + 5 * info().tsc_hz; got == 0 && ticks() < end;) got = core().disk_reap(0, 0, &done, 1);
  same(got, 1, at);
  return done;
}

/// Reads one block and gets its cookie back.
void reads(where at = where::current()) {
  static constinit u64 next = 100;
  disk_op const one = operation(++next);
  same(calling(core().disk_submit)(0, 0, &one, 1), 1, at);
  completion const done = finished(at);
  same(static_cast<i64>(done.cookie), static_cast<i64>(next), at);
  same(done.status, 0, at);
}

void open_refuses() {
  auto const open = calling(core().disk_open);
  for (u32 const none : {disk_count(), 16u, 0x80000000u, ~0u}) open.refuses(error::no_such, none, 1, depth, memory, memory_bytes);
  for (u32 const queues : {0u, the_disk().queue_max + 1, 0x20001u, 0x80000001u, ~u32{nic_open_long}}) {
    open.refuses(error::range, 0, queues, depth, memory, memory_bytes);
    open.refuses(error::unsupported, 0, queues | nic_open_long, depth, memory, memory_bytes);
  }
  for (u32 const bad : {0u, 1u, 8u, 15u, 17u, 24u, 31u, the_disk().depth_max * 2, the_disk().depth_max + 1, 0x80000000u, ~0u}) {
    open.refuses(error::range, 0, 1, bad, memory, memory_bytes);
  }
  open.refuses(error::pointer, 0, 1, depth, nullptr, memory_bytes);
  for (u32 const off : {1u, 8u, 16u, 2048u}) open.refuses(error::pointer, 0, 1, depth, memory + off, memory_bytes);
  for (u64 const bytes : {u64{0}, u64{1}, u64{depth} * the_disk().depth_bytes - 1}) {
    open.refuses(error::memory, 0, 1, depth, memory, bytes);
  }
  u64 const two = u64{queues_at_once()} * depth * the_disk().depth_bytes;
  open.refuses(error::memory, 0, queues_at_once(), depth, memory, two - 1);
}

void closed_refuses() {
  disk_op const one = operation(1);
  completion done{};
  for (u32 const queue : {0u, 1u, ~0u}) {
    calling(core().disk_submit).refuses(error::closed, 0, queue, &one, 1);
    calling(core().disk_reap).refuses(error::closed, 0, queue, &done, 1);
    calling(core().disk_arm).refuses(error::closed, 0, queue);
  }
  calling(core().disk_close).refuses(error::closed, 0);
}

void queue_refuses() {
  disk_op two[2] = {operation(1), operation(2)};
  disk_op const *const ops = two;
  completion done{};
  array_refuses(core().disk_submit, disk_count(), ops);
  array_refuses(core().disk_reap, disk_count(), &done);
  for (u32 const none : {disk_count(), 0x80000000u, ~0u}) {
    calling(core().disk_arm).refuses(error::no_such, none, 0);
    calling(core().disk_close).refuses(error::no_such, none);
  }
  for (u32 const none : {1u, 0x80000000u, ~0u}) calling(core().disk_arm).refuses(error::no_such, 0, none);
  calling(core().disk_open).refuses(error::busy, 0, 1, depth, memory, memory_bytes);
  reads();

  // An operation that is wrong, as the only one and behind a good one: none is taken.
  auto const wrong = [&](error why, disk_op const &bad, where at = where::current()) {
    two[1] = bad;
    calling(core().disk_submit, at).refuses(why, 0, 0, &two[1], 1);
    calling(core().disk_submit, at).refuses(why, 0, 0, two, 2);
    same(core().disk_reap(0, 0, &done, 1), 0, at);
    reads(at);
  };
  u64 const end = the_disk().blocks;
  for (u8 const kind : {u8{disk_read}, u8{disk_write}}) {
    for (u32 const bytes : {0u, 1u, 511u, 513u, 1000u, ~0u}) wrong(error::range, operation(2, kind, 0, bytes));
    for (u64 const block : {end, end + 1, end * 2, u64{1} << 55, u64{1} << 63, ~u64{0}}) {
      wrong(error::range, operation(2, kind, block));
    }
    wrong(error::range, operation(2, kind, end - 1, 1024));
    wrong(error::range, operation(2, kind, 1, static_cast<u32>(end * 512)));
    wrong(error::range, operation(2, kind, ~u64{0}, 1024));
    disk_op bad = operation(2, kind);
    bad.address = 0;
    wrong(error::pointer, bad);
    bad = operation(2, kind);
    bad.flags = disk_more;
    wrong(error::range, bad);  // nothing follows
  }
  for (u8 const kind : {u8{2}, u8{3}, u8{5}, u8{10}, u8{12}, u8{14}, u8{128}, u8{0xFF}}) {
    wrong(error::range, operation(2, kind));
  }
  disk_op bad = operation(2, disk_flush, 0, 0);
  bad.flags = disk_more;
  wrong(error::range, bad);
}

/// An operation of several entries that is wrong as a whole.
void parts_refuse() {
  bool const pages = (the_disk().features & disk_pages) != 0;
  disk_op parts[3] = {operation(1, disk_read, 0, 256), operation(0, disk_read, 0, pages ? 4096 : 128),
                      operation(0, disk_read, 0, pages ? 256 : 128)};
  if (pages) parts[0].address += page_bytes - 256;
  u32 const last = parts[2].bytes;
  auto const submit = calling(core().disk_submit);
  parts[0].flags = parts[1].flags = disk_more;
  submit.gives(3, 0, 0, parts, 3);
  same(static_cast<i64>(finished().cookie), 1);
  submit.refuses(error::range, 0, 0, parts, 2);  // the last one is missing
  parts[2].bytes = last + 1;
  submit.refuses(error::range, 0, 0, parts, 3);
  parts[2].bytes = 0;
  submit.refuses(error::range, 0, 0, parts, 3);
  parts[2].bytes = 0u - last;  // the sum wraps
  submit.refuses(error::range, 0, 0, parts, 3);
  parts[2].bytes = last;
  parts[2].address = 0;
  submit.refuses(error::pointer, 0, 0, parts, 3);
  parts[2].address = address(buffer);
  parts[0].block = the_disk().blocks;
  submit.refuses(error::range, 0, 0, parts, 3);
  reads();
}

void all_room_is_left() {
  disk_op ring[depth];
  std::fill(std::begin(ring), std::end(ring), operation(3));
  calling(core().disk_submit).gives(depth, 0, 0, ring, depth);
  for (u32 turn = 0; turn < depth; ++turn) same(static_cast<i64>(finished().cookie), 3);
}

}  // namespace

int main() {
  that(disk_count() >= 1, "there is no disk");
  memory_bytes = u64{2} * depth * the_disk().depth_bytes;
  memory = take_pages(memory_bytes);
  buffer = take_pages(page_bytes);
  with_and_without_interrupts([] {
    open_refuses();
    closed_refuses();
    calling(core().disk_open).gives(0, 0, 1, depth, memory, u64{depth} * the_disk().depth_bytes);
    reads();
    queue_refuses();
    parts_refuse();
    all_room_is_left();
    calling(core().disk_close).gives(0, 0);
    closed_refuses();
    calling(core().disk_open).gives(0, 0, queues_at_once(), depth, memory, memory_bytes);
    reads();
    calling(core().disk_close).gives(0, 0);
  });
  return verdict();
}
