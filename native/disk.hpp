// Disks on files and block devices. Threads of the disk do the operations, several at a time and in any order; what is
// finished waits in the queue's ring to be reaped.
#pragma once

#include <fcntl.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/stat.h>

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <deque>
#include <thread>
#include <vector>

#include "device.hpp"

namespace native {

inline constexpr u32 block_bytes = 512;
inline constexpr u32 disk_entries_most = 126;
inline constexpr u32 disk_threads = 8;                           // operations under way at most
inline constexpr std::chrono::seconds disk_close_limit{10};      // for what is under way when a disk is closed

struct disk_operation {
  std::vector<exo::disk_op> parts;
  u32 queue;
  u64 life;
};

struct disk_device {
  exo::disk_record record{};
  u32 open = 0;
  int file = -1;
  std::array<completion_ring, queues_most> queues{};

  std::mutex mutex;  // of the rings and of all below
  std::condition_variable more;
  std::condition_variable_any done;
  std::deque<disk_operation> waiting;
  u32 under_way = 0;
  u64 life = 0;  // raised by disk_close: what is under way then goes to no ring
  bool has_threads = false;
};

inline constinit std::span<disk_device> disks{};

/// Reads or writes all bytes of an entry; a file that ends in the middle of its last block goes on with zeros.
inline bool transfer(int file, bool writing, char *memory, u64 bytes, u64 offset) {
  while (bytes != 0) {
    auto const at = static_cast<off_t>(offset);
    ssize_t const moved = writing ? pwrite(file, memory, bytes, at) : pread(file, memory, bytes, at);
    if (moved < 0 && errno == EINTR) continue;
    if (moved < 0 || (moved == 0 && writing)) return false;
    if (moved == 0) {
      std::memset(memory, 0, bytes);
      return true;
    }
    memory += moved;
    bytes -= static_cast<u64>(moved);
    offset += static_cast<u64>(moved);
  }
  return true;
}

/// Makes blocks zeros, by a hole where the file system can have one. Discarded blocks may stay as they are.
inline bool clear(int file, bool discard, u64 bytes, u64 offset) {
  if (fallocate(file, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, static_cast<off_t>(offset), static_cast<off_t>(bytes)) == 0) {
    return true;
  }
  if (errno != EOPNOTSUPP) return false;
  static constexpr std::array<char, 64 << 10> zeros{};
  for (u64 done = 0; !discard && done < bytes; done += zeros.size()) {
    if (!transfer(file, true, const_cast<char *>(zeros.data()), std::min<u64>(zeros.size(), bytes - done), offset + done)) return false;
  }
  return true;
}

inline exo::completion perform(int file, std::span<exo::disk_op const> op) {
  exo::completion what{.cookie = op[0].cookie, .status = 0, .bytes = 0};
  bool good = true;
  if (op[0].kind == exo::disk_flush) {
    good = fdatasync(file) == 0;
  } else if (op[0].kind == exo::disk_discard || op[0].kind == exo::disk_zero) {
    good = clear(file, op[0].kind == exo::disk_discard, op[0].bytes, op[0].block * block_bytes);
  } else {
    bool const writing = op[0].kind == exo::disk_write;
    u64 offset = op[0].block * block_bytes;
    for (exo::disk_op const &part : op) {
      good = good && transfer(file, writing, reinterpret_cast<char *>(part.address), part.bytes, offset);
      offset += part.bytes;
      if (good && !writing) what.bytes += part.bytes;
    }
  }
  if (!good) what.status = static_cast<exo::i32>(-error::io);
  return what;
}

/// A thread of a disk: does what waits, as long as the process lives.
inline void serve_disk(disk_device &device) {
  std::unique_lock lock(device.mutex);
  for (;;) {
    device.more.wait(lock, [&] { return !device.waiting.empty(); });
    disk_operation const op = std::move(device.waiting.front());
    device.waiting.pop_front();
    ++device.under_way;
    lock.unlock();
    exo::completion const what = perform(device.file, op.parts);
    lock.lock();
    --device.under_way;
    if (op.life == device.life) {
      completion_ring &ring = device.queues[op.queue];
      ring.put(what, static_cast<u32>(op.parts.size()));
      ring.finished();
    }
    device.done.notify_all();
  }
}

inline i64 disk_open(u32 disk, u32 queues, u32 depth, void *memory, u64 bytes) {
  if (i64 const bad = check_open(disks, disk, queues, depth, memory, bytes)) return bad;
  disk_device &device = disks[disk];
  guard const locked(device.mutex);
  if (device.under_way != 0) return -error::timeout;  // disk_close waited for it in vain
  u64 const ring_bytes = u64{depth} * device.record.depth_bytes;
  for (u32 queue = 0; queue < queues; ++queue) {
    device.queues[queue].start(static_cast<char *>(memory) + queue * ring_bytes, depth);
  }
  for (u32 thread = 0; !device.has_threads && thread < disk_threads; ++thread) std::thread(serve_disk, std::ref(device)).detach();
  device.has_threads = true;
  device.open = queues;
  return 0;
}

inline i64 disk_close(u32 disk) {
  if (i64 const bad = check(disks, disk)) return bad;
  disk_device &device = disks[disk];
  guard locked(device.mutex);
  for (completion_ring &ring : device.queues) ring.armed_core = nobody;
  device.waiting.clear();
  ++device.life;
  device.open = 0;
  return device.done.wait_for(locked, disk_close_limit, [&] { return device.under_way == 0; }) ? 0 : -error::timeout;
}

inline i64 disk_submit(u32 disk, u32 queue, exo::disk_op const *ops, u32 count) {
  if (i64 const bad = check(disks, disk, queue, ops)) return bad;
  disk_device &device = disks[disk];
  completion_ring &ring = device.queues[queue];
  guard const locked(device.mutex);
  i64 const fit = check_operations(device.record, {ops, count}, ring.room);
  for (i64 next = 0; next < fit;) {
    u32 const entries = entries_of(std::span(ops + next, static_cast<std::size_t>(fit - next)));
    device.waiting.push_back({std::vector(ops + next, ops + next + entries), queue, device.life});
    ring.room -= entries;
    next += entries;
    device.more.notify_one();
  }
  return fit;
}

inline i64 disk_reap(u32 disk, u32 queue, exo::completion *out, u32 count) {
  if (i64 const bad = check(disks, disk, queue, out)) return bad;
  guard const locked(disks[disk].mutex);
  return disks[disk].queues[queue].reap(out, count);
}

inline i64 disk_arm(u32 disk, u32 queue) {
  if (i64 const bad = check(disks, disk, queue)) return bad;
  guard const locked(disks[disk].mutex);
  return disks[disk].queues[queue].arm();
}

/// Opens a file or block device as a disk; what may not be written is a read-only disk.
inline void make_disk(disk_device &device, char const *path) {
  bool writable = true;
  device.file = open(path, O_RDWR | O_CLOEXEC);
  if (device.file < 0 && (errno == EACCES || errno == EPERM || errno == EROFS)) {
    writable = false;
    device.file = open(path, O_RDONLY | O_CLOEXEC);
  }
  struct stat about {};
  if (device.file < 0 || fstat(device.file, &about) != 0) {
    refuse("the disk file '%s' cannot be opened: %s.", path, std::strerror(errno));
  }
  u64 bytes = static_cast<u64>(about.st_size);
  if (S_ISBLK(about.st_mode) ? ioctl(device.file, BLKGETSIZE64, &bytes) != 0 : !S_ISREG(about.st_mode)) {
    refuse("'%s' is neither a file nor a block device, so it cannot be a disk.", path);
  }
  device.record = {.function = ~u32{0},
                   .features = static_cast<u32>(writable ? exo::disk_write_cache | exo::disk_can_discard | exo::disk_can_zero
                                                        : exo::disk_read_only),
                   .blocks = (bytes + block_bytes - 1) / block_bytes,
                   .block_bytes = block_bytes,
                   .optimal_bytes = 0,
                   .address_mask = 0,
                   .entry_max = disk_entries_most,
                   .bytes_max = ~u32{0},
                   .serial = {},
                   .model = {},
                   .queue_max = core_count < queues_most ? core_count : queues_most,
                   .depth_max = depth_most,
                   .depth_bytes = sizeof(completion_ring::slot),
                   .interrupts = 1};
}

}  // namespace native
