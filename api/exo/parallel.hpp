// Algorithms on all idle cores, with the names and shapes of the standard library's.
//
// Cores take the next part when they are done with one; parts shrink towards the end, so that uneven work evens out. The
// caller takes part, and a call inside of another uses what is free. Nothing is allocated; where there is no other core,
// or no page for the list of helpers, the caller does it all. Functions run on several cores at the same time.
#pragma once

#include <algorithm>
#include <array>
#include <atomic>
#include <bit>
#include <concepts>
#include <cstddef>
#include <functional>
#include <iterator>
#include <mutex>
#include <numeric>
#include <optional>
#include <utility>

#include "core.hpp"
#include "lock.hpp"
#include "workers.hpp"

namespace exo::parallel {

namespace detail {

using exo::detail::shared_work;

/// Runs function(pool) with this core's pool, or with one for this call alone.
template <typename Function>
void with_pool(Function &&function) noexcept {
  if (workers *const pool = workers::current(); pool != nullptr) return function(*pool);
  workers pool;
  function(pool);
}

/// Calls body(first, last) for parts of [0, count) on several cores; each core makes its own body with make().
template <typename Make>
class parts : shared_work {
 public:
  parts(u64 count, u64 grain, u32 cores, Make &make) noexcept
      : shared_work([](shared_work &self) noexcept { static_cast<parts &>(self).take_part(); }),
        count_(count),
        grain_(std::max<u64>(grain, 1)),
        shares_(2 * u64{cores}),
        make_(make) {}

  void run(workers &pool) noexcept {
    u64 const useful = (count_ + grain_ - 1) / grain_;
    u32 const helpers = static_cast<u32>(std::min<u64>(useful, pool.size())) - 1;
    pool.share(*this, helpers, [this] { take_part(); });
  }

 private:
  void take_part() noexcept {
    auto body = make_();
    u64 at = cursor_.load(std::memory_order_relaxed);
    while (at < count_) {
      u64 const part = std::min(std::max((count_ - at) / shares_, grain_), count_ - at);
      if (!cursor_.compare_exchange_weak(at, at + part, std::memory_order_relaxed)) continue;
      body(at, at + part);
      at = cursor_.load(std::memory_order_relaxed);
    }
  }

  u64 const count_;
  u64 const grain_;
  u64 const shares_;
  Make &make_;
  std::atomic<u64> cursor_ = 0;
};

template <typename Make>
void over(u64 count, u64 grain, Make make) noexcept {
  if (count == 0) return;
  with_pool([&](workers &pool) { parts<Make>(count, grain, pool.size(), make).run(pool); });
}

template <std::random_access_iterator Iterator>
u64 length(Iterator first, Iterator last) noexcept {
  return last > first ? static_cast<u64>(last - first) : 0;
}
template <std::random_access_iterator Iterator>
Iterator at(Iterator first, u64 index) noexcept {
  return first + static_cast<std::iter_difference_t<Iterator>>(index);
}

inline constexpr u64 small_sort = 4096;  // elements that are not worth another core

/// Quicksort whose halves are shared; what is small, or splits badly, is left to std::sort.
template <typename Iterator, typename Less>
void sort_part(workers &pool, Iterator first, Iterator last, Less &less, u32 splits_left) noexcept;

/// Two functions at the same time, if another core is free.
template <typename First, typename Second>
class pair_of : shared_work {
 public:
  pair_of(First &first, Second &second) noexcept
      : shared_work([](shared_work &self) noexcept { static_cast<pair_of &>(self).run_second(); }),
        first_(first),
        second_(second) {}

  void run(workers &pool) noexcept {
    pool.share(*this, 1, [this] {
      first_();
      run_second();  // unless the helper has begun
    });
  }

 private:
  void run_second() noexcept {
    if (!begun_.exchange(true, std::memory_order_acq_rel)) second_();
  }

