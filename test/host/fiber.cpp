// sanitizer: thread
#include <exo/fiber.hpp>

#include <atomic>
#include <catch2/catch.hpp>
#include <chrono>
#include <cstdint>
#include <exo/on.hpp>
#include <exo/when.hpp>
#include <memory>
#include <string>
#include <vector>

#include "machine_with_loops.hpp"

using exo::core_id;
using exo::error;
using exo::fiber_priority;
using exo::result;
using exo::task;
using exo::u32;
using exo::u64;
using namespace std::chrono_literals;

// GCC 12 mishandles co_await inside the try block of a CHECK, so what is awaited has a name first.

namespace {

task<int> twice(int value) { co_return 2 * value; }
task<result<int>> slowly(int value) {
  auto const waited = co_await exo::delay(1ms);
  if (!waited) co_return std::unexpected(waited.error());
  co_return value;
}

/// Waits in the middle of calls, as a library would.
int sum_of_waits(int depth) {
  if (depth == 0) return 0;
  int const value = exo::wait(twice(depth));
  exo::wait(exo::yield());
  return value + sum_of_waits(depth - 1);
}

/// The control words of the SSE and the x87 unit, which a call preserves (System V ABI, AMD64 §3.2.1).
struct float_control {
  u32 mxcsr = 0;
  std::uint16_t fcw = 0;
  static float_control now() {
    float_control here;
    asm volatile("stmxcsr %0; fnstcw %1" : "=m"(here.mxcsr), "=m"(here.fcw));
    here.mxcsr &= ~0x3Fu;  // without the flags, which calls may change
    return here;
  }
  void set() const { asm volatile("ldmxcsr %0; fldcw %1" : : "m"(mxcsr), "m"(fcw)); }
  friend bool operator==(float_control const &, float_control const &) = default;
};
constexpr float_control usual{0x1F80, 0x37F};

}  // namespace

TEST_CASE("fiber: values, results, nothing; waits in the middle of calls") {
  machine_with_loops machine({.cores = 1});
  CHECK(exo::run([]() -> task<void> {
    auto const sum = co_await exo::fiber([] { return sum_of_waits(20); });
    CHECK(sum == 420);
    auto const refused = co_await exo::fiber([]() -> result<int> { return std::unexpected(error::io); });
    CHECK(refused.error() == error::io);
    bool ran = false;
    auto const nothing = co_await exo::fiber([&] { ran = exo::in_fiber(); });
    CHECK(nothing);
    CHECK(ran);
    CHECK(!exo::in_fiber());
    // GCC 12 destroys what a closure in the awaited expression holds twice, so this task has a name, too.
    auto moving = exo::fiber([box = std::make_unique<int>(7)] { return std::make_unique<int>(*box + 1); });
    auto const moved = co_await std::move(moving);
    CHECK(**moved == 8);
  }));
  CHECK(machine.kept_nothing());
}

TEST_CASE("fiber: waits for delays, tasks, scopes, other cores and other fibers") {
  machine_with_loops machine;
  CHECK(exo::run([]() -> task<void> {
    auto const done = co_await exo::fiber([]() -> result<int> {
      auto const begin = exo::clock::now();
      if (auto const waited = exo::wait(exo::delay(2ms)); !waited) return std::unexpected(waited.error());
      if (exo::clock::now() - begin < 2ms) return std::unexpected(error::range);
      if (exo::wait(slowly(3)) != 3) return std::unexpected(error::range);
      auto const [one, two] = exo::wait(exo::when_all(slowly(1), twice(2)));
      if (one != 1 || two != 4) return std::unexpected(error::range);
      exo::scope children;
      for (int each = 0; each < 3; ++each) {
        auto const started = children.spawn([](int value) -> task<result<void>> {
          auto const slow = co_await slowly(value);
          co_return slow ? result<void>() : std::unexpected(slow.error());
        }(each));
        if (!started) return std::unexpected(started.error());
      }
      if (auto const all = exo::wait(children.join()); !all) return std::unexpected(all.error());
      auto const where = exo::wait(exo::on(core_id{1}, [] { return exo::this_core(); }));
      if (where != core_id{1}) return std::unexpected(error::range);
      auto const there = exo::wait(exo::on(core_id{2}, [] { return exo::fiber([] { return sum_of_waits(2); }); }));
      if (there != 6) return std::unexpected(error::range);
      return exo::wait(exo::fiber([] { return sum_of_waits(3); }));
    });
    CHECK(done == 12);
  }));
  CHECK(machine.kept_nothing());
}

