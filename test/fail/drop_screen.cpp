// expect: ignoring return value of
#pragma GCC diagnostic error "-Wunused-result"

#include <exo/screen.hpp>

void show() {
#ifndef EXO_WRONG
  auto const taken = exo::screen::open();
  static_cast<void>(taken);
#else
  exo::screen::open();
#endif
}
