// Parallel algorithms, calls inside of calls, and forks that other cores steal; the seed decides the cores and the sizes.
//
// With EXO_PLANTED a loop's body counts without care for other cores.
#include <sim/scenario.hpp>

#include <exo/exo.hpp>
#include <exo/parallel.hpp>

#include <algorithm>
#include <array>
#include <atomic>
#include <functional>
#include <numeric>
#include <ranges>

namespace {

using exo::u32;
using exo::u64;
namespace parallel = exo::parallel;

constexpr u64 most = 300;

u64 fibonacci(u64 number) {
  if (number < 2) return number;
  u64 a = 0, b = 0;
  parallel::invoke([&] { a = fibonacci(number - 1); }, [&] { b = fibonacci(number - 2); });
  return a + b;
}

bool nested() {
  std::atomic<u64> sum = 0;
  parallel::for_each(std::views::iota(u64{0}, u64{6}), [&](u64 each) {
    auto const numbers = std::views::iota(u64{0}, each * 4);
#ifdef EXO_PLANTED
    u64 const before = sum;
    sum = before + parallel::reduce(numbers, u64{0});
#else
    sum += parallel::reduce(numbers, u64{0});
#endif
  });
  u64 right = 0;
  for (u64 each = 0; each < 6; ++each) right += each == 0 ? 0 : each * 4 * (each * 4 - 1) / 2;
  return sum == right;
}

bool scans_and_searches() {
  std::array<u64, most> in, out;
  std::iota(in.begin(), in.end(), 1);
  parallel::inclusive_scan(in, out.begin());
  if (out.back() != most * (most + 1) / 2) return false;
  parallel::exclusive_scan(in, out.begin(), u64{7});
  if (out[0] != 7 || out.back() != 7 + most * (most - 1) / 2) return false;
  return parallel::find(in, u64{250}, 16) == in.begin() + 249 && parallel::count_if(in, [](u64 each) { return each % 3 == 0; }, 16) == 100 &&
         parallel::all_of(in, [](u64 each) { return each != 0; }, 16);
}

bool sorts() {
  static std::array<u64, 9000> all;
  u64 state = 1;
  for (u64 &each : all) each = (state = state * 6364136223846793005 + 1442695040888963407) >> 40;
  u64 const sum = std::accumulate(all.begin(), all.end(), u64{0});
  parallel::sort(all);
  return std::ranges::is_sorted(all) && std::accumulate(all.begin(), all.end(), u64{0}) == sum;
}

int work() {
  u64 const free = exo::system_pages.free().bytes;
  {
    exo::workers const pool(~u32{0}, 3);  // they halt soon
    if (pool.size() != exo::core_count()) return 1;
    if (fibonacci(8) != 21 || !nested() || !scans_and_searches()) return 2;
    if (!sorts() || fibonacci(7) != 13) return 3;
  }
  if (!nested()) return 4;
  return exo::system_pages.free().bytes == free ? 0 : 5;
}

}  // namespace

void scenario(sim::setup &world) {
  sim::machine &one = world.add_machine("cores", work);
  one.cores = 1 + static_cast<unsigned>(world.choose(4));
  one.stall = 0.1;
}
