// What the parallel algorithms are made of: a loop whose parts several cores take, and a pair of functions.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <iterator>
#include <ranges>
#include <utility>

#include "core.hpp"
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
    u64 const useful = count_ / grain_ + (count_ % grain_ != 0);
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

/// A range's begin and end, as one type.
template <std::ranges::random_access_range Range>
auto ends_of(Range &&range) noexcept {
  auto const first = std::ranges::begin(range);
  return std::pair(first, first + std::ranges::distance(range));
}

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

}  // namespace detail

}  // namespace exo::parallel
