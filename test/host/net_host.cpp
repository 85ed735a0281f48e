#include <catch2/catch.hpp>
#include <exo/net/host.hpp>
#include <random>

#include "fake_wire.hpp"

using namespace exo::net;
using namespace std::chrono_literals;

namespace {

constexpr ipv4_config our_config{{10, 0, 2, 15}, 24, {10, 0, 2, 2}};
constexpr mac_address our_mac{{0x52, 0x54, 0, 0x12, 0x34, 0x56}};
constexpr mac_address peer_mac{{0x52, 0x55, 0, 0, 0, 2}};
constexpr ipv4_address peer(10, 0, 2, 2);
constexpr ipv4_address far_away(192, 0, 2, 1);

/// What an IPv4 frame to the host says; all that a test does not set is right.
struct packet {
  mac_address to_mac = our_mac;
  mac_address from_mac = peer_mac;
  ipv4_address from = peer;
  ipv4_address to = our_config.address;
  ipv4_protocol protocol = ipv4_protocol::udp;

  [[nodiscard]] bytes around(bytes const &message) const {
    bytes frame(34 + message.size());
    auto const datagram = emit(ethernet_header{to_mac, from_mac, ethernet_type::ipv4}, std::span(frame));
    std::ranges::copy(message, emit(ipv4_header{from, to, protocol}, datagram).begin());
    return frame;
  }

  [[nodiscard]] bytes udp(bytes const &payload, u16 to_port = 7, u16 from_port = 4000) const {
    bytes message(8 + payload.size());
    emit(udp_header{from, to, from_port, to_port}, payload, message);
    return around(message);
  }

  [[nodiscard]] bytes ping(bytes const &payload, icmp_type type = icmp_type::echo_request) const {
    bytes message(8 + payload.size());
    emit(icmp_echo_header{type, 0x1234, 5}, payload, message);
    packet changed = *this;
    changed.protocol = ipv4_protocol::icmp;
    return changed.around(message);
  }
};

bytes arp(arp_message const &message, mac_address const &to = mac_address::broadcast()) {
  bytes frame(60);
  emit(message, emit(ethernet_header{to, message.sender_mac, ethernet_type::arp}, std::span(frame)));
  return frame;
}

bytes arp_request(ipv4_address sender = peer, ipv4_address target = our_config.address) {
  return arp({arp_operation::request, peer_mac, sender, {}, target});
}

/// A host on a wire, and what it was handed.
struct test_host {
  explicit test_host(ipv4_config const &config = our_config) : host(wire, config) {}

  /// A frame comes in; how many frames go out.
  std::size_t take(bytes const &frame) {
    wire.sent.clear();
    wire.arriving.push_back(frame);
    CHECK(poll() == 1);
    return wire.sent.size();
  }

  /// The frame is dropped for this reason, without an answer.
  void drops(drop why, bytes const &frame) {
    auto const before = host.counters().drops[why];
    CHECK(take(frame) == 0);
    CHECK(host.counters().drops[why] == before + 1);
    CHECK(taken.empty());
  }

  std::size_t poll() {
    return host.poll(now, [this](udp_datagram const &datagram) {
      last = datagram;
      if (datagram.destination_port != 7) return false;
      taken.emplace_back(datagram.payload.begin(), datagram.payload.end());
      if (echo) replied = host.try_reply(datagram, datagram.payload);
      return true;
    });
  }

  void know(ipv4_address address, mac_address const &mac) {
    wire.arriving.push_back(arp({arp_operation::request, mac, address, {}, our_config.address}));
    poll();
    wire.sent.clear();
  }

  fake_wire wire;
  ipv4_host<fake_wire> host;
  arp_cache::time now{};
  bool echo = false;
  std::vector<bytes> taken;
  udp_datagram last{};
  std::expected<void, send_error> replied;
};

}  // namespace

TEST_CASE("host: answers who has our address") {
  test_host at;
  REQUIRE(at.take(arp_request()) == 1);
  CHECK(at.wire.sent[0] == hex("525500000002 525400123456 0806 0001 0800 0604 0002"
                               "525400123456 0a00020f 525500000002 0a000202"));
}

