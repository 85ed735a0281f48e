// expect: use of deleted function
#include <exo/memory.hpp>
#include <exo/smp.hpp>

void run(exo::pages memory) {
#ifndef EXO_WRONG
  exo::job work([&memory] { memory.data()[0] = std::byte{1}; });
#else
  exo::job work([memory] { memory.data()[0] = std::byte{1}; });
#endif
  static_cast<void>(work);
}
