// expect: format_has_more_placeholders_than_arguments
#include <exo/console.hpp>

void say() {
#ifndef EXO_WRONG
  exo::print("{} of {}\n", 1, 2);
#else
  exo::print("{} of {}\n", 1);
#endif
}
