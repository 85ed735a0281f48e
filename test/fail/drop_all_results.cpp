// expect: ignoring return value
// compile: whole
#include <exo/when.hpp>

exo::task<exo::result<int>> work();
exo::task<void> nothing();

exo::task<void> main_task() {
#ifndef EXO_WRONG
  std::ignore = co_await exo::when_all(work(), nothing());
  co_await exo::when_all(nothing(), nothing());
#else
  co_await exo::when_all(work(), nothing());
#endif
}
