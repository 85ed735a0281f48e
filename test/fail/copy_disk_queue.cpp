// expect: use of deleted function
#include <exo/disk.hpp>

#include <utility>

exo::disk_blocks share(exo::disk_queue &queue) {
#ifndef EXO_WRONG
  return exo::disk_blocks(std::move(queue));
#else
  return exo::disk_blocks(queue);
#endif
}
