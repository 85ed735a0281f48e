// expect: ignoring return value
#pragma GCC diagnostic error "-Wunused-result"
#include <exo/fiber.hpp>

#include <chrono>

void in_a_fiber() {
#ifndef EXO_WRONG
  std::ignore = exo::wait(exo::delay(std::chrono::seconds(1)));
#else
  exo::wait(exo::delay(std::chrono::seconds(1)));
#endif
}
