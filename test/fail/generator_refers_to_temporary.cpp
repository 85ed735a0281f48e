// expect: exo::generator: a coroutine's parameters may be no T const & or T &&
#include <exo/generator.hpp>

#include <string>

#ifndef EXO_WRONG
exo::generator<char> letters(std::string word) {
#else
exo::generator<char> letters(std::string const &word) {
#endif
  for (char each : word) co_yield each;
}
