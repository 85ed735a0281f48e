// NIC queues on real devices: what the first NIC sends arrives at the second one, in order, whole, and nothing else.
//
//   nic_queues          all that a queue does, with floods of 20,000 frames
//   nic_queues once     the same, and an armed ring interrupts once, however much arrives before it is reaped
//   nic_queues chained  the same as without, where the first NIC is of virtio, without indirect descriptors
//   nic_queues FRAMES   floods of so many frames alone
// limit: 240
// boot: --cores 2 --args once -- -netdev hubport,id=a,hubid=0 -netdev hubport,id=b,hubid=0 -device virtio-net-pci,netdev=a,disable-legacy=on,romfile= -device virtio-net-pci,netdev=b,disable-legacy=on,romfile=
// boot: --cores 2 -- -netdev hubport,id=a,hubid=0 -netdev hubport,id=b,hubid=0 -device virtio-net-pci,netdev=a,romfile=,rx_queue_size=512 -device pcie-root-port,id=root,chassis=1 -device virtio-net-pci,netdev=b,bus=root,romfile=,host_mtu=4000
// boot: --cores 2 -- -machine pc -cpu qemu64 -netdev hubport,id=a,hubid=0 -netdev hubport,id=b,hubid=0 -device virtio-net-pci,netdev=a,romfile=,mrg_rxbuf=off -device virtio-net-pci,netdev=b,romfile=,event_idx=off
// boot: --cores 2 --args chained -- -netdev hubport,id=a,hubid=0 -netdev hubport,id=b,hubid=0 -device virtio-net-pci,netdev=a,romfile=,indirect_desc=off,vectors=0 -device virtio-net-pci,netdev=b,romfile=,vectors=0
// boot: --cores 2 -- -netdev hubport,id=a,hubid=0 -netdev hubport,id=b,hubid=0 -device e1000,netdev=a,romfile= -device e1000,netdev=b,romfile=
// boot: --cores 2 -- -netdev hubport,id=a,hubid=0 -netdev hubport,id=b,hubid=0 -device e1000e,netdev=a,romfile= -device e1000e,netdev=b,romfile=
// boot: --cores 2 -- -machine pc -netdev hubport,id=a,hubid=0 -netdev hubport,id=b,hubid=0 -device e1000-82544gc,netdev=a,romfile= -device virtio-net-pci,netdev=b,romfile=
// boot: --cores 2 -- -netdev hubport,id=a,hubid=0 -netdev hubport,id=b,hubid=0 -device virtio-net-pci,netdev=a,romfile= -device e1000-82545em,netdev=b,romfile=
// soak: --cores 2 --args 1000000 -- -netdev hubport,id=a,hubid=0 -netdev hubport,id=b,hubid=0 -device virtio-net-pci,disable-legacy=on,netdev=a,romfile= -device virtio-net-pci,disable-legacy=on,netdev=b,romfile=
// soak: --cores 2 --args 1000000 -- -netdev hubport,id=a,hubid=0 -netdev hubport,id=b,hubid=0 -device e1000,netdev=a,romfile= -device e1000,netdev=b,romfile=
// soak: --cores 2 --args 1000000 -- -netdev hubport,id=a,hubid=0 -netdev hubport,id=b,hubid=0 -device e1000e,netdev=a,romfile= -device e1000e,netdev=b,romfile=
#include "check.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <cstring>
#include <string_view>
#include <utility>
#include <vector>

using namespace check;

