#include <catch2/catch.hpp>
#include <exo/net/checksum.hpp>
#include <random>

#include "fake_wire.hpp"

using exo::net::checksum;

namespace {

/// As RFC 1071 defines it, two bytes at a time.
exo::net::u16 by_definition(bytes data) {
  if (data.size() % 2 != 0) data.push_back(std::byte{0});
  exo::net::u32 sum = 0;
  for (std::size_t at = 0; at < data.size(); at += 2) {
    sum += exo::net::load16(data, at);
    sum = (sum & 0xFFFF) + (sum >> 16);
  }
  return static_cast<exo::net::u16>(~sum);
}

}  // namespace

TEST_CASE("checksum: the example of RFC 1071 §3") {
  CHECK(checksum().add(hex("0001 f203 f4f5 f6f7")).value() == 0xFFFF - 0xDDF2);
}

TEST_CASE("checksum: an IPv4 header, to fill and to verify") {
  CHECK(checksum().add(hex("4500 0073 0000 4000 4011 0000 c0a8 0001 c0a8 00c7")).value() == 0xB861);
  CHECK(checksum().add(hex("4500 0073 0000 4000 4011 b861 c0a8 0001 c0a8 00c7")).value() == 0);
}

TEST_CASE("checksum: nothing, one byte, all ones") {
  CHECK(checksum().value() == 0xFFFF);
  CHECK(checksum().add(std::span<std::byte const>()).value() == 0xFFFF);
  CHECK(checksum().add(hex("ab")).value() == 0x54FF);
  CHECK(checksum().add(bytes(65536, std::byte{0xFF})).value() == 0);
}

TEST_CASE("checksum: a number counts as its two bytes") {
  CHECK(checksum().add(exo::net::u16{0x1234}).value() == checksum().add(hex("1234")).value());
}

TEST_CASE("checksum: any bytes, cut anywhere, equal the definition") {
  std::mt19937 random(1);
  for (std::size_t size = 0; size < 300; ++size) {
    bytes data(size);
    for (auto &each : data) each = static_cast<std::byte>(random());
    std::span<std::byte const> const all(data);
    REQUIRE(checksum().add(all).value() == by_definition(data));
    std::size_t const first = random() % (size + 1);
    std::size_t const second = first + random() % (size - first + 1);
    REQUIRE(checksum()
                .add(all.first(first))
                .add(all.subspan(first, second - first))
                .add(all.subspan(second))
                .value() == by_definition(data));
  }
}
