// expect: exo::generator: a coroutine's parameters may be no T const & or T &&
#include <exo/generator.hpp>

#ifndef EXO_WRONG
exo::generator<int> numbers(int end) {
#else
exo::generator<int> numbers(int const &end) {
#endif
  for (int each = 0; each < end; ++each) co_yield each;
}
