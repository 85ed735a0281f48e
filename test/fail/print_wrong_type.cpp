// expect: format_placeholder_does_not_fit_the_type
#include <exo/console.hpp>

void say() {
#ifndef EXO_WRONG
  exo::print("{:x}\n", 255);
#else
  exo::print("{:x}\n", "text");
#endif
}
