// expect: a coroutine lambda may have no captures
#include <exo/task.hpp>

exo::task<int> make(int value) {
#ifndef EXO_WRONG
  auto const work = [](int own) -> exo::task<int> { co_return own; };
  return work(value);
#else
  auto const work = [value]() -> exo::task<int> { co_return value; };
  return work();
#endif
}
