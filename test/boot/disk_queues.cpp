// Disk queues on real devices: data, scatter-gather, full queues, waking, closing in the middle, all cores at once.
// boot: --cores 4 --args 256 --disk "$work/disk$(truncate -s 8M "$work/disk")"
// boot: --cores 2 -- -drive if=none,id=d,format=raw,file="$work/disk$(truncate -s 8M "$work/disk")" -device virtio-blk-pci,drive=d,num-queues=2,disable-legacy=on,romfile=,logical_block_size=4096,physical_block_size=4096
// boot: --cores 2 --pvh -- -drive if=none,id=d,format=raw,file="$work/disk$(truncate -s 8M "$work/disk")" -device pcie-root-port,id=root,chassis=1 -device virtio-blk-pci,drive=d,num-queues=2,bus=root
// boot: --cores 4 --microvm --disk "$work/disk$(truncate -s 8M "$work/disk")"
// boot: --cores 2 --microvm --disk "$work/disk$(truncate -s 8M "$work/disk")" -- -machine acpi=off
// boot: --cores 2 -- -machine pc -cpu qemu64 -drive if=none,id=d,format=raw,file="$work/disk$(truncate -s 8M "$work/disk")" -device virtio-blk-pci,drive=d,num-queues=1,queue-size=64
// boot: --cores 2 -- -drive if=none,id=d,format=raw,file="$work/disk$(truncate -s 8M "$work/disk")" -device virtio-blk-pci,drive=d,num-queues=2,vectors=0
// boot: --cores 4 --disk "$work/disk$(truncate -s 8M "$work/disk")" --disk-model ahci
// boot: --cores 4 --disk "$work/disk$(truncate -s 8M "$work/disk")" --disk-model nvme
// boot: --cores 2 -- -machine pc -drive if=none,id=d,format=raw,file="$work/disk$(truncate -s 8M "$work/disk")" -device nvme,drive=d,serial=1,max_ioqpairs=1,mdts=1,logical_block_size=4096,physical_block_size=4096
// boot: --cores 2 --pvh -- -drive if=none,id=d,format=raw,file="$work/disk$(truncate -s 8M "$work/disk")" -device pcie-root-port,id=root,chassis=1 -device nvme,drive=d,serial=1,max_ioqpairs=4,msix_qsize=3,bus=root
// boot: --cores 3 --args 32 -- -drive if=none,id=d,format=raw,cache=unsafe,file="$work/disk$(truncate -s 8M "$work/disk")" -device virtio-blk-pci,drive=d,num-queues=3,seg-max-adjust=off,queue-size=128,event_idx=off,indirect_desc=off
#include "check.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <cstring>
#include <span>

using namespace check;

