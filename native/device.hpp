// What NIC and disk calls have in common: the checks, in the order of the core's device.asm, and rings of completions.
#pragma once

#include <bit>
#include <limits>
#include <span>

#include "machine.hpp"

namespace native {

inline constexpr u32 queues_most = 16;
inline constexpr u32 depth_least = 16;
inline constexpr u32 depth_most = 256;
inline constexpr u8 entry_more = exo::frame_more;
static_assert(exo::frame_more == exo::disk_more);

/// Part of a queue that can be armed.
struct ring_state {
  std::atomic<u32> armed_core = nobody;

  /// Something has finished: tells the core that armed the ring, once.
  void finished() noexcept {
    if (u32 const core = armed_core.exchange(nobody); core != nobody) raise(cores[core], exo::event_queue);
  }
};

/// Finished operations that were not reaped yet, oldest first. They lie in the program's ring memory. Each holds the
/// entries that the operation had.
struct completion_ring : ring_state {
  struct slot {
    exo::completion what;
    u32 entries;
  };

  slot *slots = nullptr;
  u32 depth = 0, room = 0, first = 0, count = 0;

  void start(void *memory, u32 entries) noexcept {
    slots = static_cast<slot *>(memory);
    depth = room = entries;
    first = count = 0;
    armed_core = nobody;
  }

  /// What was submitted is finished; its room was taken then, and comes back when it is reaped.
  void put(exo::completion const &what, u32 entries) noexcept {
    slots[(first + count++) % depth] = {.what = what, .entries = entries};
  }

  i64 reap(exo::completion *out, u32 most) noexcept {
    armed_core = nobody;
    u32 taken = 0;
    for (; taken < most && count != 0; --count) {
      slot const &oldest = slots[first++ % depth];
      out[taken++] = oldest.what;
      room += oldest.entries;
    }
    return taken;
  }

