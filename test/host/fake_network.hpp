// The NIC calls of the fake machine. The wire is two lists: frames sent, and buffers that receive() fills.
#pragma once

#include <cstring>
#include <utility>

#include "fake_devices.hpp"

namespace fake {

/// Puts a frame into the next buffer, as if it came over the wire; false when none is posted.
inline bool receive(fake_nic &nic, u32 queue, std::span<std::byte const> bytes, u8 flags = 0) {
  std::lock_guard const guard(nic.mutex);
  auto &to = nic.queues.at(queue);
  if (to.buffers.empty() || to.buffers.front().bytes < bytes.size()) return false;
  frame filled = to.buffers.front();
  to.buffers.pop_front();
  std::memcpy(reinterpret_cast<void *>(filled.address), bytes.data(), bytes.size());
  filled.bytes = static_cast<u32>(bytes.size());
  filled.flags = flags;
  to.received.push_back(filled);
  if ((to.armed_rings & ring_rx) != 0) {
    to.armed_rings = 0;
    device_set::raise(to.armed_core, event_queue);
  }
  return true;
}

inline i64 nic_open(u32 nic, u32 queues, u32 depth, void *memory, u64 bytes) {
  auto &nics = device_set::now().nics;
  if (nic >= nics.size()) return -error::no_such;
  return open_device(*nics[nic], nics[nic]->record, queues, depth, memory, bytes);
}

inline i64 nic_close(u32 nic) {
  auto &nics = device_set::now().nics;
  return nic >= nics.size() ? -error::no_such : close_device(*nics[nic]);
}

inline i64 nic_tx(u32 nic, u32 queue, frame const *frames, u32 count) {
  return with_queue(device_set::now().nics, nic, queue, frames, [&](fake_nic &device, fake_nic::queue &to) -> i64 {
    if (count != 0 && (frames[count - 1].flags & frame_more) != 0) return -error::range;
    u32 taken = 0;
    while (taken < count && to.tx.finished.size() < device.depth) {
      std::vector<std::byte> whole;
      u32 const first = taken;
      bool more = true;
      while (more) {
        auto const *const bytes = reinterpret_cast<std::byte const *>(frames[taken].address);
        whole.insert(whole.end(), bytes, bytes + frames[taken].bytes);
        more = (frames[taken++].flags & frame_more) != 0;
      }
      to.sent.push_back(std::move(whole));
      to.sent_entries.push_back(frames[first]);
      to.tx.finished.push_back({.cookie = frames[first].cookie, .status = 0, .bytes = 0});
    }
    return taken;
  });
}

inline i64 nic_tx_reap(u32 nic, u32 queue, completion *out, u32 count) {
  return with_queue(device_set::now().nics, nic, queue, out,
                    [&](fake_nic &, fake_nic::queue &from) { return take_completions(from.tx.finished, out, count); });
}

inline i64 nic_rx_post(u32 nic, u32 queue, frame const *buffers, u32 count) {
  return with_queue(device_set::now().nics, nic, queue, buffers, [&](fake_nic &device, fake_nic::queue &to) -> i64 {
    u32 taken = 0;
    for (; taken < count && to.buffers.size() + to.received.size() < device.depth; ++taken) {
      to.buffers.push_back(buffers[taken]);
    }
    return taken;
  });
}

inline i64 nic_rx_reap(u32 nic, u32 queue, frame *out, u32 count) {
  return with_queue(device_set::now().nics, nic, queue, out, [&](fake_nic &, fake_nic::queue &from) -> i64 {
    u32 taken = 0;
    for (; taken < count && !from.received.empty(); ++taken) {
      out[taken] = from.received.front();
      from.received.pop_front();
    }
    return taken;
  });
}

inline i64 nic_arm(u32 nic, u32 queue, u32 rings) {
  return with_queue(device_set::now().nics, nic, queue, "", [&](fake_nic &device, fake_nic::queue &of) -> i64 {
    if (device.record.interrupts == 0) return -error::unsupported;
    if (rings == 0 || rings > (ring_rx | ring_tx)) return -error::range;
    if ((rings & ring_rx) != 0 && !of.received.empty()) return 1;
    if ((rings & ring_tx) != 0 && !of.tx.finished.empty()) return 1;
    of.armed_rings = rings;
    of.armed_core = local().index;
    return 0;
  });
}

inline i64 nic_link(u32 nic) {
  auto &nics = device_set::now().nics;
  return nic >= nics.size() ? -error::no_such : i64{nics[nic]->up};
}

}  // namespace fake