TEST_CASE("fiber: those of a higher priority run first, equal ones take turns") {
  machine_with_loops machine({.cores = 1});
  static std::string order;
  order.clear();
  CHECK(exo::run([]() -> task<void> {
    exo::scope all;
    auto const add = [&](char letter, fiber_priority priority) {
      auto const started = all.spawn(exo::fiber({.priority = priority}, [letter] {
        for (int turn = 0; turn < 2; ++turn) {
          order += letter;
          exo::wait(exo::yield());
        }
      }));
      CHECK(started);
    };
    add('l', fiber_priority::lowest);
    add('a', fiber_priority::normal);
    add('b', fiber_priority::normal);
    add('h', fiber_priority::highest);
    auto const joined = co_await all.join();
    CHECK(joined);
  }));
  CHECK(order.size() == 8);
  CHECK(order.front() == 'h');
  CHECK(order.find_last_of('h') < order.find_last_of('a'));
  CHECK(order.find_last_of('b') < order.find_last_of('l'));
  CHECK(order.find("ab") != order.npos);
}

TEST_CASE("fiber: each rounds as it has chosen, and begins as the ABI wants it") {
  machine_with_loops machine({.cores = 1});
  static u32 right = 0;
  right = 0;
  CHECK(exo::run([]() -> task<void> {
    float_control const down{0x3F80, 0x77F};
    down.set();  // by the loop's side
    exo::scope all;
    for (float_control const mine : {float_control{0x5F80, 0xB7F}, float_control{0x7F80, 0xF7F}, float_control{0x9FC0, 0x27F}}) {
      auto const started = all.spawn(exo::fiber([mine] {
        right += float_control::now() == usual;
        mine.set();
        for (int turn = 0; turn < 3; ++turn) {
          exo::wait(exo::yield());
          right += float_control::now() == mine;
        }
        usual.set();
      }));
      CHECK(started);
    }
    auto const joined = co_await all.join();
    CHECK(joined);
    bool const kept = float_control::now() == down;
    usual.set();
    CHECK(kept);
  }));
  CHECK(right == 12);
  CHECK(machine.kept_nothing());
}

TEST_CASE("fiber: cancelled and timed like a task") {
  machine_with_loops machine({.cores = 1});
  CHECK(exo::run([]() -> task<void> {
    auto const late = co_await exo::with_timeout(1ms, exo::fiber([]() -> result<void> { return exo::wait(exo::delay(1h)); }));
    CHECK(late.error() == error::timeout);
    auto const past = co_await exo::with_deadline(0, exo::fiber([]() -> result<void> { return exo::wait(exo::delay(1h)); }));
    CHECK(past.error() == error::timeout);
    exo::scope all;
    auto const started = all.spawn(exo::fiber([]() -> result<void> { return exo::wait(exo::delay(1h)); }));
    CHECK(started);
    all.cancel();
    auto const joined = co_await all.join();
    CHECK(joined.error() == error::cancelled);
  }));
  CHECK(machine.kept_nothing());
}

