// The other end of test/guests/long_echo.cpp, at a TAP device of this Linux whose MTU is 9000:
//
//   long_frames INTERFACE    sends frames of 60 to 9,014 bytes, then streams of TCP over IPv4 and IPv6 in frames of up to
//                            64 KiB, each left uncut and its checksum open, as Linux's own TCP does; all come back as they
//                            were, in order, and uncut. Ends with a frame of end_type
#include <arpa/inet.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <vector>

namespace {

constexpr std::uint16_t plain_type = 0x88B5, end_type = 0x88B6;  // for experiments
constexpr std::size_t link_bytes = 14, tcp_bytes = 20, payload_max = 64000, stream_frames = 60, in_flight = 4;
constexpr std::uint16_t segment_bytes = 1448;
constexpr int patience_ms = 30'000;

/// What a packet socket puts before each frame (PACKET_VNET_HDR). linux/virtio_net.h is no C++.
struct frame_header {
  std::uint8_t flags, gso_type;
  std::uint16_t hdr_len, gso_size, csum_start, csum_offset;
};
constexpr std::uint8_t needs_checksum = 1, gso_tcp4 = 1, gso_tcp6 = 4;

struct packet {
  frame_header header{};
  std::vector<std::uint8_t> bytes;
};

[[noreturn]] void fail(char const *what, packet const &frame) {
  std::fprintf(stderr, "long_frames: a frame of %zu bytes %s (%s)\n", frame.bytes.size(), what, std::strerror(errno));
  std::exit(1);
}

void put16(std::uint8_t *at, std::size_t value) {
  at[0] = static_cast<std::uint8_t>(value >> 8);
  at[1] = static_cast<std::uint8_t>(value);
}

std::uint32_t sum(std::uint8_t const *at, std::size_t bytes, std::uint32_t start) {
  for (std::size_t each = 0; each < bytes; ++each) start += each % 2 == 0 ? std::uint32_t{at[each]} << 8 : at[each];
  while (start >> 16 != 0) start = (start & 0xFFFF) + (start >> 16);
  return start;
}

/// To an address that is nobody's, so that Linux leaves what comes back alone.
packet plain(std::size_t bytes, std::uint16_t type) {
  packet made;
  made.bytes.resize(bytes);
  for (std::size_t at = link_bytes; at < bytes; ++at) made.bytes[at] = static_cast<std::uint8_t>(at * 7 + at / 256 + bytes);
  std::memcpy(made.bytes.data(), "\x02x16to\x02x16of", 12);
  put16(&made.bytes[12], type);
  return made;
}

/// A part of a stream, from its byte `at` on.
packet part_of_stream(int version, std::size_t at, std::size_t payload) {
  std::size_t const network = version == 4 ? 20 : 40, tcp = link_bytes + network, headers = tcp + tcp_bytes;
  packet made = plain(headers + payload, version == 4 ? ETH_P_IP : ETH_P_IPV6);
  std::uint8_t *const ip = &made.bytes[link_bytes], *const segment = &made.bytes[tcp];
  std::fill(ip, &made.bytes[headers], std::uint8_t{0});
  std::size_t const addresses = version == 4 ? 8 : 32;
  ip[0] = version == 4 ? 0x45 : 0x60;
  put16(ip + (version == 4 ? 2 : 4), (version == 4 ? network : 0) + tcp_bytes + payload);
  ip[version == 4 ? 9 : 6] = IPPROTO_TCP;
  ip[version == 4 ? 8 : 7] = 64;
  std::memset(segment - addresses, 0x20 + version, addresses);
  if (version == 4) put16(ip + 10, ~sum(ip, network, 0));
  put16(segment, 1000), put16(segment + 2, 2000);
  put16(segment + 4, at >> 16), put16(segment + 6, at);
  segment[12] = 5 << 4, segment[13] = 0x10;  // ACK
  put16(segment + 16, sum(segment - addresses, addresses, static_cast<std::uint32_t>(IPPROTO_TCP + tcp_bytes + payload)));
  for (std::size_t place = 0; place < payload; ++place) {
    made.bytes[headers + place] = static_cast<std::uint8_t>((at + place) * 31 + (at + place) / 251);
  }
  made.header.flags = needs_checksum;
  made.header.gso_type = version == 4 ? gso_tcp4 : gso_tcp6;
  made.header.hdr_len = static_cast<std::uint16_t>(headers);
  made.header.gso_size = segment_bytes;
  made.header.csum_start = static_cast<std::uint16_t>(tcp);
  made.header.csum_offset = 16;
  return made;
}

class wire {
 public:
  explicit wire(char const *interface) : file_(socket(AF_PACKET, SOCK_RAW, htons(ETH_P_ALL))) {
    int const on = 1, memory = 8 << 20;
    sockaddr_ll place{};
    place.sll_family = AF_PACKET;
    place.sll_protocol = htons(ETH_P_ALL);
    place.sll_ifindex = static_cast<int>(if_nametoindex(interface));
    (void)setsockopt(file_, SOL_SOCKET, SO_RCVBUFFORCE, &memory, sizeof(memory));
    if (setsockopt(file_, SOL_PACKET, PACKET_VNET_HDR, &on, sizeof(on)) != 0 ||
        setsockopt(file_, SOL_PACKET, PACKET_IGNORE_OUTGOING, &on, sizeof(on)) != 0 ||
        bind(file_, reinterpret_cast<sockaddr *>(&place), sizeof(place)) != 0) {
      std::perror("long_frames: the interface takes no packet socket");
      std::exit(1);
    }
  }
  ~wire() { close(file_); }
  wire(wire const &) = delete;

