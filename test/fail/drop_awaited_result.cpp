// expect: ignoring return value
// compile: whole
#include <exo/fiber.hpp>
#include <exo/on.hpp>
#include <exo/when.hpp>

#include <chrono>

using namespace std::chrono_literals;

exo::task<exo::result<int>> work();

exo::task<void> main_task() {
#ifndef EXO_WRONG
  std::ignore = co_await work();
#else
  co_await work();
#endif
}
