// sanitizer: thread
#include <exo/run.hpp>

#include <atomic>
#include <catch2/catch.hpp>
#include <chrono>
#include <exo/task.hpp>
#include <exo/when.hpp>
#include <memory>
#include <string>
#include <thread>
#include <tuple>
#include <vector>

#include "machine_with_loops.hpp"

using exo::core_id;
using exo::error;
using exo::result;
using exo::task;
using exo::u32;
using exo::u64;
using namespace std::chrono_literals;

namespace {

extern exo::poller::functions const calls_of_device;

struct device : exo::poller {
  explicit device(exo::scope &what) : poller(calls_of_device), until(what) {}
  exo::scope &until;  // cancelled when it was armed ten times
  u32 work = 1, polls = 0, arms = 0;
};

constexpr exo::poller::functions calls_of_device{
    [](exo::poller &self) noexcept -> u32 {
      auto &mine = static_cast<device &>(self);
      ++mine.polls;
      if (mine.arms >= 10) mine.until.cancel();
      return std::exchange(mine.work, 0);
    },
    [](exo::poller &self) noexcept -> result<bool> {
      auto &mine = static_cast<device &>(self);
      ++mine.arms;
      if (mine.arms > 1) return std::unexpected(error::unsupported);
      return true;
    }};

}  // namespace

TEST_CASE("run: starts loops on all cores, and gives everything back") {
  machine_with_loops machine;
  for (int round = 0; round < 20; ++round) {
    static std::atomic<u32> seen;
    seen = 0;
    auto const ran = exo::run([]() -> task<u32> {
      for (u32 core = 0; core < 4; ++core) {
        CHECK(exo::try_post(core_id{core}, [] { seen |= 1u << static_cast<u32>(exo::this_core()); }));
      }
      while (seen != 0b1111) co_await exo::yield();
      co_return static_cast<u32>(exo::run_loop::here().core());
    });
    CHECK(ran == 0u);
  }
  CHECK(exo::run_loop::current() == nullptr);
  CHECK(machine.kept_nothing());
}

TEST_CASE("run: options that cannot be, a loop in a loop, no memory") {
  machine_with_loops machine({.cores = 2});
  auto const nothing = []() -> task<void> { co_return; };
  CHECK(exo::run({.cores = 0}, nothing).error() == error::range);
  CHECK(exo::run({.message_depth = 3}, nothing).error() == error::range);
  CHECK(exo::run({.message_depth = 0}, nothing).error() == error::range);
  CHECK(exo::run([]() -> task<result<void>> {
          co_return exo::run([]() -> task<void> { co_return; });
        }).error() == error::busy);
  {
    auto const everything = exo::pages::take(exo::system_pages.free().longest);
    CHECK(exo::run(nothing).error() == error::memory);
  }
  u32 errors = 0;
  for (u64 left = exo::page_bytes;; left += exo::page_bytes) {  // too little for the loops, then for the first frames
    auto const rest = exo::pages::take(exo::system_pages.free().longest - left);
    auto const ran = exo::run({.cores = 1, .message_depth = 8}, nothing);
    if (ran) break;
    CHECK(ran.error() == error::memory);
    ++errors;
  }
  CHECK(errors > 2);
  CHECK(exo::run(nothing));
  CHECK(machine.kept_nothing());
}

TEST_CASE("run: messages keep their order, and own what they hold") {
  machine_with_loops machine({.cores = 2});
  static std::vector<int> got;
  got.clear();
  static std::atomic<int> count;
  count = 0;
  CHECK(exo::run([]() -> task<void> {
    for (int each = 0; each < 500; ++each) {
      for (;;) {
        auto const posted = exo::try_post(
            core_id{1}, [](std::unique_ptr<int> value) noexcept { got.push_back(*value), ++count; },
            std::make_unique<int>(each));
        if (posted) break;
        CHECK(posted.error() == error::full);
        co_await exo::yield();
      }
    }
    while (count != 500) co_await exo::yield();
  }));
  for (int each = 0; each < 500; ++each) CHECK(got[static_cast<std::size_t>(each)] == each);
}

TEST_CASE("run: a full ring and a core that is not there are errors") {
  machine_with_loops machine({.cores = 3, .dead_cores = 1});
  static std::atomic<bool> stop;
  stop = false;
  exo::job endless([] {
    while (!stop) std::this_thread::yield();
  });
  auto running = exo::run_on(core_id{2}, endless);
  REQUIRE(running);
  CHECK(exo::run({.message_depth = 8}, []() -> task<void> {
    auto const nothing = [] {};
    CHECK(exo::try_post(core_id{2}, nothing).error() == error::no_such);  // busy when the loops started
    CHECK(exo::try_post(core_id{3}, nothing).error() == error::no_such);
    CHECK(exo::try_post(core_id{~u32{0}}, nothing).error() == error::no_such);
    for (int each = 0; each < 8; ++each) CHECK(exo::try_post(core_id{0}, nothing));
    CHECK(exo::try_post(core_id{0}, nothing).error() == error::full);
    while (exo::run_loop::here().counters().messages == 0) co_await exo::yield();
    CHECK(exo::try_post(core_id{0}, nothing));
  }));
  stop = true;
  running->wait();
  CHECK(exo::run({.cores = 1, .message_depth = 2048}, []() -> task<void> {  // more than a turn takes
    static u32 ran;
    ran = 0;
    for (u32 each = 0; each < 2000; ++each) CHECK(exo::try_post(core_id{0}, [] { ++ran; }));
    while (ran != 2000) co_await exo::yield();
  }));
}

