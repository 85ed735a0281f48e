// sanitizer: thread
#include <exo/parallel.hpp>

#include <algorithm>
#include <atomic>
#include <catch2/catch.hpp>
#include <deque>
#include <numeric>
#include <random>
#include <string>
#include <vector>

#include "machine_with_loops.hpp"

using exo::u32;
using exo::u64;
namespace parallel = exo::parallel;

namespace {

std::vector<u64> numbers(std::size_t count, u64 below = ~u64{0}) {
  std::mt19937_64 random(count);
  std::vector<u64> all(count);
  for (u64 &each : all) each = random() % below;
  return all;
}

}  // namespace

TEST_CASE("parallel: for_each and transform meet every element once") {
  machine_with_loops machine;
  for (std::size_t const count : {0, 1, 2, 7, 1000, 12345}) {
    for (u64 const grain : {0, 1, 100}) {
      std::vector<std::atomic<int>> met(count);
      parallel::for_each(met.begin(), met.end(), [](auto &each) { ++each; }, grain);
      CHECK(std::all_of(met.begin(), met.end(), [](auto const &times) { return times == 1; }));
    }
    std::vector<u64> const from = numbers(count);
    std::vector<u64> to(count + 1, 5);
    CHECK(parallel::transform(from.begin(), from.end(), to.begin(), [](u64 each) { return each + 1; }) == to.end() - 1);
    for (std::size_t at = 0; at < count; ++at) REQUIRE(to[at] == from[at] + 1);
    CHECK(to.back() == 5);
  }
  CHECK(machine.kept_nothing());
}

TEST_CASE("parallel: reduce and inclusive_scan") {
  machine_with_loops machine;
  exo::workers pool;
  CHECK(pool.size() == 4);
  for (std::size_t const count : {0, 1, 63, 64, 65, 10'000}) {
    std::vector<u64> const all = numbers(count);
    CHECK(parallel::reduce(all.begin(), all.end(), u64{3}) == std::accumulate(all.begin(), all.end(), u64{3}));
    CHECK(parallel::reduce(all.begin(), all.end(), u64{0}, [](u64 a, u64 b) { return std::max(a, b); }) ==
          std::accumulate(all.begin(), all.end(), u64{0}, [](u64 a, u64 b) { return std::max(a, b); }));
    std::vector<u64> expected(count), got(count);
    std::inclusive_scan(all.begin(), all.end(), expected.begin());
    CHECK(parallel::inclusive_scan(all.begin(), all.end(), got.begin()) == got.end());
    CHECK(got == expected);
  }
  std::vector<std::string> words;  // order matters, and elements own memory
  for (int each = 0; each < 300; ++each) words.push_back(std::to_string(each) + " ");
  std::vector<std::string> scanned(words.size());
  parallel::inclusive_scan(words.begin(), words.end(), scanned.begin());
  CHECK(scanned.back() == std::accumulate(words.begin(), words.end(), std::string()));
}

TEST_CASE("parallel: sort, in every kind of order") {
  machine_with_loops machine;
  exo::workers pool;
  for (std::size_t const count : {0, 1, 100, 5000, 60'000}) {
    for (u64 const below : {u64{1}, u64{3}, u64{1000}, ~u64{0}}) {
      std::vector<u64> all = numbers(count, below);
      std::vector<u64> expected = all;
      std::sort(expected.begin(), expected.end());
      parallel::sort(all.begin(), all.end());
      CHECK(all == expected);
      parallel::sort(all.begin(), all.end());  // sorted already
      CHECK(all == expected);
      parallel::sort(all.begin(), all.end(), std::greater<>());
      std::reverse(expected.begin(), expected.end());
      CHECK(all == expected);
    }
  }
  std::deque<std::string> words;
  for (u64 each : numbers(9000)) words.push_back(std::to_string(each));
  parallel::sort(words.begin(), words.end());
  CHECK(std::is_sorted(words.begin(), words.end()));
}

TEST_CASE("parallel: find gives the first one") {
  machine_with_loops machine;
  std::vector<int> all(50'000, 0);
  CHECK(parallel::find(all.begin(), all.end(), 1) == all.end());
  for (std::size_t const place : {49'999, 30'000, 12, 0}) {
    all[place] = 1;
    CHECK(parallel::find(all.begin(), all.end(), 1) - all.begin() == static_cast<std::ptrdiff_t>(place));
  }
  CHECK(parallel::find_if(all.begin(), all.begin(), [](int) { return true; }) == all.begin());
}

TEST_CASE("parallel: invoke forks and joins, nested as deep as it likes") {
  machine_with_loops machine;
  exo::workers pool;
  struct fibonacci {
    static u64 of(u64 number) {
      if (number < 2) return number;
      u64 a = 0, b = 0;
      parallel::invoke([&] { a = of(number - 1); }, [&] { b = of(number - 2); });
      return a + b;
    }
  };
  CHECK(fibonacci::of(15) == 610);
}

TEST_CASE("parallel: calls inside of calls, and uneven work") {
  machine_with_loops machine;
  std::atomic<u64> sum = 0;
  std::vector<int> outer(40);
  std::iota(outer.begin(), outer.end(), 0);
  parallel::for_each(outer.begin(), outer.end(), [&](int each) {
    std::vector<u64> inner(static_cast<std::size_t>(each) * 20, 1);
    sum += parallel::reduce(inner.begin(), inner.end(), u64{0});
    parallel::sort(inner.begin(), inner.end());
  });
  CHECK(sum == 20 * 39 * 40 / 2);
  CHECK(machine.kept_nothing());
}

TEST_CASE("parallel: without memory, and without other cores, the caller does it all") {
  machine_with_loops machine({.cores = 4});
  auto const everything = exo::pages::take(exo::system_pages.free().longest);
  std::vector<u64> all = numbers(20'000);
  std::atomic<u32> other = 0;
  parallel::for_each(all.begin(), all.end(), [&](u64) { other += exo::this_core() != exo::core_id{0}; });
  CHECK(other == 0);
  parallel::sort(all.begin(), all.end());
  CHECK(std::is_sorted(all.begin(), all.end()));
}

TEST_CASE("workers: cores that are busy are left out; a pool in a pool is empty") {
  machine_with_loops machine({.cores = 3, .dead_cores = 1});
  std::atomic<bool> stop = false;
  exo::job endless([&] {
    while (!stop) exo::pause();
  });
  auto running = exo::run_on(exo::core_id{1}, endless);
  REQUIRE(running);
  {
    exo::workers pool;
    CHECK(pool.size() == 2);
    exo::workers inner;
    CHECK(inner.size() == 1);
    CHECK(exo::workers::current() == &pool);
  }
  CHECK(exo::workers::current() == nullptr);
  exo::workers one(1);
  CHECK(one.size() == 1);
  stop = true;
}
