// The NIC calls with every bad argument: the listed error, and a queue that works as before after each.
// limit: 400
// boot: --net user
// boot: --net user --nic-model e1000
// boot: --net user --nic-model e1000e
// boot: --sim --net wire
#include "../boot/check.hpp"
#include "array_calls.hpp"

#include <algorithm>

using namespace check;

namespace {

constexpr u32 depth = 16;
constinit std::byte *memory = nullptr;
constinit u64 memory_bytes = 0;
constinit std::byte *buffer = nullptr;

nic_record const &nic() { return info().nics[0]; }

frame packet(u64 cookie, u32 bytes = 60) {
  frame made{};
  made.address = address(buffer);
  made.cookie = cookie;
  made.bytes = bytes;
  return made;
}

/// Sends one frame and gets its cookie back.
void sends(where at = where::current()) {
  static constinit u64 next = 100;
  frame const one = packet(++next);
  same(calling(core().nic_tx)(0, 0, &one, 1), 1, at);
  completion done{};
  i64 got = 0;
  for (u64 const end = ticks() + 5 * info().tsc_hz; got == 0 && ticks() < end;) got = core().nic_tx_reap(0, 0, &done, 1);
  same(got, 1, at);
  same(static_cast<i64>(done.cookie), static_cast<i64>(next), at);
  same(done.status, 0, at);
}

void open_refuses() {
  auto const open = calling(core().nic_open);
  for (u32 const none : {1u, 16u, 0x80000000u, ~0u}) open.refuses(error::no_such, none, 1, depth, memory, memory_bytes);
  for (u32 const queues : {0u, nic().queue_max + 1, 0x20001u, 0x80000001u, ~u32{nic_open_long}}) {
    open.refuses(error::range, 0, queues, depth, memory, memory_bytes);
    error const why = (nic().offloads & nic_long) != 0 ? error::range : error::unsupported;
    open.refuses(why, 0, queues | nic_open_long, depth, memory, memory_bytes);
  }
  if ((nic().offloads & nic_long) == 0) {
    open.refuses(error::unsupported, 0, 1 | nic_open_long, depth, memory, memory_bytes);
  }
  for (u32 const bad : {0u, 1u, 8u, 15u, 17u, 24u, 31u, nic().depth_max * 2, nic().depth_max + 1, 0x80000000u, ~0u}) {
    open.refuses(error::range, 0, 1, bad, memory, memory_bytes);
  }
  open.refuses(error::pointer, 0, 1, depth, nullptr, memory_bytes);
  for (u32 const off : {1u, 8u, 16u, 2048u}) open.refuses(error::pointer, 0, 1, depth, memory + off, memory_bytes);
  for (u64 const bytes : {u64{0}, u64{1}, u64{depth} * nic().depth_bytes - 1}) {
    open.refuses(error::memory, 0, 1, depth, memory, bytes);
  }
  open.refuses(error::memory, 0, 1, nic().depth_max, memory, u64{nic().depth_max} * nic().depth_bytes - 1);
}

/// Calls on a NIC that is not open.
void closed_refuses() {
  frame one = packet(1);
  completion done{};
  for (u32 const queue : {0u, 1u, ~0u}) {
    calling(core().nic_tx).refuses(error::closed, 0, queue, &one, 1);
    calling(core().nic_tx_reap).refuses(error::closed, 0, queue, &done, 1);
    calling(core().nic_rx_post).refuses(error::closed, 0, queue, &one, 1);
    calling(core().nic_rx_reap).refuses(error::closed, 0, queue, &one, 1);
    calling(core().nic_arm).refuses(error::closed, 0, queue, ring_rx);
  }
  calling(core().nic_close).refuses(error::closed, 0);
  calling(core().nic_link).refuses(error::closed, 0);
}

void queue_refuses() {
  frame two[2] = {packet(1), packet(2)};
  frame const *const frames = two;
  completion done{};
  array_refuses(core().nic_tx, 1u, frames);
  array_refuses(core().nic_tx_reap, 1u, &done);
  array_refuses(core().nic_rx_post, 1u, frames);
  array_refuses(core().nic_rx_reap, 1u, two);
  for (u32 const none : {1u, 0x80000000u, ~0u}) {
    calling(core().nic_arm).refuses(error::no_such, none, 0, ring_rx);
    calling(core().nic_arm).refuses(error::no_such, 0, none, ring_rx);
    calling(core().nic_close).refuses(error::no_such, none);
    calling(core().nic_link).refuses(error::no_such, none);
    calling(core().nic_open).refuses(error::no_such, none, 1, depth, memory, memory_bytes);
  }
  for (u32 const rings : {0u, 4u, 5u, 7u, 0x80000001u, ~0u}) calling(core().nic_arm).refuses(error::range, 0, 0, rings);
  calling(core().nic_open).refuses(error::busy, 0, 1, depth, memory, memory_bytes);
  sends();

  // An entry that is wrong, as the only one and behind a good one: none is taken.
  auto const wrong = [&](error why, frame const &bad, where at = where::current()) {
    two[1] = bad;
    calling(core().nic_tx, at).refuses(why, 0, 0, &two[1], 1);
    calling(core().nic_tx, at).refuses(why, 0, 0, two, 2);
    same(core().nic_tx_reap(0, 0, &done, 1), 0, at);
    sends(at);
  };
  for (u32 const bytes : {0u, 1u, 13u, nic().mtu + 15u, 0x10000u, 0x80000000u, ~0u}) wrong(error::range, packet(2, bytes));
  frame bad = packet(2);
  bad.address = 0;
  wrong(error::pointer, bad);
  bad = packet(2);
  bad.flags = frame_more;
  wrong(error::range, bad);  // nothing follows
  for (u8 const flags : {u8{frame_checksum}, u8{frame_checksum_good}, u8{4}, u8{64}}) {
    if (flags == frame_checksum && (nic().offloads & nic_checksum) != 0) continue;
    bad = packet(2);
    bad.flags = flags;
    wrong(error::unsupported, bad);
  }
  bad = packet(2);
  bad.segment_kind = frame_tcp4;
  wrong(error::unsupported, bad);

  auto const wrong_buffer = [&](error why, frame const &entry, where at = where::current()) {
    two[1] = entry;
    two[0] = packet(1, nic().mtu + 22u);
    calling(core().nic_rx_post, at).refuses(why, 0, 0, &two[1], 1);
    calling(core().nic_rx_post, at).refuses(why, 0, 0, two, 2);
  };
  for (u32 const bytes : {0u, 60u, nic().mtu + 13u}) wrong_buffer(error::range, packet(2, bytes));
  bad = packet(2, 2048);
  bad.address = 0;
  wrong_buffer(error::pointer, bad);
  bad = packet(2, 2048);
  bad.flags = frame_more;  // nothing follows
  bool const parts = core().nic_rx_post(0, 0, &bad, 1) == -static_cast<i64>(error::range);
  wrong_buffer(parts ? error::range : error::unsupported, bad);
  bad = packet(2, 2048);
  bad.segment_kind = 1;
  wrong_buffer(error::unsupported, bad);
  frame ring[depth];  // all room is still there
  std::fill(std::begin(ring), std::end(ring), packet(3, 2048));
  calling(core().nic_rx_post).gives(depth, 0, 0, ring, depth);
  calling(core().nic_rx_post).gives(0, 0, 0, ring, depth);
}

}  // namespace

int main() {
  that(info().nics.size() == 1, "there is not one NIC");
  memory_bytes = std::max<u64>(u64{nic().depth_max} * nic().depth_bytes, page_bytes);
  memory = take_pages(memory_bytes);
  buffer = take_pages(page_bytes);
  with_and_without_interrupts([] {
    open_refuses();
    closed_refuses();
    calling(core().nic_open).gives(0, 0, 1, depth, memory, u64{depth} * nic().depth_bytes);
    that(calling(core().nic_link)(0) > 0, "the link is down");
    sends();
    queue_refuses();
    sends();
    calling(core().nic_close).gives(0, 0);
    closed_refuses();
    calling(core().nic_open).gives(0, 0, 1, nic().depth_max, memory, memory_bytes);
    sends();
    calling(core().nic_close).gives(0, 0);
  });
  return verdict();
}
