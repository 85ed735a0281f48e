#include <exo/task.hpp>

#include <catch2/catch.hpp>
#include <chrono>
#include <exo/when.hpp>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "machine_with_loops.hpp"

using exo::error;
using exo::result;
using exo::task;
using exo::u64;
using namespace std::chrono_literals;

namespace {

task<int> twice(int value) { co_return 2 * value; }
task<result<int>> half(int value) {
  if (value % 2 != 0) co_return std::unexpected(error::range);
  co_return value / 2;
}
task<std::unique_ptr<int>> boxed(int value) { co_return std::make_unique<int>(value); }
task<u64> depth(u64 levels) {
  if (levels == 0) co_return 0;
  co_return 1 + co_await depth(levels - 1);
}
task<u64> depth_that_waits(u64 levels) {
  if (levels != 0) {
    u64 const below = co_await depth_that_waits(levels - 1);
    co_return 1 + below;
  }
  co_await exo::yield();
  co_return 0;
}

struct object {
  int value = 20;
  task<int> plus(int other) const { co_return value + other; }
  task<void> set(int other) {
    value = other;
    co_return;
  }
};

}  // namespace

TEST_CASE("task: values, results, objects that only move, member functions, lambdas") {
  machine_with_loops machine({.cores = 1});
  auto const outcome = exo::run([]() -> task<std::string> {
    CHECK(co_await twice(21) == 42);
    CHECK(co_await half(42) == 21);
    CHECK((co_await half(21)).error() == error::range);
    CHECK(*co_await boxed(7) == 7);
    CHECK(co_await depth(200) == 200);
    object thing;
    CHECK(co_await thing.plus(22) == 42);
    co_await thing.set(1);
    CHECK(thing.value == 1);
    int seen = 0;
    co_await [](int &into) -> task<void> {
      into = 5;
      co_return;
    }(seen);
    CHECK(seen == 5);
    auto later = twice(4);
    int const doubled = co_await std::move(later);
    CHECK(doubled == 8);
    co_return "done";
  });
  CHECK(outcome == std::string("done"));
  CHECK(machine.kept_nothing());
}

TEST_CASE("task: children that nest deeply wait for room on the stack, but for nothing else") {
  machine_with_loops machine({.cores = 1});
  CHECK(exo::run([]() -> task<void> {
    static bool others_ran;
    others_ran = false;
    exo::scope others;
    auto const other = []() -> task<void> {
      co_await exo::yield();
      others_ran = true;
    };
    CHECK(others.spawn(other()));
    u64 const levels = co_await depth(500);
    CHECK(levels == 500);
    CHECK(!others_ran);
    u64 const waited = co_await depth_that_waits(500);
    CHECK(waited == 500);
    CHECK(others_ran);
    CHECK(co_await others.join());
  }));
  CHECK(machine.kept_nothing());
}

TEST_CASE("task: what the first one returns is what run returns") {
  machine_with_loops machine({.cores = 1});
  CHECK(exo::run([]() -> task<result<int>> { co_return 3; }) == 3);
  CHECK(exo::run([]() -> task<result<int>> { co_return std::unexpected(error::io); }).error() == error::io);
  CHECK(exo::run([]() -> task<result<void>> { co_return std::unexpected(error::io); }).error() == error::io);
  CHECK(exo::run([]() -> task<result<void>> { co_return {}; }));
}

TEST_CASE("task: delays end in their order, and not too early") {
  machine_with_loops machine({.cores = 1});
  CHECK(exo::run([]() -> task<void> {
    auto const begin = exo::clock::now();
    CHECK(co_await exo::delay(5ms));
    CHECK(exo::clock::now() - begin >= 5ms);
    CHECK(co_await exo::delay(-5ms));
    CHECK(co_await exo::delay_until(0));
    CHECK(co_await exo::delay_until(exo::ticks() - 1));
  }));
}

TEST_CASE("task: yield lets others run, in turns") {
  machine_with_loops machine({.cores = 1});
  static std::vector<int> order;
  order.clear();
  CHECK(exo::run([]() -> task<void> {
    for (int which : {1, 2}) {
      CHECK(exo::spawn([](int number) -> task<void> {
        for (int turn = 0; turn < 3; ++turn) {
          order.push_back(number);
          co_await exo::yield();
        }
      }(which)));
    }
    while (order.size() < 6) co_await exo::yield();
  }));
  CHECK(order == std::vector<int>{1, 2, 1, 2, 1, 2});
}

TEST_CASE("task: no frame is an error value, or a panic that says so") {
  machine_with_loops machine({.cores = 1});
  CHECK(exo::run([]() -> task<void> {
    std::vector<exo::pages> taken;
    for (u64 bytes = u64{1} << 23; bytes >= exo::page_bytes; bytes /= 2) {
      while (auto more = exo::pages::take(bytes)) taken.push_back(std::move(*more));
    }
    std::vector<task<result<int>>> made;  // until the pool has no frame left
    do {
      made.push_back(half(2));
    } while (made.back().frame());
    CHECK((co_await std::move(made.back())).error() == error::memory);
    CHECK(exo::spawn([]() -> task<void> { co_return; }()).error() == error::memory);
    auto const [one, other] = co_await exo::when_all(half(2), half(2));
    CHECK(one.error() == error::memory);
    CHECK(other.error() == error::memory);
    auto const limited = co_await exo::with_timeout(1h, half(2));
    CHECK(limited.error() == error::memory);
    taken.clear();
    CHECK(co_await half(2) == 1);
  }));
  CHECK(machine.kept_nothing());
}

TEST_CASE("task: after warm-up, no memory is taken") {
  machine_with_loops machine({.cores = 1});
  CHECK(exo::run([]() -> task<void> {
    CHECK(co_await twice(1) == 2);
    u64 const free = exo::system_pages.free().bytes;
    for (int turn = 0; turn < 1000; ++turn) CHECK(co_await twice(turn) == 2 * turn);
    CHECK(exo::system_pages.free().bytes == free);
  }));
}
