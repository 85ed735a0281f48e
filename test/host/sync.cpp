// sanitizer: thread
#include <exo/sync.hpp>

#include <atomic>
#include <catch2/catch.hpp>
#include <chrono>
#include <exo/smp.hpp>
#include <thread>

#include "fake.hpp"

using exo::core_id;
using exo::u32;
using namespace std::chrono_literals;

TEST_CASE("barrier: nobody gets ahead") {
  fake::machine machine({.cores = 4});
  constexpr int phases = 200;
  std::atomic<int> arrived = 0;
  std::atomic<bool> wrong = false;
  exo::barrier everyone(4);
  exo::run_on_all([&] {
    for (int phase = 1; phase <= phases; ++phase) {
      ++arrived;
      everyone.arrive_and_wait();
      if (arrived < 4 * phase) wrong = true;
      everyone.arrive_and_wait();
      if (arrived != 4 * phase) wrong = true;
      everyone.arrive_and_wait();
    }
  });
  CHECK(!wrong);
  CHECK(arrived == 4 * phases);
  exo::barrier alone(1);
  alone.arrive_and_wait();
  alone.arrive_and_wait();
}

TEST_CASE("latch: all wait until the count is 0, and nobody afterwards") {
  fake::machine machine({.cores = 4});
  for (int round = 0; round < 200; ++round) {
    exo::latch ready(4);
    std::atomic<u32> before = 0;
    std::atomic<bool> wrong = false;
    exo::run_on_all([&] {
      ++before;
      ready.arrive_and_wait();
      if (before != 4) wrong = true;
    });
    CHECK(!wrong);
    CHECK(ready.try_wait());
    ready.wait();
  }
}

TEST_CASE("latch: counts that are 0, several at once, or too many") {
  fake::machine machine({.cores = 2});
  exo::latch none(0);
  CHECK(none.try_wait());
  none.wait();
  none.count_down();
  exo::latch three(3);
  three.count_down(2);
  CHECK(!three.try_wait());
  three.count_down(5);
  CHECK(three.try_wait());
  three.count_down();
  CHECK(three.try_wait());
}

TEST_CASE("latch: a core that halts for it is woken") {
  fake::machine machine({.cores = 2});
  exo::latch ready(1);
  exo::job slow([&] {
    std::this_thread::sleep_for(20ms);
    ready.count_down();
  });
  auto running = exo::run_on(core_id{1}, slow);
  REQUIRE(running);
  exo::wake(core_id{0});  // a wake for something else ends nothing
  ready.wait();
  CHECK(ready.try_wait());
}

TEST_CASE("once: one core does it, and it is done for all") {
  fake::machine machine({.cores = 4});
  for (int round = 0; round < 200; ++round) {
    exo::once first;
    int made = 0;  // no atomic: once has to order it
    std::atomic<bool> wrong = false;
    exo::run_on_all([&] {
      first.call([&] { ++made; });
      if (made != 1) wrong = true;
      first.call([&] { ++made; });
    });
    CHECK(!wrong);
    CHECK(made == 1);
  }
}
