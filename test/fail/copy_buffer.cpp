// expect: use of deleted function
#include <exo/buffers.hpp>

#include <utility>

exo::buffer hand_on(exo::buffer &mine) {
#ifndef EXO_WRONG
  return std::move(mine);
#else
  return mine;
#endif
}
