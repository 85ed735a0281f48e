// expect: use of deleted function
#include <exo/generator.hpp>

#include <chrono>

exo::generator<int> numbers() {
  co_yield 1;
#ifdef EXO_WRONG
  co_await exo::delay(std::chrono::seconds(1));
#endif
}
