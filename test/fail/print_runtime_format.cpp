// expect: is not a constant expression
#include <exo/console.hpp>

void say(char const (&text)[4]) {
#ifndef EXO_WRONG
  exo::print("{}", text);
#else
  exo::print(text);
#endif
}
