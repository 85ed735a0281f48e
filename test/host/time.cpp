#include <exo/time.hpp>

#include <catch2/catch.hpp>
#include <string>

#include "fake.hpp"

using namespace std::chrono_literals;

TEST_CASE("time: ticks and nanoseconds, exactly") {
  fake::machine machine({.cores = 1});
  for (exo::u64 const hz : {exo::u64{1'000'000'000}, exo::u64{2'894'562'123}, exo::u64{18'000'000'000}}) {
    const_cast<exo::machine_info &>(exo::info()).tsc_hz = hz;
    CHECK(exo::clock::duration_of(hz) == 1s);
    CHECK(exo::clock::duration_of(hz * 100'000'000) == 100'000'000s);  // three years
    CHECK(exo::clock::ticks_in(100'000'000s) == hz * 100'000'000);
    CHECK(exo::clock::duration_of(hz - 1) < 1s);
    for (exo::u64 const some : {exo::u64{1}, hz / 3, hz * 12345 + 678}) {
      auto const length = exo::clock::duration_of(some);
      CHECK(exo::clock::duration_of(exo::clock::ticks_in(length)) >= length);
      CHECK(exo::clock::ticks_in(length) <= some);
    }
  }
  CHECK(exo::clock::ticks_in(0ns) == 0);
  CHECK(exo::clock::ticks_in(-5s) == 0);
  CHECK(exo::clock::ticks_in(1ns) == 18);
}

TEST_CASE("time: what lies too far has no deadline") {
  fake::machine machine({.cores = 1});
  const_cast<exo::machine_info &>(exo::info()).tsc_hz = 4'000'000'000;
  CHECK(exo::clock::ticks_in(exo::clock::duration::max()) == exo::no_deadline);
  CHECK(exo::deadline_in(exo::clock::duration::max()) == exo::no_deadline);
}

TEST_CASE("time: sleeping lasts at least as long as asked") {
  fake::machine machine({.cores = 1});
  auto const begin = exo::clock::now();
  exo::sleep_for(3ms);
  CHECK(exo::clock::now() - begin >= 3ms);
  exo::core().core_wake(0);  // an event does not end it
  exo::sleep_until(begin + 10ms);
  CHECK(exo::clock::now() - begin >= 10ms);
  CHECK(exo::clock::now() - begin < 5s);
  exo::sleep_until(begin);
  exo::sleep_for(-1s);
}

TEST_CASE("time: durations print with their unit") {
  char buffer[64];
  CHECK(exo::format_to(std::span<char>(buffer), "{} {} {} {} {} {}", 5ns, 6us, -7ms, 8s, 9min, 1h) ==
        "5ns 6us -7ms 8s 9min 1h");
}
