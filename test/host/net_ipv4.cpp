#include <catch2/catch.hpp>
#include <exo/net/ipv4.hpp>

#include "fake_wire.hpp"

using namespace exo::net;

namespace {

/// 10.0.2.2 to 10.0.2.15, UDP, four bytes of payload; the checksum was computed apart.
bytes const datagram = hex("4500 0018 0000 4000 4011 22c5 0a000202 0a00020f 01020304");

/// The datagram with one byte changed and the checksum made right again.
bytes with(std::size_t at, int value, bytes data = datagram) {
  data[at] = static_cast<std::byte>(value);
  std::size_t const header = (std::to_integer<std::size_t>(data[0]) & 15) * 4;
  store16(data, 10, 0);
  if (header <= data.size()) store16(data, 10, checksum().add(std::span(data).first(header)).value());
  return data;
}

}  // namespace

TEST_CASE("ipv4: reads a datagram") {
  auto const view = ipv4_view::parse(datagram);
  REQUIRE(view);
  CHECK(view->source() == ipv4_address(10, 0, 2, 2));
  CHECK(view->destination() == ipv4_address(10, 0, 2, 15));
  CHECK(view->protocol() == ipv4_protocol::udp);
  CHECK(view->time_to_live() == 64);
  CHECK(view->payload().size() == 4);
}

TEST_CASE("ipv4: emit writes what parse reads") {
  bytes out(24, std::byte{0xDD});
  auto const payload = emit(ipv4_header{{10, 0, 2, 2}, {10, 0, 2, 15}, ipv4_protocol::udp}, std::span(out));
  REQUIRE(payload.size() == 4);
  std::ranges::copy(hex("01020304"), payload.begin());
  CHECK(out == datagram);
}

TEST_CASE("ipv4: padding behind the total length is cut off") {
  bytes const padded = join({datagram, bytes(22, std::byte{0xAA})});
  CHECK(ipv4_view::parse(padded)->payload().size() == 4);
}

TEST_CASE("ipv4: options are skipped") {
  bytes data = join({bytes(datagram.begin(), datagram.begin() + 20), hex("01010100"),
                     bytes(datagram.begin() + 20, datagram.end())});
  data = with(3, 28, with(0, 0x46, data));
  auto const view = ipv4_view::parse(data);
  REQUIRE(view);
  CHECK(bytes(view->payload().begin(), view->payload().end()) == hex("01020304"));
}

TEST_CASE("ipv4: cut off anywhere") {
  for (std::size_t size = 0; size < datagram.size(); ++size) {
    bytes const part(datagram.begin(), datagram.begin() + static_cast<long>(size));
    CHECK(ipv4_view::parse(part).error() == (size < 20 ? drop::too_short : drop::bad_length));
  }
}

TEST_CASE("ipv4: every single damaged bit of the header is noticed") {
  for (std::size_t bit = 0; bit < 160; ++bit) {
    bytes damaged = datagram;
    damaged[bit / 8] ^= std::byte{1} << (bit % 8);
    CHECK_FALSE(ipv4_view::parse(damaged).has_value());
  }
}

TEST_CASE("ipv4: bad versions and lengths") {
  CHECK(ipv4_view::parse(with(0, 0x65)).error() == drop::bad_version);
  CHECK(ipv4_view::parse(with(0, 0x05)).error() == drop::bad_version);
  CHECK(ipv4_view::parse(with(0, 0x44)).error() == drop::bad_length);  // header below 20 bytes
  CHECK(ipv4_view::parse(with(0, 0x47)).error() == drop::bad_length);  // header longer than the datagram
  CHECK(ipv4_view::parse(with(3, 19)).error() == drop::bad_length);    // total below the header
  CHECK(ipv4_view::parse(with(3, 0)).error() == drop::bad_length);
  CHECK(ipv4_view::parse(with(3, 25)).error() == drop::bad_length);  // total beyond what arrived
  CHECK(ipv4_view::parse(with(3, 20))->payload().empty());
  bytes damaged = datagram;
  damaged[8] = std::byte{63};
  CHECK(ipv4_view::parse(damaged).error() == drop::bad_checksum);
}

