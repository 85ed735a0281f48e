#include <catch2/catch.hpp>
#include <exo/net/arp.hpp>

#include "fake_wire.hpp"

using namespace exo::net;

namespace {
bytes const request = hex("0001 0800 06 04 0001 525500000002 0a000202 000000000000 0a00020f");
}

TEST_CASE("arp: reads a request") {
  auto const view = arp_view::parse(request);
  REQUIRE(view);
  CHECK(view->operation() == arp_operation::request);
  CHECK(view->sender_mac() == mac_address{{0x52, 0x55, 0, 0, 0, 2}});
  CHECK(view->sender() == ipv4_address(10, 0, 2, 2));
  CHECK(view->target_mac() == mac_address());
  CHECK(view->target() == ipv4_address(10, 0, 2, 15));
}

TEST_CASE("arp: emit writes what parse reads, and padding behind it does not matter") {
  bytes out(28, std::byte{0xDD});
  emit(arp_message{arp_operation::request, {{0x52, 0x55, 0, 0, 0, 2}}, {10, 0, 2, 2}, {}, {10, 0, 2, 15}}, out);
  CHECK(out == request);
  CHECK(arp_view::parse(join({request, bytes(18)})).has_value());
}

TEST_CASE("arp: bad input") {
  for (std::size_t size = 0; size < request.size(); ++size)
    CHECK(arp_view::parse(bytes(request.begin(), request.begin() + static_cast<long>(size))).error() ==
          drop::too_short);
  auto const with = [](std::size_t at, int value) {
    bytes message = request;
    message[at] = static_cast<std::byte>(value);
    return arp_view::parse(message).error();
  };
  CHECK(with(1, 6) == drop::bad_version);     // hardware
  CHECK(with(3, 1) == drop::bad_version);     // protocol
  CHECK(with(4, 8) == drop::bad_version);     // hardware address size
  CHECK(with(5, 16) == drop::bad_version);    // protocol address size
  CHECK(with(7, 0) == drop::unknown_kind);    // operation
  CHECK(with(7, 3) == drop::unknown_kind);
  CHECK(with(8, 0x53) == drop::bad_source);   // a group as the sender
}
