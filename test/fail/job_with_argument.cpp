// expect: class template argument deduction failed
#include <exo/smp.hpp>

void run() {
#ifndef EXO_WRONG
  exo::job work([] {});
#else
  exo::job work([](int) {});
#endif
  static_cast<void>(work);
}
