// expect: cannot convert
#include <exo/disk.hpp>

exo::result<void> load(exo::disk_blocks &disk, std::span<std::byte const> block) {
#ifndef EXO_WRONG
  return disk.write(exo::lba{0}, block);
#else
  return disk.read(exo::lba{0}, block);
#endif
}
