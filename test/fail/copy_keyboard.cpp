// expect: use of deleted function
#include <exo/keyboard.hpp>

#include <utility>

exo::keyboard<> give(exo::keyboard<> &owner) {
#ifndef EXO_WRONG
  return std::move(owner);
#else
  return owner;
#endif
}
