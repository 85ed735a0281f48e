// expect: no matching function for call
#include <exo/canvas.hpp>

void draw(exo::canvas &on) {
#ifndef EXO_WRONG
  on.fill(exo::colour{255, 0, 0});
#else
  on.fill(0xFF0000);
#endif
}
