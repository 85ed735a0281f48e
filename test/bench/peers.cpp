// The headers against libraries that do the same, natively, in one run and in turns: a ratio above 1 says that the header
// is faster; for parallel-for-* it is the header's time over the other's.
//
// Needs --native, two idle processors, Debian's libboost-dev, libtbb-dev and libgomp; test/bench/run.sh has the flags.
#include <tbb/global_control.h>
#include <tbb/parallel_for.h>
#include <tbb/parallel_reduce.h>
#include <tbb/parallel_sort.h>

#include <algorithm>
#include <boost/lockfree/spsc_queue.hpp>
#include <exo/exo.hpp>
#include <exo/parallel.hpp>
#include <numeric>
#include <random>
#include <vector>

namespace {

using exo::u32;
using exo::u64;

constexpr int chunks = 1000;
bool quick = false;  // a look whether it runs at all, with any argument

template <typename Work>
u64 ticks_of(Work &&work) {
  u64 const begin = exo::ticks();
  work();
  return exo::ticks() - begin;
}

/// The best time of each side, measured in turns.
template <typename Ours, typename Theirs>
std::pair<u64, u64> best_of(int rounds, Ours ours, Theirs theirs) {
  u64 mine = exo::no_deadline, other = exo::no_deadline;
  for (int round = 0; round < rounds; ++round) {
    mine = std::min(mine, ours());
    other = std::min(other, theirs());
  }
  return {mine, other};
}

void print_ratio(char const *name, u64 over, u64 under) {
  u64 const hundredths = (100 * over + under / 2) / under;
  exo::print("figure {} {}.{:02} times\n", name, hundredths / 100, hundredths % 100);
}

/// Time to hand numbers from one core to another.
template <typename Push, typename Pop>
u64 hand_over(Push push, Pop pop) {
  u64 const count = quick ? 20'000 : 1'000'000;
  exo::job produce([&] {
    for (u64 each = 0; each < count; ++each) {
      while (!push(each)) exo::pause();
    }
  });
  return ticks_of([&] {
    auto const running = exo::run_on(exo::core_id{1}, produce);
    if (!running) exo::panic("core 1 does not start");
    u64 sum = 0;
    for (u64 each = 0; each < count; ++each) {
      u64 value = 0;
      while (!pop(value)) exo::pause();
      sum += value;
    }
    if (sum != count * (count - 1) / 2) exo::panic("numbers are lost");
  });
}

exo::spsc_ring<u64, 1024> own_ring;
boost::lockfree::spsc_queue<u64, boost::lockfree::capacity<1024>> boost_ring;

void compare_rings() {
  auto const [mine, other] = best_of(
      quick ? 1 : 15,
      [] {
        return hand_over([](u64 each) { return own_ring.try_push(each); },
                         [](u64 &value) {
                           auto const got = own_ring.try_pop();
                           if (got) value = *got;
                           return got.has_value();
                         });
      },
      [] {
        return hand_over([](u64 each) { return boost_ring.push(each); }, [](u64 &value) { return boost_ring.pop(value); });
      });
  print_ratio("spsc-vs-boost", other, mine);
}

void nothing(int each) { asm volatile("" : : "r"(each)); }

void compare_loops() {
  std::vector<int> parts(chunks);
  std::iota(parts.begin(), parts.end(), 0);
  auto const own = [&] { return ticks_of([&] { exo::parallel::for_each(parts.begin(), parts.end(), nothing); }); };
  auto const [mine, tbb] = best_of(quick ? 5 : 200, own, [] {
    return ticks_of([] { tbb::parallel_for(0, chunks, nothing, tbb::simple_partitioner()); });
  });
  print_ratio("parallel-for-vs-tbb", mine, tbb);
  auto const [again, openmp] = best_of(quick ? 5 : 200, own, [] {
    return ticks_of([] {
#pragma omp parallel for schedule(dynamic, 1) num_threads(2)
      for (int each = 0; each < chunks; ++each) nothing(each);
    });
  });
  print_ratio("parallel-for-vs-openmp", again, openmp);
}

void compare_algorithms() {
  std::size_t const count = quick ? 1'000'000 : 100'000'000;
  std::vector<u64> numbers(count);
  std::mt19937_64 random(1);
  for (u64 &each : numbers) each = random();
  std::vector<u64> work;
  auto const [mine, other] = best_of(
      2,
      [&] {
        work = numbers;
        return ticks_of([&] { exo::parallel::sort(work.begin(), work.end()); });
      },
      [&] {
        work = numbers;
        return ticks_of([&] { tbb::parallel_sort(work.begin(), work.end()); });
      });
  print_ratio("sort-vs-tbb", other, mine);
  u64 sums[2] = {};
  auto const [my_sum, other_sum] = best_of(
      5, [&] { return ticks_of([&] { sums[0] = exo::parallel::reduce(numbers.begin(), numbers.end(), u64{0}, std::plus<>(), 4096); }); },
      [&] {
        return ticks_of([&] {
          sums[1] = tbb::parallel_reduce(
              tbb::blocked_range<u64 const *>(numbers.data(), numbers.data() + count), u64{0},
              [](auto const &range, u64 sum) { return std::accumulate(range.begin(), range.end(), sum); }, std::plus<>());
        });
      });
  if (sums[0] != sums[1]) exo::panic("the sums differ");
  print_ratio("reduce-vs-tbb", other_sum, my_sum);
}

}  // namespace

int main(int count, char **) {
  quick = count > 1;
  if (exo::core_count() != 2) exo::panic("this is no machine of two cores");
  tbb::global_control const two(tbb::global_control::max_allowed_parallelism, 2);
  compare_rings();
  exo::workers pool;
  compare_loops();
  compare_algorithms();
  return 0;
}
