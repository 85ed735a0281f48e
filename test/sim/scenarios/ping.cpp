// Two machines: one answers ping, as apps/echo does, the other asks until ten answers have come, over a wire that loses,
// doubles, delays and damages frames.
#include <sim/scenario.hpp>

#include <exo/exo.hpp>
#include <exo/frame_port.hpp>
#include <exo/net/host.hpp>

#include <array>
#include <bit>

namespace {

using namespace exo::net;
using std::chrono::milliseconds;

constexpr ipv4_address asker_address(10, 0, 0, 1), answerer_address(10, 0, 0, 2);
constexpr mac_address answerer_mac{{2, 0, 0, 0, 0, 0}};  // NIC 0 of machine 0
constexpr std::uint16_t answers_wanted = 10;
constexpr exo::u32 depth = 16;

/// A NIC with its buffers, as long as the machine lives.
struct network_card {
  exo::pages rings = *exo::pages::take(exo::nic::ring_bytes(exo::info().nics[0], 1, depth));
  exo::pages frames = *exo::pages::take(exo::frame_port::memory_bytes(exo::info().nics[0], depth));
  exo::nic card = *exo::nic::open(0, 1, depth, rings.span());
  exo::frame_port port = *exo::frame_port::open(*card.take_queue(), frames.span());
};

exo::clock::duration now() { return exo::clock::now().time_since_epoch(); }

int answer() {
  network_card nic;
  ipv4_host host(nic.port, {answerer_address, 24, {}});
  for (;;) {
    if (host.poll(now(), [](udp_datagram const &) { return false; }) == 0) {
      nic.port.wait(exo::clock::time_point(host.deadline()));
    }
  }
}

/// Writes an echo request into a frame, to a MAC address that needs no asking.
void emit_request(std::span<std::byte> frame, mac_address from, mac_address to, exo::u16 sequence) {
  std::array<std::byte, 32> payload;
  for (std::size_t at = 0; at < payload.size(); ++at) payload[at] = static_cast<std::byte>(at * 7 + sequence);
  auto const datagram = emit(ethernet_header{to, from, ethernet_type::ipv4}, frame);
  auto const message = emit(ipv4_header{asker_address, answerer_address, ipv4_protocol::icmp}, datagram);
  emit(icmp_echo_header{icmp_type::echo_request, 0x4558, sequence}, payload, message);
}

/// The sequence number of a good answer to us; -1 for any other frame.
int sequence_of(std::span<std::byte const> bytes, mac_address mine) {
  auto const frame = ethernet_view::parse(bytes);
  if (!frame || frame->destination() != mine || frame->type() != ethernet_type::ipv4) return -1;
  auto const datagram = ipv4_view::parse(frame->payload());
  if (!datagram || datagram->destination() != asker_address || datagram->source() != answerer_address) return -1;
  auto const echo = icmp_echo_view::parse(datagram->payload());
  if (!echo || echo->type() != icmp_type::echo_reply || echo->identifier() != 0x4558) return -1;
  return echo->sequence();
}

int ask() {
  constexpr std::size_t frame_bytes = ethernet_header_bytes + ipv4_header_bytes + icmp_header_bytes + 32;
  network_card nic;
  mac_address const mine = nic.port.mac();
  for (exo::u16 sequence = 0; sequence < answers_wanted;) {
    (void)nic.port.try_send(frame_bytes, [&](std::span<std::byte> frame) {
      emit_request(frame, mine, answerer_mac, sequence);
    });
    exo::clock::time_point const end = exo::clock::now() + milliseconds(5);
    for (bool answered = false; !answered && exo::clock::now() < end;) {
      nic.port.wait(end);
      nic.port.try_receive([&](received_frame const &got) { answered |= sequence_of(got.bytes, mine) == sequence; });
      if (answered) ++sequence;
    }
  }
  return 0;
}

}  // namespace

void scenario(sim::setup &world) {
  sim::machine &server = world.add_machine("server", answer);
  server.serves = true;
  sim::machine &client = world.add_machine("client", ask);
  world.connect(client, server, {.lose = 0.05, .duplicate = 0.05, .reorder = 0.05, .corrupt = 0.02, .partition = 0.002});
}