namespace {

constexpr u32 core_limit = 4, ring_depth = 16;
constexpr u64 piece_bytes = 16 * page_bytes;

disk_record const &record() { return info().disks[0]; }
u32 block() { return record().block_bytes; }
constinit u32 queues = 1;

u64 patience() { return ticks() + 20 * info().tsc_hz; }

disk_op operation(u8 kind, u64 cookie, u64 first, void const *memory, u64 bytes, u8 flags = 0) {
  disk_op made{};
  made.kind = kind;
  made.flags = flags;
  made.cookie = cookie;
  made.block = first;
  made.address = address(memory);
  made.bytes = static_cast<u32>(bytes);
  return made;
}

u64 pattern(u64 place, u64 seed) { return (place + seed) * 0x9E3779B97F4A7C15 ^ seed << 7; }

void fill(std::byte *memory, u64 bytes, u64 seed) {
  for (u64 at = 0; at < bytes; at += 8) {
    u64 const word = pattern(at, seed);
    std::memcpy(memory + at, &word, 8);
  }
}

bool filled(std::byte const *memory, u64 bytes, u64 seed) {
  for (u64 at = 0; at < bytes; at += 8) {
    u64 const word = pattern(at, seed);
    if (std::memcmp(memory + at, &word, 8) != 0) return false;
  }
  return true;
}

void submits(u32 queue, disk_op const *ops, u32 count, where at = where::current()) {
  i64 const taken = core().disk_submit(0, queue, ops, count);
  same(taken, count, at);
  if (taken != count) panic("without them the test cannot go on");
}

/// Waits for completions; each has to be right.
void finish(u32 queue, u32 count, where at = where::current()) {
  u64 const end = patience();
  for (u32 got = 0; got < count;) {
    completion done[4]{};
    i64 const some = core().disk_reap(0, queue, done, 4);
    if (some < 0 || ticks() > end) return fail(at, "completions are missing; status", some);
    for (i64 each = 0; each < some; ++each) same(done[each].status, 0, at);
    got += static_cast<u32>(some);
  }
}

void one(u32 queue, disk_op const &op, where at = where::current()) {
  submits(queue, &op, 1, at);
  finish(queue, 1, at);
}

std::byte *take_rings(u32 count, u32 depth) { return take_pages(u64{count} * depth * record().depth_bytes); }

void open(u32 count, u32 depth, std::byte *rings, where at = where::current()) {
  same(core().disk_open(0, count, depth, rings, u64{count} * depth * record().depth_bytes), 0, at);
}

// --- one core

void all_sizes_and_places(std::byte *memory) {
  for (u64 blocks = 1; blocks * block() <= std::min<u64>(piece_bytes, record().bytes_max); blocks = blocks * 2 + 1) {
    for (u64 const place : {u64{0}, u64{1}, record().blocks / 2, record().blocks - blocks}) {
      for (u64 const shift : {0, 1, 4, 508, 511, 2048, 4092}) {  // unaligned memory
        if ((shift & record().address_mask) != 0) continue;
        u64 const bytes = blocks * block();
        std::byte *const at = memory + shift;
        fill(at, bytes, place + shift);
        one(0, operation(disk_write, 1, place, at, bytes));
        std::memset(at, 0, bytes);
        one(0, operation(disk_read, 2, place, at, bytes));
        if (!filled(at, bytes, place + shift)) return fail(where::current(), "other data; blocks, place", blocks, place);
      }
    }
  }
}

void parts_are_one_operation(std::byte *memory) {
  std::byte *const back = memory + piece_bytes;
  // Where the parts begin and end: anywhere, or pages apart.
  u64 const anywhere[] = {0, 8, block() - 8, block() + 24, 5 * u64{block()}, 8 * u64{block()} - 8, 8 * u64{block()}};
  u64 const pages[] = {3584, 4096, 7680};
  std::span const cuts = (record().features & disk_pages) == 0 ? std::span<u64 const>(anywhere) : std::span<u64 const>(pages);
  u64 const bytes = cuts.back() - cuts.front();
  u32 const count = static_cast<u32>(cuts.size() - 1);
  fill(memory + cuts.front(), bytes, 77);
  // Written from parts of uneven lengths, read in one, and the other way round.
  disk_op parts[6];
  for (u32 at = 0; at < count; ++at) {
    u8 const more = at + 1 < count ? disk_more : 0;
    parts[at] = operation(disk_write, at == 0 ? 5 : 99, 3, memory + cuts[at], cuts[at + 1] - cuts[at], more);
  }
  for (u32 round = 0; round < 2; ++round) {
    submits(0, parts, count);
    completion done{};
    u64 const end = patience();
    while (core().disk_reap(0, 0, &done, 1) == 0 && ticks() < end) {
    }
    same(static_cast<i64>(done.cookie), 5);
    same(done.status, 0);
    same(done.bytes, round == 0 ? 0 : static_cast<i64>(bytes));
    same(core().disk_reap(0, 0, &done, 1), 0);  // one completion for all parts
    if (round == 0) {
      std::memset(back, 0, bytes);
      one(0, operation(disk_read, 6, 3, back, bytes));
      that(filled(back, bytes, 77), "what was written from parts is something else");
      std::memset(memory, 0, cuts.back());
      for (disk_op &each : parts) each.kind = disk_read;
    } else {
      that(filled(memory + cuts.front(), bytes, 77), "what was read into parts is something else");
    }
  }
}

/// The longest operations: as many bytes as one can have, in one entry and in as many as one can have, or the queue.
void longest_operations(u32 depth) {
  u64 const bytes = std::min<u64>({record().bytes_max / block() * block(), u64{1} << 20, record().blocks * block()});
  std::byte *const memory = take_pages(bytes + page_bytes) + (64 & ~record().address_mask);
  fill(memory, bytes, 5);
  one(0, operation(disk_write, 1, 0, memory, bytes));
  std::memset(memory, 0, bytes);
  one(0, operation(disk_read, 1, 0, memory, bytes));
  that(filled(memory, bytes, 5), "the longest operation brings other data");

  std::array<disk_op, 64> parts;
  u64 const pages = std::min<u64>({bytes / page_bytes, record().entry_max, depth, parts.size()});
  std::byte *const apart = take_pages((2 * pages - 1) * page_bytes);  // every other page
  for (u64 at = 0; at < pages; ++at) {
    parts[at] = operation(disk_read, 1, 0, apart + 2 * at * page_bytes, page_bytes, at + 1 < pages ? disk_more : 0);
  }
  submits(0, parts.data(), static_cast<u32>(pages));
  finish(0, 1);
  for (u64 at = 0; at < pages; ++at) {
    that(std::memcmp(apart + 2 * at * page_bytes, memory + at * page_bytes, page_bytes) == 0, "other data in a part");
  }
  if (record().bytes_max < ~u32{0} - block()) {
    disk_op const longer = operation(disk_read, 1, 0, memory, record().bytes_max + block());
    same(core().disk_submit(0, 0, &longer, 1), -static_cast<i64>(error::range));
  }
}

/// Parts that do not join at pages, and addresses that a disk cannot take, are refused.
void memory_that_is_refused(std::byte *memory) {
  auto const refused = [](error why, std::span<disk_op const> ops, where at = where::current()) {
    same(core().disk_submit(0, 0, ops.data(), static_cast<u32>(ops.size())), -static_cast<i64>(why), at);
  };
  if (record().address_mask != 0) {
    disk_op const odd[] = {operation(disk_read, 1, 0, memory, block()), operation(disk_read, 1, 0, memory + 1, block())};
    refused(error::pointer, odd);
    refused(error::pointer, std::span(odd).last(1));
  }
  if ((record().features & disk_pages) != 0) {
    disk_op parts[] = {operation(disk_read, 1, 0, memory, 2048, disk_more), operation(disk_read, 1, 0, memory + 4096, 2048)};
    refused(error::range, parts);
    parts[0].bytes = 4096;
    parts[1].bytes = 4096;
    parts[1].address += 2048;
    refused(error::range, parts);
    disk_op last = operation(disk_read, 1, 0, memory, block());
    last.address = ~u64{0} - page_bytes + 1;  // the last page that there is: no memory, which the disk may say
    submits(0, &last, 1);
    completion done{};
    for (u64 const end = patience(); core().disk_reap(0, 0, &done, 1) == 0;) {
      if (ticks() > end) return fail(where::current(), "a read to the last page does not end");
    }
    same(done.cookie, u64{1});
  }
  for (u32 round = 0; round < 2 * ring_depth; ++round) one(0, operation(disk_read, 1, 0, memory, block()));
}

/// Blocks that were given up, and blocks of zeros.
void discards(std::byte *memory) {
  for (u8 const kind : {u8{disk_discard}, u8{disk_zero}}) {
    disk_op op = operation(kind, 3, 4, nullptr, 2 * u64{block()});
    if ((record().features & (kind == disk_zero ? disk_can_zero : disk_can_discard)) == 0) {
      same(core().disk_submit(0, 0, &op, 1), -static_cast<i64>(error::unsupported));
      continue;
    }
    auto const each_block = [memory](u8 transfer) {
      for (u64 at = 0; at < 4; ++at) one(0, operation(transfer, 1, 3 + at, memory + at * block(), block()));
    };
    fill(memory, 4 * u64{block()}, 9);
    each_block(disk_write);
    one(0, op);
    std::memset(memory, 1, 4 * u64{block()});
    each_block(disk_read);
    std::byte *const given = memory + block();
    that(filled(memory, block(), 9), "the block before is lost");
    that(kind == disk_discard || std::all_of(given, given + 2 * block(), [](std::byte each) { return each == std::byte{0}; }),
         "the blocks are no zeros");
    for (u64 const block_number : {record().blocks - 1, record().blocks, ~u64{0}}) {
      op.block = block_number;
      same(core().disk_submit(0, 0, &op, 1), -static_cast<i64>(error::range));
    }
    op.block = 0;
    op.bytes = 0;
    same(core().disk_submit(0, 0, &op, 1), -static_cast<i64>(error::range));
    op.bytes = block();
    op.flags = disk_more;
    same(core().disk_submit(0, 0, &op, 1), -static_cast<i64>(error::range));
  }
}

void full_queue_takes_what_fits(std::byte *memory) {
  std::array<disk_op, ring_depth + 4> ops;
  for (u64 at = 0; at < ops.size(); ++at) ops[at] = operation(disk_read, at, 0, memory, block());
  same(core().disk_submit(0, 0, ops.data(), ops.size()), ring_depth);
  completion done{};
  u64 const end = patience();
  std::array<bool, ring_depth + 4> seen{};
  auto const reap = [&] {
    while (core().disk_reap(0, 0, &done, 1) == 0 && ticks() < end) {
    }
    same(done.status, 0);
    that(done.cookie < seen.size() && !seen[done.cookie], "a cookie came twice, or none that was given");
    seen[done.cookie % seen.size()] = true;
  };
  reap();
  same(core().disk_submit(0, 0, ops.data() + ring_depth, 4), 1);  // room for one
  for (u32 left = 0; left < ring_depth; ++left) reap();
  same(core().disk_reap(0, 0, &done, 1), 0);
  same(core().disk_submit(0, 0, ops.data() + ring_depth + 1, 3), 3);
  for (u32 left = 0; left < 3; ++left) reap();
  same(std::count(seen.begin(), seen.end(), true), ring_depth + 4);

  // Of an operation of which not all parts fit, none is begun; on some disks one takes no more room than others.
  u32 const most = std::min(ring_depth, record().bytes_max / static_cast<u32>(page_bytes)), parts = std::min(most, 4u);
  u32 const alone = ring_depth + 2 - parts;
  for (disk_op &each : ops) each = operation(disk_read, 1, 0, memory, page_bytes);
  for (u64 at = 0; at + 1 < parts; ++at) ops[alone + at].flags = disk_more;
  i64 const taken = core().disk_submit(0, 0, ops.data(), alone + parts);
  if (taken == alone) {
    finish(0, alone);
    same(core().disk_submit(0, 0, ops.data() + alone, parts), parts);
    finish(0, 1);
  } else {
    same(taken, alone + parts);
    finish(0, alone + 1);
  }
  for (u64 at = 0; at < most; ++at) ops[at].flags = at + 1 < most ? disk_more : 0;  // as many as there is room
  same(core().disk_submit(0, 0, ops.data(), most), most);
  finish(0, 1);
}

/// As many operations at once as the queue can have, each with its own block, and once more.
void deepest_queue() {
  u32 const depth = record().depth_max;
  std::byte *const memory = take_pages(u64{depth} * block());
  auto const ops = std::span(reinterpret_cast<disk_op *>(take_pages(u64{depth} * sizeof(disk_op))), depth);
  for (auto const kind : {u8{disk_write}, u8{disk_read}}) {
    for (u64 at = 0; at < depth; ++at) {
      std::byte *const own = memory + at * block();
      if (kind == disk_write) fill(own, block(), at);
      if (kind == disk_read) std::memset(own, 0, block());
      ops[at] = operation(kind, at, at, own, block());
    }
    submits(0, ops.data(), depth);
    finish(0, depth);
  }
  for (u64 at = 0; at < depth; ++at) that(filled(memory + at * block(), block(), at), "another block's data");
}

void flushes(std::byte *memory) {
  disk_op const both[] = {operation(disk_write, 1, 9, memory, block()), operation(disk_flush, 2, 0, nullptr, 0)};
  submits(0, both, 2);
  finish(0, 2);
}

void close_in_the_middle(std::byte *memory, std::byte *rings) {
  for (u32 round = 0; round < 20; ++round) {
    std::array<disk_op, ring_depth> ops;
    for (u64 at = 0; at < ops.size(); ++at) ops[at] = operation(disk_read, at, at, memory + at * block(), block());
    submits(0, ops.data(), ring_depth);
    same(core().disk_close(0), 0);
    std::memset(memory, 0x5A, piece_bytes);  // the program's again: nothing may come any more
    std::memset(rings, 0x5A, u64{ring_depth} * record().depth_bytes);
    for (u64 const end = ticks() + info().tsc_hz / 2000; ticks() < end;) exo::pause();
    bool const untouched = std::all_of(memory, memory + piece_bytes, [](std::byte each) { return each == std::byte{0x5A}; });
    that(untouched, "the device wrote into memory after it was closed");
    open(1, ring_depth, rings);
    one(0, operation(disk_read, 1, 0, memory, block()));
  }
}

// --- waking

/// A queue that is not armed does not interrupt; an interrupt of before may come late, but not every time.
void is_quiet(u32 queue, disk_op const &read, where at = where::current()) {
  bool quiet = false;
  for (u32 round = 0; round < 20 && !quiet; ++round) {
    core().core_idle(0);
    one(queue, read);
    quiet = (core().core_idle(ticks() + info().tsc_hz / 1000) & 1 << event_queue) == 0;
  }
  that(quiet, "a disarmed queue interrupts", at);
}

void armed_queue_wakes(u32 queue, std::byte *memory) {
  completion done{};
  if (record().interrupts == 0) {
    same(core().disk_arm(0, queue), -static_cast<i64>(error::unsupported));
    return;
  }
  disk_op const read = operation(disk_read, 1, local().index, memory, block());
  for (u32 round = 0; round < 50; ++round) {
    core().core_idle(0);
    same(core().disk_arm(0, queue), 0);
    submits(queue, &read, 1);
    for (u64 const end = patience();;) {  // queues may share a line, and polling leaves an interrupt behind
      same(core().core_idle(end) & 1 << event_queue, 1 << event_queue);
      if (core().disk_reap(0, queue, &done, 1) == 1 || ticks() > end) break;
      if (core().disk_arm(0, queue) == 1) {
        same(core().disk_reap(0, queue, &done, 1), 1);
        break;
      }
    }
  }
  submits(queue, &read, 1);  // work that is there already
  for (u64 const end = patience(); core().disk_arm(0, queue) != 1 && ticks() < end;) exo::pause();
  same(core().disk_arm(0, queue), 1);
  same(core().disk_reap(0, queue, &done, 1), 1);

  same(core().disk_arm(0, queue), 0);  // reaping disarms
  same(core().disk_reap(0, queue, &done, 1), 0);
  is_quiet(queue, read);
}

void closing_disarms(std::byte *memory, std::byte *rings) {
  if (record().interrupts == 0) return;
  same(core().disk_arm(0, 0), 0);
  same(core().disk_close(0), 0);
  open(1, ring_depth, rings);
  is_quiet(0, operation(disk_read, 1, 0, memory, block()));
}

// --- all cores at once, each with its own queue

void each_core_with_its_queue() {
  u32 const me = local().index;
  if (me >= queues) return;
  std::byte *const memory = take_pages(ring_depth * 4096);
  u64 const share = record().blocks / core_limit;
  u64 random = me + 1;
  for (u32 round = 0; round < 60; ++round) {
    std::array<disk_op, ring_depth> ops;
    std::array<u64, ring_depth> places{};
    u64 const step = share / ring_depth;
    for (u64 at = 0; at < ring_depth; ++at) {
      random = random * 6364136223846793005 + 1442695040888963407;
      places[at] = me * share + at * step + (random >> 33) % step;
      fill(memory + at * 4096, block(), places[at] * 1000 + round);
      ops[at] = operation(disk_write, at, places[at], memory + at * 4096, block());
    }
    submits(me, ops.data(), ring_depth);
    finish(me, ring_depth);
    std::memset(memory, 0, ring_depth * 4096);
    for (disk_op &each : ops) each.kind = disk_read;
    submits(me, ops.data(), ring_depth);
    finish(me, ring_depth);
    for (u64 at = 0; at < ring_depth; ++at) {
      if (!filled(memory + at * 4096, block(), places[at] * 1000 + round)) {
        return fail(where::current(), "another core's data; block, round", places[at], round);
      }
    }
  }
  armed_queue_wakes(me, memory);
}

}  // namespace