  void send(packet const &what) {
    std::vector<std::uint8_t> all(sizeof(what.header) + what.bytes.size());
    std::memcpy(all.data(), &what.header, sizeof(what.header));
    std::copy(what.bytes.begin(), what.bytes.end(), all.begin() + sizeof(what.header));
    if (::send(file_, all.data(), all.size(), 0) != static_cast<ssize_t>(all.size())) fail("is not sent", what);
  }

  /// The next frame that comes back is this one. Those of Linux's own that come back too are left out.
  void gets(packet const &expected) {
    std::vector<std::uint8_t> all(sizeof(frame_header) + (1 << 17));
    for (;;) {
      pollfd wait{.fd = file_, .events = POLLIN, .revents = 0};
      if (poll(&wait, 1, patience_ms) != 1) fail("does not come back", expected);
      ssize_t const got = recv(file_, all.data(), all.size(), 0);
      frame_header header;
      if (got < static_cast<ssize_t>(sizeof(header) + link_bytes)) continue;
      std::memcpy(&header, all.data(), sizeof(header));
      std::uint8_t const *const bytes = all.data() + sizeof(header);
      if (std::memcmp(bytes, expected.bytes.data(), 12) != 0) continue;
      std::size_t const size = expected.bytes.size();
      if (static_cast<std::size_t>(got) - sizeof(header) != size) fail("comes back longer or shorter", expected);
      if (std::memcmp(bytes, expected.bytes.data(), size) != 0) fail("comes back with others", expected);
      bool const uncut = header.gso_type == expected.header.gso_type && header.gso_size == expected.header.gso_size;
      if (!uncut) fail("comes back with other segments", expected);
      return;
    }
  }

 private:
  int file_;
};

void stream(wire &to, int version) {
  std::deque<packet> out;
  std::size_t at = 0;
  for (std::size_t number = 0; number < stream_frames; ++number) {
    std::size_t const payload = 2 * segment_bytes + number * 7919 % (payload_max - 2 * segment_bytes);
    out.push_back(part_of_stream(version, at, payload));
    to.send(out.back());
    at += payload;
    if (out.size() < in_flight) continue;
    to.gets(out.front());
    out.pop_front();
  }
  for (packet const &each : out) to.gets(each);
}

}  // namespace

int main(int argc, char **argv) {
  if (argc != 2) return 2;
  wire to(argv[1]);
  for (std::size_t bytes = 60; bytes <= ETH_HLEN + 9000; bytes += bytes == 60 ? 1 : 193) {
    packet const one = plain(bytes, plain_type);
    to.send(one);
    to.gets(one);
  }
  packet const longest = plain(ETH_HLEN + 9000, plain_type);
  to.send(longest);
  to.gets(longest);
  for (int const version : {4, 6}) stream(to, version);
  to.send(plain(60, end_type));
}
