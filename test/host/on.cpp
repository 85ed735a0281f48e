// sanitizer: thread
#include <exo/on.hpp>

#include <atomic>
#include <catch2/catch.hpp>
#include <chrono>
#include <exo/when.hpp>
#include <memory>
#include <string>
#include <vector>

#include "machine_with_loops.hpp"

using exo::core_id;
using exo::error;
using exo::result;
using exo::task;
using exo::u32;
using exo::u64;
using namespace std::chrono_literals;

// GCC 12 mishandles co_await inside the try block of a CHECK, so what is awaited has a name first.

TEST_CASE("on: functions and tasks on every core, and back") {
  machine_with_loops machine;
  CHECK(exo::run([]() -> task<void> {
    int const mine = 5;
    for (u32 core = 0; core < 4; ++core) {
      for (int round = 0; round < 50; ++round) {
        auto const where = co_await exo::on(core_id{core}, [] { return exo::this_core(); });
        CHECK(where == core_id{core});
        CHECK(exo::this_core() == core_id{0});
        auto const text = co_await exo::on(core_id{core}, [&] { return std::to_string(mine + round); });
        CHECK(text == std::to_string(5 + round));
      }
      auto const later = co_await exo::on(core_id{core}, []() -> task<result<std::unique_ptr<int>>> {
        auto const waited = co_await exo::delay(1ms);
        if (!waited) co_return std::unexpected(waited.error());
        co_return std::make_unique<int>(static_cast<int>(exo::this_core()));
      });
      CHECK(**later == static_cast<int>(core));
      int seen = 0;
      auto const done = co_await exo::on(core_id{core}, [&] { seen = 3; });
      CHECK(done);
      CHECK(seen == 3);
    }
  }));
  CHECK(machine.kept_nothing());
}

TEST_CASE("on: cores that are not there, and errors of the function") {
  machine_with_loops machine({.cores = 2, .dead_cores = 1});
  CHECK(exo::run([]() -> task<void> {
    auto const dead = co_await exo::on(core_id{2}, [] {});
    CHECK(dead.error() == error::no_such);
    auto const none = co_await exo::on(core_id{~u32{0}}, []() -> task<void> { co_return; });
    CHECK(none.error() == error::no_such);
    auto const failed = co_await exo::on(core_id{1}, []() -> result<int> { return std::unexpected(error::io); });
    CHECK(failed.error() == error::io);
    std::vector<exo::pages> taken;
    for (u64 bytes = u64{1} << 23; bytes >= exo::page_bytes; bytes /= 2) {
      while (auto more = exo::pages::take(bytes)) taken.push_back(std::move(*more));
    }
    auto const no_frame = co_await exo::on(core_id{1}, []() -> task<int> { co_return 1; });
    CHECK(no_frame.error() == error::memory);
  }));
}

TEST_CASE("on: between all cores at once, each in both directions") {
  machine_with_loops machine;
  static std::atomic<u64> sum;
  sum = 0;
  CHECK(exo::run([]() -> task<void> {
    exo::scope all;
    for (u32 core = 0; core < 4; ++core) {
      CHECK(all.spawn([](u32 first) -> task<result<void>> {
        co_return co_await exo::on(core_id{first}, []() -> task<result<void>> {
          for (u32 turn = 0; turn < 100; ++turn) {
            auto const got = co_await exo::on(core_id{turn % 4}, [] { return 1u; });
            if (!got) co_return std::unexpected(got.error());
            sum += *got;
          }
          co_return {};
        });
      }(core)));
    }
    auto const joined = co_await all.join();
    CHECK(joined);
  }));
  CHECK(sum == 400);
}

TEST_CASE("on_all: every core once, also through rings that are full") {
  machine_with_loops machine;
  CHECK(exo::run({.message_depth = 8}, []() -> task<void> {
    std::atomic<u32> seen = 0;
    for (u32 round = 1; round <= 50; ++round) {
      u32 const ran = co_await exo::on_all([&] { seen += 1u << 8 * static_cast<u32>(exo::this_core()); });
      CHECK(ran == 4);
      CHECK(seen == 0x01010101 * round);
    }
    static std::atomic<bool> stop;
    stop = false;
    CHECK(exo::try_post(core_id{1}, [] {
      while (!stop) exo::pause();
    }));
    while (exo::try_post(core_id{1}, [] {})) {
    }
    CHECK(exo::spawn([]() -> task<void> {
      auto const waited = co_await exo::delay(5ms);
      static_cast<void>(waited);
      stop = true;
    }()));
    seen = 0;
    u32 const ran = co_await exo::on_all([&] { ++seen; });
    CHECK(ran == 4);
    CHECK(seen == 4);
  }));
}
