// expect: ignoring return value of
#pragma GCC diagnostic error "-Wunused-result"

#include <exo/memory.hpp>

void reserve() {
#ifndef EXO_WRONG
  auto const memory = exo::pages::take(4096);
  static_cast<void>(memory);
#else
  exo::pages::take(4096);
#endif
}
