// Collectives: cores that run the same function and exchange values: broadcast, reduce, all-reduce, scatter, gather.
//
//   exo::team::run([&](exo::team::member &me) {
//     u64 const sum = me.all_reduce(count_part(me.rank(), me.size()), std::plus());
//   });
//
// All members call the same collectives in the same order, as in MPI. Each shows the address of its value, all meet at
// a barrier, each reads what it needs, and all meet again, since the values lie in their owners' frames. Values are
// combined in the order of ranks, so that sums of floating-point numbers are the same in every run.
#pragma once

#include <algorithm>
#include <atomic>
#include <concepts>
#include <cstddef>
#include <memory>
#include <span>
#include <utility>

#include "core.hpp"
#include "memory.hpp"
#include "result.hpp"
#include "smp.hpp"

namespace exo {

class team {
 public:
  class member;

  /// Runs function(member) on this core and on every other one that is idle, all of which are in the team.
  ///
  /// @param most     cores to use at most, this one included
  /// @return         how many cores the team had
  /// @error range    most is 0
  /// @error memory   no page is left for the team's list; nothing was run
  /// @core  any      @heap  pages, given back at the end
  template <std::invocable<member &> Function>
  [[nodiscard]] static result<u32> run(Function &&function, u32 most = ~u32{0}) noexcept;

  team(team const &) = delete;
  team &operator=(team const &) = delete;

 private:
  struct alignas(64) slot {
    void const *value = nullptr;
  };

  explicit team(std::span<slot> slots) noexcept : slots_(slots), meeting_(static_cast<u32>(slots.size())) {}

  std::span<slot> slots_;  // one for each member
  barrier meeting_;
};

/// What a core of a team sees of it.
class team::member {
 public:
  member(member const &) = delete;
  member &operator=(member const &) = delete;

  /// This core's number in the team, from 0; the core that called team::run has 0.
  [[nodiscard]] u32 rank() const noexcept { return rank_; }
  [[nodiscard]] u32 size() const noexcept { return static_cast<u32>(team_.slots_.size()); }

  /// Waits for all members.
  void meet() noexcept { team_.meeting_.arrive_and_wait(); }

  /// Gives everyone the value of the member `root`, which is below size().
  template <std::copyable T>
  [[nodiscard]] T broadcast(T const &value, u32 root = 0) noexcept {
    return exchange(value, [=](auto const &of) { return of(root); });
  }

  /// Combines all values; the result is for the member `root`, the others get their own value back.
  template <std::copyable T, std::invocable<T, T> Combine>
  [[nodiscard]] T reduce(T const &value, Combine combine, u32 root = 0) noexcept {
    return exchange(value, [&](auto const &of) { return rank_ == root ? fold<T>(of, combine) : value; });
  }

  /// Combines all values, for everyone.
  template <std::copyable T, std::invocable<T, T> Combine>
  [[nodiscard]] T all_reduce(T const &value, Combine combine) noexcept {
    return exchange(value, [&](auto const &of) { return fold<T>(of, combine); });
  }

  /// Gives member i the i-th value of the member `root`; what the others pass is not looked at.
  /// @error range  the root's list is shorter than the team, for everyone
  template <std::copyable T>
  [[nodiscard]] result<T> scatter(std::span<T const> values, u32 root = 0) noexcept {
    return exchange(values, [&](auto const &of) -> result<T> {
      std::span<T const> const all = of(root);
      if (all.size() < size()) return std::unexpected(error::range);
      return all[rank_];
    });
  }

  /// Collects everyone's value in the list of the member `root`, by rank; what the others pass is not looked at.
  /// @error range  the root's list is shorter than the team; for the root alone, and then nothing is written
  template <std::copyable T>
  [[nodiscard]] result<void> gather(T const &value, std::span<T> into, u32 root = 0) noexcept {
    return exchange(value, [&](auto const &of) -> result<void> {
      if (rank_ != root) return {};
      if (into.size() < size()) return std::unexpected(error::range);
      for (u32 each = 0; each < size(); ++each) into[each] = of(each);
      return {};
    });
  }

 private:
  friend team;
  member(team &all, u32 rank) noexcept : team_(all), rank_(rank) {}

  /// Shows `value` to all, and reads theirs by rank with of(rank).
  template <typename T, typename Read>
  auto exchange(T const &value, Read read) noexcept {
    team_.slots_[rank_].value = &value;
    meet();
    auto const taken = read([this](u32 rank) -> T const & { return *static_cast<T const *>(team_.slots_[rank].value); });
    meet();
    return taken;
  }

  template <typename T, typename Of, typename Combine>
  [[nodiscard]] T fold(Of const &of, Combine &combine) const noexcept {
    T sum = of(0);
    for (u32 each = 1; each < size(); ++each) sum = combine(std::move(sum), of(each));
    return sum;
  }

  team &team_;
  u32 rank_;
};

template <std::invocable<team::member &> Function>
result<u32> team::run(Function &&function, u32 most) noexcept {
  if (most == 0) return std::unexpected(error::range);
  u32 const limit = std::min(most, core_count());
  result<pages> memory = pages::take(limit * sizeof(slot));
  if (!memory) return std::unexpected(memory.error());
  auto *const slots = reinterpret_cast<slot *>(memory->data());
  std::uninitialized_default_construct_n(slots, limit);

  // Who comes waits until it is known how many have come: only those meet.
  std::atomic<u32> came = 1;  // the caller
  std::atomic<team *> all = nullptr;
  auto take_part = [&]() noexcept {
    u32 const rank = came.fetch_add(1, std::memory_order_acq_rel);
    team *mine = nullptr;
    while ((mine = all.load(std::memory_order_acquire)) == nullptr) pause();
    member me(*mine, rank);
    function(me);
  };
  detail::crew crew([](void *each) noexcept { (*static_cast<decltype(take_part) *>(each))(); }, &take_part);
  u32 const size = detail::start_crew(crew, limit);
  team whole({slots, size});
  all.store(&whole, std::memory_order_release);
  member me(whole, 0);
  function(me);
  detail::wait_for_crew(crew);
  return size;
}

}  // namespace exo
