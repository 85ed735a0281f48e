// The disk calls of a simulated machine.
//
// An operation takes its time, and touches memory only at the end of it. A completed write lasts when the disk has no
// write cache, or with a flush that was submitted after its completion.
#pragma once

#include "network.hpp"

namespace sim {

inline std::span<disk_device> disks() { return here().disks; }

inline i64 disk_open(u32 disk, u32 queues, u32 depth, void *memory, u64 bytes) {
  if (i64 const bad = check_open(disks(), disk, queues, depth, memory, bytes)) return bad;
  disk_device &device = disks()[disk];
  ++device.life;
  device.open = queues;
  device.queues = std::vector<done_ring>(queues);
  for (done_ring &each : device.queues) each.room = depth;
  return 0;
}

inline i64 disk_close(u32 disk) {
  if (i64 const bad = check(disks(), disk)) return bad;
  disk_device &device = disks()[disk];
  ++device.life;
  device.open = 0;
  device.queues.clear();
  device.at_work.clear();
  return 0;
}

/// Does the operation on the disk; returns the bytes that went to memory, or -io.
inline i64 perform(computer &machine, disk_device &device, disk_device::operation const &op) {
  exo::disk_op const &head = op.parts[0];
  u64 amount = 0;
  bool const fails = now.happens(kind::fail, device.number, device.how.fail, &amount);
  if (head.kind == exo::disk_flush) {
    if (fails) return -error::io;
    auto const is_before = [&](disk_device::write const &each) { return each.done_at <= op.submitted; };
    auto const last = std::ranges::partition_point(device.unflushed, is_before);
    for (auto each = device.unflushed.begin(); each != last; ++each) {
      std::memcpy(&device.durable[each->block * device.how.block_bytes], each->bytes.data(), each->bytes.size());
    }
    device.unflushed.erase(device.unflushed.begin(), last);
    return 0;
  }
  u64 const place = head.block * device.how.block_bytes;
  if (head.kind == exo::disk_write) {
    std::vector<std::byte> bytes = machine.gather(op);
    if (fails) bytes.resize(amount % (bytes.size() / device.how.block_bytes + 1) * device.how.block_bytes);  // in part
    std::ranges::copy(bytes, device.content.begin() + static_cast<std::ptrdiff_t>(place));
    if (device.how.write_cache) {
      device.unflushed.push_back({now.now(), head.block, std::move(bytes)});
    } else {
      std::ranges::copy(bytes, device.durable.begin() + static_cast<std::ptrdiff_t>(place));
    }
    return fails ? -error::io : 0;
  }
  if (fails) return -error::io;
  i64 done = 0;
  for (exo::disk_op const &part : op.parts) {
    if (!machine.check_memory(part.address, part.bytes, "disk")) return -error::io;
    std::memcpy(reinterpret_cast<void *>(part.address), &device.content[place + static_cast<u64>(done)], part.bytes);
    done += part.bytes;
  }
  return done;
}

inline void complete(computer &machine, u32 disk, disk_device::operation const &op) {
  disk_device &device = machine.disks[disk];
  std::erase(device.at_work, &op);
  i64 const done = perform(machine, device, op);
  exo::disk_op const &head = op.parts[0];
  now.note(machine.number(), head.block, static_cast<u64>(done));
  now.say("%s disk %u kind %u block %lu: %ld", machine.how().name, disk, head.kind, head.block,
          done);
  done_ring &ring = device.queues[op.queue];
  exo::completion const what{.cookie = head.cookie, .status = static_cast<exo::i32>(std::min<i64>(done, 0)),
                             .bytes = static_cast<u32>(std::max<i64>(done, 0))};
  ring.done.push_back({what, static_cast<u32>(op.parts.size())});
  machine.finished(ring);
}

inline i64 disk_submit(u32 disk, u32 queue, exo::disk_op const *ops, u32 count) {
  if (i64 const bad = check(disks(), disk, queue, ops)) return bad;
  disk_device &device = disks()[disk];
  done_ring &ring = device.queues[queue];
  i64 const fit = native::check_operations(device.record, {ops, count}, ring.room);
  for (i64 next = 0; next < fit;) {
    u32 const entries = native::entries_of(std::span(ops + next, static_cast<std::size_t>(fit - next)));
    auto op = std::make_unique<disk_device::operation>(std::vector(ops + next, ops + next + entries), queue, now.now());
    next += entries;
    ring.room -= entries;
    device.at_work.push_back(op.get());
    u64 const least = static_cast<u64>(device.how.least.count()), most = static_cast<u64>(device.how.most.count());
    u64 time = least + now.chances.number(kind::delay, objects_most / 2 + device.number, most > least ? most - least : 0);
    if (now.happens(kind::slow, device.number, device.how.slow)) time *= 100;
    if (now.happens(kind::stuck, device.number, device.how.stuck)) time = never / 4;
    now.in(time, [machine = &here(), disk, op = std::move(op), life = device.life] {
      if (life == machine->disks[disk].life) complete(*machine, disk, *op);
    });
  }
  return fit;
}

inline i64 disk_reap(u32 disk, u32 queue, exo::completion *out, u32 count) {
  if (i64 const bad = check(disks(), disk, queue, out)) return bad;
  return disks()[disk].queues[queue].reap(out, count);
}

inline i64 disk_arm(u32 disk, u32 queue) {
  if (i64 const bad = check(disks(), disk, queue)) return bad;
  if (disks()[disk].record.interrupts == 0) return -error::unsupported;
  done_ring &ring = disks()[disk].queues[queue];
  if (!ring.done.empty()) return 1;
  ring.armed_core = exo::local().index;
  return 0;
}

}  // namespace sim