  First &first_;
  Second &second_;
  std::atomic<bool> begun_ = false;
};

template <typename Iterator, typename Less>
void sort_part(workers &pool, Iterator first, Iterator last, Less &less, u32 splits_left) noexcept {
  if (length(first, last) <= small_sort || splits_left == 0) return std::sort(first, last, less);
  Iterator const middle = first + (last - first) / 2;
  auto const third = [&](Iterator a, Iterator b, Iterator c) {
    return less(*a, *b) ? (less(*b, *c) ? b : less(*a, *c) ? c : a) : (less(*a, *c) ? a : less(*b, *c) ? c : b);
  };
  // The median of nine is swapped to the front and stays out of the partition, so that both sides get smaller.
  auto const step = (last - first) / 8;
  Iterator const pivot = third(third(first, first + step, first + 2 * step), third(middle - step, middle, middle + step),
                               third(last - 1 - 2 * step, last - 1 - step, last - 1));
  std::iter_swap(first, pivot);
  Iterator const smaller = std::partition(first + 1, last, [&](auto const &each) { return less(each, *first); });
  std::iter_swap(first, smaller - 1);
  // Where few are smaller, many may equal the pivot, and are in their places once they are gathered.
  Iterator larger = smaller;
  if (smaller - first < (last - first) / 8) {
    larger = std::partition(smaller, last, [&](auto const &each) { return !less(*(smaller - 1), each); });
  }
  auto left = [&] { sort_part(pool, first, smaller - 1, less, splits_left - 1); };
  auto right = [&] { sort_part(pool, larger, last, less, splits_left - 1); };
  pair_of(left, right).run(pool);
}

}  // namespace detail

/// Calls function(element) for each. @param grain  elements that are at least worth a core's attention
template <std::random_access_iterator Iterator, typename Function>
  requires std::invocable<Function &, std::iter_reference_t<Iterator>>
void for_each(Iterator first, Iterator last, Function function, u64 grain = 1) noexcept {
  detail::over(detail::length(first, last), grain, [&] {
    return [&](u64 from, u64 to) { std::for_each(detail::at(first, from), detail::at(first, to), std::ref(function)); };
  });
}

/// Writes function(element) for each to where `out` begins; returns the end of what was written.
template <std::random_access_iterator Iterator, std::random_access_iterator Output, typename Function>
Output transform(Iterator first, Iterator last, Output out, Function function, u64 grain = 1) noexcept {
  detail::over(detail::length(first, last), grain, [&] {
    return [&](u64 from, u64 to) {
      std::transform(detail::at(first, from), detail::at(first, to), detail::at(out, from), std::ref(function));
    };
  });
  return detail::at(out, detail::length(first, last));
}

/// Combines all elements and `initial`, in any order and grouping.
template <std::random_access_iterator Iterator, std::copyable T, typename Combine = std::plus<>>
[[nodiscard]] T reduce(Iterator first, Iterator last, T initial, Combine combine = {}, u64 grain = 1) noexcept {
  struct partial {
    std::optional<T> sum;
    T &whole;
    spin_lock &lock;
    Combine &combine;
    Iterator first;

    void operator()(u64 from, u64 to) noexcept {
      Iterator at = detail::at(first, from);
      if (!sum) {
        sum.emplace(*at++);
        ++from;
      }
      T own = std::move(*sum);
      for (; from < to; ++from, ++at) own = combine(std::move(own), *at);
      *sum = std::move(own);
    }
    ~partial() {
      if (!sum) return;
      std::lock_guard const guard(lock);
      whole = combine(std::move(whole), std::move(*sum));
    }
  };
  spin_lock lock;
  detail::over(detail::length(first, last), grain,
               [&] { return partial{std::nullopt, initial, lock, combine, first}; });
  return initial;
}

/// Writes the combination of all elements up to each one, that included; in their order, so combine need not commute.
template <std::random_access_iterator Iterator, std::random_access_iterator Output, typename Combine = std::plus<>>
Output inclusive_scan(Iterator first, Iterator last, Output out, Combine combine = {}) noexcept {
  using value = std::iter_value_t<Iterator>;
  constexpr u64 blocks_most = 64;
  u64 const count = detail::length(first, last);
  if (count == 0) return out;
  u64 const block = (count + blocks_most - 1) / blocks_most;
  u64 const blocks = (count + block - 1) / block;
  auto const begin = [&](u64 number) { return detail::at(first, number * block); };
  auto const end = [&](u64 number) { return detail::at(first, std::min(count, (number + 1) * block)); };

  std::array<std::optional<value>, blocks_most> sums;  // of each block, then of all before it
  detail::over(blocks, 1, [&] {
    return [&](u64 from, u64 to) {
      for (; from < to; ++from) {
        Iterator at = begin(from);
        value sum = *at++;
        for (; at != end(from); ++at) sum = combine(std::move(sum), *at);
        sums[from].emplace(std::move(sum));
      }
    };
  });
  std::optional<value> before;
  for (u64 number = 0; number < blocks; ++number) {
    value next = before ? combine(*before, *sums[number]) : *sums[number];
    sums[number] = std::exchange(before, std::move(next));
  }
  detail::over(blocks, 1, [&] {
    return [&](u64 from, u64 to) {
      for (; from < to; ++from) {
        Output const to_here = detail::at(out, from * block);
        if (sums[from]) {
          std::inclusive_scan(begin(from), end(from), to_here, combine, *sums[from]);
        } else {
          std::inclusive_scan(begin(from), end(from), to_here, combine);
        }
      }
    };
  });
  return detail::at(out, count);
}

/// Finds the first element that fits; last if there is none. Parts behind one that was found are left out.
template <std::random_access_iterator Iterator, typename Predicate>
  requires std::predicate<Predicate &, std::iter_reference_t<Iterator>>
[[nodiscard]] Iterator find_if(Iterator first, Iterator last, Predicate fits, u64 grain = 64) noexcept {
  u64 const count = detail::length(first, last);
  std::atomic<u64> found = count;
  detail::over(count, grain, [&] {
    return [&](u64 from, u64 to) {
      for (; from < to && from < found.load(std::memory_order_relaxed); ++from) {
        if (!fits(*detail::at(first, from))) continue;
        u64 best = found.load(std::memory_order_relaxed);
        while (from < best && !found.compare_exchange_weak(best, from, std::memory_order_relaxed)) {
        }
        return;
      }
    };
  });
  return detail::at(first, found.load(std::memory_order_relaxed));
}

/// Finds the first element that equals a value; last if there is none.
template <std::random_access_iterator Iterator, typename T>
[[nodiscard]] Iterator find(Iterator first, Iterator last, T const &value, u64 grain = 64) noexcept {
  return parallel::find_if(first, last, [&](auto const &each) { return each == value; }, grain);
}

/// Runs two functions, at the same time if a core is free: the fork and join of recursive algorithms.
template <std::invocable First, std::invocable Second>
void invoke(First first, Second second) noexcept {
  detail::with_pool([&](workers &pool) { detail::pair_of(first, second).run(pool); });
}

/// Sorts in place; equal elements may change places. Takes no memory, so that none can run out.
template <std::random_access_iterator Iterator, typename Less = std::less<>>
void sort(Iterator first, Iterator last, Less less = {}) noexcept {
  if (detail::length(first, last) <= detail::small_sort) return std::sort(first, last, less);
  u32 const splits = 2 * static_cast<u32>(std::bit_width(detail::length(first, last)));
  detail::with_pool([&](workers &pool) { detail::sort_part(pool, first, last, less, splits); });
}

}  // namespace exo::parallel
