// expect: cannot convert
#include <exo/disk.hpp>

exo::result<void> load(exo::disk_blocks &disk, std::span<std::byte> block) {
#ifndef EXO_WRONG
  return disk.read(exo::lba{7}, block);
#else
  return disk.read(7, block);
#endif
}
