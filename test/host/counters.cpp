#include <catch2/catch.hpp>
#include <exo/counters.hpp>
#include <string>
#include <vector>

#include "fake.hpp"

TEST_CASE("counters are listed while they live, with their values of now") {
  fake::machine machine;
  exo::u64 frames = 1, drops = 7;
  auto const listed = [] {
    std::string all;
    exo::counters.each([&](std::string_view name, exo::u32 number, exo::u64 value) {
      all += std::string(name) + std::to_string(number) + "=" + std::to_string(value) + " ";
    });
    return all;
  };
  {
    exo::counted const first("frames", 0, frames);
    exo::counted second("drops", 3, drops);
    CHECK(first.is_listed());
    frames = 2;
    CHECK(listed() == "frames0=2 drops3=7 ");
    exo::counted const moved(std::move(second));
    CHECK(!second.is_listed());
    CHECK(listed() == "frames0=2 drops3=7 ");
    exo::print_counters();
    CHECK(machine.take_output() == "frames             0                    2\ndrops              3                    7\n");
  }
  CHECK(listed().empty());
  std::atomic<exo::u64> turns = 5;
  exo::counted const third("turns", 1, turns);
  ++turns;
  CHECK(listed() == "turns1=6 ");
}

TEST_CASE("a page has room for so many counters, with names of so many letters") {
  fake::machine machine;
  exo::u64 value = 0;
  CHECK(exo::counters.add("", 0, value).error() == exo::error::range);
  CHECK(exo::counters.add("sixteen letters.", 0, value).error() == exo::error::range);
  CHECK(!exo::counted("sixteen letters.", 0, value).is_listed());
  std::vector<exo::counted> all;
  for (exo::u32 number = 0; number < exo::counter_page::room; ++number) all.emplace_back("fifteen letters", number, value);
  CHECK(all.back().is_listed());
  CHECK(exo::counters.add("one more", 0, value).error() == exo::error::memory);
  all.erase(all.begin());
  CHECK(exo::counted("one more", 0, value).is_listed());
}
