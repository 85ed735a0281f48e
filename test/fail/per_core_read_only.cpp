// expect: increment of read-only
#include <exo/per_core.hpp>

#ifndef EXO_WRONG
void count(exo::per_core<int> &counts) { ++counts.mine(); }
#else
void count(exo::per_core<int> const &counts) { ++counts.mine(); }
#endif