TEST_CASE("run: an idle core halts, counts, and is woken") {
  machine_with_loops machine({.cores = 2});
  CHECK(exo::run([]() -> task<void> {
    auto const &other = exo::all_counters()[1];
    while (other.halts == 0) co_await exo::yield();
    CHECK(other.idle_ticks > 0);
    static std::atomic<bool> came;
    came = false;
    u64 const halts = other.halts;
    CHECK(exo::try_post(core_id{1}, [] { came = true; }));
    while (!came) co_await exo::yield();
    while (other.halts == halts) co_await exo::yield();
    CHECK(other.messages == 1);
    CHECK(exo::all_counters()[0].wakes >= 1);
    while (exo::all_counters()[0].operations == 0) co_await exo::yield();
    CHECK(reinterpret_cast<u64>(&exo::all_counters()[0]) % exo::page_bytes == 0);
  }));
}

TEST_CASE("run: timers come in their order") {
  machine_with_loops machine({.cores = 1});
  CHECK(exo::run([]() -> task<void> {
    struct timer : exo::timer_node {
      explicit timer(std::vector<int> &into, int what)
          : timer_node([](timer_node &self) noexcept {
              auto &mine = static_cast<timer &>(self);
              mine.order.push_back(mine.number);
            }),
            order(into),
            number(what) {}
      std::vector<int> &order;
      int number;
    };
    std::vector<int> order;
    timer a(order, 2), b(order, 1), c(order, 3), gone(order, 4);
    u64 const now = exo::ticks();
    a.deadline = now + 2000;
    b.deadline = now + 1000;
    c.deadline = now + 3000;
    gone.deadline = now + 500;
    for (timer *each : {&a, &b, &c, &gone}) exo::run_loop::here().add(*each);
    exo::run_loop::here().remove(gone);
    while (order.size() < 3) co_await exo::yield();
    CHECK(order == std::vector<int>{1, 2, 3});
  }));
}

TEST_CASE("run: pollers are polled, and armed before a halt") {
  machine_with_loops machine({.cores = 1});
  CHECK(exo::run([]() -> task<void> {
    exo::scope asleep;
    device one(asleep), other(asleep);
    exo::run_loop::here().add(one);
    exo::run_loop::here().add(other);
    CHECK(asleep.spawn([]() -> task<void> { std::ignore = co_await exo::delay(1h); }()));
    CHECK(co_await asleep.join());
    exo::run_loop::here().remove(other);
    exo::run_loop::here().remove(one);
    CHECK(one.polls > 500);
    CHECK(other.polls > 500);
    u32 const polls = one.polls;
    u64 const turns = exo::run_loop::here().counters().turns;
    while (exo::run_loop::here().counters().turns < turns + 3) co_await exo::yield();
    CHECK(one.polls == polls);
    exo::run_loop::here().remove(one);  // is not there
  }));
}

TEST_CASE("run: at the end services are cancelled and waited for") {
  machine_with_loops machine({.cores = 2});
  static std::atomic<int> ended;
  ended = 0;
  CHECK(exo::run({.patience = 1h}, []() -> task<void> {
    auto const service = []() -> task<void> {
      result<void> waited;
      while (waited) waited = co_await exo::delay(1h);
      CHECK(exo::spawn([]() -> task<void> {  // at the end there may be more; cancelled from the start
        CHECK(co_await exo::cancelled());
        ++ended;
      }()));
      ++ended;
    };
    CHECK(exo::spawn(service()));
    CHECK(exo::try_post(core_id{1}, [](auto start) noexcept { (void)exo::spawn(start()); }, service));
    co_return;
  }));
  CHECK(ended == 4);
  CHECK(machine.kept_nothing());
}

TEST_CASE("run: a task that does not end is named, and the run ends all the same") {
  machine_with_loops machine({.cores = 2});
  auto const outcome = exo::run({.patience = 20ms}, []() -> task<int> {
    CHECK(exo::spawn([]() -> task<void> {
      for (;;) co_await exo::yield();
    }()));
    co_return 1;
  });
  CHECK(outcome.error() == error::timeout);
  std::string const said = machine.machine.take_output();
  CHECK(said.find("core 0: the task spawned at ") != std::string::npos);
  CHECK(said.find("run.cpp:") != std::string::npos);
  CHECK(said.find("has not ended 20 ms after it was cancelled") != std::string::npos);
}

TEST_CASE("run: a task that waits for what never comes keeps no core halted") {
  machine_with_loops machine({.cores = 1});
  auto const outcome = exo::run({.patience = 20ms}, []() -> task<void> {
    CHECK(exo::spawn([]() -> task<void> { co_await std::suspend_always(); }()));
    co_return;
  });
  CHECK(outcome.error() == error::timeout);
}

TEST_CASE("run: a core that does not come back is named") {
  machine_with_loops machine({.cores = 2});
  static std::atomic<bool> stop;
  stop = false;
  auto const outcome = exo::run({.patience = 20ms}, []() -> task<void> {
    static std::atomic<bool> began;
    began = false;
    CHECK(exo::try_post(core_id{1}, [] {
      began = true;
      while (!stop) std::this_thread::yield();
    }));
    while (!began) co_await exo::yield();
  });
  CHECK(outcome.error() == error::timeout);
  CHECK(machine.machine.take_output().find("core 1 does not come back to its run loop") != std::string::npos);
  stop = true;
}