  /// What finishes after this is told; who fills the ring at the same time holds its lock.
  i64 arm() noexcept {
    armed_core = count == 0 ? exo::local().index : nobody;
    return count == 0 ? 0 : 1;
  }
};

/// Checks the device and the queue of a call. `open` in a device is how many queues are open.
template <typename Device>
i64 check(std::span<Device> devices, u32 device, u32 queue = 0) noexcept {
  if (device >= devices.size()) return -error::no_such;
  u32 const open = devices[device].open;
  if (queue < open) return 0;
  return open == 0 ? -error::closed : -error::no_such;
}

template <typename Device>
i64 check(std::span<Device> devices, u32 device, u32 queue, void const *array) noexcept {
  if (i64 const bad = check(devices, device, queue)) return bad;
  return array == nullptr || reinterpret_cast<u64>(array) % alignof(u64) != 0 ? -error::pointer : 0;
}

template <typename Device>
i64 check_open(std::span<Device> devices, u32 device, u32 queues, u32 depth, void const *memory, u64 bytes) noexcept {
  if (device >= devices.size()) return -error::no_such;
  if (devices[device].open != 0) return -error::busy;
  auto const &record = devices[device].record;
  if ((queues & exo::nic_open_long) != 0) return -error::unsupported;  // no NIC here has nic_long
  if (queues == 0 || queues > record.queue_max) return -error::range;
  if (depth < depth_least || depth > record.depth_max || !std::has_single_bit(depth)) return -error::range;
  if (memory == nullptr || reinterpret_cast<u64>(memory) % exo::page_bytes != 0) return -error::pointer;
  return u64{queues} * depth * record.depth_bytes > bytes ? -error::memory : 0;
}

/// A frame or disk operation at the front of an array.
struct extent {
  u32 entries = 0;  // 0: not all of them have room
  u32 bytes = 0;
};

/// Measures what begins at entries[0], which is there. The result is 0, -pointer or -range.
template <typename Entry>
i64 measure(std::span<Entry const> entries, u32 room, u32 most, extent &out) noexcept {
  out = {};
  for (Entry const &each : entries) {
    if (each.address == 0) return -error::pointer;
    if (each.bytes == 0 || __builtin_add_overflow(out.bytes, each.bytes, &out.bytes)) return -error::range;
    ++out.entries;
    if ((each.flags & entry_more) == 0) return 0;
    if (out.entries == most || out.entries == entries.size()) return -error::range;
    if (out.entries == room) break;
  }
  out.entries = 0;
  return 0;
}

/// Checks entries to be sent or posted, from `least` to `most` bytes each frame; returns how many fit, or an error.
inline i64 check_frames(std::span<exo::frame const> frames, u32 room, u32 least, u32 most) noexcept {
  u32 fit = 0;
  extent size;
  for (; fit < frames.size() && fit < room; fit += size.entries) {
    exo::frame const &head = frames[fit];
    if (head.address == 0) return -error::pointer;
    if ((head.flags & ~entry_more) != 0 || head.segment_kind != 0) return -error::unsupported;
    if (i64 const bad = measure(frames.subspan(fit), room - fit, nobody, size)) return bad;
    if (size.entries == 0) break;
    if (size.bytes < least || size.bytes > most) return -error::range;
  }
  return fit;
}

/// Whether bytes are whole blocks inside the disk: 0 or -range.
inline i64 check_extent(exo::disk_record const &record, u64 block, u64 bytes) noexcept {
  bool const inside = block < record.blocks && bytes <= (record.blocks - block) * record.block_bytes;
  return inside && bytes % record.block_bytes == 0 ? 0 : -error::range;
}

/// Checks the operation at the front; the result is as of disk_submit, 0 if it can be done.
inline i64 check_operation(exo::disk_record const &record, std::span<exo::disk_op const> ops, u32 room,
                           extent &size) noexcept {
  exo::disk_op const &op = ops.front();
  auto const lacks = [&](u32 feature) { return (record.features & feature) == 0; };
  bool const read_only = !lacks(exo::disk_read_only);
  switch (op.kind) {
  case exo::disk_read: break;
  case exo::disk_write:
    if (read_only) return -error::unsupported;
    break;
  case exo::disk_flush:
    if (op.flags != 0) return -error::range;
    size = {.entries = 1, .bytes = 0};
    return lacks(exo::disk_write_cache) ? -error::unsupported : 0;
  case exo::disk_discard:
  case exo::disk_zero:
    if (op.flags != 0) return -error::range;
    if (read_only || lacks(op.kind == exo::disk_zero ? exo::disk_can_zero : exo::disk_can_discard)) return -error::unsupported;
    size = {.entries = 1, .bytes = op.bytes};
    return op.bytes == 0 ? -error::range : check_extent(record, op.block, op.bytes);
  default: return -error::range;
  }
  if (i64 const bad = measure(ops, room, record.entry_max, size); bad != 0 || size.entries == 0) return bad;
  for (exo::disk_op const &part : ops.first(size.entries)) {
    if ((part.flags & ~entry_more) != 0) return -error::range;
  }
  return check_extent(record, op.block, size.bytes);
}

/// Checks operations; returns how many entries of them fit, whole operations only, or an error.
inline i64 check_operations(exo::disk_record const &record, std::span<exo::disk_op const> ops, u32 room) noexcept {
  u32 fit = 0;
  extent size;
  for (; fit < ops.size() && fit < room; fit += size.entries) {
    if (i64 const bad = check_operation(record, ops.subspan(fit), room - fit, size)) return bad;
    if (size.entries == 0) break;
  }
  return fit;
}

/// How many entries the frame or operation at the front has; it was checked.
template <typename Entry>
u32 entries_of(std::span<Entry const> entries) noexcept {
  u32 count = 1;
  while ((entries[count - 1].flags & entry_more) != 0) ++count;
  return count;
}

}  // namespace native
