#include <catch2/catch.hpp>
#include <exo/symbols.hpp>

#include "fake.hpp"

TEST_CASE("without a table an address is a number") {
  fake::machine machine;
  exo::symbol const where = exo::symbol::of(0x201234);
  CHECK(where.name.empty());
  char text[32];
  CHECK(exo::format_to(text, "{}", where) == "0x201234");
  CHECK(exo::format_to(text, "{}", exo::symbol{.address = 1, .name = "f(int)", .offset = 18}) == "f(int)+0x12");
}
