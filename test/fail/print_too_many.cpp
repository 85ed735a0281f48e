// expect: format_has_fewer_placeholders_than_arguments
#include <exo/console.hpp>

void say() {
#ifndef EXO_WRONG
  exo::print("{} {}\n", 1, 2);
#else
  exo::print("{}\n", 1, 2);
#endif
}
