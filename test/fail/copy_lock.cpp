// expect: use of deleted function
#include <exo/lock.hpp>

struct counter {
  exo::spin_lock lock;
  int value = 0;
};

int read(counter &shared) {
#ifndef EXO_WRONG
  counter &mine = shared;
#else
  counter mine = shared;
#endif
  return mine.value;
}
