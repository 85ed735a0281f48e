// expect: cannot bind rvalue reference of type
#include <exo/buffers.hpp>

#include <utility>

exo::frame send(exo::buffer &mine) {
#ifndef EXO_WRONG
  return frame_in(std::move(mine), 60);
#else
  return frame_in(mine, 60);
#endif
}
