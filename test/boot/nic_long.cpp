// A NIC opened for long frames: what the first NIC sends arrives at the second one in as many small buffers as it needs, and
// whatever a virtio device says of buffers and lengths, each part lies in its buffer.
// boot: -- -netdev hubport,id=a,hubid=0 -netdev hubport,id=b,hubid=0 -device virtio-net-pci,netdev=a,romfile=,host_mtu=9000 -device virtio-net-pci,netdev=b,romfile=
// boot: -- -netdev hubport,id=a,hubid=0 -netdev hubport,id=b,hubid=0 -device virtio-net-pci,netdev=a,romfile= -device virtio-net-pci,netdev=b,romfile=,mrg_rxbuf=off
#include "check.hpp"

#include <exo/nic.hpp>

#include <algorithm>
#include <array>
#include <atomic>
#include <cstring>

using namespace check;

namespace {

constexpr u32 depth = 16, buffer_bytes = 2048, virtio_header_bytes = 12, header_bytes = 14, longest = 9014;
constexpr u32 sender = 0, receiver = 1;

constinit std::byte *sent = nullptr, *received = nullptr, *rings[2] = {};
constinit std::array<std::byte, longest> joined{};

std::byte *buffer(u64 number) { return received + number * buffer_bytes; }

void post(nic_queue &queue, u64 number) {
  frame const one = frame_at(buffer(number), buffer_bytes, number);
  same(static_cast<i64>(queue.try_post({&one, 1}).value_or(0)), 1);
}

/// A broadcast of an ethertype for experiments, filled with a pattern of its own.
void write_frame(std::span<std::byte> at, u32 number) {
  for (u32 place = 0; place < at.size(); ++place) at[place] = static_cast<std::byte>(place * 7 + place / 256 + number);
  std::fill_n(at.begin(), 6, std::byte{0xFF});
  std::memcpy(at.data() + 6, info().nics[sender].mac, 6);
  at[12] = std::byte{0x88};
  at[13] = std::byte{0xB5};
}

/// Sends a frame, and waits until it is sent.
void send(nic_queue &queue, u32 bytes) {
  frame const one = frame_at(sent, bytes, 1);
  same(static_cast<i64>(queue.try_send({&one, 1}).value_or(0)), 1);
  completion done{};
  for (u64 const end = ticks() + 20 * info().tsc_hz; queue.try_reap({&done, 1}).value_or(0) == 0;) {
    if (ticks() > end) return fail(where::current(), "a frame is not sent, of so many bytes", bytes);
  }
}

/// Receives a whole frame into `joined`, so many entries a call, and gives its buffers back; returns its bytes.
u32 receive(nic_queue &queue, u32 most, u32 expected_parts) {
  u32 bytes = 0, parts = 0;
  for (u64 const end = ticks() + 20 * info().tsc_hz; ticks() < end;) {
    std::array<frame, depth> some;
    std::size_t const count = queue.try_receive({some.data(), most}).value_or(0);
    for (u32 at = 0; at < count; ++at) {
      frame const &part = some[at];
      u64 const in_buffer = part.address - address(buffer(part.cookie));
      that(in_buffer <= virtio_header_bytes && in_buffer + part.bytes <= buffer_bytes, "a part is not in its buffer");
      bool const more = (part.flags & frame_more) != 0;
      that(!more || in_buffer + part.bytes == buffer_bytes, "a buffer is not full, and the frame goes on");
      if (bytes + part.bytes > joined.size()) return fail(where::current(), "more than was sent:", bytes + part.bytes), 0;
      std::memcpy(joined.data() + bytes, reinterpret_cast<void *>(part.address), part.bytes);
      bytes += part.bytes;
      ++parts;
      post(queue, part.cookie);
      if (more) continue;
      same(parts, expected_parts);
      same(at + 1, static_cast<i64>(count));  // it was the only frame
      return bytes;
    }
  }
  fail(where::current(), "a frame does not come; of it came", bytes);
  return 0;
}

void frames_of_all_lengths_arrive(nic_queue &from, nic_queue &to) {
  for (u32 number = 0; number < depth; ++number) post(to, number);
  u32 number = 0;
  // The first buffer has room for 2,036 bytes, each further one for 2,048: lengths at both sides of each end, and between.
  for (u32 const bytes : {60u, 61u, 1514u, 1515u, 2035u, 2036u, 2037u, 3000u, 4083u, 4084u, 4085u, 6131u, 6132u, 6133u, 8180u,
                          8181u, 9013u, 9014u}) {
    for (u32 const most : {depth, 1u, 2u}) {
      if (failures != 0) return;
      write_frame({sent, bytes}, ++number);
      send(from, bytes);
      u32 const parts = (bytes + virtio_header_bytes + buffer_bytes - 1) / buffer_bytes;
      same(receive(to, most, parts), bytes);
      that(std::memcmp(joined.data(), sent, bytes) == 0, "a frame has other bytes");
    }
  }
}

void buffers_are_refused(nic_queue &queue) {
  frame one = frame_at(buffer(0), buffer_bytes - 1, 0);
  that(queue.try_post({&one, 1}) == std::unexpected(error::range), "a buffer that is too small");
  frame two[2] = {frame_at(buffer(0), buffer_bytes, 0), frame_at(buffer(1), buffer_bytes, 1)};
  two[0].flags = frame_more;
  that(queue.try_post(two) == std::unexpected(error::unsupported), "a buffer of two entries");
}

// --- what a device must not do

/// The used ring of the receive ring, written by this program in place of the device, which has nothing to write: nobody
/// sends. It lies behind the transmit ring, as is told at the top of virtio.asm; slots are used in their order after an open.
class device_side {
 public:
  explicit device_side(std::byte *memory)
      : used_(memory + u64{send_slot_bytes} * depth + ring_bytes + u64{4} * descriptors) {}

