#include <catch2/catch.hpp>
#include <exo/net/udp.hpp>

#include "fake_wire.hpp"

using namespace exo::net;

namespace {

/// A datagram from 10.0.2.2 to 10.0.2.15 around a UDP message.
bytes around(bytes const &message) {
  bytes out(20 + message.size());
  auto const payload = emit(ipv4_header{{10, 0, 2, 2}, {10, 0, 2, 15}, ipv4_protocol::udp}, std::span(out));
  std::ranges::copy(message, payload.begin());
  return out;
}

/// Port 4660 to 7, "hey"; the checksum was computed apart.
bytes const message = hex("1234 0007 000b f426 686579");

std::expected<udp_view, drop> parsed(bytes const &datagram, bool checksum_good = false) {
  return udp_view::parse(*ipv4_view::parse(datagram), checksum_good);
}

}  // namespace

TEST_CASE("udp: reads a message") {
  bytes const datagram = around(message);
  auto const view = parsed(datagram);
  REQUIRE(view);
  CHECK(view->source_port() == 0x1234);
  CHECK(view->destination_port() == 7);
  CHECK(bytes(view->payload().begin(), view->payload().end()) == text("hey"));
}

TEST_CASE("udp: emit writes what parse reads") {
  bytes out(11, std::byte{0xDD});
  emit(udp_header{{10, 0, 2, 2}, {10, 0, 2, 15}, 0x1234, 7}, text("hey"), out);
  CHECK(out == message);
}

TEST_CASE("udp: a sum of 0 is sent as 0xFFFF, which verifies") {
  udp_header const header{{10, 0, 2, 2}, {10, 0, 2, 15}, 0, 7};
  bytes out(10);
  emit(header, hex("0000"), out);
  bytes const remainder(out.begin() + 6, out.begin() + 8);  // as payload it makes the sum 0
  emit(header, remainder, out);
  CHECK(load16(out, 6) == 0xFFFF);
  CHECK(parsed(around(out)).has_value());
}

TEST_CASE("udp: no checksum made by the sender") {
  bytes unsummed = message;
  store16(unsummed, 6, 0);
  CHECK(parsed(around(unsummed)).has_value());
}

TEST_CASE("udp: damage is noticed, in the message and in the addresses") {
  for (std::size_t bit = 0; bit < message.size() * 8; ++bit) {
    bytes damaged = message;
    damaged[bit / 8] ^= std::byte{1} << (bit % 8);
    CHECK_FALSE(parsed(around(damaged)).has_value());
  }
  bytes out(20 + message.size());
  std::ranges::copy(message,
                    emit(ipv4_header{{10, 0, 2, 3}, {10, 0, 2, 15}, ipv4_protocol::udp}, std::span(out)).begin());
  CHECK(parsed(out).error() == drop::bad_checksum);
}

TEST_CASE("udp: the device vouches for the checksum") {
  bytes unfilled = message;
  store16(unfilled, 6, 0xDEAD);
  bytes const datagram = around(unfilled);
  CHECK(parsed(datagram).error() == drop::bad_checksum);
  CHECK(parsed(datagram, true).has_value());
}

TEST_CASE("udp: bad lengths") {
  for (std::size_t size = 0; size < 8; ++size)
    CHECK(parsed(around(bytes(message.begin(), message.begin() + static_cast<long>(size)))).error() ==
          drop::too_short);
  auto const with_length = [](u16 length) {
    bytes changed = message;
    store16(changed, 4, length);
    store16(changed, 6, 0);
    return changed;
  };
  for (u16 const length : std::initializer_list<u16>{0, 7, 12, 0xFFFF})
    CHECK(parsed(around(with_length(length))).error() == drop::bad_length);
  bytes const shorter = around(with_length(9));
  CHECK(parsed(shorter)->payload().size() == 1);
  bytes const empty = around(with_length(8));
  CHECK(parsed(empty)->payload().empty());
}
