// expect: has no member named 'try_pop'
#include <exo/ring.hpp>

bool append(exo::spsc_ring<int, 4> &ring) {
  auto [in, out] = ring.ends();
#ifndef EXO_WRONG
  return out.try_pop().has_value();
#else
  return in.try_pop().has_value();
#endif
}
