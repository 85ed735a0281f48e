// A bounded channel between tasks and fibers of three cores, whose waits are given up again and again. Every value comes out
// once, and whoever waits is woken.
#include <sim/scenario.hpp>

#include <exo/exo.hpp>
#include <exo/fiber.hpp>
#include <exo/on.hpp>
#include <exo/task_channel.hpp>
#include <exo/when.hpp>

namespace {

using exo::core_id;
using exo::result;
using exo::task;
using exo::u32;
using exo::u64;
using namespace std::chrono_literals;

constexpr u32 cores = 3;
constexpr u64 values = 15;
exo::channel<u64, 2> channel;

task<result<void>> produce() {
  for (u64 value = 1; value <= values; ++value) {
    auto const sent = co_await exo::send(channel, value);
    if (!sent) co_return sent;
  }
  co_return {};
}

task<result<u64>> receive_one() { co_return co_await exo::receive(channel); }

result<u64> consume() {
  u64 sum = 0;
  for (u32 turn = 0;; ++turn) {
    auto const got = turn % 2 == 0 ? exo::wait(exo::with_timeout(3us, receive_one())) : exo::wait(exo::receive(channel));
    if (got) {
      sum += *got;
    } else if (got.error() == exo::error::closed) {
      return sum;
    } else if (got.error() != exo::error::timeout) {
      return got;
    }
  }
}

task<result<void>> everything() {
  exo::scope producers, consumers;
  u64 sum = 0;
  for (u32 core = 0; core < cores; ++core) {
    auto const producing = producers.spawn([](u32 on) -> task<result<void>> { co_return co_await exo::on(core_id{on}, produce); }(core));
    if (!producing) co_return producing;
    auto const consuming = consumers.spawn([](u32 on, u64 &total) -> task<result<void>> {
      auto const got = co_await exo::on(core_id{on}, [] { return exo::fiber({.stack_bytes = 32768}, consume); });
      if (!got) co_return std::unexpected(got.error());
      total += *got;
      co_return {};
    }(core, sum));
    if (!consuming) co_return consuming;
  }
  auto const sent = co_await producers.join();
  channel.close();
  auto const received = co_await consumers.join();
  if (!sent || !received) co_return sent ? received : sent;
  if (sum != cores * values * (values + 1) / 2) co_return std::unexpected(exo::error::range);
  co_return {};
}

int channels() {
  auto const outcome = exo::run({.patience = 10ms}, everything);
  return outcome ? 0 : 1;
}

}  // namespace

void scenario(sim::setup &world) {
  world.limit = 50ms;
  world.add_machine("channels", channels).cores = cores;
}
