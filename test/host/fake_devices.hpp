// The devices of the fake machine, and the calls of PCI functions and disks. Disks are in memory.
#pragma once

#include <algorithm>
#include <array>
#include <cstring>
#include <deque>
#include <exo/core.hpp>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <utility>
#include <vector>

namespace fake {

using namespace exo;

/// So that a call can `return -error::range`.
constexpr i64 operator-(error why) { return -static_cast<i64>(why); }

struct pci_device {
  pci_record record{};
  std::array<u8, 4096> config{};
  std::map<u32, std::pair<u32, u32>> routes{};  // MSI-X entry: core, event
};

/// What the queues of all devices have: completions that come when finished, and an interrupt that can be armed.
struct done_queue {
  std::deque<completion> finished;
  bool armed = false;
  u32 armed_core = 0;
};

struct fake_disk {
  disk_record record{};
  std::vector<std::byte> data;
  std::map<u64, error> bad_blocks;  // operations that touch one fail with this
  u32 bytes_missing = 0;            // of each read, which succeeds all the same
  bool holds = false;               // completions wait until finish()
  bool gone = false;                // it cannot be closed in time
  bool open = false;
  u32 depth = 0;
  std::size_t flushes = 0;
  struct queue : done_queue {
    std::deque<completion> held;
    std::size_t in_flight = 0;
    std::size_t most_in_flight = 0;
  };
  std::vector<queue> queues;
  std::mutex mutex;
};

class device_set {
 public:
  static void raise(u32 core, u64 event);
  static bool is_running_core(u32 core);
  static device_set &now();

  fake_disk &add_disk(u64 blocks, u32 block_bytes = 512, u32 queue_max = 4, u32 depth_max = 128) {
    auto &disk = *disks.emplace_back(std::make_unique<fake_disk>());
    disk.record = {.function = 0, .features = disk_write_cache, .blocks = blocks, .block_bytes = block_bytes,
                   .entry_max = 64, .bytes_max = ~exo::u32{0}, .queue_max = queue_max, .depth_max = depth_max, .depth_bytes = 64,
                   .interrupts = 1};
    disk.data.resize(blocks * block_bytes);
    return disk;
  }

  pci_device *find(u32 function) {
    auto const found = std::ranges::find(pci, function, [](pci_device const &each) { return each.record.function; });
    return found == pci.end() ? nullptr : &*found;
  }

  /// The device of that MSI-X entry interrupts.
  void interrupt(u32 function, u32 entry) {
    auto const [core, event] = find(function)->routes.at(entry);
    raise(core, event);
  }

