#include <exo/when.hpp>

#include <catch2/catch.hpp>
#include <chrono>
#include <string>
#include <variant>

#include "machine_with_loops.hpp"

using exo::error;
using exo::result;
using exo::task;
using exo::u64;
using namespace std::chrono_literals;

namespace {

task<result<int>> after(exo::clock::duration wait, int value) {
  if (auto const waited = co_await exo::delay(wait); !waited) co_return std::unexpected(waited.error());
  co_return value;
}
task<result<void>> sleep(exo::clock::duration wait) { co_return co_await exo::delay(wait); }
task<int> at_once(int value) { co_return value; }
task<void> count(int &into, exo::clock::duration wait) {
  auto const waited = co_await exo::delay(wait);
  if (waited) ++into;
}

/// Goes on for some turns after it was cancelled.
task<result<int>> stubborn(int &turns) {
  result<void> waited;
  while (waited) waited = co_await exo::delay(1h);
  for (; turns < 50; ++turns) co_await exo::yield();
  co_return 7;
}

}  // namespace

TEST_CASE("when_all: everything, at the same time") {
  machine_with_loops machine({.cores = 1});
  CHECK(exo::run([]() -> task<void> {
    int counted = 0;
    auto const begin = exo::clock::now();
    auto [a, b, c, d] = co_await exo::when_all(after(20ms, 1), at_once(2), count(counted, 10ms), after(15ms, 4));
    CHECK(exo::clock::now() - begin >= 20ms);
    CHECK(a == 1);
    CHECK(b == 2);
    CHECK(c == std::monostate());
    CHECK(d == 4);
    CHECK(counted == 1);
    auto [only] = co_await exo::when_all(at_once(5));
    CHECK(only == 5);
    (void)co_await exo::when_all();
  }));
  CHECK(machine.kept_nothing());
}

TEST_CASE("when_any: the first one, and the others are cancelled and joined") {
  machine_with_loops machine({.cores = 1});
  CHECK(exo::run([]() -> task<void> {
    int turns = 0;
    auto [first, values] = co_await exo::when_any(after(1h, 1), after(2ms, 2), stubborn(turns));
    CHECK(first == 1);
    CHECK(std::get<0>(values).error() == error::cancelled);
    CHECK(std::get<1>(values) == 2);
    CHECK(std::get<2>(values) == 7);
    CHECK(turns == 50);
    auto const at_start = co_await exo::when_any(at_once(3), after(1h, 4));
    CHECK(at_start.first == 0);
    CHECK(std::get<1>(at_start.values).error() == error::cancelled);
    auto const late = co_await exo::with_timeout(2ms, [](int) -> task<result<int>> {
      auto const both = co_await exo::when_any(after(1h, 1), after(1h, 2));
      co_return std::get<0>(both.values);
    }(0));
    CHECK(late.error() == error::timeout);
  }));
}

TEST_CASE("with_timeout: in time, too late, in the past") {
  machine_with_loops machine({.cores = 1});
  CHECK(exo::run([]() -> task<void> {
    CHECK(co_await exo::with_timeout(1h, after(1ms, 1)) == 1);
    CHECK((co_await exo::with_timeout(2ms, after(1h, 1))).error() == error::timeout);
    CHECK((co_await exo::with_timeout(-1s, after(1h, 1))).error() == error::timeout);
    CHECK((co_await exo::with_deadline(0, after(1h, 1))).error() == error::timeout);
    CHECK(co_await exo::with_timeout(1h, [](int value) -> task<result<int>> { co_return value; }(9)) == 9);
    int turns = 0;
    CHECK(co_await exo::with_timeout(2ms, stubborn(turns)) == 7);  // late, but it has its value
    // The inner limit is not the outer one's error
    error told{};
    auto const inner = [](error &into) -> task<result<int>> {
      auto const got = co_await exo::with_timeout(1h, after(1h, 1));
      into = got.error();
      co_return got;
    };
    auto const outer = co_await exo::with_timeout(2ms, inner(told));
    CHECK(outer.error() == error::timeout);
    CHECK(told == error::cancelled);
    // What it says for itself is not changed
    auto const failed = co_await exo::with_timeout(2ms, [](int) -> task<result<int>> {
      std::ignore = co_await exo::delay(1h);
      co_return std::unexpected(error::io);
    }(0));
    CHECK(failed.error() == error::io);
  }));
}

TEST_CASE("scope: joins all, whenever they end") {
  machine_with_loops machine({.cores = 1});
  CHECK(exo::run([]() -> task<void> {
    int counted = 0;
    exo::scope children;
    CHECK(co_await children.join());
    for (int each = 0; each < 100; ++each) CHECK(children.spawn(count(counted, std::chrono::microseconds(each * 10))));
    CHECK(children.spawn(sleep(1ms)));
    CHECK(children.spawn([]() -> task<void> { co_return; }()));
    CHECK(co_await children.join());
    CHECK(children.running() == 0);
    CHECK(counted == 100);
    CHECK(children.spawn(count(counted, 0ms)));  // it can be used again
    CHECK(co_await children.join());
    CHECK(counted == 101);
  }));
  CHECK(machine.kept_nothing());
}

TEST_CASE("scope: the first error cancels the others") {
  machine_with_loops machine({.cores = 1});
  CHECK(exo::run([]() -> task<void> {
    exo::scope children;
    CHECK(children.spawn(sleep(1h)));
    CHECK(children.spawn([]() -> task<result<void>> {
      std::ignore = co_await exo::delay(1ms);
      co_return std::unexpected(error::io);
    }()));
    CHECK((co_await children.join()).error() == error::io);
    CHECK(co_await children.join());  // told once
  }));
}

TEST_CASE("scope: cancelled by its owner, and with the task that waits for it") {
  machine_with_loops machine({.cores = 1});
  CHECK(exo::run([]() -> task<void> {
    exo::scope children;
    CHECK(children.spawn(sleep(1h)));
    children.cancel();
    CHECK((co_await children.join()).error() == error::cancelled);

    auto const parent = [](int) -> task<result<int>> {
      exo::scope inner;
      CHECK(inner.spawn(sleep(1h)));
      auto const joined = co_await inner.join();
      if (!joined) co_return std::unexpected(joined.error());
      co_return 1;
    };
    CHECK((co_await exo::with_timeout(2ms, parent(0))).error() == error::timeout);
  }));
}

TEST_CASE("scope: waited for again and again, and cancelled with the task then") {
  machine_with_loops machine({.cores = 1});
  CHECK(exo::run([]() -> task<void> {
    auto const parent = [](int) -> task<result<void>> {
      exo::scope children;
      for (int round = 0; round < 3; ++round) {
        CHECK(children.spawn(sleep(1ms)));
        auto const joined = co_await children.join();
        CHECK(joined);
      }
      CHECK(children.spawn(sleep(1h)));
      co_return co_await children.join();
    };
    auto const late = co_await exo::with_timeout(20ms, parent(0));
    CHECK(late.error() == error::timeout);
  }));
}

TEST_CASE("scope: a thousand children wait at the same time") {
  machine_with_loops machine({.cores = 1});
  CHECK(exo::run([]() -> task<void> {
    int counted = 0;
    exo::scope children;
    for (int each = 0; each < 1000; ++each) {
      CHECK(children.spawn(count(counted, std::chrono::microseconds(each * 7 % 1000))));
    }
    CHECK(co_await children.join());
    CHECK(counted == 1000);
  }));
  CHECK(machine.kept_nothing());
}
