// The EFI system partition of an image.
#pragma once

#include "bytes.hpp"

/// A FAT16 file system with EFI/BOOT/BOOTX64.EFI; empty if the file is too big for one.
///
/// SPEC  Microsoft FAT specification 1.03; UEFI 2.10 §13.3
inline bytes system_partition(bytes const &file, size_t first_sector) {
  constexpr size_t ROOT_ENTRIES = 512, CLUSTERS_MIN = 4096, CLUSTERS_MAX = 65500, DATE = (2020 - 1980) << 9 | 1 << 5 | 1;
  size_t cluster = SECTOR;
  while ((file.size() + cluster - 1) / cluster + 2 > CLUSTERS_MAX) cluster *= 2;
  if (cluster > 32768) return {};
  size_t const file_clusters = (file.size() + cluster - 1) / cluster;
  size_t const clusters = std::max(CLUSTERS_MIN, file_clusters + 2);
  size_t const fat_sectors = ((clusters + 2) * 2 + SECTOR - 1) / SECTOR;
  size_t const root = (1 + 2 * fat_sectors) * SECTOR, data = root + ROOT_ENTRIES * 32;
  bytes disk(round_up(data + clusters * cluster, MIB));
  size_t const sectors = (data + clusters * cluster) / SECTOR;

  put(disk, 0, std::string("\xeb\x3c\x90" "EXO16   "));
  put(disk, 11, 2, SECTOR);
  put(disk, 13, 1, cluster / SECTOR);
  put(disk, 14, 2, 1);  // reserved sectors
  put(disk, 16, 1, 2);  // FATs
  put(disk, 17, 2, ROOT_ENTRIES);
  put(disk, 19, 2, sectors < 65536 ? sectors : 0);
  put(disk, 21, 1, 0xf8);
  put(disk, 22, 2, fat_sectors);
  put(disk, 24, 2, 63);
  put(disk, 26, 2, 255);
  put(disk, 28, 4, first_sector);
  put(disk, 32, 4, sectors < 65536 ? 0 : sectors);
  put(disk, 36, 1, 0x80);
  put(disk, 38, 1, 0x29);
  put(disk, 39, 4, 0x36314f58);
  put(disk, 43, "EXO16      FAT16   ");
  put(disk, 510, 2, 0xaa55);

  auto const link = [&](size_t number, uint64_t next) {
    for (size_t fat = 0; fat < 2; ++fat) put(disk, (1 + fat * fat_sectors) * SECTOR + number * 2, 2, next);
  };
  auto const entry = [&](size_t at, std::string const &name, unsigned attributes, size_t first, size_t size) {
    put(disk, at, name);
    put(disk, at + 11, 1, attributes);
    put(disk, at + 16, 2, DATE);
    put(disk, at + 18, 2, DATE);
    put(disk, at + 24, 2, DATE);
    put(disk, at + 26, 2, first);
    put(disk, at + 28, 4, size);
  };
  constexpr unsigned LABEL = 8, FOLDER = 16, FILE = 32;
  constexpr size_t EFI = 2, BOOT = 3, FIRST = 4;
  size_t const efi = data, boot = data + cluster;
  link(0, 0xfff8);
  link(1, 0xffff);
  link(EFI, 0xffff);
  link(BOOT, 0xffff);
  for (size_t index = 0; index < file_clusters; ++index) link(FIRST + index, index + 1 < file_clusters ? FIRST + index + 1 : 0xffff);
  entry(root, "EXO16      ", LABEL, 0, 0);
  entry(root + 32, "EFI        ", FOLDER, EFI, 0);
  entry(efi, ".          ", FOLDER, EFI, 0);
  entry(efi + 32, "..         ", FOLDER, 0, 0);
  entry(efi + 64, "BOOT       ", FOLDER, BOOT, 0);
  entry(boot, ".          ", FOLDER, BOOT, 0);
  entry(boot + 32, "..         ", FOLDER, EFI, 0);
  entry(boot + 64, "BOOTX64 EFI", FILE, FIRST, file.size());
  std::ranges::copy(file, disk.begin() + static_cast<std::ptrdiff_t>(data + 2 * cluster));
  return disk;
}