int main(int argc, char **argv) {
  that(!info().disks.empty(), "there is no disk");
  u32 expected_depth = record().depth_max;
  if (argc == 2) std::from_chars(argv[1], argv[1] + std::strlen(argv[1]), expected_depth);
  same(record().depth_max, expected_depth);
  queues = std::min({record().queue_max, core_count(), core_limit});
  std::byte *const memory = take_pages(2 * piece_bytes);
  std::byte *const rings = take_rings(queues, ring_depth);

  open(1, ring_depth, rings);
  all_sizes_and_places(memory);
  parts_are_one_operation(memory);
  longest_operations(ring_depth);
  memory_that_is_refused(memory);
  full_queue_takes_what_fits(memory);
  flushes(memory);
  discards(memory);
  armed_queue_wakes(0, memory);
  closing_disarms(memory, rings);
  close_in_the_middle(memory, rings);
  same(core().disk_close(0), 0);

  open(queues, ring_depth, rings);
  run_on_all([] { each_core_with_its_queue(); });
  same(core().disk_close(0), 0);

  u64 const ring_bytes = u64{record().queue_max} * record().depth_max * record().depth_bytes;
  std::byte *const deepest = take_pages(ring_bytes + page_bytes), *const behind = deepest + ring_bytes;
  fill(behind, page_bytes, 99);
  open(record().queue_max, record().depth_max, deepest);
  for (u32 queue = 0; queue < record().queue_max; ++queue) one(queue, operation(disk_read, 1, 0, memory, block()));
  longest_operations(record().depth_max);
  deepest_queue();
  that(filled(behind, page_bytes, 99), "memory behind the rings is written to");
  same(core().disk_close(0), 0);
  return verdict();
}
