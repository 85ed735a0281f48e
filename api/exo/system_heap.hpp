// What operator new and malloc take from.
#pragma once

#include "heap.hpp"
#ifdef EXO_HEAP_POISON
#include "heap_check.hpp"
#endif

namespace exo {

#ifdef EXO_HEAP_POISON
inline constinit checked_heap system_heap(system_pages);
#else
inline constinit heap system_heap(system_pages);
#endif

}  // namespace exo