TEST_CASE("ipv4: fragments are refused, the first, the last and those between") {
  CHECK(ipv4_view::parse(with(6, 0x20)).error() == drop::fragment);
  CHECK(ipv4_view::parse(with(7, 0x01)).error() == drop::fragment);
  CHECK(ipv4_view::parse(with(6, 0x30)).error() == drop::fragment);
  CHECK(ipv4_view::parse(with(6, 0x00)).has_value());
}

TEST_CASE("ipv4: a spent time to live is the router's matter, not the host's") {
  CHECK(ipv4_view::parse(with(8, 0))->time_to_live() == 0);
  CHECK(ipv4_view::parse(with(8, 1)).has_value());
}

TEST_CASE("ipv4: addresses from text") {
  CHECK(ipv4_address::from_text("10.0.2.15") == ipv4_address(10, 0, 2, 15));
  CHECK(ipv4_address::from_text("255.255.255.255") == ipv4_address::broadcast());
  for (auto const bad : {"", "10", "10.0.2", "10.0.2.", "10.0.2.15.", "10.0.2.15 ", " 10.0.2.15", "10.0.2.256",
                         "10..2.15", "-1.0.2.15", "10.0.2.x", "10,0,2,15"}) {
    INFO(bad);
    CHECK_FALSE(ipv4_address::from_text(bad).has_value());
  }
}

TEST_CASE("ipv4: configuration from text") {
  auto const config = ipv4_config::from_text("10.0.2.15/24", {10, 0, 2, 2});
  REQUIRE(config);
  CHECK((config->address == ipv4_address(10, 0, 2, 15) && config->prefix == 24));
  for (auto const bad : {"10.0.2.15", "10.0.2.15/", "10.0.2.15/33", "10.0.2.15/24x", "10.0.2/24", "10.0.2.0/24",
                         "10.0.2.255/24", "127.0.0.1/8", "224.0.0.1/24", "0.0.0.0/0", "10.0.2.2/24", "10.0.3.15/24",
                         "/24"}) {
    INFO(bad);
    CHECK_FALSE(ipv4_config::from_text(bad, {10, 0, 2, 2}).has_value());
  }
  CHECK(ipv4_config::from_text("10.0.3.15/24", ipv4_address()).has_value());
}

TEST_CASE("ipv4: which way a datagram goes") {
  ipv4_config const config{{10, 0, 2, 15}, 24, {10, 0, 2, 2}};
  CHECK(config.next_hop({10, 0, 2, 99}) == ipv4_address(10, 0, 2, 99));
  CHECK(config.next_hop({192, 0, 2, 1}) == ipv4_address(10, 0, 2, 2));
  for (auto const none : {config.address, ipv4_address(), ipv4_address::broadcast(), ipv4_address(10, 0, 2, 255),
                          ipv4_address(10, 0, 2, 0), ipv4_address(127, 0, 0, 1), ipv4_address(224, 0, 0, 1)})
    CHECK_FALSE(config.next_hop(none).has_value());
  CHECK_FALSE(ipv4_config{{10, 0, 2, 15}, 24, {}}.next_hop({192, 0, 2, 1}).has_value());
}

TEST_CASE("ipv4: networks of all sizes") {
  ipv4_config const everything{{10, 0, 2, 15}, 0, {}};
  CHECK(everything.on_link({192, 0, 2, 1}));
  ipv4_config const pair{{10, 0, 2, 14}, 31, {}};
  CHECK(pair.next_hop({10, 0, 2, 15}) == ipv4_address(10, 0, 2, 15));
  CHECK_FALSE(pair.is_broadcast({10, 0, 2, 15}));
  ipv4_config const alone{{10, 0, 2, 15}, 32, {}};
  CHECK(alone.valid());
  CHECK_FALSE(alone.next_hop({10, 0, 2, 14}).has_value());
  ipv4_config const four{{10, 0, 2, 13}, 30, {}};
  CHECK(four.is_broadcast({10, 0, 2, 15}));
  CHECK_FALSE(four.is_broadcast({10, 0, 2, 255}));
}