TEST_CASE("fiber: stacks out of bounds, and no memory for one") {
  machine_with_loops machine({.cores = 1});
  CHECK(exo::run([]() -> task<void> {
    for (std::size_t const bytes : {std::size_t{0}, std::size_t{8191}, (std::size_t{1} << 30) + 1, ~std::size_t{0}}) {
      auto const refused = co_await exo::fiber({.stack_bytes = bytes}, [] {});
      CHECK(refused.error() == error::range);
    }
    auto const huge = co_await exo::fiber({.stack_bytes = std::size_t{1} << 30}, [] {});
    CHECK(huge.error() == error::memory);
    auto const least = co_await exo::fiber({.stack_bytes = 8192}, [] { return 1; });
    CHECK(least == 1);
    // Stacks that lie about go back when another size needs their memory.
    u64 const longest = exo::system_pages.free().longest;
    auto const most = co_await exo::fiber({.stack_bytes = longest - 2 * exo::page_bytes}, [] { return 2; });
    CHECK(most == 2);
    auto const again = co_await exo::fiber([] { return 3; });
    CHECK(again == 3);
  }));
  CHECK(machine.kept_nothing());
}

TEST_CASE("fiber: its stack has a page below that may not be touched, and is used again") {
  machine_with_loops machine({.cores = 1});
  CHECK(exo::run([]() -> task<void> {
    std::byte *first = nullptr;
    u64 free = 0;
    for (int round = 0; round < 3; ++round) {
      auto const looked = co_await exo::fiber({.stack_bytes = 16000}, [&] {  // of whole pages
        auto *const place = reinterpret_cast<std::byte *>(&round);
        auto *const here = static_cast<std::byte *>(__builtin_frame_address(0));
        if (first == nullptr) first = here, free = exo::system_pages.free().bytes;
        auto const page = reinterpret_cast<u64>(here) & ~(exo::page_bytes - 1);
        u32 untouchable = 0;
        for (u64 below = page; below + 5 * exo::page_bytes > page; below -= exo::page_bytes) {
          auto const mapped = exo::query(reinterpret_cast<void *>(below));
          if (mapped && mapped->access == 0) ++untouchable;
        }
        return place != here && here == first && untouchable == 1 && exo::system_pages.free().bytes == free;
      });
      CHECK(looked == true);
    }
  }));
  CHECK(machine.kept_nothing());
}

TEST_CASE("fiber: one that does not end at shutdown is named and given up") {
  machine_with_loops machine({.cores = 1});
  auto const ended = exo::run({.patience = 5ms}, []() -> task<void> {
    CHECK(exo::spawn([]() -> task<void> {
      std::ignore = co_await exo::fiber([] {
        for (;;) exo::wait(exo::yield());
      });
    }()));
    co_return;
  });
  CHECK(ended.error() == error::timeout);
  CHECK(machine.machine.output.find("fiber.cpp") != std::string::npos);
  CHECK(machine.machine.output.find("has not ended") != std::string::npos);
}

TEST_CASE("fiber: waiting outside of one panics") {
  machine_with_loops machine({.cores = 1});
  CHECK_THROWS_AS(exo::wait(exo::yield()), fake::exited);
  CHECK(machine.machine.output.find("outside of a fiber") != std::string::npos);
}

TEST_CASE("fiber: many at once, on all cores") {
  machine_with_loops machine;
  static std::atomic<u64> sum = 0;
  sum = 0;
  CHECK(exo::run([]() -> task<void> {
    exo::scope all;
    for (u32 each = 0; each < 40; ++each) {
      auto const started = all.spawn([](u32 number) -> task<result<void>> {
        co_return co_await exo::on(core_id{number % 4}, [number] {
          return exo::fiber({.stack_bytes = 32768}, [number]() -> result<void> {
            for (u32 turn = 0; turn < 20; ++turn) {
              auto const home = exo::wait(exo::on(core_id{(number + turn) % 4}, [] { ++sum; }));
              if (!home) return home;
            }
            return {};
          });
        });
      }(each));
      CHECK(started);
    }
    auto const joined = co_await all.join();
    CHECK(joined);
  }));
  CHECK(sum == 800);
  CHECK(machine.kept_nothing());
}
