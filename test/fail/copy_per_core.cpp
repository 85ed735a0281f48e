// expect: use of deleted function
#include <exo/per_core.hpp>

void count(exo::per_core<int> &counts) {
#ifndef EXO_WRONG
  exo::per_core<int> &same = counts;
#else
  exo::per_core<int> same = counts;
#endif
  ++same.mine();
}
