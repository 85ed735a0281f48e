// Algorithms on all idle cores, with the names and shapes of the standard library's: for iterators, and for ranges.
//
//   for_each transform  reduce transform_reduce  inclusive_scan exclusive_scan
//   find find_if  all_of any_of none_of count_if  sort is_sorted  invoke
//
// Cores take the next part when they are done with one; parts shrink towards the end, so that uneven work evens out. The
// caller takes part, and calls inside of calls are open to whoever is free. Nothing is allocated, so no memory can run out:
// where there is no other core, or no page for the list of helpers, the caller does it all, with the same result.
//
// Functions run on several cores at the same time. What may run so must not throw: a program in the guest has no
// exceptions, and natively one that leaves a function ends the program (std::terminate).
#pragma once

#include <algorithm>
#include <array>
#include <atomic>
#include <concepts>
#include <cstddef>
#include <functional>
#include <iterator>
#include <mutex>
#include <numeric>
#include <optional>
#include <ranges>
#include <type_traits>
#include <utility>

#include "core.hpp"
#include "lock.hpp"
#include "parallel_parts.hpp"
#include "parallel_sort.hpp"
#include "workers.hpp"

namespace exo::parallel {

/// Calls function(element) for each. @param grain  elements that are at least worth a core's attention
template <std::random_access_iterator Iterator, typename Function>
  requires std::invocable<Function &, std::iter_reference_t<Iterator>>
void for_each(Iterator first, Iterator last, Function function, u64 grain = 1) noexcept {
  detail::over(detail::length(first, last), grain, [&] {
    return [&](u64 from, u64 to) { std::for_each(detail::at(first, from), detail::at(first, to), std::ref(function)); };
  });
}

template <std::ranges::random_access_range Range, typename Function>
  requires std::invocable<Function &, std::ranges::range_reference_t<Range>>
void for_each(Range &&range, Function function, u64 grain = 1) noexcept {
  auto const [first, last] = detail::ends_of(range);
  parallel::for_each(first, last, std::ref(function), grain);
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

template <std::ranges::random_access_range Range, std::random_access_iterator Output, typename Function>
Output transform(Range &&range, Output out, Function function, u64 grain = 1) noexcept {
  auto const [first, last] = detail::ends_of(range);
  return parallel::transform(first, last, out, std::ref(function), grain);
}

/// Combines function(element) for all elements, and `initial`, in any order and grouping.
template <std::random_access_iterator Iterator, std::copyable T, typename Combine, typename Function>
  requires std::invocable<Function &, std::iter_reference_t<Iterator>>
[[nodiscard]] T transform_reduce(Iterator first, Iterator last, T initial, Combine combine, Function function,
                                 u64 grain = 1) noexcept {
  struct partial {
    std::optional<T> sum;
    T &whole;
    spin_lock &lock;
    Combine &combine;
    Function &function;
    Iterator first;

    void operator()(u64 from, u64 to) noexcept {
      Iterator at = detail::at(first, from);
      if (!sum) {
        sum.emplace(std::invoke(function, *at++));
        ++from;
      }
      T own = std::move(*sum);
      if constexpr (std::is_trivially_copyable_v<T>) {
        // Four sums that do not wait for each other.
        if (to - from >= 8) {
          std::array<T, 4> lanes{std::invoke(function, at[0]), std::invoke(function, at[1]), std::invoke(function, at[2]),
                                 std::invoke(function, at[3])};
          for (from += 4, at += 4; to - from >= 4; from += 4, at += 4) {
            for (int lane = 0; lane < 4; ++lane) lanes[lane] = combine(lanes[lane], std::invoke(function, at[lane]));
          }
          for (T const &each : lanes) own = combine(own, each);
        }
      }
      for (; from < to; ++from, ++at) own = combine(std::move(own), std::invoke(function, *at));
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
               [&] { return partial{std::nullopt, initial, lock, combine, function, first}; });
  return initial;
}
template <std::ranges::random_access_range Range, std::copyable T, typename Combine, typename Function>
[[nodiscard]] T transform_reduce(Range &&range, T initial, Combine combine, Function function, u64 grain = 1) noexcept {
  auto const [first, last] = detail::ends_of(range);
  return parallel::transform_reduce(first, last, std::move(initial), std::ref(combine), std::ref(function), grain);
}

/// Combines all elements and `initial`, in any order and grouping.
template <std::random_access_iterator Iterator, std::copyable T, typename Combine = std::plus<>>
[[nodiscard]] T reduce(Iterator first, Iterator last, T initial, Combine combine = {}, u64 grain = 1) noexcept {
  return parallel::transform_reduce(first, last, std::move(initial), std::ref(combine), std::identity(), grain);
}
template <std::ranges::random_access_range Range, std::copyable T, typename Combine = std::plus<>>
[[nodiscard]] T reduce(Range &&range, T initial, Combine combine = {}, u64 grain = 1) noexcept {
  auto const [first, last] = detail::ends_of(range);
  return parallel::reduce(first, last, std::move(initial), std::ref(combine), grain);
}

namespace detail {

/// Both scans: blocks are summed, then each is scanned with the sum of what lies before it.
/// @param scan  scan(first, last, out, before) writes a block; `before` is empty for the first one
template <typename Value, typename Iterator, typename Output, typename Combine, typename Scan>
Output scan_blocks(Iterator first, Iterator last, Output out, std::optional<Value> before, Combine &combine, Scan scan) noexcept {
  constexpr u64 blocks_most = 64;
  u64 const count = length(first, last);
  if (count == 0) return out;
  u64 const block = (count + blocks_most - 1) / blocks_most;
  u64 const blocks = (count + block - 1) / block;
  auto const begin = [&](u64 number) { return at(first, number * block); };
  auto const end = [&](u64 number) { return at(first, std::min(count, (number + 1) * block)); };

  std::array<std::optional<Value>, blocks_most> sums;  // of each block, then of all before it
  over(blocks, 1, [&] {
    return [&](u64 from, u64 to) {
      for (; from < to; ++from) {
        Iterator each = begin(from);
        Value sum = *each++;
        for (; each != end(from); ++each) sum = combine(std::move(sum), *each);
        sums[from].emplace(std::move(sum));
      }
    };
  });
  for (u64 number = 0; number < blocks; ++number) {
    Value next = before ? combine(*before, *sums[number]) : *sums[number];
    sums[number] = std::exchange(before, std::move(next));
  }
  over(blocks, 1, [&] {
    return [&](u64 from, u64 to) {
      for (; from < to; ++from) scan(begin(from), end(from), at(out, from * block), sums[from]);
    };
  });
  return at(out, count);
}

}  // namespace detail

/// Writes the combination of all elements up to each one, that included; in their order, so combine need not commute.
template <std::random_access_iterator Iterator, std::random_access_iterator Output, typename Combine = std::plus<>>
Output inclusive_scan(Iterator first, Iterator last, Output out, Combine combine = {}) noexcept {
  using value = std::iter_value_t<Iterator>;
  return detail::scan_blocks<value>(first, last, out, std::nullopt, combine,
                                    [&](Iterator from, Iterator to, Output into, std::optional<value> const &before) {
                                      if (before) {
                                        std::inclusive_scan(from, to, into, std::ref(combine), *before);
                                      } else {
                                        std::inclusive_scan(from, to, into, std::ref(combine));
                                      }
                                    });
}
template <std::ranges::random_access_range Range, std::random_access_iterator Output, typename Combine = std::plus<>>
Output inclusive_scan(Range &&range, Output out, Combine combine = {}) noexcept {
  auto const [first, last] = detail::ends_of(range);
  return parallel::inclusive_scan(first, last, out, std::ref(combine));
}

/// Writes the combination of `initial` and all elements before each one; in their order, so combine need not commute.
template <std::random_access_iterator Iterator, std::random_access_iterator Output, std::copyable T,
          typename Combine = std::plus<>>
Output exclusive_scan(Iterator first, Iterator last, Output out, T initial, Combine combine = {}) noexcept {
  return detail::scan_blocks<T>(first, last, out, std::optional<T>(std::move(initial)), combine,
                                [&](Iterator from, Iterator to, Output into, std::optional<T> const &before) {
                                  std::exclusive_scan(from, to, into, *before, std::ref(combine));
                                });
}
template <std::ranges::random_access_range Range, std::random_access_iterator Output, std::copyable T,
          typename Combine = std::plus<>>
Output exclusive_scan(Range &&range, Output out, T initial, Combine combine = {}) noexcept {
  auto const [first, last] = detail::ends_of(range);
  return parallel::exclusive_scan(first, last, out, std::move(initial), std::ref(combine));
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

template <std::ranges::random_access_range Range, typename Predicate>
  requires std::ranges::borrowed_range<Range> && std::predicate<Predicate &, std::ranges::range_reference_t<Range>>
[[nodiscard]] auto find_if(Range &&range, Predicate fits, u64 grain = 64) noexcept {
  auto const [first, last] = detail::ends_of(range);
  return parallel::find_if(first, last, std::ref(fits), grain);
}

/// Finds the first element that equals a value; last if there is none.
template <std::random_access_iterator Iterator, typename T>
[[nodiscard]] Iterator find(Iterator first, Iterator last, T const &value, u64 grain = 64) noexcept {
  return parallel::find_if(first, last, [&](auto const &each) { return each == value; }, grain);
}
template <std::ranges::random_access_range Range, typename T>
  requires std::ranges::borrowed_range<Range>
[[nodiscard]] auto find(Range &&range, T const &value, u64 grain = 64) noexcept {
  auto const [first, last] = detail::ends_of(range);
  return parallel::find(first, last, value, grain);
}

/// Whether some element fits, all do, none does: they stop at the first one that tells.
template <std::ranges::random_access_range Range, typename Predicate>
[[nodiscard]] bool any_of(Range &&range, Predicate fits, u64 grain = 64) noexcept {
  auto const [first, last] = detail::ends_of(range);
  return parallel::find_if(first, last, std::ref(fits), grain) != last;
}
template <std::ranges::random_access_range Range, typename Predicate>
[[nodiscard]] bool none_of(Range &&range, Predicate fits, u64 grain = 64) noexcept {
  return !parallel::any_of(range, std::ref(fits), grain);
}
template <std::ranges::random_access_range Range, typename Predicate>
[[nodiscard]] bool all_of(Range &&range, Predicate fits, u64 grain = 64) noexcept {
  return !parallel::any_of(range, std::not_fn(std::ref(fits)), grain);
}

/// How many elements fit.
template <std::ranges::random_access_range Range, typename Predicate>
[[nodiscard]] u64 count_if(Range &&range, Predicate fits, u64 grain = 64) noexcept {
  return parallel::transform_reduce(range, u64{0}, std::plus<>(), [&](auto const &each) { return u64{fits(each)}; }, grain);
}

/// Whether no element is less than the one before it.
template <std::ranges::random_access_range Range, typename Less = std::less<>>
[[nodiscard]] bool is_sorted(Range &&range, Less less = {}, u64 grain = 64) noexcept {
  auto const [first, last] = detail::ends_of(range);
  u64 const count = detail::length(first, last);
  return parallel::none_of(std::views::iota(u64{1}, std::max<u64>(count, 1)),
                           [&](u64 at) { return less(*detail::at(first, at), *detail::at(first, at - 1)); }, grain);
}

/// Runs two functions, at the same time if a core is free: the fork and join of recursive algorithms.
template <std::invocable First, std::invocable Second>
void invoke(First first, Second second) noexcept {
  detail::with_pool([&](workers &pool) { detail::pair_of(first, second).run(pool); });
}

}  // namespace exo::parallel
