// What operator new and malloc take from.
#pragma once

#if defined(EXO_HEAP_GUARD)
#include "heap_guard.hpp"
#elif defined(EXO_HEAP_POISON)
#include "heap_check.hpp"
#else
#include "heap.hpp"
#endif

namespace exo {

#if defined(EXO_HEAP_GUARD)
inline constinit guarded_heap system_heap(system_pages);
#elif defined(EXO_HEAP_POISON)
inline constinit checked_heap system_heap(system_pages);
#else
inline constinit heap system_heap(system_pages);
#endif

namespace detail {

/// core_idle for who may wait long: meanwhile the others may take what the heap has free here, and what was freed to it.
inline void idle(u64 deadline) noexcept {
  system_heap.rest();
  exo::core().core_idle(deadline);
}

}  // namespace detail

}  // namespace exo