TEST_CASE("host: answers a probe of our address and learns nothing from it") {
  test_host at;
  CHECK(at.take(arp_request(ipv4_address())) == 1);
  CHECK(at.host.try_send({peer, 9}, 7, text("x")).error() == send_error::resolving);
}

TEST_CASE("host: ARP that is not for us, lies about its sender, or is damaged") {
  test_host at;
  at.drops(drop::not_for_us, arp_request(peer, {10, 0, 2, 16}));
  for (auto const sender : {our_config.address, ipv4_address::broadcast(), ipv4_address(10, 0, 2, 255), far_away,
                            ipv4_address(127, 0, 0, 1), ipv4_address(224, 0, 0, 1)})
    at.drops(drop::bad_source, arp_request(sender));
  bytes damaged = arp_request();
  damaged.resize(41);
  at.drops(drop::too_short, damaged);
}

TEST_CASE("host: a request to others does not teach strangers, but refreshes those known") {
  test_host at;
  at.drops(drop::not_for_us, arp_request(peer, {10, 0, 2, 16}));
  CHECK_FALSE(at.host.try_send({peer, 9}, 7, text("x")).has_value());
  mac_address const moved{{2, 0, 0, 0, 0, 1}};
  at.know(peer, peer_mac);
  at.take(arp({arp_operation::request, moved, peer, {}, {10, 0, 2, 16}}));
  REQUIRE(at.host.try_send({peer, 9}, 7, text("x")).has_value());
  at.wire.flush();
  CHECK(ethernet_view::parse(at.wire.sent.back())->destination() == moved);
}

TEST_CASE("host: answers ping of every size that a frame holds") {
  test_host at;
  for (std::size_t const size : {0, 1, 56, 57, 1471, 1472}) {
    bytes payload(size);
    for (std::size_t index = 0; index < size; ++index) payload[index] = static_cast<std::byte>(index * 7);
    REQUIRE(at.take(packet().ping(payload)) == 1);
    packet const back{peer_mac, our_mac, our_config.address, peer};
    CHECK(at.wire.sent[0] == back.ping(payload, icmp_type::echo_reply));
  }
  CHECK(at.host.counters().echo_replies == 6);
}

TEST_CASE("host: answers a ping from another network through the router that brought it") {
  test_host at;
  packet const from_far{.from = far_away};
  REQUIRE(at.take(from_far.ping(text("abc"))) == 1);
  auto const frame = ethernet_view::parse(at.wire.sent[0]);
  CHECK(frame->destination() == peer_mac);
  CHECK(ipv4_view::parse(frame->payload())->destination() == far_away);
}

TEST_CASE("host: pings that get no answer") {
  test_host at;
  at.drops(drop::unknown_kind, packet{.to = ipv4_address::broadcast()}.ping(text("abc")));
  at.drops(drop::unknown_kind, packet{.to_mac = mac_address::broadcast(), .to = {10, 0, 2, 255}}.ping(text("abc")));
  at.drops(drop::unknown_kind, packet().ping(text("abc"), icmp_type::echo_reply));
  bytes damaged = packet().ping(text("abc"));
  damaged.back() ^= std::byte{1};
  at.drops(drop::bad_checksum, damaged);
  at.drops(drop::too_short, packet{.protocol = ipv4_protocol::icmp}.around(bytes(7)));
  at.wire.room = 0;
  at.drops(drop::no_room, packet().ping(text("abc")));
}

TEST_CASE("host: a ping longer than our MTU is dropped") {
  test_host at;
  at.wire.longest = 576;
  CHECK(at.take(packet().ping(bytes(548))) == 1);
  at.drops(drop::no_room, packet().ping(bytes(549)));
}

TEST_CASE("host: hands over UDP and sends the reply back") {
  test_host at;
  at.echo = true;
  REQUIRE(at.take(packet().udp(text("hello"))) == 1);
  CHECK(at.taken == std::vector<bytes>{text("hello")});
  CHECK(at.last.source == udp_endpoint{peer, 4000});
  CHECK_FALSE(at.last.broadcast);
  CHECK(at.wire.sent[0] == packet{peer_mac, our_mac, our_config.address, peer}.udp(text("hello"), 4000, 7));
  CHECK(at.host.counters().datagrams == 1);
}

