#include <catch2/catch.hpp>
#include <exo/net/icmp.hpp>

#include "fake_wire.hpp"

using namespace exo::net;

namespace {
bytes const request = hex("08 00 ce35 0001 0002 6162 6364 65");  // the checksum was computed apart; an odd length
}

TEST_CASE("icmp: reads an echo request") {
  auto const view = icmp_echo_view::parse(request);
  REQUIRE(view);
  CHECK(view->type() == icmp_type::echo_request);
  CHECK(view->identifier() == 1);
  CHECK(view->sequence() == 2);
  CHECK(bytes(view->payload().begin(), view->payload().end()) == text("abcde"));
}

TEST_CASE("icmp: emit writes what parse reads") {
  bytes out(request.size(), std::byte{0xDD});
  emit(icmp_echo_header{icmp_type::echo_request, 1, 2}, text("abcde"), out);
  CHECK(out == request);
}

TEST_CASE("icmp: bad input") {
  for (std::size_t size = 0; size < 8; ++size)
    CHECK(icmp_echo_view::parse(bytes(request.begin(), request.begin() + static_cast<long>(size))).error() ==
          drop::too_short);
  for (std::size_t bit = 0; bit < request.size() * 8; ++bit) {
    bytes damaged = request;
    damaged[bit / 8] ^= std::byte{1} << (bit % 8);
    CHECK(icmp_echo_view::parse(damaged).error() == drop::bad_checksum);
  }
  CHECK(icmp_echo_view::parse(hex("03 03 fcfc 0000 0000")).error() == drop::unknown_kind);  // port unreachable
  CHECK(icmp_echo_view::parse(hex("08 01 f7fe 0000 0000")).error() == drop::unknown_kind);  // code 1
  CHECK(icmp_echo_view::parse(hex("08 00 f7ff 0000 0000"))->payload().empty());
}
