// The NIC calls of a simulated machine, and the wire between two NICs.
//
// As a device does, a NIC reads a frame some time after it was handed over, and writes to a posted buffer when a frame
// arrives: a program that touches its buffers too early is found out.
#pragma once

#include "computer.hpp"

namespace sim {

using native::check;
using native::check_open;
using exo::error;
using native::operator-;

inline constexpr u64 nic_ns = 1000;  // from the doorbell to the wire

inline computer &here() { return *now.running()->machine; }
inline std::span<nic_device> nics() { return here().nics; }

inline i64 nic_open(u32 nic, u32 queues, u32 depth, void *memory, u64 bytes) {
  if (i64 const bad = check_open(nics(), nic, queues, depth, memory, bytes)) return bad;
  nic_device &device = nics()[nic];
  ++device.life;
  device.open = queues;
  device.queues = std::vector<nic_device::queue>(queues);
  for (nic_device::queue &each : device.queues) each.receive_room = each.transmit.room = depth;
  return 0;
}

inline i64 nic_close(u32 nic) {
  if (i64 const bad = check(nics(), nic)) return bad;
  ++nics()[nic].life;
  nics()[nic].open = 0;
  nics()[nic].queues.clear();
  return 0;
}

/// The frame goes into the next buffer, or is lost.
inline void arrive(computer &machine, u32 nic, std::vector<std::byte> const &bytes) {
  nic_device &device = machine.nics[nic];
  if (device.open == 0) return;
  // All frames of a flow go to the same queue: those with the same addresses and ports.
  u32 flow = 0;
  for (std::size_t at = 26; at < std::min<std::size_t>(bytes.size(), 38); ++at) flow = flow * 31 + std::to_integer<u32>(bytes[at]);
  nic_device::queue &queue = device.queues[flow % device.open];
  if (queue.posted.empty()) return now.say("%s has no buffer for a frame", machine.how().name);
  std::vector<exo::frame> const buffer = std::move(queue.posted.front());
  queue.posted.pop_front();
  u64 done = 0;
  for (exo::frame const &part : buffer) {
    if (!machine.check_memory(part.address, part.bytes, "NIC")) return;
    u64 const count = std::min<u64>(part.bytes, bytes.size() - done);
    std::memcpy(reinterpret_cast<void *>(part.address), bytes.data() + done, count);
    done += count;
  }
  exo::frame got{};
  got.address = buffer[0].address;
  got.cookie = buffer[0].cookie;
  got.bytes = static_cast<u32>(done);
  queue.received.emplace_back(got, static_cast<u32>(buffer.size()));
  machine.finished(queue.receive);
}

/// The frame leaves one end of a wire; what happens to it there is up to chance.
inline void transmit(wire &on, u32 from, std::vector<std::byte> bytes) {
  computer *const to = on.ends[1 - from];
  if (to == nullptr) return;  // nobody is at the other end
  u32 const number = on.number * 2 + from, nic = on.nics[1 - from];
  auto const count = [](duration time) { return static_cast<u64>(time.count()); };
  link const &how = on.how;
  u64 amount = 0;
  if (now.happens(kind::partition, number, how.partition, &amount)) {
    on.cut_until = now.now() + amount % std::max<u64>(count(how.partition_most), 1);
  }
  if (now.now() < on.cut_until || now.happens(kind::lose, number, how.lose)) return;
  if (now.happens(kind::corrupt, number, how.corrupt, &amount)) {
    bytes[amount / 8 % bytes.size()] ^= std::byte{1} << (amount % 8);
  }
  u64 const spread = how.delay_most > how.delay_least ? count(how.delay_most - how.delay_least) : 0;
  u32 const copies = now.happens(kind::duplicate, number, how.duplicate) ? 2 : 1;
  for (u32 copy = 0; copy < copies; ++copy) {
    u64 delay = count(how.delay_least) + now.chances.number(kind::delay, number, spread + 1);
    if (now.happens(kind::reorder, number, how.reorder, &amount)) delay += amount % (10 * count(how.delay_most) + 1);
    now.in(delay, [to, nic, bytes] {
      if (!to->ended) arrive(*to, nic, bytes);
    });
  }
}

inline i64 nic_tx(u32 nic, u32 queue, exo::frame const *frames, u32 count) {
  if (i64 const bad = check(nics(), nic, queue, frames)) return bad;
  nic_device &device = nics()[nic];
  nic_device::queue &to = device.queues[queue];
  u32 const header = 14;
  i64 const fit = native::check_frames({frames, count}, to.transmit.room, header, device.record.mtu + header);
  for (i64 next = 0; next < fit;) {
    u32 const entries = native::entries_of(std::span(frames + next, static_cast<std::size_t>(fit - next)));
    std::vector<exo::frame> parts(frames + next, frames + next + entries);
    next += entries;
    to.transmit.room -= entries;
    to.busy_until = std::max(to.busy_until, now.now()) + nic_ns;
    now.at(to.busy_until, [machine = &here(), nic, queue, parts, life = device.life] {
      nic_device &of = machine->nics[nic];
      if (life != of.life) return;
      std::vector<std::byte> bytes;
      for (exo::frame const &part : parts) {
        if (!machine->check_memory(part.address, part.bytes, "NIC")) return;
        auto const *const first = reinterpret_cast<std::byte const *>(part.address);
        bytes.insert(bytes.end(), first, first + part.bytes);
      }
      u64 sum = 0;
      for (std::byte const each : bytes) sum = sum * 31 + std::to_integer<u64>(each);
      now.note(machine->number(), bytes.size(), sum);
      now.say("%s nic %u sends %zu bytes", machine->how().name, nic, bytes.size());
      u32 const entries_done = static_cast<u32>(parts.size());
      done_ring &ring = of.queues[queue].transmit;
      ring.done.push_back({{.cookie = parts[0].cookie, .status = 0, .bytes = 0}, entries_done});
      machine->finished(ring);
      transmit(*of.wire, of.end, std::move(bytes));
    });
  }
  return fit;
}

inline i64 nic_tx_reap(u32 nic, u32 queue, exo::completion *out, u32 count) {
  if (i64 const bad = check(nics(), nic, queue, out)) return bad;
  return nics()[nic].queues[queue].transmit.reap(out, count);
}

inline i64 nic_rx_post(u32 nic, u32 queue, exo::frame const *buffers, u32 count) {
  if (i64 const bad = check(nics(), nic, queue, buffers)) return bad;
  nic_device &device = nics()[nic];
  nic_device::queue &to = device.queues[queue];
  i64 const fit = native::check_frames({buffers, count}, to.receive_room, device.record.mtu + 14u, native::nobody);
  for (i64 next = 0; next < fit;) {
    u32 const entries = native::entries_of(std::span(buffers + next, static_cast<std::size_t>(fit - next)));
    to.posted.emplace_back(buffers + next, buffers + next + entries);
    next += entries;
    to.receive_room -= entries;
  }
  return fit;
}

inline i64 nic_rx_reap(u32 nic, u32 queue, exo::frame *out, u32 count) {
  if (i64 const bad = check(nics(), nic, queue, out)) return bad;
  nic_device::queue &from = nics()[nic].queues[queue];
  from.receive.armed_core = native::nobody;
  u32 taken = 0;
  for (; taken < count && !from.received.empty(); from.received.pop_front()) {
    auto const &[got, entries] = from.received.front();
    out[taken++] = got;
    from.receive_room += entries;
  }
  return taken;
}

inline i64 nic_arm(u32 nic, u32 queue, u32 rings) {
  if (rings == 0 || rings > (exo::ring_rx | exo::ring_tx)) return -error::range;
  if (i64 const bad = check(nics(), nic, queue)) return bad;
  if (nics()[nic].record.interrupts == 0) return -error::unsupported;
  nic_device::queue &of = nics()[nic].queues[queue];
  bool const received = (rings & exo::ring_rx) != 0 && !of.received.empty();
  bool const sent = (rings & exo::ring_tx) != 0 && !of.transmit.done.empty();
  if (received || sent) return 1;
  if ((rings & exo::ring_rx) != 0) of.receive.armed_core = exo::local().index;
  if ((rings & exo::ring_tx) != 0) of.transmit.armed_core = exo::local().index;
  return 0;
}

inline i64 nic_link(u32 nic) {
  i64 const bad = check(nics(), nic);
  return bad != 0 ? bad : 1;
}

}  // namespace sim