TEST_CASE("host: broadcast UDP, to the network and to all") {
  test_host at;
  at.echo = true;
  for (auto const to : {ipv4_address::broadcast(), ipv4_address(10, 0, 2, 255)}) {
    CHECK(at.take(packet{.to_mac = mac_address::broadcast(), .to = to}.udp(text("all"))) == 1);
    CHECK(at.last.broadcast);
    auto const reply = ethernet_view::parse(at.wire.sent[0]);
    CHECK(reply->destination() == peer_mac);
    CHECK(ipv4_view::parse(reply->payload())->source() == our_config.address);
  }
}

TEST_CASE("host: UDP that goes no further") {
  test_host at;
  at.drops(drop::no_listener, packet().udp(text("x"), 8));
  bytes damaged = packet().udp(text("x"));
  damaged.back() ^= std::byte{1};
  at.drops(drop::bad_checksum, damaged);
  at.drops(drop::too_short, packet().around(bytes(7)));
  at.drops(drop::bad_length, packet().around(bytes(8)));
}

TEST_CASE("host: a damaged checksum does not matter if the device vouches for it") {
  test_host at;
  at.wire.checksum_good = true;
  bytes unfilled = packet().udp(text("x"));
  unfilled[34 + 6] ^= std::byte{0x55};
  at.take(unfilled);
  CHECK(at.taken.size() == 1);
}

TEST_CASE("host: frames for others, from nobody, of other kinds") {
  test_host at;
  bytes const good = packet().udp(text("x"));
  at.drops(drop::not_for_us, packet{.to_mac = {{2, 0, 0, 0, 0, 1}}}.udp(text("x")));
  at.drops(drop::not_for_us, packet{.to_mac = {{1, 0, 0x5E, 0, 0, 1}}}.udp(text("x")));
  at.drops(drop::not_for_us, packet{.to = {10, 0, 2, 16}}.udp(text("x")));
  at.drops(drop::not_for_us, packet{.to_mac = mac_address::broadcast()}.udp(text("x")));
  at.drops(drop::bad_source, packet{.from_mac = our_mac}.udp(text("x")));
  at.drops(drop::bad_source, packet{.from_mac = mac_address::broadcast()}.udp(text("x")));
  for (auto const from : {our_config.address, ipv4_address(), ipv4_address::broadcast(), ipv4_address(10, 0, 2, 255),
                          ipv4_address(127, 0, 0, 1), ipv4_address(224, 0, 0, 1)})
    at.drops(drop::bad_source, packet{.from = from}.udp(text("x")));
  at.drops(drop::unknown_kind, packet{.protocol = ipv4_protocol::tcp}.around(bytes(20)));
  bytes ipv6 = good;
  store16(ipv6, 12, 0x86DD);
  at.drops(drop::unknown_kind, ipv6);
  bytes fragment = good;
  fragment[14 + 6] = std::byte{0x60};
  store16(fragment, 14 + 10, static_cast<u16>(load16(fragment, 14 + 10) - 0x2000));
  at.drops(drop::fragment, fragment);
}

TEST_CASE("host: a good frame cut off anywhere is dropped and counted") {
  test_host at;
  bytes const good = packet().udp(text("payload"));
  for (std::size_t size = 0; size < good.size(); ++size) {
    at.wire.arriving.push_back(bytes(good.begin(), good.begin() + static_cast<long>(size)));
    at.poll();
  }
  CHECK(at.taken.empty());
  std::size_t dropped = 0;
  for (std::size_t why = 0; why < drop_kinds; ++why) dropped += at.host.counters().drops[static_cast<drop>(why)];
  CHECK(dropped == good.size());
  CHECK(at.host.counters().frames == good.size());
}

TEST_CASE("host: damaged frames of all kinds do no harm") {
  test_host at;
  at.echo = true;
  std::mt19937 random(1);
  for (bytes const &good : {packet().udp(text("payload")), packet().ping(text("payload")), arp_request()}) {
    for (int round = 0; round < 2000; ++round) {
      bytes damaged = good;
      for (auto count = random() % 4 + 1; count > 0; --count)
        damaged[random() % damaged.size()] = static_cast<std::byte>(random());
      damaged.resize(random() % 8 == 0 ? random() % damaged.size() : damaged.size());
      at.wire.arriving.push_back(damaged);
      at.poll();
    }
  }
  CHECK(at.host.counters().frames == 6000);
}

