// expect: a task that is not awaited does nothing
#pragma GCC diagnostic error "-Wunused-result"

#include <exo/task.hpp>

exo::task<int> work();

exo::task<int> main_task() {
#ifndef EXO_WRONG
  co_return co_await work();
#else
  work();
  co_return 0;
#endif
}
