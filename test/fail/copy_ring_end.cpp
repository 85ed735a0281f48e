// expect: use of deleted function
#include <exo/ring.hpp>

bool append(exo::spsc_ring<int, 4> &ring) {
  auto [in, out] = ring.ends();
#ifndef EXO_WRONG
  auto mine = std::move(in);
#else
  auto mine = in;
#endif
  return mine.try_push(1) && out.try_pop().has_value();
}
