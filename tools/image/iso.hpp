// A CD with two ways to boot: sectors for a BIOS, an EFI system partition for UEFI.
#pragma once

#include "bytes.hpp"

inline constexpr size_t CD_SECTOR = 2048;
inline constexpr size_t CD_BOOT_SECTOR = 23;  // where the part for the BIOS begins; what lies before it has a fixed size

/// An ISO 9660 file system with both parts as files, which El Torito's catalog names too.
///
/// @param bios    its first 512 bytes are what the BIOS loads and starts
/// @param efi     empty: boots by BIOS only
/// SPEC  ECMA-119 §8, §9; El Torito 1.0 §2; UEFI 2.10 §13.3.2
inline bytes cd_image(bytes const &bios, bytes const &efi) {
  constexpr size_t VOLUME = 16, BOOT_RECORD = 17, END = 18, CATALOG = 19, PATHS_LOW = 20, PATHS_HIGH = 21, ROOT = 22;
  constexpr size_t PATHS_BYTES = 10, SECTORS_MAX = 65535;
  constexpr unsigned BOOTS = 0x88, BIOS = 0, UEFI = 0xef, LAST_SECTION = 0x91, FOLDER = 2;
  size_t const efi_sector = CD_BOOT_SECTOR + round_up(bios.size(), CD_SECTOR) / CD_SECTOR;
  size_t const sectors = efi_sector + round_up(efi.size(), CD_SECTOR) / CD_SECTOR;
  bytes cd(sectors * CD_SECTOR);

  auto const both = [&](size_t at, size_t count, uint64_t value) {  // lowest byte first, then highest first
    put(cd, at, count, value);
    for (size_t index = 0; index < count; ++index) put(cd, at + 2 * count - 1 - index, 1, value >> 8 * index);
  };
  auto const entry = [&](size_t at, std::string const &name, size_t first, size_t size, unsigned flags) {
    size_t const length = round_up(33 + name.size(), 2);
    put(cd, at, 1, length);
    both(at + 2, 4, first);
    both(at + 10, 4, size);
    put(cd, at + 18, std::string("\x78\x01\x01\0\0\0\0", 7));  // 1 January 2020
    put(cd, at + 25, 1, flags);
    both(at + 28, 2, 1);
    put(cd, at + 32, 1, name.size());
    put(cd, at + 33, name);
    return at + length;
  };
  auto const volume = [&](size_t sector, unsigned type, std::string const &text) {
    put(cd, sector * CD_SECTOR, 1, type);
    put(cd, sector * CD_SECTOR + 1, "CD001\1" + text);
    return sector * CD_SECTOR;
  };

  size_t const first = volume(VOLUME, 1, "");
  put(cd, first + 8, std::string(32, ' ') + "EXO16" + std::string(27, ' '));
  both(first + 80, 4, sectors);
  both(first + 120, 2, 1);
  both(first + 124, 2, 1);
  both(first + 128, 2, CD_SECTOR);
  both(first + 132, 4, PATHS_BYTES);
  put(cd, first + 140, 4, PATHS_LOW);
  put(cd, first + 151, 1, PATHS_HIGH);
  entry(first + 156, std::string(1, '\0'), ROOT, CD_SECTOR, FOLDER);
  put(cd, first + 190, std::string(813 - 190, ' '));
  put(cd, first + 813, "2020010100000000" + std::string(1, '\0') + "2020010100000000");
  for (size_t date = 2; date < 4; ++date) put(cd, first + 813 + 17 * date, std::string(16, '0'));
  put(cd, first + 881, 1, 1);
  put(cd, volume(BOOT_RECORD, 0, "EL TORITO SPECIFICATION") + 71, 4, CATALOG);
  volume(END, 255, "");

  put(cd, PATHS_LOW * CD_SECTOR, std::string("\1\0", 2));
  put(cd, PATHS_LOW * CD_SECTOR + 2, 4, ROOT);
  put(cd, PATHS_LOW * CD_SECTOR + 6, 2, 1);
  put(cd, PATHS_HIGH * CD_SECTOR, std::string("\1\0", 2));
  put(cd, PATHS_HIGH * CD_SECTOR + 5, 1, ROOT);
  put(cd, PATHS_HIGH * CD_SECTOR + 7, 1, 1);

  size_t next = ROOT * CD_SECTOR;
  next = entry(next, std::string(1, '\0'), ROOT, CD_SECTOR, FOLDER);
  next = entry(next, "\1", ROOT, CD_SECTOR, FOLDER);
  next = entry(next, "BIOS.IMG;1", CD_BOOT_SECTOR, bios.size(), 0);
  if (!efi.empty()) entry(next, "EFI.IMG;1", efi_sector, efi.size(), 0);

  size_t const catalog = CATALOG * CD_SECTOR;
  auto const boots = [&](size_t at, size_t count, size_t sector) {
    put(cd, at, 1, BOOTS);
    put(cd, at + 6, 2, count <= SECTORS_MAX ? count : 0);  // 0: firmware takes it to the end of the CD
    put(cd, at + 8, 4, sector);
  };
  put(cd, catalog, 2, 1 | BIOS << 8);
  put(cd, catalog + 28, 2, 0x10000 - 0xaa55 - 1);  // the sum of all words is 0
  put(cd, catalog + 30, 2, 0xaa55);
  boots(catalog + 32, CD_SECTOR / SECTOR, CD_BOOT_SECTOR);
  if (!efi.empty()) {
    put(cd, catalog + 64, 4, LAST_SECTION | UEFI << 8 | 1 << 16);
    boots(catalog + 96, efi.size() / SECTOR, efi_sector);
  }

  std::ranges::copy(bios, cd.begin() + static_cast<std::ptrdiff_t>(CD_BOOT_SECTOR * CD_SECTOR));
  std::ranges::copy(efi, cd.begin() + static_cast<std::ptrdiff_t>(efi_sector * CD_SECTOR));
  return cd;
}
