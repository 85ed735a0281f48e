#include <exo/generator.hpp>

#include <catch2/catch.hpp>
#include <chrono>
#include <exo/when.hpp>
#include <memory>
#include <ranges>
#include <string>
#include <vector>

#include "machine_with_loops.hpp"

using exo::async_generator;
using exo::generator;
using exo::task;
using exo::u64;
using namespace std::chrono_literals;

namespace {

generator<u64> squares(u64 count) {
  for (u64 each = 0; each < count; ++each) co_yield each * each;
}
generator<std::string> words(int &destroyed) {
  struct note {
    int &count;
    ~note() { ++count; }
  } const last{destroyed};
  std::string const kept = "kept";
  co_yield kept;
  co_yield std::string("given");
  co_yield "made";
}
generator<int &> places(std::vector<int> &of) {
  for (int &each : of) co_yield each;
}
async_generator<u64> slow(u64 count) {
  for (u64 each = 0; each < count; ++each) {
    auto const waited = co_await exo::delay(100us);
    if (!waited) co_return;
    co_yield each;
    co_await exo::yield();
  }
}

}  // namespace

TEST_CASE("generator: values in their order, to the end or not, without a run loop") {
  machine_with_loops machine({.cores = 1});
  std::vector<u64> seen;
  for (u64 const each : squares(5)) seen.push_back(each);
  CHECK(seen == std::vector<u64>{0, 1, 4, 9, 16});
  for (u64 const each : squares(0)) FAIL(each);
  for (u64 const each : squares(10)) {
    if (each == 9) break;
  }
  int destroyed = 0;
  {
    std::vector<std::string> text;
    for (auto &&each : words(destroyed)) text.push_back(std::move(each));
    CHECK(text == std::vector<std::string>{"kept", "given", "made"});
  }
  CHECK(destroyed == 1);
  for (auto &&each : words(destroyed)) {
    CHECK(each == "kept");
    break;
  }
  CHECK(destroyed == 2);
  std::vector<int> numbers{1, 2, 3};
  for (int &each : places(numbers)) each *= 2;
  CHECK(numbers == std::vector<int>{2, 4, 6});
  auto assigned = squares(3);
  assigned = squares(2);
  seen.clear();
  for (u64 const each : assigned) seen.push_back(each);
  CHECK(seen == std::vector<u64>{0, 1});
  static_assert(std::ranges::input_range<generator<u64>>);
}

TEST_CASE("generator: frames from the loop's pool, no memory after warm-up, none left is told") {
  machine_with_loops machine({.cores = 1});
  CHECK(exo::run([]() -> task<void> {
    u64 sum = 0;
    for (u64 const each : squares(3)) sum += each;
    u64 const free = exo::system_pages.free().bytes;
    for (int round = 0; round < 100; ++round) {
      for (u64 const each : squares(3)) sum += each;
    }
    CHECK(sum == 505);
    CHECK(exo::system_pages.free().bytes == free);
    std::vector<exo::pages> taken;
    for (u64 bytes = u64{1} << 23; bytes >= exo::page_bytes; bytes /= 2) {
      while (auto more = exo::pages::take(bytes)) taken.push_back(std::move(*more));
    }
    std::vector<generator<u64>> made;
    do {
      made.push_back(squares(1));
    } while (made.back());
    CHECK(made.size() > 1);
    std::vector<async_generator<u64>> others;
    do {
      others.push_back(slow(1));
    } while (others.back());
    auto const nothing = co_await others.back().next();
    CHECK(!nothing);
  }));
  CHECK(machine.kept_nothing());
}

TEST_CASE("generator: one whose values are waited for, to the end, left early, and cancelled") {
  machine_with_loops machine({.cores = 1});
  CHECK(exo::run([]() -> task<void> {
    u64 sum = 0;
    auto all = slow(5);
    while (auto const each = co_await all.next()) sum += *each;
    CHECK(sum == 10);
    auto const after = co_await all.next();
    CHECK(!after);
    auto some = slow(5);
    auto const first = co_await some.next();
    CHECK(first == 0);
    auto const late = co_await exo::with_timeout(5ms, []() -> task<exo::result<u64>> {
      u64 count = 0;
      auto endless = slow(1'000'000);
      while (co_await endless.next()) ++count;
      co_return count;
    }());
    CHECK(late.has_value());
    CHECK(*late > 0);
  }));
  CHECK(machine.kept_nothing());
}
