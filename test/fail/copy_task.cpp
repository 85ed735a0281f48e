// expect: use of deleted function
#include <exo/task.hpp>

exo::task<int> pass(exo::task<int> work) {
#ifndef EXO_WRONG
  return std::move(work);
#else
  exo::task<int> same = work;
  return same;
#endif
}
