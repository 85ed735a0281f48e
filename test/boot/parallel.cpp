// Parallel algorithms on real cores: all of them take part, and results are those of one core.
// boot: --cores 1
// boot: --cores 2
// boot: --cores 4
// boot: --cores 8
#include "check.hpp"

#include <exo/parallel.hpp>
#include <numeric>
#include <vector>

using namespace check;

namespace {

std::vector<u64> numbers(std::size_t count) {
  std::vector<u64> all(count);
  u64 state = 88172645463325252;
  for (u64 &each : all) {  // xorshift64 (Marsaglia 2003)
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    each = state;
  }
  return all;
}

void all_cores_take_part() {
  std::atomic<u64> seen = 0;
  std::vector<int> parts(200);
  u64 const all = (u64{1} << core_count()) - 1;
  parallel::for_each(parts.begin(), parts.end(), [&](int) {
    seen |= u64{1} << static_cast<u32>(this_core());
    u64 const deadline = deadline_in(std::chrono::seconds(20));
    while (seen != all && ticks() < deadline) exo::pause();  // until everyone has come
  });
  same(static_cast<i64>(seen), static_cast<i64>(all));
}

void results_are_right() {
  std::vector<u64> const all = numbers(100'000);
  u64 const sum = std::accumulate(all.begin(), all.end(), u64{0});
  same(static_cast<i64>(parallel::reduce(all.begin(), all.end(), u64{0})), static_cast<i64>(sum));
  std::vector<u64> sums(all.size());
  parallel::inclusive_scan(all.begin(), all.end(), sums.begin());
  same(static_cast<i64>(sums.back()), static_cast<i64>(sum));
  parallel::exclusive_scan(all, sums.begin(), u64{0});
  same(static_cast<i64>(sums.back() + all.back()), static_cast<i64>(sum));
  std::vector<u64> sorted = all;
  parallel::sort(sorted.begin(), sorted.end());
  that(parallel::is_sorted(sorted) && std::is_sorted(sorted.begin(), sorted.end()), "not sorted");
  same(static_cast<i64>(std::accumulate(sorted.begin(), sorted.end(), u64{0})), static_cast<i64>(sum));
  that(parallel::find(all.begin(), all.end(), all[77'777]) == all.begin() + 77'777, "not found where it is");
}

/// A fork that nobody was free for is taken by the core that becomes free: its first half waits for that.
void forks_are_stolen() {
  if (core_count() == 1) return;
  std::atomic<u32> busy = 0;
  std::atomic<bool> forked = false, stolen = false;
  auto const until = [](auto condition) {
    u64 const deadline = deadline_in(std::chrono::seconds(20));
    while (!condition() && ticks() < deadline) exo::pause();
    return condition();
  };
  std::vector<u32> parts(core_count());
  std::iota(parts.begin(), parts.end(), 0);
  parallel::for_each(parts.begin(), parts.end(), [&](u32) {
    if (++busy != core_count()) {
      until([&] { return forked.load(); });
      return;
    }
    parallel::invoke(
        [&] {
          forked = true;
          that(until([&] { return stolen.load(); }), "nobody took the fork");
        },
        [&] { stolen = true; });
  });
}

u64 fibonacci(u64 number) {
  if (number < 2) return number;
  u64 a = 0, b = 0;
  parallel::invoke([&] { a = fibonacci(number - 1); }, [&] { b = fibonacci(number - 2); });
  return a + b;
}

}  // namespace

int main() {
  u64 const free = system_pages.free().bytes;
  all_cores_take_part();
  {
    workers pool;
    same(pool.size(), core_count());
    for (int round = 0; round < 3; ++round) results_are_right();
    same(static_cast<i64>(fibonacci(16)), 987);
    forks_are_stolen();
  }
  results_are_right();
  system_heap.collect();
  that(system_pages.free().bytes + (64 << 10) > free, "pages are lost");
  return verdict();
}
