// expect: a type has no exo::formatter<T>
#include <exo/console.hpp>

struct point {
  int x, y;
};

#ifndef EXO_WRONG
template <>
struct exo::formatter<point> {
  static void write(text_sink &out, point const &at) noexcept { format_to(out, "{},{}", at.x, at.y); }
};
#endif

void say(point at) { exo::print("{}\n", at); }
