// expect: no matching function for call
#include <exo/per_core.hpp>

void count(exo::per_core<int> &counts) {
#ifndef EXO_WRONG
  ++counts.of(exo::core_id{1});
#else
  ++counts.of(1);
#endif
}
