#include <catch2/catch.hpp>
#include <exo/net/ethernet.hpp>

#include "fake_wire.hpp"

using namespace exo::net;

TEST_CASE("ethernet: reads a header") {
  bytes const frame = hex("525400123456 525500000002 0800 4500");
  auto const view = ethernet_view::parse(frame);
  REQUIRE(view);
  CHECK(view->destination() == mac_address{{0x52, 0x54, 0, 0x12, 0x34, 0x56}});
  CHECK(view->source() == mac_address{{0x52, 0x55, 0, 0, 0, 2}});
  CHECK(view->type() == ethernet_type::ipv4);
  CHECK((view->payload().size() == 2 && view->payload()[0] == std::byte{0x45}));
}

TEST_CASE("ethernet: emit writes what parse reads") {
  bytes frame(16, std::byte{0xDD});
  auto const payload =
      emit(ethernet_header{mac_address::broadcast(), {{2, 0, 0, 0, 0, 1}}, ethernet_type::arp}, std::span(frame));
  CHECK(frame == hex("ffffffffffff 020000000001 0806 dddd"));
  CHECK((payload.size() == 2 && payload.data() == frame.data() + 14));
}

TEST_CASE("ethernet: every length below a header is too short") {
  for (std::size_t size = 0; size < 14; ++size)
    CHECK(ethernet_view::parse(bytes(size)).error() == drop::too_short);
  CHECK(ethernet_view::parse(bytes(14))->payload().empty());
}

TEST_CASE("ethernet: nobody sends from a group address") {
  CHECK(ethernet_view::parse(hex("525400123456 ffffffffffff 0800")).error() == drop::bad_source);
  CHECK(ethernet_view::parse(hex("525400123456 01005e000001 0800")).error() == drop::bad_source);
}
