// expect: format_width_or_precision_is_too_large
#include <exo/console.hpp>

void say() {
#ifndef EXO_WRONG
  exo::print("{:200}\n", 1);
#else
  exo::print("{:201}\n", 1);
#endif
}
