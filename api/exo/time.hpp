// Time: the TSC as a std::chrono clock, deadlines in ticks, and sleeping.
#pragma once

#include <chrono>
#include <ratio>

#include "console.hpp"
#include "core.hpp"
#include "system_heap.hpp"

namespace exo {

/// A deadline for core_idle that never comes.
inline constexpr u64 no_deadline = ~u64{0};

/// The time since the time stamp counter was 0, in nanoseconds; the same on all cores.
///
/// Products stay below 2^64 for counters of up to 18 GHz, because whole seconds are split off first.
struct clock {
  using duration = std::chrono::nanoseconds;
  using rep = duration::rep;
  using period = duration::period;
  using time_point = std::chrono::time_point<clock>;
  static constexpr bool is_steady = true;
  static constexpr u64 second = 1'000'000'000;

  [[nodiscard]] static time_point now() noexcept { return from_ticks(ticks()); }

  [[nodiscard]] static time_point from_ticks(u64 count) noexcept { return time_point(duration_of(count)); }

  /// How long that many ticks are, rounded down.
  [[nodiscard]] static duration duration_of(u64 count) noexcept {
    u64 const hz = info().tsc_hz;
    return duration(static_cast<rep>(count / hz * second + count % hz * second / hz));
  }

  /// The first tick at or after a time; 0 for times before the counter's start, no_deadline if it lies too far.
  [[nodiscard]] static u64 to_ticks(time_point when) noexcept { return ticks_in(when.time_since_epoch()); }

  /// The ticks that last at least as long as a duration.
  [[nodiscard]] static u64 ticks_in(duration length) noexcept {
    if (length.count() <= 0) return 0;
    u64 const hz = info().tsc_hz;
    auto const nanoseconds = static_cast<u64>(length.count());
    u64 whole = 0;
    if (__builtin_mul_overflow(nanoseconds / second, hz, &whole)) return no_deadline;
    u64 const part = (nanoseconds % second * hz + second - 1) / second;
    return __builtin_add_overflow(whole, part, &whole) ? no_deadline : whole;
  }
};

/// The TSC deadline that lies a duration from now.
[[nodiscard]] inline u64 deadline_in(clock::duration wait) noexcept {
  u64 deadline = 0;
  return __builtin_add_overflow(ticks(), clock::ticks_in(wait), &deadline) ? no_deadline : deadline;
}

/// Halts this core until a time. Events that arrive meanwhile are dropped: poll their queues afterwards.
inline void sleep_until(clock::time_point when) noexcept {
  u64 const deadline = clock::to_ticks(when);
  while (ticks() < deadline) detail::idle(deadline);
}

/// Halts this core for at least a duration. Events that arrive meanwhile are dropped: poll their queues afterwards.
inline void sleep_for(clock::duration wait) noexcept {
  u64 const deadline = deadline_in(wait);
  while (ticks() < deadline) detail::idle(deadline);
}

namespace detail {

template <typename Period>
inline constexpr char const *unit_name = nullptr;
template <>
inline constexpr char const *unit_name<std::nano> = "ns";
template <>
inline constexpr char const *unit_name<std::micro> = "us";
template <>
inline constexpr char const *unit_name<std::milli> = "ms";
template <>
inline constexpr char const *unit_name<std::ratio<1>> = "s";
template <>
inline constexpr char const *unit_name<std::ratio<60>> = "min";
template <>
inline constexpr char const *unit_name<std::ratio<3600>> = "h";

}  // namespace detail

/// Durations print as a number and a unit: 250ms.
template <typename Rep, typename Period>
  requires(detail::unit_name<Period> != nullptr)
struct formatter<std::chrono::duration<Rep, Period>> {
  static void write(text_sink &out, std::chrono::duration<Rep, Period> const &length) noexcept {
    format_to(out, "{}{}", length.count(), detail::unit_name<Period>);
  }
};

}  // namespace exo
