// expect: ignoring return value of
#pragma GCC diagnostic error "-Wunused-result"

#include <exo/memory.hpp>

bool guard(std::span<std::byte> page) {
#ifndef EXO_WRONG
  return exo::protect(page, exo::access::none).has_value();
#else
  exo::protect(page, exo::access::none);
  return true;
#endif
}
