// expect: a coroutine's parameters may be no T const & or T &&
#include <exo/task.hpp>

#include <string>

#ifndef EXO_WRONG
exo::task<int> length(int, std::string text) { co_return static_cast<int>(text.size()); }
#else
exo::task<int> length(int, std::string const &text) { co_return static_cast<int>(text.size()); }
#endif
