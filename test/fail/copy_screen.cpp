// expect: use of deleted function
#include <exo/screen.hpp>

#include <utility>

exo::screen give(exo::screen &owner) {
#ifndef EXO_WRONG
  return std::move(owner);
#else
  return owner;
#endif
}
