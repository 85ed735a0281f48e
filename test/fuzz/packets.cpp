// Frames: every header's checked view, and a whole host that gets them one after the other.
#include "fuzz.hpp"

#include <exo/net/host.hpp>

#include "../host/fake_wire.hpp"

using namespace exo::net;

namespace {

/// Reads all of a payload, so that a view that is too long is found.
std::size_t touch(std::span<std::byte const> payload) {
  std::size_t sum = 0;
  for (std::byte const each : payload) sum += std::to_integer<std::size_t>(each);
  return sum;
}

volatile std::size_t seen;

void views(std::span<std::byte const> frame) {
  if (auto const arp = arp_view::parse(frame)) seen = arp->sender().value + arp->target().value;
  if (auto const echo = icmp_echo_view::parse(frame)) seen = touch(echo->payload());
  for (bool const good : {false, true}) {
    auto const datagram = ipv4_view::parse(frame);
    if (!datagram) continue;
    seen = touch(datagram->payload());
    if (auto const message = udp_view::parse(*datagram, good)) seen = touch(message->payload());
  }
  if (auto const ethernet = ethernet_view::parse(frame)) seen = touch(ethernet->payload());
}

/// Frames of the input, each behind two bytes with its length, to a host that answers.
void host(std::span<std::byte const> input) {
  constexpr ipv4_config config{{10, 0, 2, 15}, 24, {10, 0, 2, 2}};
  fake_wire wire;
  wire.checksum_good = !input.empty() && (input.front() & std::byte{1}) != std::byte{0};
  ipv4_host<fake_wire> answering(wire, config);
  std::size_t frames = 0;
  while (input.size() >= 2) {
    std::size_t const wanted = load16(input, 0);
    input = input.subspan(2);
    auto const frame = input.first(std::min(wanted, input.size()));
    input = input.subspan(frame.size());
    wire.arriving.push_back(bytes(frame.begin(), frame.end()));
    ++frames;
    (void)answering.poll(std::chrono::milliseconds(frames), [&](udp_datagram const &datagram) {
      seen = touch(datagram.payload);
      return answering.try_reply(datagram, datagram.payload).has_value();
    });
  }
  demand(answering.counters().frames == frames, "the host did not count every frame");
  for (bytes const &each : wire.sent) {
    bool const is_frame = each.size() >= ethernet_header_bytes && each.size() <= wire.longest + ethernet_header_bytes;
    demand(is_frame, "an answer is no frame");
  }
}

}  // namespace

void fuzz(std::span<std::byte const> input) {
  views(input);
  host(input);
}
