// expect: cannot convert
#include <exo/block.hpp>

exo::u64 offset(exo::lba block) {
#ifndef EXO_WRONG
  return exo::number(block) * 512;
#else
  exo::u64 const bytes = block;
  return bytes * 512;
#endif
}
