// expect: use of deleted function
#include <exo/memory.hpp>

#include <utility>

exo::pages give(exo::pages &owner) {
#ifndef EXO_WRONG
  return std::move(owner);
#else
  return owner;
#endif
}
