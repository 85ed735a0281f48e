// expect: template constraint failure for
#include <exo/keyboard.hpp>

struct narrow {
  exo::u8 in(exo::u16) noexcept { return 0; }
  void out(exo::u16, exo::u8) noexcept {}
};
struct wide {
  exo::u32 in(exo::u16) noexcept { return 0; }
  void out(exo::u16, exo::u32) noexcept {}
};

#ifndef EXO_WRONG
exo::result<exo::keyboard<narrow>> opened = exo::keyboard<narrow>::open();
#else
exo::result<exo::keyboard<wide>> opened = exo::keyboard<wide>::open();
#endif
