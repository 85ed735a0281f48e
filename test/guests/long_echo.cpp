// Gives every frame of the first NIC, opened for long frames, back by the same NIC, as the entries that it came in; one of
// `end_type` ends it. test/boot/network.sh has Linux at the other end, with test/tools/long_frames.cpp.
#include <exo/exo.hpp>
#include <exo/nic.hpp>

#include <array>
#include <cstring>

using namespace exo;

namespace {

constexpr u32 depth = 128, buffer_bytes = 2048;
constexpr u16 end_type = 0xB688;  // 0x88B6, for experiments, as it lies in memory

struct alignas(64) buffer {
  std::byte bytes[buffer_bytes];
};
constinit buffer buffers[depth];
constinit std::array<frame, depth> parts{};  // of the frame that is arriving
constinit u32 part_count = 0;

void lend(nic_queue &queue, u64 number) {
  frame const one = frame_at(buffers[number].bytes, buffer_bytes, number);
  if (queue.try_post({&one, 1}).value_or(0) != 1) panic("no place for a buffer");
}

/// Sends what came, and lends its buffers again once it is sent.
void give_back(nic_queue &queue) {
  std::span const all(parts.data(), part_count);
  if (auto const taken = queue.try_send(all); !taken || *taken != part_count) {
    panic("a frame of {} parts is not taken, segmentation {}", part_count, parts[0].segment_kind);
  }
  completion done{};
  for (u64 const end = ticks() + 20 * info().tsc_hz; queue.try_reap({&done, 1}).value_or(0) == 0;) {
    if (ticks() > end) panic("a frame is not sent");
  }
  for (frame const &part : all) lend(queue, part.cookie);
}

}  // namespace

int main() {
  auto const rings = pages::take(nic::ring_bytes(info().nics[0], 1, depth))->release();
  nic card = *nic::open(0, 1, depth, rings, long_frames::yes);
  nic_queue queue = *card.take_queue();
  for (u32 number = 0; number < depth; ++number) lend(queue, number);
  print("echoes\n");
  for (u32 frames = 0, in_parts = 0, joined = 0;;) {
    if (queue.try_receive({&parts[part_count], 1}).value_or(0) == 0) continue;
    frame const &part = parts[part_count++];
    if (part.bytes == 0) panic("a frame with an error");
    if ((part.flags & frame_more) != 0) continue;
    u16 type = 0;
    std::memcpy(&type, reinterpret_cast<std::byte *>(parts[0].address) + 12, sizeof(type));
    if (type == end_type) {
      print("{} frames, {} in several buffers, {} joined\n", frames, in_parts, joined);
      return 0;
    }
    ++frames;
    in_parts += part_count > 1;
    joined += parts[0].segment_kind != 0;
    frame &first = parts[0];
    first.flags &= static_cast<u8>(~frame_checksum_good);  // which is no offload of a frame that is sent
    if (first.segment_kind != 0) {  // what came may count payload in: up to the TCP header's end, as its data offset says
      auto const *const tcp = reinterpret_cast<u8 const *>(first.address) + first.checksum_start;
      first.header_bytes = static_cast<u16>(first.checksum_start + tcp[12] / 16 * 4);
    }
    give_back(queue);
    part_count = 0;
  }
}
