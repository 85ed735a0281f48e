// expect: use of deleted function
#include <exo/disk.hpp>

#include <utility>

exo::disk second(exo::disk &first) {
#ifndef EXO_WRONG
  return std::move(first);
#else
  return first;
#endif
}