TEST_CASE("host: sends to a neighbour after asking for it") {
  test_host at;
  CHECK(at.host.try_send({{10, 0, 2, 77}, 9}, 7, text("x")).error() == send_error::resolving);
  at.poll();
  REQUIRE(at.wire.sent.size() == 1);
  auto const frame = ethernet_view::parse(at.wire.sent[0]);
  CHECK(frame->destination() == mac_address::broadcast());
  CHECK(arp_view::parse(frame->payload())->target() == ipv4_address(10, 0, 2, 77));
  CHECK(at.host.deadline() == 1s);

  mac_address const neighbour{{2, 0, 0, 0, 0, 7}};
  at.take(arp({arp_operation::reply, neighbour, {10, 0, 2, 77}, our_mac, our_config.address}, our_mac));
  CHECK(at.host.deadline() == arp_cache::time::max());
  REQUIRE(at.host.try_send({{10, 0, 2, 77}, 9}, 7, text("x")).has_value());
  at.poll();
  CHECK(at.wire.sent.back() == packet{neighbour, our_mac, our_config.address, {10, 0, 2, 77}}.udp(text("x"), 9, 7));
}

TEST_CASE("host: a silent neighbour is asked three times, then unreachable") {
  test_host at;
  for (int second = 0; second < 3; ++second, at.now += 1s) {
    CHECK(at.host.try_send({peer, 9}, 7, text("x")).error() == send_error::resolving);
    at.poll();
    CHECK(at.wire.sent.size() == static_cast<std::size_t>(second) + 1);
  }
  at.poll();
  CHECK(at.host.try_send({peer, 9}, 7, text("x")).error() == send_error::unreachable);
  CHECK(at.wire.sent.size() == 3);
}

TEST_CASE("host: a question that finds no room is counted and repeated") {
  test_host at;
  at.wire.room = 0;
  CHECK(at.host.try_send({peer, 9}, 7, text("x")).error() == send_error::resolving);
  CHECK(at.host.counters().drops[drop::no_room] == 1);
  at.wire.room = 64;
  at.now = 1s;
  at.poll();
  CHECK(at.wire.sent.size() == 1);
}

TEST_CASE("host: sends to other networks through the gateway") {
  test_host at;
  at.know(our_config.gateway, peer_mac);
  REQUIRE(at.host.try_send({far_away, 53}, 4000, text("q")).has_value());
  at.poll();
  CHECK(at.wire.sent.back() == packet{peer_mac, our_mac, our_config.address, far_away}.udp(text("q"), 53, 4000));
}

TEST_CASE("host: sends to everybody without asking") {
  test_host at;
  for (auto const to : {ipv4_address::broadcast(), ipv4_address(10, 0, 2, 255)}) {
    REQUIRE(at.host.try_send({to, 9}, 7, text("x")).has_value());
    at.poll();
    CHECK(ethernet_view::parse(at.wire.sent.back())->destination() == mac_address::broadcast());
  }
  CHECK(at.wire.sent.size() == 2);
}

TEST_CASE("host: what can not be sent") {
  test_host at({{10, 0, 2, 15}, 24, {}});
  for (auto const to : {far_away, our_config.address, ipv4_address(), ipv4_address(127, 0, 0, 1),
                        ipv4_address(224, 0, 0, 1)})
    CHECK(at.host.try_send({to, 9}, 7, text("x")).error() == send_error::unreachable);
  at.know(peer, peer_mac);
  CHECK(at.host.try_send({peer, 9}, 7, bytes(1473)).error() == send_error::too_big);
  CHECK(at.host.try_send({peer, 9}, 7, bytes(1472)).has_value());
  at.poll();
  at.wire.room = 0;
  CHECK(at.host.try_send({peer, 9}, 7, text("x")).error() == send_error::full);
}

TEST_CASE("host: a datagram from port 0 wants no reply") {
  test_host at;
  at.echo = true;
  CHECK(at.take(packet().udp(text("x"), 7, 0)) == 0);
  CHECK(at.replied.error() == send_error::unreachable);
}
