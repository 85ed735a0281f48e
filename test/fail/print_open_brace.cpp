// expect: format_has_a_brace_without_partner
#include <exo/console.hpp>

void say() {
#ifndef EXO_WRONG
  exo::print("{}\n", 1);
#else
  exo::print("{\n", 1);
#endif
}
