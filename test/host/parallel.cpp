// sanitizer: thread
#include <exo/parallel.hpp>

#include <algorithm>
#include <array>
#include <atomic>
#include <catch2/catch.hpp>
#include <deque>
#include <functional>
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

TEST_CASE("parallel: an end before the beginning is no elements") {
  machine_with_loops machine({.cores = 2});
  std::vector<u64> all = numbers(10);
  u32 calls = 0;
  parallel::for_each(all.end(), all.begin(), [&](u64) { ++calls; });
  CHECK(calls == 0);
  CHECK(parallel::reduce(all.end(), all.begin(), u64{7}) == 7);
  CHECK(parallel::find(all.end(), all.begin(), all[3]) == all.end());
  CHECK(parallel::inclusive_scan(all.end(), all.begin(), all.begin()) == all.begin());
  CHECK(all == numbers(10));
}

TEST_CASE("parallel: ranges, and what they are made of") {
  machine_with_loops machine;
  exo::workers pool;
  for (std::size_t const count : {0, 1, 65, 5000}) {
    std::vector<u64> all = numbers(count);
    auto const odd = [](u64 each) { return each % 2 == 1; };
    std::vector<u64> out(count), expected(count);
    CHECK(parallel::transform(all, out.begin(), std::negate<>()) == out.end());
    std::transform(all.begin(), all.end(), expected.begin(), std::negate<>());
    CHECK(out == expected);
    CHECK(parallel::reduce(all, u64{1}) == std::accumulate(all.begin(), all.end(), u64{1}));
    CHECK(parallel::transform_reduce(all, u64{0}, std::plus<>(), odd) ==
          static_cast<u64>(std::count_if(all.begin(), all.end(), odd)));
    CHECK(parallel::count_if(all, odd) == static_cast<u64>(std::count_if(all.begin(), all.end(), odd)));
    CHECK(parallel::any_of(all, odd) == std::any_of(all.begin(), all.end(), odd));
    CHECK(parallel::all_of(all, odd) == std::all_of(all.begin(), all.end(), odd));
    CHECK(parallel::none_of(all, odd) == std::none_of(all.begin(), all.end(), odd));
    CHECK(parallel::all_of(all, [](u64) { return true; }));
    CHECK(parallel::none_of(all, [](u64) { return false; }));
    CHECK(parallel::inclusive_scan(all, out.begin()) == out.end());
    std::inclusive_scan(all.begin(), all.end(), expected.begin());
    CHECK(out == expected);
    CHECK(parallel::exclusive_scan(all, out.begin(), u64{9}) == out.end());
    std::exclusive_scan(all.begin(), all.end(), expected.begin(), u64{9});
    CHECK(out == expected);
    CHECK(parallel::is_sorted(all) == std::is_sorted(all.begin(), all.end()));
    parallel::sort(all, std::greater<>());
    CHECK(parallel::is_sorted(all, std::greater<>()));
    if (count > 1) {
      std::swap(all.front(), all.back());
      CHECK_FALSE(parallel::is_sorted(all, std::greater<>()));
      CHECK(parallel::find(all, all[count - 2]) == std::find(all.begin(), all.end(), all[count - 2]));
    }
    parallel::for_each(all, [](u64 &each) { each = 3; });
    CHECK(parallel::find_if(all, [](u64 each) { return each != 3; }) == all.end());
  }
  // In place, and elements that own memory
  std::vector<std::string> words;
  for (int each = 0; each < 200; ++each) words.push_back(std::to_string(each) + " ");
  std::string const whole = std::accumulate(words.begin(), words.end(), std::string());
  std::string const last = words.back();
  parallel::exclusive_scan(words.begin(), words.end(), words.begin(), std::string("> "));
  CHECK(words.back() + last == "> " + whole);
}

TEST_CASE("parallel: sort, of bad orders and of what is not moved easily") {
  machine_with_loops machine;
  exo::workers pool;
  struct large {
    u64 key;
    std::array<u64, 5> more;
    bool operator<(large const &other) const { return key < other.key; }
  };
  std::vector<large> records;
  for (u64 const each : numbers(20'000, 500)) records.push_back({each, {each, each, each, each, each}});
  parallel::sort(records, [](large const &a, large const &b) { return a.key < b.key; });
  CHECK(std::is_sorted(records.begin(), records.end()));
  CHECK(std::all_of(records.begin(), records.end(), [](large const &each) { return each.more[4] == each.key; }));

  std::vector<u64> pipes(30'000), saw(30'000);  // orders that make medians bad
  for (u64 at = 0; at < pipes.size(); ++at) {
    pipes[at] = std::min(at, pipes.size() - at);
    saw[at] = at % 64 == 0 ? 0 : at;
  }
  for (auto *each : {&pipes, &saw}) {
    std::vector<u64> expected = *each;
    std::sort(expected.begin(), expected.end());
    parallel::sort(*each);
    CHECK(*each == expected);
  }
  std::vector<double> const some{3, -1, 2};
  std::vector<double> many;
  for (int turn = 0; turn < 5000; ++turn) many.insert(many.end(), some.begin(), some.end());
  parallel::sort(many);
  CHECK(std::is_sorted(many.begin(), many.end()));
  CHECK(std::count(many.begin(), many.end(), 2.0) == 5000);
}

// Nothing is taken, so a sort cannot fail in the middle: with no page left since its first comparison it sorts all the same.
TEST_CASE("parallel: memory that runs out in the middle of a sort") {
  machine_with_loops machine;
  exo::workers const pool;
  std::vector<u64> all = numbers(30'000), expected = all;
  std::sort(expected.begin(), expected.end());
  std::atomic<bool> taken = false;
  std::vector<exo::pages> everything;
  everything.reserve(100);
  parallel::sort(all, [&](u64 a, u64 b) {
    if (!taken.exchange(true)) {
      for (u64 run = 0; (run = exo::system_pages.free().longest) != 0;) everything.push_back(*exo::pages::take(run));
    }
    return a < b;
  });
  CHECK(taken);
  CHECK(exo::system_pages.free().bytes == 0);
  CHECK(all == expected);
}