  std::vector<pci_device> pci;
  std::vector<std::unique_ptr<fake_disk>> disks;
};

/// Finishes up to count operations that a disk holds back, and wakes the core that armed its queue.
inline void finish(fake_disk &disk, u32 queue, std::size_t count = ~std::size_t{0}) {
  std::lock_guard const guard(disk.mutex);
  auto &from = disk.queues.at(queue);
  for (; count > 0 && !from.held.empty(); --count) {
    from.finished.push_back(from.held.front());
    from.held.pop_front();
  }
  if (!from.finished.empty() && std::exchange(from.armed, false)) device_set::raise(from.armed_core, event_queue);
}

// ---- PCI ----

inline i64 pci_check(u32 function, u32 offset, u32 width, pci_device *&device) {
  device = device_set::now().find(function);
  if (device == nullptr) return -error::no_such;
  if ((width != 1 && width != 2 && width != 4) || offset % width != 0 || offset >= 4096) return -error::range;
  return 0;
}

inline i64 pci_read(u32 function, u32 offset, u32 width) {
  pci_device *device = nullptr;
  if (i64 const wrong = pci_check(function, offset, width, device)) return wrong;
  u32 value = 0;
  std::memcpy(&value, &device->config[offset], width);
  return value;
}

inline i64 pci_write(u32 function, u32 offset, u32 width, u32 value) {
  pci_device *device = nullptr;
  if (i64 const wrong = pci_check(function, offset, width, device)) return wrong;
  std::memcpy(&device->config[offset], &value, width);
  return 0;
}

inline i64 irq_route(u32 function, u32 entry, u32 core, u32 event) {
  pci_device *const device = device_set::now().find(function);
  if (device == nullptr || !device_set::is_running_core(core)) return -error::no_such;
  if (device->record.msix == 0) return -error::unsupported;
  if (entry >= device->record.msix_count || event < event_program || event >= event_count) return -error::range;
  device->routes[entry] = {core, event};
  return 0;
}

// ---- what opening and reaching a queue have in common ----

template <typename Device, typename Record>
i64 open_device(Device &device, Record const &record, u32 queues, u32 depth, void *memory, u64 bytes) {
  std::lock_guard const guard(device.mutex);
  if (device.open) return -error::busy;
  bool const depth_good = depth >= 16 && depth <= record.depth_max && (depth & (depth - 1)) == 0;
  if (queues == 0 || queues > record.queue_max || !depth_good) return -error::range;
  if (memory == nullptr || reinterpret_cast<u64>(memory) % page_bytes != 0) return -error::pointer;
  if (bytes < u64{queues} * depth * record.depth_bytes) return -error::memory;
  device.open = true;
  device.depth = depth;
  device.queues = std::vector<typename Device::queue>(queues);
  return 0;
}

template <typename Device>
i64 close_device(Device &device) {
  std::lock_guard const guard(device.mutex);
  if (!device.open) return -error::closed;
  device.open = false;
  device.queues.clear();
  return 0;
}

/// Runs use(device, queue) with the device locked, or returns the error that stands against it.
template <typename Device, typename Use>
i64 with_queue(std::vector<std::unique_ptr<Device>> &devices, u32 index, u32 queue, void const *data, Use use) {
  if (index >= devices.size()) return -error::no_such;
  Device &device = *devices[index];
  std::lock_guard const guard(device.mutex);
  if (!device.open) return -error::closed;
  if (queue >= device.queues.size()) return -error::no_such;
  if (data == nullptr) return -error::pointer;
  return use(device, device.queues[queue]);
}

inline i64 take_completions(std::deque<completion> &from, completion *out, u32 count) {
  i64 taken = 0;
  for (; taken < count && !from.empty(); ++taken) {
    out[taken] = from.front();
    from.pop_front();
  }
  return taken;
}

// ---- disks ----

inline i64 disk_open(u32 disk, u32 queues, u32 depth, void *memory, u64 bytes) {
  auto &disks = device_set::now().disks;
  if (disk >= disks.size()) return -error::no_such;
  return open_device(*disks[disk], disks[disk]->record, queues, depth, memory, bytes);
}

inline i64 disk_close(u32 disk) {
  auto &disks = device_set::now().disks;
  if (disk >= disks.size()) return -error::no_such;
  i64 const closed = close_device(*disks[disk]);
  return closed == 0 && disks[disk]->gone ? -error::timeout : closed;
}

/// How many entries the operation at the front has; 0 if it does not end within count.
inline u32 entries_of(disk_op const *ops, u32 count) {
  for (u32 entry = 0; entry < count; ++entry) {
    if ((ops[entry].flags & disk_more) == 0) return entry + 1;
  }
  return 0;
}

inline i64 check_operation(fake_disk const &disk, disk_op const *ops, u32 entries) {
  if (entries == 0 || entries > disk.record.entry_max) return -error::range;
  if (ops->kind == disk_flush) return 0;
  if (ops->kind != disk_read && ops->kind != disk_write) return -error::range;
  u64 bytes = 0;
  for (u32 entry = 0; entry < entries; ++entry) {
    if (ops[entry].address == 0) return -error::pointer;
    bytes += ops[entry].bytes;
  }
  u64 const blocks = bytes / disk.record.block_bytes;
  if (bytes == 0 || bytes % disk.record.block_bytes != 0) return -error::range;
  if (ops->block >= disk.record.blocks || blocks > disk.record.blocks - ops->block) return -error::range;
  if (ops->kind == disk_write && (disk.record.features & disk_read_only) != 0) return -error::unsupported;
  return 0;
}

inline completion run_operation(fake_disk &disk, disk_op const *ops, u32 entries) {
  completion done{.cookie = ops->cookie, .status = 0, .bytes = 0};
  if (ops->kind == disk_flush) {
    ++disk.flushes;
    return done;
  }
  u64 at = ops->block * disk.record.block_bytes;
  for (u32 entry = 0; entry < entries; ++entry) {
    auto *const memory = reinterpret_cast<std::byte *>(ops[entry].address);
    std::byte *const media = disk.data.data() + at;
    bool const reads = ops->kind == disk_read;
    std::memcpy(reads ? memory : media, reads ? media : memory, ops[entry].bytes);
    if (reads) done.bytes += ops[entry].bytes;
    at += ops[entry].bytes;
  }
  done.bytes -= std::min(done.bytes, disk.bytes_missing);
  auto const bad = disk.bad_blocks.lower_bound(ops->block);
  if (bad != disk.bad_blocks.end() && bad->first * disk.record.block_bytes < at) {
    done.status = -static_cast<i32>(bad->second);
  }
  return done;
}

inline i64 disk_submit(u32 disk, u32 queue, disk_op const *ops, u32 count) {
  return with_queue(device_set::now().disks, disk, queue, ops, [&](fake_disk &device, fake_disk::queue &to) -> i64 {
    for (u32 at = 0; at < count;) {
      u32 const entries = entries_of(ops + at, count - at);
      if (i64 const wrong = check_operation(device, ops + at, entries)) return wrong;
      at += entries;
    }
    u32 taken = 0;
    while (taken < count && to.in_flight < device.depth) {
      u32 const entries = entries_of(ops + taken, count - taken);
      (device.holds ? to.held : to.finished).push_back(run_operation(device, ops + taken, entries));
      to.most_in_flight = std::max(to.most_in_flight, ++to.in_flight);
      taken += entries;
    }
    return taken;
  });
}

inline i64 disk_reap(u32 disk, u32 queue, completion *out, u32 count) {
  return with_queue(device_set::now().disks, disk, queue, out, [&](fake_disk &, fake_disk::queue &from) {
    i64 const taken = take_completions(from.finished, out, count);
    from.in_flight -= static_cast<std::size_t>(taken);
    return taken;
  });
}

inline i64 disk_arm(u32 disk, u32 queue) {
  return with_queue(device_set::now().disks, disk, queue, "", [&](fake_disk &device, fake_disk::queue &of) -> i64 {
    if (device.record.interrupts == 0) return -error::unsupported;
    if (!of.finished.empty()) return 1;
    of.armed = true;
    of.armed_core = local().index;
    return 0;
  });
}

}  // namespace fake
