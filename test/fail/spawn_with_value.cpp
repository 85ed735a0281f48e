// expect: could not convert
#include <exo/task.hpp>

exo::task<int> value();
exo::task<void> nothing();

bool start() {
#ifndef EXO_WRONG
  return exo::spawn(nothing()).has_value();
#else
  return exo::spawn(value()).has_value();
#endif
}