namespace {

constexpr u32 ring_depth = 16;
constexpr u64 virtio = 0x1AF4;
constexpr u64 table_entries = 59;  // of a frame, where it has an indirect descriptor: virtio
constexpr u64 buffer_bytes = 4096;
constexpr u64 part_bytes = 2048, long_bytes = 9014;  // of a NIC opened for long frames: its buffers, what it sends at most
constexpr u32 sender = 0, receiver = 1;
constexpr u64 ethertype_at = 12, header_bytes = 14;

constexpr u64 sent_bytes = 3 * page_bytes;
constinit std::byte *sent = nullptr, *received = nullptr;  // ring_depth of sent_bytes, of buffer_bytes
constinit u64 posted_bytes = buffer_bytes;
constinit bool has_tables = false;  // the sender has indirect descriptors
std::byte whole[sent_bytes];  // a frame whose parts are joined
constinit std::array<std::byte *, 2> rings{};

nic_record const &record(u32 nic) { return info().nics[nic]; }
u32 longest() { return std::min(record(sender).mtu, record(receiver).mtu) + u32{header_bytes}; }
u64 patience() { return ticks() + 20 * info().tsc_hz; }
u64 vendor(u32 nic) { return static_cast<u64>(core().pci_read(record(nic).function, 0, 2)); }
bool intel(u32 nic) { return vendor(nic) == 0x8086; }
bool opens_long(u32 nic) { return (record(nic).offloads & nic_long) != 0; }

frame entry(u64 cookie, void const *memory, u64 bytes, u8 flags = 0) {
  frame made{};
  made.address = address(memory);
  made.cookie = cookie;
  made.bytes = static_cast<u32>(bytes);
  made.flags = flags;
  return made;
}

/// A broadcast of an ethertype for experiments, numbered, and filled with a pattern.
void write_frame(std::byte *at, u64 bytes, u64 number) {
  std::memset(at, 0xFF, 6);
  std::memcpy(at + 6, record(sender).mac, 6);
  at[ethertype_at] = std::byte{0x88};
  at[ethertype_at + 1] = std::byte{0xB5};
  for (u64 place = header_bytes; place < bytes; ++place) {
    at[place] = static_cast<std::byte>(place < header_bytes + 8 ? number >> 8 * (place - header_bytes) : place * 7 + number);
  }
}

bool is_frame(std::byte const *at, u64 bytes, u64 number) {
  static std::byte expected[sent_bytes];
  write_frame(expected, bytes, number);
  return std::memcmp(at, expected, bytes) == 0;
}

void open_one(u32 nic, u32 flags = 0, u32 depth = ring_depth) {
  same(core().nic_open(nic, 1 | flags, depth, rings[nic], u64{depth} * record(nic).depth_bytes), 0);
  that(core().nic_link(nic) > 0, "the link is down");
}

void open_both(u32 flags = 0, u32 depth = ring_depth) {
  for (u32 nic : {sender, receiver}) open_one(nic, flags, depth);
}

void close_both() {
  for (u32 nic : {sender, receiver}) same(core().nic_close(nic), 0);
}

void post(u64 count, u64 first = 0, where at = where::current()) {
  std::array<frame, ring_depth> buffers;
  for (u64 each = 0; each < count; ++each) {
    buffers[each] = entry(first + each, received + (first + each) * buffer_bytes, posted_bytes);
  }
  same(core().nic_rx_post(receiver, 0, buffers.data(), static_cast<u32>(count)), static_cast<i64>(count), at);
}

void send(frame const *frames, u32 count, where at = where::current()) {
  same(core().nic_tx(sender, 0, frames, count), count, at);
}

/// Waits until so many frames are sent; returns the cookie of the last.
u64 finish_sending(u32 count, where at = where::current()) {
  completion done{};
  u64 const end = patience();
  for (u32 got = 0; got < count;) {
    i64 const some = core().nic_tx_reap(sender, 0, &done, 1);
    if (some < 0 || ticks() > end) {
      fail(at, "frames are not sent; result", some);
      return 0;
    }
    if (some == 1) same(done.status, 0, at);
    got += static_cast<u32>(some);
  }
  return done.cookie;
}

frame receive(where at = where::current()) {
  frame got{};
  u64 const end = patience();
  i64 some = 0;
  while (some == 0 && ticks() < end) some = core().nic_rx_reap(receiver, 0, &got, 1);
  same(some, 1, at);
  return got;
}

/// Adds a received part to the frame in `whole`, and lends its buffer again.
void join(frame const &got, u64 &bytes, where at = where::current()) {
  u64 const begin = address(received + got.cookie * buffer_bytes);
  if (got.cookie >= ring_depth || got.address - begin > 12 || got.address - begin + got.bytes > posted_bytes ||
      bytes + got.bytes > sent_bytes || (got.flags & ~frame_more) != 0) {
    return fail(at, "no part of a frame; cookie, bytes", got.cookie, got.bytes);
  }
  std::memcpy(whole + bytes, reinterpret_cast<void const *>(got.address), got.bytes);
  bytes += got.bytes;
  post(1, got.cookie, at);
}

/// Receives a frame of several buffers into `whole`; returns its bytes, 0 if it had an error.
u64 receive_whole(where at = where::current()) {
  for (u64 bytes = 0;;) {
    frame const got = receive(at);
    join(got, bytes, at);
    if (got.bytes == 0 || failures != 0) return 0;
    if ((got.flags & frame_more) == 0) return bytes;
  }
}

u64 number_of(std::byte const *at) {
  u64 number = 0;
  std::memcpy(&number, at + header_bytes, sizeof(number));
  return number;
}

/// Takes what the emulated wire may have kept for a closed NIC, until the last frame sent arrives. A NIC without buffers
/// drops frames, this one too: then it is sent again, under another number.
void clear_wire() {
  u64 number = 1'000'000;
  post(ring_depth);
  while (failures == 0) {
    write_frame(sent, 60, ++number);
    frame const last = entry(number, sent, 60);
    send(&last, 1);
    finish_sending(1);
    frame got{};
    for (u64 const end = ticks() + 3 * info().tsc_hz; ticks() < end;) {
      if (core().nic_rx_reap(receiver, 0, &got, 1) == 0) continue;
      if (is_frame(received + got.cookie * buffer_bytes, 60, number)) {
        close_both();
        return open_both();
      }
      post(1, got.cookie);
    }
  }
}

// --- one core

void frames_of_all_lengths_arrive() {
  u64 number = 1;
  for (u32 bytes = 60; bytes <= longest(); bytes = bytes < longest() && bytes + 97 > longest() ? longest() : bytes + 97) {
    post(1, 3);
    write_frame(sent, bytes, ++number);
    std::memset(received + 3 * buffer_bytes, 0, buffer_bytes);
    frame const one = entry(number, sent, bytes);
    send(&one, 1);
    same(static_cast<i64>(finish_sending(1)), static_cast<i64>(number));
    frame const got = receive();
    same(got.bytes, bytes);
    same(static_cast<i64>(got.cookie), 3);
    same(static_cast<i64>(got.address), static_cast<i64>(address(received + 3 * buffer_bytes)));
    same(got.flags, 0);
    that(is_frame(received + 3 * buffer_bytes, bytes, number), "another frame came");
    same(static_cast<i64>(received[3 * buffer_bytes + bytes]), 0);
  }
}

void parts_are_one_frame() {
  u64 const bytes = 1000, cuts[] = {0, 14, 34, 35, 500, bytes};
  write_frame(sent, bytes, 5);
  std::array<frame, 5> parts;
  for (u32 at = 0; at < 5; ++at) {
    parts[at] = entry(at == 0 ? 70 : 99, sent + cuts[at], cuts[at + 1] - cuts[at], at < 4 ? u8{frame_more} : u8{0});
  }
  // A buffer in parts as well: its first bytes lie elsewhere than the others.
  frame const buffer[] = {entry(4, received, 100, frame_more), entry(99, received + buffer_bytes, buffer_bytes)};
  bool const scattered = core().nic_rx_post(receiver, 0, buffer, 2) == 2;
  if (!scattered) {  // a NIC that takes whole buffers only
    same(core().nic_rx_post(receiver, 0, buffer, 2), -static_cast<i64>(error::unsupported));
    post(1, 4);
  }
  send(parts.data(), 5);
  same(static_cast<i64>(finish_sending(1)), 70);
  frame const got = receive();
  same(got.bytes, static_cast<i64>(bytes));
  same(static_cast<i64>(got.cookie), 4);
  auto *const first = received + (scattered ? 0 : 4 * buffer_bytes);
  same(static_cast<i64>(got.address), static_cast<i64>(address(first)));
  if (scattered) std::memmove(received + 100, received + buffer_bytes, bytes - 100);
  that(is_frame(first, bytes, 5), "the parts are another frame");
  completion done{};
  same(core().nic_tx_reap(sender, 0, &done, 1), 0);  // one completion for all parts
  frame more{};
  same(core().nic_rx_reap(receiver, 0, &more, 1), 0);
}

void full_rings_take_what_fits() {
  std::array<frame, ring_depth + 4> buffers, frames;
  for (u64 at = 0; at < buffers.size(); ++at) buffers[at] = entry(at, received, buffer_bytes);
  same(core().nic_rx_post(receiver, 0, buffers.data(), ring_depth + 4), ring_depth);
  same(core().nic_rx_post(receiver, 0, buffers.data(), 1), 0);
  for (u64 at = 0; at < frames.size(); ++at) frames[at] = entry(at, sent, 60);
  write_frame(sent, 60, 9);
  same(core().nic_tx(sender, 0, frames.data(), ring_depth + 4), ring_depth);
  finish_sending(ring_depth);
  for (u64 at = 0; at < ring_depth; ++at) same(static_cast<i64>(receive().cookie), static_cast<i64>(at));
  frame none{};
  same(core().nic_rx_reap(receiver, 0, &none, 1), 0);

  // Of a frame of which not all parts fit, none is begun. With tables it takes one of the ring's depth.
  u32 const before = has_tables ? ring_depth : ring_depth - 2;
  for (u64 at = 0; at < 3; ++at) frames[before + at].flags = at < 2 ? u8{frame_more} : u8{0};
  same(core().nic_rx_post(receiver, 0, buffers.data(), ring_depth), ring_depth);
  same(core().nic_tx(sender, 0, frames.data(), before + 3), before);
  finish_sending(before);
  for (u64 at = 0; at < before; ++at) receive();
  post(2);
  send(frames.data() + before, 3);
  finish_sending(1);
  same(receive().bytes, 180);
  close_both();  // a buffer is still posted
  open_both();
}

void closed_nic_leaves_memory_alone() {
  frame const one = entry(1, sent, 200);
  for (u32 round = 0; round < 20; ++round) {
    post(ring_depth);
    for (u32 each = 0; each < 4; ++each) send(&one, 1);
    same(core().nic_close(receiver), 0);
    std::memset(received, 0x5A, ring_depth * buffer_bytes);
    std::memset(rings[receiver], 0x5A, ring_depth * record(receiver).depth_bytes);
    for (u64 const end = ticks() + info().tsc_hz / 2000; ticks() < end;) exo::pause();
    bool const untouched = std::all_of(received, received + ring_depth * buffer_bytes,
                                       [](std::byte each) { return each == std::byte{0x5A}; });
    that(untouched, "the NIC wrote into memory after it was closed");
    same(core().nic_close(sender), 0);
    open_both();
  }
  clear_wire();
}

// --- long frames

/// One frame, in `entries` parts, on its way.
void send_long(u64 bytes, u64 number, u64 entries = 1) {
  std::array<frame, ring_depth> parts;
  write_frame(sent, bytes, number);
  for (u64 at = 0; at < entries; ++at) {
    u64 const first = bytes * at / entries, end = bytes * (at + 1) / entries;
    parts[at] = entry(number, sent + first, end - first, at + 1 < entries ? u8{frame_more} : u8{0});
  }
  send(parts.data(), static_cast<u32>(entries));
  same(static_cast<i64>(finish_sending(1)), static_cast<i64>(number));
}

/// Frames of as many entries as a table has, as many as the ring has depth; one entry more is refused, or never fits.
void frames_of_many_entries() {
  u64 const most = has_tables ? table_entries : ring_depth, bytes = 1200, frames = has_tables ? ring_depth : 1;
  std::vector<frame> all;
  for (u64 number = 0; number < frames; ++number) {
    std::byte *const begin = sent + number * sent_bytes;
    write_frame(begin, bytes, number);
    for (u64 at = 0; at < most; ++at) {
      u64 const first = bytes * at / most, end = bytes * (at + 1) / most;
      all.push_back(entry(number, begin + first, end - first, at + 1 < most ? u8{frame_more} : u8{0}));
    }
  }
  post(ring_depth);
  send(all.data(), static_cast<u32>(all.size()));
  finish_sending(frames);
  for (u64 number = 0; number < frames; ++number) {
    frame const got = receive();
    that(got.bytes == bytes && is_frame(received + got.cookie * buffer_bytes, bytes, number), "another frame came");
  }
  std::vector<frame> one_more(most + 1, entry(1, sent, 20, frame_more));
  one_more.back().flags = 0;
  same(core().nic_tx(sender, 0, one_more.data(), static_cast<u32>(most + 1)),
       has_tables ? -static_cast<i64>(error::range) : 0);
  post(1);
  send_long(60, 1);  // and nothing of it is left over
  receive();
  close_both();
  open_both();
}

/// A NIC that is not opened for them drops long frames, and takes the next one.
void long_frames_are_dropped() {
  same(core().nic_close(sender), 0);
  open_one(sender, nic_open_long);
  post(ring_depth);
  for (u64 const bytes : {1523, 2048, 2049, 4097, 9014}) {
    if (intel(receiver) || bytes > buffer_bytes) send_long(bytes, bytes);
  }
  send_long(60, 1);
  frame const got = receive();
  that(got.bytes == 60 && got.flags == 0 && is_frame(received + got.cookie * buffer_bytes, 60, 1), "another frame came");
  frame none{};
  same(core().nic_rx_reap(receiver, 0, &none, 1), 0);
}

void long_frames_arrive() {
  frame const longer = entry(1, sent, long_bytes + 1), small = entry(1, received, part_bytes - 1);
  same(core().nic_tx(sender, 0, &longer, 1), -static_cast<i64>(error::range));
  same(core().nic_rx_post(receiver, 0, &small, 1), -static_cast<i64>(error::range));
  std::memset(received, 0x5A, ring_depth * buffer_bytes);
  post(ring_depth);
  u64 number = 1;
  auto const arrives = [&](u64 bytes) {
    ++number;
    send_long(bytes, number, 1 + number % 4);
    same(static_cast<i64>(receive_whole()), static_cast<i64>(bytes));
    that(is_frame(whole, bytes, number), "another frame came");
  };
  for (u64 bytes = 60; bytes <= long_bytes && failures == 0; bytes += 61) arrives(bytes);
  for (u64 parts = 1; parts < 5; ++parts) {
    for (u64 bytes = part_bytes * parts - 14; bytes <= part_bytes * parts + 2; ++bytes) arrives(bytes);
  }
  arrives(long_bytes - 1);
  arrives(long_bytes);
  for (u64 each = 0; each < ring_depth; ++each) {
    std::byte const *const end = received + each * buffer_bytes + part_bytes;
    bool const kept = std::all_of(end, end + part_bytes, [](std::byte behind) { return behind == std::byte{0x5A}; });
    that(kept, "the NIC wrote beyond a buffer");
  }
}

/// All buffers are three frames and the beginning of a fourth. What has no room is lost, or arrives whole later.
void long_frames_without_room() {
  constexpr u64 rounds = 8, first = 1'000'000;
  std::array<bool, rounds * 5> seen{};
  for (u64 last = 4; last < seen.size() && failures == 0; last += 5) {
    for (u64 each = last - 4; each < last; ++each) send_long(long_bytes, first + each);
    send_long(60, first + last);
    while (!seen[last] && failures == 0) {
      u64 const bytes = receive_whole(), number = number_of(whole) - first;
      if (!is_frame(whole, bytes, first + number)) fail(where::current(), "mixed frames; number, length", number, bytes);
      if (number >= seen.size()) continue;  // the flood's, held back by the emulated wire
      that(number <= last && bytes == (number % 5 == 4 ? 60 : long_bytes), "a frame that was not sent");
      that(!std::exchange(seen[number], true), "a frame came twice");
    }
  }
  that(std::count(seen.begin(), seen.end(), true) >= i64{rounds} * 2, "hardly any frame was kept");
}

/// What a NIC writes into a receive descriptor, as a broken or hostile one may, and what becomes of it.
struct written {
  u16 length;
  u8 status, errors;
  u32 bytes;
  u8 flags;
};

/// The test writes the descriptors in the NIC's place (8254x manual, section 3.2.3).
void descriptors_are_not_believed(u32 flags) {
  constexpr u8 done = 1, last = 3, data_error = 0x80, checksums = 0x60;
  static constexpr written when_long[] = {
      {2048, done, 0, 2048, frame_more}, {2048, done, data_error, 2048, frame_more}, {1, last, 0, 1, 0},
      {2048, last, 0, 2048, 0},          {2048, done, 0, 2048, frame_more},          {100, last, data_error, 0, 0},
      {60, last, checksums, 60, 0},      {2048, last, data_error, 0, 0},             {0, done, 0, 0, 0},       {2047, done, 0, 0, 0},
      {2049, done, 0, 0, 0},             {2049, last, 0, 0, 0},                      {65535, last, 0, 0, 0}};
  static constexpr written when_not[] = {{1522, last, 0, 1522, 0}, {1522, done, 0, 0, 0}, {2048, done, 0, 0, 0},
                                         {1523, last, 0, 0, 0},    {0, done, 0, 0, 0},    {60, last, 0, 60, 0}};
  std::span<written const> const all = flags != 0 ? std::span<written const>(when_long) : when_not;
  close_both();
  open_both(flags);
  post(ring_depth);
  for (u64 at = 0; at < all.size(); ++at) {
    std::byte *const descriptor = rings[receiver] + at * 16;
    std::memcpy(descriptor + 8, &all[at].length, 2);
    descriptor[13] = std::byte{all[at].errors};
    descriptor[12] = std::byte{all[at].status};
  }
  frame got[ring_depth];
  same(core().nic_rx_reap(receiver, 0, got, 2), 2);
  same(core().nic_rx_reap(receiver, 0, got + 2, ring_depth), static_cast<i64>(all.size()) - 2);
  for (u64 at = 0; at < all.size(); ++at) {
    same(static_cast<i64>(got[at].cookie), static_cast<i64>(at));
    same(got[at].bytes, all[at].bytes);
    same(got[at].flags, all[at].flags);
    that(got[at].segment_kind == 0 && got[at].header_bytes == 0, "other fields are not 0");
  }
}

// --- waking

void armed_ring_wakes(u32 ring) {
  frame const one = entry(1, sent, 60);
  frame got{};
  completion done{};
  u32 const nic = ring == ring_tx ? sender : receiver;
  if (record(nic).interrupts == 0) {
    same(core().nic_arm(nic, 0, ring), -static_cast<i64>(error::unsupported));
    return;
  }
  for (u32 round = 0; round < 50; ++round) {
    post(1);
    core().core_idle(0);
    same(core().nic_arm(nic, 0, ring), 0);
    send(&one, 1);
    u64 const end = patience();
    i64 events = 0;
    while ((events & 1 << event_queue) == 0 && ticks() < end) events = core().core_idle(end);
    same(events & 1 << event_queue, 1 << event_queue);
    finish_sending(1);
    receive();
  }
  post(1);
  send(&one, 1);
  for (u64 const end = patience(); core().nic_arm(nic, 0, ring) != 1 && ticks() < end;) exo::pause();
  same(core().nic_arm(nic, 0, ring), 1);
  finish_sending(1);
  receive();

  same(core().nic_arm(nic, 0, ring), 0);  // reaping disarms
  same(core().nic_tx_reap(nic, 0, &done, 1), 0);
  same(core().nic_rx_reap(nic, 0, &got, 1), 0);
  bool quiet = false;  // an interrupt of before may come late, but not every time
  for (u32 round = 0; round < 20 && !quiet; ++round) {
    core().core_idle(0);
    post(1);
    send(&one, 1);
    finish_sending(1);
    receive();
    quiet = (core().core_idle(ticks() + info().tsc_hz / 1000) & 1 << event_queue) == 0;
  }
  that(quiet, "a disarmed queue interrupts");
}

constinit std::atomic<u32> interrupts = 0;

void armed_ring_wakes_once() {
  same(core().trap_set(event_vector + event_queue, [](trap_frame *) { ++interrupts; }), 0);
  for (u64 round = 0; round < 100; ++round) {
    post(ring_depth);
    interrupts = 0;
    same(core().nic_arm(receiver, 0, ring_rx), 0);
    frame const one = entry(1, sent, 60);
    for (u32 each = 0; each < ring_depth; ++each) {
      send(&one, 1);
      finish_sending(1);
    }
    for (u64 const end = patience(); interrupts == 0 && ticks() < end;) exo::pause();
    for (u32 each = 0; each < ring_depth; ++each) receive();
    same(interrupts, 1);
    post(1);
    frame none{};
    same(core().nic_arm(receiver, 0, ring_rx), 0);
    same(core().nic_rx_reap(receiver, 0, &none, 1), 0);  // disarms
    send(&one, 1);
    finish_sending(1);
    receive();
    same(interrupts, 1);
  }
  same(core().trap_set(event_vector + event_queue, nullptr), 0);
}

void batches_arrive_in_order() {
  for (u64 round = 0; round < 300; ++round) {
    std::array<frame, ring_depth> batch;
    post(ring_depth);
    for (u64 at = 0; at < ring_depth; ++at) {
      u64 const bytes = 60 + (round * 31 + at * 7) % 900;
      write_frame(sent + at * buffer_bytes, bytes, round * ring_depth + at);
      batch[at] = entry(at, sent + at * buffer_bytes, bytes);
    }
    send(batch.data(), ring_depth);
    for (u64 at = 0; at < ring_depth; ++at) {
      frame const got = receive();
      same(got.bytes, batch[at].bytes);
      that(is_frame(received + got.cookie * buffer_bytes, got.bytes, round * ring_depth + at), "another frame, or order");
    }
    finish_sending(ring_depth);
  }
}

// --- two cores, each with a NIC

constinit u64 flood_frames = 20'000;
constinit u64 flood_end = ~u64{0};  // the number of the last frames; those of a flood before are higher
constinit std::atomic<u64> flood_received = 0, flood_halts = 0;
constinit std::atomic<bool> flood_ended = false, flood_drained = false;  // its last frame came; none is on its way

u64 flood_patience() { return ticks() + 100 * info().tsc_hz; }
u64 flood_bytes(u64 number) { return 60 + (posted_bytes == part_bytes ? number * 131 % (long_bytes - 59) : number % 500); }

/// Receives until none is on its way. Each is whole and new.
///
/// @param all  none may be missing, and they come in order
void receive_flood(bool all) {
  static auto *const came = reinterpret_cast<bool *>(take_pages(flood_frames));
  std::fill_n(came, flood_frames, false);
  for (u64 bytes = 0; failures == 0;) {
    frame got{};
    u64 const end = patience();
    while (core().nic_rx_reap(receiver, 0, &got, 1) == 0) {
      if (flood_drained) return;
      if (record(receiver).interrupts != 0 && core().nic_arm(receiver, 0, ring_rx) == 0) {
        ++flood_halts;
        core().core_idle(end);
      }
      if (ticks() > end) return fail(where::current(), "no more frames after", flood_received.load());
    }
    join(got, bytes);
    if ((got.flags & frame_more) != 0) continue;
    u64 const number = number_of(whole);
    if (number >= flood_end) {
      flood_ended = flood_ended || number == flood_end;
    } else if (number >= flood_frames || came[number] || !is_frame(whole, bytes, number) || bytes != flood_bytes(number)) {
      fail(where::current(), "another frame, or one twice; its number and length", number, bytes);
    } else {
      if (all) same(static_cast<i64>(number), static_cast<i64>(flood_received.load()));
      came[number] = true;
    }
    bytes = 0;
    ++flood_received;
  }
}

/// Sends as fast as it goes, with a full ring. The receiver has all its buffers.
///
/// @param paced  no more than the receiver has buffers for; else what it has none for may be lost or come in another order
void flood(bool paced) {
  flood_received = 0;
  flood_ended = flood_drained = false;
  --flood_end;
  u64 const window = posted_bytes == part_bytes ? ring_depth / (long_bytes / part_bytes + 1) : ring_depth;
  job receiving([&] { receive_flood(paced); });
  auto running = run_on(core_id{1}, receiving);
  that(running.has_value(), "core 1 does not start");
  u64 next = 0, done = 0;
  for (u64 end = flood_patience(); (!flood_ended || done != next) && failures == 0 && ticks() < end;) {
    frame batch[4];
    u32 some = 0;
    for (; some < 4 && !flood_ended && next + some < done + ring_depth; ++some) {
      u64 const number = next + some;
      if (paced && number >= flood_received + window) break;
      std::byte *const at = sent + number % ring_depth * sent_bytes;
      write_frame(at, flood_bytes(number), number < flood_frames ? number : flood_end);
      batch[some] = entry(number, at, flood_bytes(number));
    }
    if (some != 0) next += static_cast<u64>(core().nic_tx(sender, 0, batch, some));
    completion sent_ones[4];
    i64 const reaped = core().nic_tx_reap(sender, 0, sent_ones, 4);
    if (reaped > 0) end = flood_patience();
    for (i64 each = 0; each < reaped; ++each) same(static_cast<i64>(sent_ones[each].cookie), static_cast<i64>(done++));
  }
  that(flood_ended && done == next, "the flood does not end");
  flood_drained = true;
  core().core_wake(1);
}

void floods() {
  for (bool const paced : {true, false}) {
    u64 const begin = ticks();
    post(ring_depth);
    flood(paced);
    print("{}: {} frames sent, {} received, {} halts, {} s\n", paced ? "paced" : "unpaced", flood_frames,
          flood_received.load(), flood_halts.exchange(0), (ticks() - begin) / info().tsc_hz);
    close_both();
    open_both();
    clear_wire();
  }
}

/// Between two NICs that are opened for them.
void long_frames() {
  if (intel(receiver)) {
    descriptors_are_not_believed(0);
    descriptors_are_not_believed(nic_open_long);
  }
  close_both();
  open_both(nic_open_long);
  posted_bytes = part_bytes;
  long_frames_arrive();
  u64 const others = std::exchange(flood_frames, 1'000);
  flood(true);
  flood(false);
  long_frames_without_room();
  flood_frames = others;
  posted_bytes = buffer_bytes;
}

}  // namespace

int main(int argc, char **argv) {
  if (info().nics.size() != 2 || argc > 2) return 2;
  sent = take_pages(ring_depth * sent_bytes);
  received = take_pages(ring_depth * buffer_bytes);
  for (u32 nic : {sender, receiver}) rings[nic] = take_pages(u64{record(nic).depth_max} * record(nic).depth_bytes);
  that(std::memcmp(record(0).mac, record(1).mac, 6) != 0, "both NICs have one address");

  open_both();
  bool const once = argc == 2 && std::string_view(argv[1]) == "once";
  has_tables = vendor(sender) == virtio && !(argc == 2 && std::string_view(argv[1]) == "chained");
  if (argc == 2 && !once && std::string_view(argv[1]) != "chained") {
    std::from_chars(argv[1], argv[1] + std::strlen(argv[1]), flood_frames);
    floods();
    return verdict();
  }
  frames_of_all_lengths_arrive();
  parts_are_one_frame();
  full_rings_take_what_fits();
  frames_of_many_entries();
  armed_ring_wakes(ring_rx);
  armed_ring_wakes(ring_tx);
  armed_ring_wakes(ring_rx | ring_tx);
  if (once) armed_ring_wakes_once();
  if (intel(sender)) {
    long_frames_are_dropped();
    if (opens_long(receiver)) long_frames();
    close_both();
    open_both();
  }
  closed_nic_leaves_memory_alone();
  batches_arrive_in_order();
  floods();
  close_both();
  open_both(0, std::min(record(sender).depth_max, record(receiver).depth_max));
  frames_of_all_lengths_arrive();
  close_both();
  return verdict();
}
