#include <exo/core.hpp>

#include <catch2/catch.hpp>
#include <exo/result.hpp>
#include <string>

#include "fake.hpp"

TEST_CASE("core: every error has a sentence") {
#define EXO_NOTE(text)
#define EXO_ERROR(value, name, doc) CHECK(std::string(exo::explain(exo::error::name)) == doc);
#include "../../api/abi/errors.inc"
#undef EXO_ERROR
#undef EXO_NOTE
  CHECK(std::string(exo::explain(exo::error{9999})).find("does not know") != std::string::npos);
}

TEST_CASE("core: results of calls") {
  CHECK(exo::checked(0).value() == 0);
  CHECK(exo::checked(7).value() == 7);
  CHECK(exo::checked(-2).error() == exo::error::range);
  CHECK(exo::done(0).has_value());
  CHECK(exo::done(-10).error() == exo::error::io);
}

TEST_CASE("core: a list steps by the records' own size") {
  struct longer {
    exo::memory_range range;
    exo::u64 new_field;
  };
  longer const records[] = {{{4096, 8192}, 1}, {{65536, 4096}, 2}};
  exo::list<exo::memory_range> const list{&records[0].range, 2, sizeof(longer)};
  REQUIRE(list.size() == 2);
  CHECK(list[1].first == 65536);
  exo::u64 sum = 0;
  for (exo::memory_range const &each : list) sum += each.bytes;
  CHECK(sum == 8192 + 4096);
  CHECK(exo::list<exo::memory_range>{nullptr, 0, 16}.empty());
}

TEST_CASE("core: the table goes to the machine") {
  fake::machine machine({.cores = 2});
  CHECK(exo::info().cores.size() == 2);
  CHECK(exo::this_core() == exo::core_id{0});
  CHECK(exo::core().core_wake(7) == -static_cast<exo::i64>(exo::error::no_such));
  CHECK(exo::core().core_start(0, [](void *) {}, nullptr) == -static_cast<exo::i64>(exo::error::busy));
  CHECK(exo::core().core_start(1, nullptr, nullptr) == -static_cast<exo::i64>(exo::error::pointer));
  CHECK_THROWS_AS(exo::core().sys_exit(3), fake::exited);
}

TEST_CASE("core: events stay until they are collected") {
  fake::machine machine({.cores = 1});
  CHECK(exo::core().core_idle(0) == 0);
  exo::core().core_wake(0);
  CHECK(exo::core().core_idle(exo::ticks() + exo::info().tsc_hz) == 1 << exo::event_wake);
  CHECK(exo::core().core_idle(0) == 0);
  exo::core().timer_set(exo::ticks() + exo::info().tsc_hz / 1000);
  CHECK(exo::core().core_idle(~exo::u64{0}) == 1 << exo::event_timer);
}
