// sanitizer: thread
#include <exo/channel.hpp>

#include <atomic>
#include <catch2/catch.hpp>
#include <exo/smp.hpp>
#include <memory>

#include "fake.hpp"

using exo::core_id;
using exo::error;
using exo::u32;
using exo::u64;

TEST_CASE("channel: full, empty, closed") {
  fake::machine machine({.cores = 1});
  exo::channel<std::unique_ptr<int>, 2> channel;
  CHECK(channel.try_receive().error() == error::empty);
  CHECK(channel.try_send(std::make_unique<int>(1)));
  CHECK(channel.send(std::make_unique<int>(2)));
  auto third = std::make_unique<int>(3);
  CHECK(channel.try_send(std::move(third)).error() == error::full);
  CHECK(third);
  CHECK(**channel.receive() == 1);
  channel.close();
  CHECK(channel.try_send(std::move(third)).error() == error::closed);
  CHECK(third);
  CHECK(channel.send(std::make_unique<int>(4)).error() == error::closed);
  CHECK(**channel.try_receive() == 2);
  CHECK(channel.try_receive().error() == error::closed);
  CHECK(channel.receive().error() == error::closed);
}

TEST_CASE("channel: one producer and one consumer, both wait") {
  fake::machine machine({.cores = 2});
  exo::spsc_channel<u64, 2> channel;
  constexpr u64 count = 5000;
  exo::job produce([&] {
    for (u64 each = 0; each < count; ++each) {
      if (!channel.send(each)) return;
    }
    channel.close();
  });
  auto running = exo::run_on(core_id{1}, produce);
  REQUIRE(running);
  u64 next = 0;
  bool in_order = true;
  for (auto got = channel.receive(); got; got = channel.receive()) in_order = in_order && *got == next++;
  CHECK(in_order);
  CHECK(next == count);
}

TEST_CASE("channel: many producers and consumers, all wait") {
  fake::machine machine({.cores = 4});
  exo::channel<u64, 4> channel;
  constexpr u64 each = 2000;
  std::atomic<u32> next = 0, producing = 2;
  std::atomic<u64> sum = 0, got = 0;
  CHECK(exo::run_on_all([&] {
          if (next++ < 2) {
            for (u64 at = 1; at <= each; ++at) (void)channel.send(at);
            if (--producing == 0) channel.close();
            return;
          }
          for (auto value = channel.receive(); value; value = channel.receive()) {
            sum += *value;
            ++got;
          }
        }) == 4);
  CHECK(got == 2 * each);
  CHECK(sum == each * (each + 1));
}

TEST_CASE("channel: closing wakes a core that waits") {
  fake::machine machine({.cores = 2});
  exo::channel<int, 4> channel;
  exo::job wait([&] {
    while (channel.receive()) {
    }
  });
  auto running = exo::run_on(core_id{1}, wait);
  REQUIRE(running);
  CHECK(channel.try_send(1));
  channel.close();
  running->wait();
  CHECK(running->done());
}

TEST_CASE("channel: closing wakes a core that waits for room") {
  fake::machine machine({.cores = 2});
  exo::channel<int, 2> channel;
  exo::job fill([&] {
    while (channel.send(1)) {
    }
  });
  auto running = exo::run_on(core_id{1}, fill);
  REQUIRE(running);
  while (!channel.senders().has_waiters()) exo::pause();
  channel.close();
  running->wait();
  CHECK(running->done());
}
