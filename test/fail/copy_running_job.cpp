// expect: use of deleted function
#include <exo/smp.hpp>

#include <utility>

void wait_twice(exo::running_job &running) {
#ifndef EXO_WRONG
  exo::running_job other = std::move(running);
#else
  exo::running_job other = running;
#endif
  other.wait();
}
