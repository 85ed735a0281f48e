// expect: ignoring return value of
#pragma GCC diagnostic error "-Wunused-result"

#include <exo/buffers.hpp>

#include <utility>

void send(exo::buffer &mine) {
#ifndef EXO_WRONG
  static_cast<void>(std::move(mine).lend());
#else
  std::move(mine).lend();
#endif
}
