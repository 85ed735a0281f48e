// sanitizer: thread
#include <exo/workers.hpp>

#include <atomic>
#include <catch2/catch.hpp>
#include <chrono>
#include <exo/parallel.hpp>
#include <set>

#include "machine_with_loops.hpp"

using exo::core_id;
using exo::u32;
using exo::u64;
namespace parallel = exo::parallel;

namespace {

/// Waits until something is so; false if it takes too long.
template <typename Condition>
bool waits_for(Condition condition) {
  u64 const deadline = exo::deadline_in(std::chrono::seconds(60));
  while (!condition() && exo::ticks() < deadline) exo::pause();
  return condition();
}

}  // namespace

TEST_CASE("workers: cores that are busy are left out; a pool in a pool is empty") {
  machine_with_loops machine({.cores = 3, .dead_cores = 1});
  std::atomic<bool> stop = false;
  exo::job endless([&] {
    while (!stop) exo::pause();
  });
  auto running = exo::run_on(core_id{1}, endless);
  REQUIRE(running);
  {
    exo::workers pool;
    CHECK(pool.size() == 2);
    exo::workers inner;
    CHECK(inner.size() == 1);
    CHECK(exo::workers::current() == &pool);
  }
  CHECK(exo::workers::current() == nullptr);
  exo::workers one(1);
  CHECK(one.size() == 1);
  stop = true;
}

TEST_CASE("workers: all memory comes back, and cores can be had again") {
  machine_with_loops machine;
  for (int round = 0; round < 50; ++round) {
    exo::workers pool(round % 2 == 0 ? 4 : 2, round % 3);
    CHECK(pool.size() == (round % 2 == 0 ? 4 : 2));
    std::atomic<u32> ran = 0;
    parallel::invoke([&] { ++ran; }, [&] { ++ran; });
    CHECK(ran == 2);
  }
  CHECK(machine.kept_nothing());
}

TEST_CASE("workers: cores that halt are woken for work") {
  machine_with_loops machine;
  exo::workers pool(~u32{0}, 0);
  for (int round = 0; round < 20; ++round) {
    std::atomic<u32> there = 0;
    bool everyone = true;
    std::vector<int> parts(8);
    parallel::for_each(parts.begin(), parts.end(), [&](int) {
      if (there < 4) ++there;
      if (!waits_for([&] { return there >= 4; })) everyone = false;
    });
    CHECK(everyone);
  }
}

// What nobody was free for when it was forked is taken by who is free later: the fork's first half waits for the second.
TEST_CASE("workers: a core that becomes free takes what was forked before") {
  machine_with_loops machine({.cores = 2});
  exo::workers pool;
  std::atomic<bool> busy = false, forked = false, stolen = false;
  bool in_time = false;
  parallel::invoke(
      [&] {
        waits_for([&] { return busy.load(); });
        parallel::invoke(
            [&] {
              forked = true;
              in_time = waits_for([&] { return stolen.load(); });
            },
            [&] { stolen = true; });
      },
      [&] {
        busy = true;
        waits_for([&] { return forked.load(); });
      });
  CHECK(in_time);
}

// While core A waits for a helper it leaves a loop alone that another core has opened for all.
TEST_CASE("workers: who waits helps with nothing that is not its own") {
  machine_with_loops machine({.cores = 3});
  exo::workers pool;
  core_id waiting{};
  std::atomic<bool> helped = false, left = false, looped = false;
  std::atomic<u32> strangers = 0;
  parallel::invoke(
      [&] {
        waiting = exo::this_core();
        parallel::invoke([&] { waits_for([&] { return helped.load(); }); },
                         [&] {
                           helped = true;
                           waits_for([&] { return looped.load(); });
                         });
        left = true;
      },
      [&] {
        waits_for([&] { return helped.load(); });
        std::vector<int> parts(2000);
        parallel::for_each(parts.begin(), parts.end(), [&](int) {
          strangers += exo::this_core() == waiting && !left;
          for (int turn = 0; turn < 200; ++turn) exo::pause();
        });
        looped = true;
      });
  CHECK(strangers == 0);
}

TEST_CASE("workers: who waits takes what its helper forks") {
  machine_with_loops machine({.cores = 2});
  exo::workers pool;
  std::atomic<bool> begun = false, back = false;
  bool in_time = false;
  core_id helper{};
  parallel::invoke([&] { waits_for([&] { return begun.load(); }); },
                   [&] {
                     helper = exo::this_core();
                     begun = true;
                     if (helper == core_id{0}) return;
                     parallel::invoke([&] { in_time = waits_for([&] { return back.load(); }); },
                                      [&] { back = exo::this_core() == core_id{0}; });
                   });
  CHECK(helper == core_id{1});
  CHECK(in_time);
}

TEST_CASE("workers: uneven work evens out") {
  machine_with_loops machine;
  exo::workers pool;
  // The first of 64 parts takes until all others are done: so others do them.
  std::atomic<u32> done = 0;
  bool in_time = false;
  std::vector<u32> parts(64);
  for (u32 at = 0; at < parts.size(); ++at) parts[at] = at;
  parallel::for_each(parts.begin(), parts.end(), [&](u32 each) {
    if (each == 63) in_time = waits_for([&] { return done == 63; });
    ++done;
  });
  CHECK(in_time);
}