  /// Gives back a buffer that got a header, or pretends to have, and so many bytes.
  void gives(u32 number, u32 bytes, u16 buffers = 1, u8 flags = 0, u8 segmentation = 0) {
    std::byte *const header = buffer(number);
    std::memset(header, 0, virtio_header_bytes);
    header[0] = std::byte{flags};
    header[1] = std::byte{segmentation};
    std::memcpy(header + 10, &buffers, sizeof(buffers));
    gives_part(number, bytes);
  }
  void gives_part(u32 number, u32 bytes) { gives_slot(number * 2, bytes); }
  void gives_slot(u32 slot, u32 bytes) {
    u32 const entry[2] = {slot, bytes};
    std::memcpy(used_ + 4 + index_ % descriptors * sizeof(entry), entry, sizeof(entry));
    ++index_;
    std::atomic_ref(*reinterpret_cast<u16 *>(used_ + 2)).store(index_, std::memory_order_release);
  }
  u16 told() const { return *reinterpret_cast<u16 volatile *>(used_ + 2); }

 private:
  static constexpr u32 descriptors = 2 * depth, ring_bytes = 128, send_slot_bytes = 48 + 1024;  // with a table
  std::byte *used_;
  u16 index_ = 0;
};

/// The next entry is that of a buffer, with a part that begins so far into it.
void comes(nic_queue &queue, u32 number, u32 offset, u32 bytes, bool more, where at = where::current()) {
  frame part{};
  same(static_cast<i64>(queue.try_receive({&part, 1}).value_or(0)), 1, at);
  same(static_cast<i64>(part.cookie), number, at);
  same(static_cast<i64>(part.address), static_cast<i64>(address(buffer(number)) + offset), at);
  same(part.bytes, bytes, at);
  same(part.flags & frame_more, more ? frame_more : 0, at);
}

template <typename Use>
void with_device_side(Use use) {
  nic card = *nic::open(receiver, 1, depth, {rings[receiver], 1 << 20}, long_frames::yes);
  nic_queue queue = *card.take_queue();
  for (u32 number = 0; number < depth; ++number) post(queue, number);
  device_side device(rings[receiver]);
  use(queue, device);
  frame none{};
  same(static_cast<i64>(queue.try_receive({&none, 1}).value_or(1)), 0);
}

void wrong_counts_and_lengths() {
  constexpr u32 whole = virtio_header_bytes;
  with_device_side([](nic_queue &queue, device_side &device) {
    device.gives(0, whole + 100, 0);  // of no buffers
    comes(queue, 0, whole, 100, false);
    device.gives(1, whole - 1, 3);  // no header
    comes(queue, 1, 0, 0, false);
    device.gives(2, 0, 3);
    comes(queue, 2, 0, 0, false);
    device.gives(3, ~0u);  // more than there is room for
    comes(queue, 3, whole, buffer_bytes - whole, false);
    device.gives(4, buffer_bytes, 3);
    device.gives_part(5, buffer_bytes + 1);
    comes(queue, 4, whole, buffer_bytes - whole, true);
    comes(queue, 5, 0, buffer_bytes, true);
    device.gives_part(6, 7);
    comes(queue, 6, 0, 7, false);
    device.gives(7, buffer_bytes, 3);  // a frame without its end
    device.gives_part(8, 0);
    comes(queue, 7, whole, buffer_bytes - whole, true);
    comes(queue, 8, 0, 0, false);
    device.gives_slot(2 * 9 + 1, 100);  // no slot, one that is not in flight, one that does not exist
    device.gives_slot(0, 100);
    device.gives_slot(2 * depth, 100);
    device.gives(9, whole + 60, 1, 0xFF, frame_tcp4);
    frame got{};
    for (u32 tries = 0; tries < 8 && queue.try_receive({&got, 1}).value_or(0) == 0;) ++tries;
    same(static_cast<i64>(got.cookie), 9);
    same(got.flags, frame_checksum | frame_checksum_good);
    same(got.segment_kind, frame_tcp4);
    device.gives(10, buffer_bytes, 0xFFFF);  // and no more of them until it is closed
    comes(queue, 10, whole, buffer_bytes - whole, true);
  });
  with_device_side([](nic_queue &queue, device_side &device) {
    device.gives(0, whole + 60);
    comes(queue, 0, whole, 60, false);
  });
}

/// Opened without the flag it works as if there were none: a buffer for each frame, which begins where the buffer does.
void short_again(nic_queue &from) {
  nic card = *nic::open(receiver, 1, depth, {rings[receiver], 1 << 20});
  nic_queue to = *card.take_queue();
  post(to, 3);
  write_frame({sent, 1514}, 5);
  send(from, 1514);
  frame got{};
  for (u64 const end = ticks() + 20 * info().tsc_hz; to.try_receive({&got, 1}).value_or(0) == 0 && ticks() < end;) {
  }
  same(got.bytes, 1514);
  same(static_cast<i64>(got.address), static_cast<i64>(address(buffer(3))));
  same(got.flags & frame_more, 0);
  that(std::memcmp(buffer(3), sent, 1514) == 0, "a frame has other bytes");
}

}  // namespace

int main() {
  if (info().nics.size() != 2) return 2;
  sent = take_pages(3 * page_bytes);
  received = take_pages(depth * buffer_bytes);
  for (u32 each : {sender, receiver}) rings[each] = take_pages(1 << 20);
  nic_record const &record = info().nics[receiver];
  if ((record.offloads & nic_long) == 0) {
    auto const refused = nic::open(receiver, 1, depth, {rings[receiver], 1 << 20}, long_frames::yes);
    that(!refused && refused.error() == error::unsupported, "a NIC without nic_long opens for long frames");
    return verdict();
  }
  nic source = *nic::open(sender, 1, depth, {rings[sender], 1 << 20});
  nic_queue from = *source.take_queue();
  {
    nic card = *nic::open(receiver, 1, depth, {rings[receiver], 1 << 20}, long_frames::yes);
    nic_queue to = *card.take_queue();
    buffers_are_refused(to);
    frames_of_all_lengths_arrive(from, to);
    same(device_side(rings[receiver]).told() != 0, 1);  // it is where this program takes it to be
  }
  wrong_counts_and_lengths();
  short_again(from);
  return verdict();
}
