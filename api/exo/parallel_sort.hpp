// Sorting on all cores; parallel.hpp includes this.
#pragma once

#include <algorithm>
#include <bit>
#include <functional>
#include <iterator>
#include <ranges>
#include <type_traits>
#include <utility>

#include "core.hpp"
#include "parallel_parts.hpp"
#include "workers.hpp"

namespace exo::parallel {

namespace detail {

inline constexpr u64 small_sort = 4096;  // elements that are not worth another core

/// Whether moving an element costs less than a jump that the processor guessed wrong.
template <typename Iterator>
inline constexpr bool moves_easily =
    std::is_trivially_copyable_v<std::iter_value_t<Iterator>> && sizeof(std::iter_value_t<Iterator>) <= 16;

/// Elements that std::sort is left with: its insertion sort, or all that is not worth another core.
template <typename Iterator>
inline constexpr u64 serial_sort = moves_easily<Iterator> ? 16 : small_sort;

/// std::partition; without a jump that depends on an element, where that is faster.
template <typename Iterator, typename Belongs>
Iterator partition(Iterator first, Iterator last, Belongs belongs) noexcept {
  if constexpr (moves_easily<Iterator>) {
    Iterator border = first;
    for (; first != last; ++first) {
      auto const value = *first;
      *first = *border;
      *border = value;
      border += static_cast<std::iter_difference_t<Iterator>>(belongs(value));
    }
    return border;
  } else {
    return std::partition(first, last, belongs);
  }
}

/// Moves what is less than some element to the front and what is greater to the back. What lies between is in its place.
/// @return  where the first part ends and the second begins
template <typename Iterator, typename Less>
std::pair<Iterator, Iterator> split(Iterator first, Iterator last, Less &less) noexcept {
  Iterator const middle = first + (last - first) / 2;
  auto const third = [&](Iterator a, Iterator b, Iterator c) {
    return less(*a, *b) ? (less(*b, *c) ? b : less(*a, *c) ? c : a) : (less(*a, *c) ? a : less(*b, *c) ? c : b);
  };
  // The median of nine is swapped to the front and stays out of the partition, so that both sides get smaller.
  auto const step = (last - first) / 8;
  Iterator const pivot = third(third(first, first + step, first + 2 * step), third(middle - step, middle, middle + step),
                               third(last - 1 - 2 * step, last - 1 - step, last - 1));
  std::iter_swap(first, pivot);
  // Its copy, where that is one, lies in a register.
  std::conditional_t<moves_easily<Iterator>, std::iter_value_t<Iterator> const, std::iter_reference_t<Iterator>> value = *first;
  Iterator const smaller = detail::partition(first + 1, last, [&](auto const &each) -> bool { return less(each, value); }) - 1;
  std::iter_swap(first, smaller);
  // Where few are smaller, many may equal the pivot, and are in their places once they are gathered.
  if (smaller - first >= (last - first) / 8) return {smaller, smaller + 1};
  std::iter_reference_t<Iterator> equal = *smaller;
  return {smaller, detail::partition(smaller + 1, last, [&](auto const &each) -> bool { return !less(equal, each); })};
}

/// Quicksort whose halves are shared; what is small, or splits badly too often, is left to std::sort.
template <typename Iterator, typename Less>
void sort_part(workers &pool, Iterator first, Iterator last, Less &less, u32 splits_left) noexcept {
  while (length(first, last) > serial_sort<Iterator> && splits_left-- != 0) {
    auto const [left_end, right_begin] = split(first, last, less);
    if (length(first, last) > small_sort) {
      auto left = [&, end = left_end] { sort_part(pool, first, end, less, splits_left); };
      auto right = [&, begin = right_begin] { sort_part(pool, begin, last, less, splits_left); };
      return pair_of(left, right).run(pool);
    }
    sort_part(pool, first, left_end, less, splits_left);
    first = right_begin;
  }
  std::sort(first, last, std::ref(less));
}

}  // namespace detail

/// Sorts in place; equal elements may change places. It takes no memory, so that none can run out on the way.
template <std::random_access_iterator Iterator, typename Less = std::less<>>
  requires std::sortable<Iterator, Less>
void sort(Iterator first, Iterator last, Less less = {}) noexcept {
  u64 const count = detail::length(first, last);
  if (count <= detail::small_sort) return std::sort(first, last, less);
  u32 const splits = 2 * static_cast<u32>(std::bit_width(count));
  detail::with_pool([&](workers &pool) { detail::sort_part(pool, first, last, less, splits); });
}
template <std::ranges::random_access_range Range, typename Less = std::less<>>
  requires std::sortable<std::ranges::iterator_t<Range>, Less>
void sort(Range &&range, Less less = {}) noexcept {
  auto const [first, last] = detail::ends_of(range);
  parallel::sort(first, last, less);
}

}  // namespace exo::parallel
