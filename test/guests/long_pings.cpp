// Answers pings of any length with the frames they came in: their parts go back as they are, but for a few fields of the
// headers. The NIC is opened as usual first, then for long frames; a ping of `end_bytes` ends each. test/boot/network.sh
// has Linux at the other end.
#include <exo/exo.hpp>
#include <exo/net/checksum.hpp>
#include <exo/nic.hpp>

#include <algorithm>
#include <array>

using namespace exo;

namespace {

constexpr u32 depth = 256, buffer_bytes = 2048;
constexpr std::size_t ip_at = 14, icmp_at = 34, end_bytes = 100;  // of IP
constexpr u16 echo_request = 8 << 8;
alignas(64) constinit std::byte buffers[depth][buffer_bytes];
constinit std::array<u16, depth> next_buffer{};  // of a frame that is being sent; `last` behind the last
constexpr u16 last = depth;

struct counts {
  u64 frames = 0;
  std::size_t longest = 0;
};

std::span<std::byte> bytes_of(frame const &part) { return {reinterpret_cast<std::byte *>(part.address), part.bytes}; }

/// Whether it is a whole and undamaged ping; then it is the answer.
bool turn_round(std::span<frame const> parts, std::size_t bytes) {
  std::span<std::byte> const head = bytes_of(parts[0]);
  if (bytes < 60 || net::load16(head, 12) != 0x0800 || head[ip_at + 9] != std::byte{1}) return false;
  std::size_t left = net::load16(head, ip_at + 2);
  if (bytes != std::max<std::size_t>(left + ip_at, 60)) panic("{} bytes came, {} are IP's", bytes, left);
  left -= icmp_at - ip_at;
  net::checksum sum;
  for (frame const &part : parts) {
    std::span<std::byte const> inside = bytes_of(part);
    if (&part == parts.data()) inside = inside.subspan(icmp_at);
    inside = inside.first(std::min(inside.size(), left));
    sum.add(inside);
    left -= inside.size();
  }
  if (sum.value() != 0) panic("a frame of {} bytes in {} parts is damaged", bytes, parts.size());
  if (net::load16(head, icmp_at) != echo_request) return false;
  std::swap_ranges(head.begin(), head.begin() + 6, head.begin() + 6);
  std::swap_ranges(head.begin() + ip_at + 12, head.begin() + ip_at + 16, head.begin() + ip_at + 16);
  u32 const checksum = u32{net::load16(head, icmp_at + 2)} + echo_request;
  net::store16(head, icmp_at, 0);
  net::store16(head, icmp_at + 2, static_cast<u16>(checksum + (checksum >> 16)));
  return true;
}

counts serve(long_frames lengths) {
  auto rings = pages::take(nic::ring_bytes(info().nics[0], 1, depth));
  auto card = nic::open(0, 1, depth, rings->span(), lengths);
  if (!card) panic("it does not open: {}", card.error());
  nic_queue queue = *card->take_queue();
  auto const post = [&](u64 buffer) {
    frame const empty = frame_at(buffers[buffer], buffer_bytes, buffer);
    if (queue.try_post({&empty, 1}).value_or(0) != 1) panic("a buffer is not taken");
  };
  for (u64 buffer = 0; buffer < depth; ++buffer) post(buffer);
  print("{}\n", lengths == long_frames::yes ? "long frames" : "short frames");

  counts count;
  std::array<frame, 16> parts;
  std::size_t held = 0, bytes = 0;
  for (bool ended = false, sending = false; !ended || sending;) {
    completion done{};
    if (queue.try_reap({&done, 1}).value_or(0) == 1) {
      for (u64 buffer = done.cookie; buffer != last;) post(std::exchange(buffer, next_buffer[buffer]));
      sending = false;
    }
    if (sending || queue.try_receive({&parts[held], 1}).value_or(0) == 0) continue;
    frame const &part = parts[held++];
    bytes += part.bytes;
    if (lengths == long_frames::no && (bytes > 1522 || part.flags != 0)) panic("a long frame came");
    if ((part.flags & frame_more) != 0) {
      if (held == parts.size()) panic("a frame has no end");
      continue;
    }
    if (part.bytes != 0 && turn_round({parts.data(), held}, bytes)) {
      for (std::size_t at = 0; at < held; ++at) {
        next_buffer[parts[at].cookie] = at + 1 < held ? static_cast<u16>(parts[at + 1].cookie) : last;
      }
      if (queue.try_send({parts.data(), held}).value_or(0) != held) panic("a frame is not taken");
      sending = true;
      ++count.frames;
      count.longest = std::max(count.longest, bytes);
      ended = bytes == end_bytes + ip_at;
    } else {
      for (std::size_t at = 0; at < held; ++at) post(parts[at].cookie);
    }
    held = bytes = 0;
  }
  return count;
}

}  // namespace

int main() {
  for (long_frames const lengths : {long_frames::no, long_frames::yes}) {
    counts const count = serve(lengths);
    print("{} pings, the longest of {} bytes\n", count.frames, count.longest);
  }
}
