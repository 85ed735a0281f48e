// sanitizer: thread
#include <exo/smp.hpp>

#include <atomic>
#include <catch2/catch.hpp>
#include <chrono>
#include <thread>
#include <vector>

#include "fake.hpp"

using exo::core_id;
using exo::u32;
using exo::u64;
using namespace std::chrono_literals;

TEST_CASE("smp: a job runs on its core and is waited for") {
  fake::machine machine({.cores = 3, .dead_cores = 1});
  CHECK(exo::core_count() == 3);
  for (int round = 0; round < 200; ++round) {
    core_id where{99};
    exo::job work([&] { where = exo::this_core(); });
    auto running = exo::run_on(core_id{2}, work);
    REQUIRE(running);
    running->wait();
    CHECK(running->done());
    CHECK(where == core_id{2});
    running->wait();
  }
}

TEST_CASE("smp: a job can run again, and its handle can move") {
  fake::machine machine({.cores = 3});
  std::atomic<int> runs = 0;
  exo::job work([&] {
    std::this_thread::sleep_for(2ms);
    ++runs;
  });
  {
    auto first = exo::run_on(core_id{1}, work);
    REQUIRE(first);
    exo::running_job const moved = std::move(*first);
    CHECK(exo::run_on(core_id{1}, work).error() == exo::error::busy);
    CHECK(exo::run_on(core_id{2}, work).error() == exo::error::busy);  // the job is
  }
  CHECK(runs == 1);
  auto again = exo::run_on(core_id{1}, work);
  auto other = exo::run_on(core_id{1}, work);
  CHECK(!other);
  *again = std::move(*again);
  again->wait();
  CHECK(runs == 2);
  exo::job nothing([] {});
  again = exo::run_on(core_id{1}, work);
  auto quick = exo::run_on(core_id{2}, nothing);
  REQUIRE((again && quick));
  *again = std::move(*quick);  // waits for its own first
  CHECK(runs == 3);
}

TEST_CASE("smp: cores that cannot run a job") {
  fake::machine machine({.cores = 2, .dead_cores = 1});
  exo::job work([] {});
  CHECK(exo::run_on(core_id{0}, work).error() == exo::error::busy);
  CHECK(exo::run_on(core_id{2}, work).error() == exo::error::no_such);
  CHECK(exo::run_on(core_id{3}, work).error() == exo::error::no_such);
  CHECK(exo::run_on(core_id{~u32{0}}, work).error() == exo::error::no_such);
  std::atomic<bool> stop = false;
  exo::job endless([&] {
    while (!stop) std::this_thread::yield();
  });
  auto running = exo::run_on(core_id{1}, endless);
  REQUIRE(running);
  CHECK(exo::run_on(core_id{1}, work).error() == exo::error::busy);
  stop = true;
}

TEST_CASE("smp: run_on_all uses every idle core once, and leaves busy ones out") {
  fake::machine machine({.cores = 4, .dead_cores = 1});
  for (int round = 0; round < 100; ++round) {
    std::atomic<u32> seen = 0;
    CHECK(exo::run_on_all([&] { seen |= 1u << static_cast<u32>(exo::this_core()); }) == 4);
    CHECK(seen == 0b1111);
  }
  std::atomic<bool> stop = false;
  exo::job endless([&] {
    while (!stop) std::this_thread::yield();
  });
  auto running = exo::run_on(core_id{2}, endless);
  std::atomic<u32> seen = 0;
  CHECK(exo::run_on_all([&] { seen |= 1u << static_cast<u32>(exo::this_core()); }) == 3);
  CHECK(seen == 0b1011);
  CHECK(exo::run_on_all([] {}, 2) == 2);
  stop = true;
}

TEST_CASE("smp: parallel_for meets every index once") {
  fake::machine machine({.cores = 4});
  for (u64 const count : {0, 1, 2, 7, 1000, 12345}) {
    for (u64 const grain : {0, 1, 100}) {
      std::vector<std::atomic<int>> met(count);
      exo::parallel_for(u64{0}, count, [&](u64 index) { ++met[index]; }, grain);
      CHECK(std::all_of(met.begin(), met.end(), [](auto const &times) { return times == 1; }));
    }
  }
  std::atomic<int> sum = 0;
  exo::parallel_for(-100, 101, [&](int index) { sum += index; });
  CHECK(sum == 0);
  exo::parallel_for(5, -5, [&](int) { ++sum; });
  CHECK(sum == 0);
  std::atomic<u64> covered = 0;
  exo::parallel_for(u64{10}, 1010, [&](u64 first, u64 last) { covered += last - first; }, 64);
  CHECK(covered == 1000);
}

TEST_CASE("smp: parallel_for inside a job uses what is idle") {
  fake::machine machine({.cores = 3});
  std::atomic<u64> sum = 0;
  exo::job work([&] { exo::parallel_for(u64{0}, 1000, [&](u64 index) { sum += index; }); });
  auto running = exo::run_on(core_id{1}, work);
  exo::parallel_for(u64{0}, 1000, [&](u64 index) { sum += index; });
  running->wait();
  CHECK(sum == 2 * 499'500);
}

TEST_CASE("smp: a waiting core halts and is woken") {
  fake::machine machine({.cores = 2});
  exo::job slow([] { std::this_thread::sleep_for(50ms); });
  auto running = exo::run_on(core_id{1}, slow);
  REQUIRE(running);
  exo::wake(core_id{0});  // a wake for something else ends nothing
  running->wait();
  CHECK(running->done());
}
