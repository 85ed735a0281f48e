// expect: ignoring return value of
#pragma GCC diagnostic error "-Wunused-result"

#include <exo/disk.hpp>

bool save(exo::disk_blocks &disk, std::span<std::byte const> block) {
#ifndef EXO_WRONG
  return disk.write(exo::lba{0}, block).has_value();
#else
  disk.write(exo::lba{0}, block);
  return true;
#endif
}
