// sanitizer: thread
#include <exo/task_channel.hpp>

#include <atomic>
#include <catch2/catch.hpp>
#include <chrono>
#include <exo/fiber.hpp>
#include <exo/on.hpp>
#include <exo/when.hpp>
#include <memory>

#include "machine_with_loops.hpp"

using exo::core_id;
using exo::error;
using exo::result;
using exo::task;
using exo::u32;
using exo::u64;
using namespace std::chrono_literals;

namespace {

/// A channel into which a value comes between a receiver's first look and its place on the list, when there was nobody to
/// let go.
struct late_channel {
  using value_type = int;
  exo::detail::wait_list &receivers() noexcept { return list; }
  result<int> try_receive() noexcept {
    if (++looks == 2) return 7;
    return std::unexpected(error::empty);
  }
  exo::detail::wait_list list;
  int looks = 0;
};

}  // namespace

TEST_CASE("task_channel: what comes while a task goes on the list is not missed, nor lost when it is cancelled then") {
  machine_with_loops machine({.cores = 1});
  CHECK(exo::run([]() -> task<void> {
    late_channel late, later;
    auto const got = co_await exo::detail::receive_awaiter(late);
    CHECK(got == 7);
    exo::scope all;
    int received = 0;
    auto const started = all.spawn([](late_channel &from, int &value) -> task<result<void>> {
      auto const came = co_await exo::detail::receive_awaiter(from);
      value = came.value_or(0);
      co_return {};
    }(later, received));
    CHECK(started);
    CHECK(later.looks == 2);
    all.cancel();
    auto const joined = co_await all.join();
    CHECK(joined);
    CHECK(received == 7);
  }));
}

TEST_CASE("task_channel: a receiver waits for a value, a sender for room") {
  machine_with_loops machine({.cores = 1});
  CHECK(exo::run([]() -> task<void> {
    exo::channel<std::unique_ptr<int>, 2> channel;
    exo::scope all;
    auto const started = all.spawn([](auto &from) -> task<result<void>> {
      for (int each = 0;; ++each) {
        auto got = co_await exo::receive(from);
        if (!got) co_return got.error() == error::closed && each == 10 ? result<void>() : std::unexpected(got.error());
        if (**got != each) co_return std::unexpected(error::range);
        co_await exo::yield();
      }
    }(channel));
    CHECK(started);
    for (int each = 0; each < 10; ++each) {
      auto value = std::make_unique<int>(each);
      auto const sent = co_await exo::send(channel, std::move(value));
      CHECK(sent);
    }
    channel.close();
    auto const joined = co_await all.join();
    CHECK(joined);
    auto const sent = co_await exo::send(channel, nullptr);
    CHECK(sent.error() == error::closed);
  }));
}

TEST_CASE("task_channel: waits end with a deadline, and when they are cancelled") {
  machine_with_loops machine({.cores = 1});
  CHECK(exo::run([]() -> task<void> {
    exo::channel<int, 2> channel;
    auto const late = co_await exo::with_timeout(2ms, [](auto &from) -> task<result<int>> { co_return co_await exo::receive(from); }(channel));
    CHECK(late.error() == error::timeout);
    CHECK(channel.try_send(1));
    CHECK(channel.try_send(2));
    auto const full = co_await exo::with_timeout(2ms, [](auto &to) -> task<result<void>> { co_return co_await exo::send(to, 3); }(channel));
    CHECK(full.error() == error::timeout);
    auto const past = co_await exo::with_deadline(0, [](auto &to) -> task<result<void>> { co_return co_await exo::send(to, 3); }(channel));
    CHECK(past.error() == error::timeout);
    CHECK(channel.try_receive() == 1);
    CHECK(channel.try_receive() == 2);
    CHECK(channel.try_receive().error() == error::empty);
  }));
}

TEST_CASE("task_channel: tasks and fibers of all cores, some cancelled, lose nothing") {
  machine_with_loops machine;
  static constexpr u64 each_sends = 300;
  CHECK(exo::run([]() -> task<void> {
    exo::channel<u64, 4> channel;
    std::atomic<u64> sum = 0, received = 0;
    exo::scope senders, receivers;
    for (u32 core = 0; core < 4; ++core) {
      auto const sending = senders.spawn([](u32 on_core, auto &to) -> task<result<void>> {
        co_return co_await exo::on(core_id{on_core}, [&to] {
          return [](auto &channel) -> task<result<void>> {
            for (u64 value = 1; value <= each_sends; ++value) {
              auto const sent = co_await exo::send(channel, value);
              if (!sent) co_return sent;
            }
            co_return {};
          }(to);
        });
      }(core, channel));
      CHECK(sending);
      auto const receiving = receivers.spawn([](u32 on_core, auto &from, auto &total, auto &count) -> task<result<void>> {
        co_return co_await exo::on(core_id{on_core}, [&] {
          return exo::fiber([&]() -> result<void> {
            for (;;) {
              // A wait that ends soon, and comes again.
              auto const got = exo::wait(exo::with_timeout(
                  50us, [](auto &channel) -> task<result<u64>> { co_return co_await exo::receive(channel); }(from)));
              if (got) {
                total += *got;
                ++count;
              } else if (got.error() == error::closed) {
                return {};
              } else if (got.error() != error::timeout) {
                return std::unexpected(got.error());
              }
            }
          });
        });
      }(core, channel, sum, received));
      CHECK(receiving);
    }
    auto const sent = co_await senders.join();
    CHECK(sent);
    channel.close();
    auto const done = co_await receivers.join();
    CHECK(done);
    CHECK(received == 4 * each_sends);
    CHECK(sum == 4 * each_sends * (each_sends + 1) / 2);
  }));
  CHECK(machine.kept_nothing());
}
