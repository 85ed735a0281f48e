// expect: cannot convert
#include <exo/memory.hpp>

exo::result<void> guard(std::span<std::byte> page) {
#ifndef EXO_WRONG
  return exo::protect(page, exo::access::read);
#else
  return exo::protect(page, 1);
#endif
}
