// expect: a coroutine lambda may have no captures
#include <exo/task.hpp>

exo::task<int> make(int value) {
#ifndef EXO_WRONG
  auto const work = [](auto own) -> exo::task<int> { co_return own; };
#else
  auto const work = [&value](auto own) -> exo::task<int> { co_return own + value; };
#endif
  return work(value);
}
