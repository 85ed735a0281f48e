// expect: use of deleted function
#include <exo/task_disk.hpp>

void use(exo::task_disk<> &disk) {
#ifdef EXO_WRONG
  auto other = disk;
#endif
  (void)disk;
}
