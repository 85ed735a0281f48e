// sanitizer: thread
#include <exo/team.hpp>

#include <array>
#include <atomic>
#include <catch2/catch.hpp>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "fake.hpp"

using exo::error;
using exo::u32;
using exo::u64;

namespace {

struct team_machine {
  explicit team_machine(fake::settings chosen = {.cores = 4}) : machine(chosen) {
    exo::system_pages.start(exo::info().memory);
  }
  fake::machine machine;
};

}  // namespace

TEST_CASE("team: everyone has a rank, and all meet") {
  team_machine machine;
  u64 const free = exo::system_pages.free().bytes;
  for (int round = 0; round < 100; ++round) {
    std::array<std::atomic<u32>, 4> seen{};
    std::atomic<u32> before = 0, early = 0;
    CHECK(exo::team::run([&](exo::team::member &me) {
            ++seen[me.rank()];
            ++before;
            me.meet();
            early += before != me.size();
          }) == 4u);
    CHECK(early == 0);
    for (auto const &each : seen) CHECK(each == 1);
  }
  CHECK(exo::system_pages.free().bytes == free);
}

TEST_CASE("team: broadcast, reduce and all-reduce") {
  team_machine machine;
  std::atomic<u32> wrong = 0;
  auto const ran = exo::team::run([&](exo::team::member &me) {
    for (u32 root = 0; root < me.size(); ++root) {
      wrong += me.broadcast(std::to_string(me.rank()), root) != std::to_string(root);
      u32 const sum = me.reduce(me.rank() + 1, std::plus(), root);
      wrong += sum != (me.rank() == root ? me.size() * (me.size() + 1) / 2 : me.rank() + 1);
    }
    wrong += me.all_reduce(me.rank() + 1, std::plus()) != me.size() * (me.size() + 1) / 2;
    wrong += me.all_reduce(me.rank(), [](u32 a, u32 b) { return std::max(a, b); }) != me.size() - 1;
    // The order of ranks, also where it matters
    std::string const text = me.all_reduce(std::string(1, static_cast<char>('a' + me.rank())), std::plus());
    wrong += text != std::string("abcd").substr(0, me.size());
  });
  CHECK(ran == 4u);
  CHECK(wrong == 0);
}

TEST_CASE("team: scatter and gather, and lists that are too short") {
  team_machine machine;
  std::atomic<u32> wrong = 0;
  std::vector<u64> const parts{10, 11, 12, 13};
  auto const ran = exo::team::run([&](exo::team::member &me) {
    auto const mine = me.scatter(std::span<u64 const>(parts), 1);
    wrong += mine != 10u + me.rank();
    wrong += me.scatter(std::span<u64 const>(parts).first(3), 2).error() != error::range;
    std::vector<u64> all(me.size());
    wrong += !me.gather(*mine, std::span(all), 3);
    wrong += me.rank() == 3 ? all != parts : all != std::vector<u64>(me.size());
    auto const refused = me.gather(*mine, std::span(all).first(me.size() - 1), 0);
    wrong += me.rank() == 0 ? refused.error() != error::range : !refused;
  });
  CHECK(ran == 4u);
  CHECK(wrong == 0);
}

TEST_CASE("team: only idle cores are in it") {
  team_machine machine({.cores = 3, .dead_cores = 1});
  std::atomic<bool> stop = false;
  exo::job endless([&] {
    while (!stop) exo::pause();
  });
  auto running = exo::run_on(exo::core_id{1}, endless);
  REQUIRE(running);
  u32 sum = 0;
  CHECK(exo::team::run([&](exo::team::member &me) {
          u32 const all = me.all_reduce(me.size(), std::plus());
          if (me.rank() == 0) sum = all;
        }) == 2u);
  CHECK(sum == 4);
  stop = true;
}

TEST_CASE("team: one alone, nobody, and no memory") {
  team_machine machine;
  u32 ran = 0;
  CHECK(exo::team::run([&](exo::team::member &me) { ran += me.all_reduce(1u, std::plus()); }, 1) == 1u);
  CHECK(ran == 1);
  CHECK(exo::team::run([&](exo::team::member &) { ++ran; }, 0).error() == error::range);
  auto const everything = exo::pages::take(exo::system_pages.free().longest);
  REQUIRE(everything);
  CHECK(exo::team::run([&](exo::team::member &) { ++ran; }).error() == error::memory);
  CHECK(ran == 1);
}
