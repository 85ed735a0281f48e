// expect: use of deleted function
#include <exo/smp.hpp>

void run() {
  exo::job work([] {});
#ifndef EXO_WRONG
  auto &same = work;
#else
  auto same = work;
#endif
  auto running = exo::run_on(exo::core_id{1}, same);
  static_cast<void>(running);
}
