// Where fibers are not to be preempted: sections that hold a lock or change what belongs to a run loop.
//
// Preemption is for programs that define EXO_PREEMPTION before their first include, in each of their files; see
// exo::preemption in fiber.hpp. Without that a section is nothing at all.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>

#include "core.hpp"

namespace exo::detail {

#ifdef EXO_PREEMPTION

/// How many sections this core is in. Not thread_local: locks are taken before a core has such variables.
#ifdef EXO_HOST
inline constinit thread_local u32 sections_here = 0;
inline u32 &unpreempted_sections() noexcept { return sections_here; }
#else
inline constexpr std::size_t core_most = 256;
struct alignas(64) section_count {
  u32 count = 0;
};
inline constinit std::array<section_count, core_most> sections_of;
inline u32 &unpreempted_sections() noexcept { return sections_of[local().index % core_most].count; }
#endif

/// The handler that looks at the count runs on the same core, so only the compiler must keep the order.
inline void hold_preemption() noexcept {
  ++unpreempted_sections();
  std::atomic_signal_fence(std::memory_order_seq_cst);
}
inline void allow_preemption() noexcept {
  std::atomic_signal_fence(std::memory_order_seq_cst);
  --unpreempted_sections();
}

#else

inline void hold_preemption() noexcept {}
inline void allow_preemption() noexcept {}

#endif

/// For a lock that may not be had: holds preemption if take() is true, as long as the lock.
template <typename Take>
bool hold_preemption_if(Take take) noexcept {
  hold_preemption();
  bool const taken = take();
  if (!taken) allow_preemption();
  return taken;
}

}  // namespace exo::detail

namespace exo {

/// A section in which the fiber that is in it is not preempted. Other fibers still run where it waits.
class unpreempted {
 public:
  unpreempted() noexcept { detail::hold_preemption(); }
  unpreempted(unpreempted const &) = delete;
  unpreempted &operator=(unpreempted const &) = delete;
  ~unpreempted() { detail::allow_preemption(); }
};

}  // namespace exo
