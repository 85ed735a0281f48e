// expect: ignoring return value of
#pragma GCC diagnostic error "-Wunused-result"

#include <exo/smp.hpp>

void run() {
  exo::job work([] {});
#ifndef EXO_WRONG
  auto running = exo::run_on(exo::core_id{1}, work);
  if (running) running->wait();
#else
  exo::run_on(exo::core_id{1}, work);
#endif
}
