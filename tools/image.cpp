// Puts the core and a program together as a file that boots.
//
//   build/image KIND PROGRAM "COMMAND LINE" OUTPUT
//
// KIND   disk   a disk or USB stick: boots by BIOS, and by UEFI from its EFI system partition
//        efi    EFI/BOOT/BOOTX64.EFI alone
//        iso    a CD: boots by BIOS and by UEFI
//        pvh    an ELF file for virtual machine monitors: qemu -kernel and others that know PVH
// PROGRAM is an ELF64 file, taken as it is. doc/handoff.md describes the layouts. The loaders with the core, bios.bin,
// uefi.bin and pvh.bin, are taken from the folder of this tool. Exit status 2: it cannot be done; a sentence says why.

#include "image/bytes.hpp"
#include "image/fat.hpp"
#include "image/iso.hpp"

namespace {

constexpr size_t CORE_BYTES = 16384, HEADER_BYTES = 512, COMMAND_LINE_BYTES = 479;
constexpr size_t PARTITIONS_AT = 446;
constexpr size_t SHIFT_AT = 423, FIRST_AT = 432;  // in the boot sector, see bootloader/mbr.asm

/// What the program asks for with EXO_SCREEN: a note "Exo16" of type 1 with width and height, 16 bits each; else 0.
uint64_t wanted_screen(bytes const &program) {
  if (get(program, 0, 4) != 0x464c457f) return 0;
  size_t const table = get(program, 32, 8), count = get(program, 56, 2);
  for (size_t index = 0; index < count; ++index) {
    size_t const entry = table + index * 56;
    if (get(program, entry, 4) != 4) continue;  // PT_NOTE
    size_t at = get(program, entry + 8, 8);
    size_t const end = std::min(at + get(program, entry + 32, 8), program.size());
    while (at < end && end - at >= 12) {
      size_t const name = get(program, at, 4), text = get(program, at + 4, 4);
      if (name > end - at || text > end - at) break;
      size_t const value = at + 12 + round_up(name, 4);
      if (name == 6 && text == 4 && get(program, at + 8, 4) == 1 && value + 4 <= end &&
          std::memcmp(&program[at + 12], "Exo16", 6) == 0)
        return get(program, value, 4);
      at = value + round_up(text, 4);
    }
  }
  return 0;
}

/// Loader and core, padded, then program header and program: the beginning of every image.
bytes payload(std::string const &loader, bytes program, std::string const &command_line) {
  bytes image = read_file(loader);
  if (image.size() > CORE_BYTES)
    refuse(loader + " has " + std::to_string(image.size()) + " bytes; an image has room for " + std::to_string(CORE_BYTES) + ".");
  if (command_line.size() > COMMAND_LINE_BYTES)
    refuse("the command line has " + std::to_string(command_line.size()) + " bytes; shorten it to " +
           std::to_string(COMMAND_LINE_BYTES) + ".");
  size_t const size = program.size();
  if (size >> 32) refuse("the program has 4 GiB or more.");
  uint64_t const screen = wanted_screen(program);
  program.resize(round_up(size, 8));
  uint64_t sum = 0;
  for (size_t at = program.size(); at > 0; at -= 8) sum = (sum << 1 | sum >> 63) + get(program, at - 8, 8);

  image.resize(CORE_BYTES + HEADER_BYTES);
  put(image, CORE_BYTES, "EXO16PRG");
  put(image, CORE_BYTES + 8, 8, size);
  put(image, CORE_BYTES + 16, 8, sum);
  put(image, CORE_BYTES + 24, 4, screen);
  put(image, CORE_BYTES + 32, command_line);
  image.insert(image.end(), program.begin(), program.end());
  return image;
}

bytes efi_file(std::string const &folder, bytes const &program, std::string const &command_line) {
  bytes file = payload(folder + "uefi.bin", program, command_line);
  file.resize(round_up(file.size(), 32));
  size_t const pe = get(file, 60, 4), optional = pe + 24, section = optional + get(file, pe + 20, 2);
  put(file, optional + 56, 4, file.size());  // SizeOfImage
  put(file, section + 8, 4, file.size() - get(file, section + 12, 4));
  put(file, section + 16, 4, file.size() - get(file, section + 20, 4));
  return file;
}

bytes pvh_file(std::string const &folder, bytes const &program, std::string const &command_line) {
  bytes file = payload(folder + "pvh.bin", program, command_line);
  size_t const segment = 64 + (get(file, 56, 2) - 1) * 56;  // the last one
  put(file, segment + 32, 8, file.size() - CORE_BYTES);
  put(file, segment + 40, 8, file.size() - CORE_BYTES);
  return file;
}

void note_bios_only() {
  std::fprintf(stderr, "image: the program is too big for an EFI system partition; this image boots by BIOS only.\n");
}

bytes disk_image(std::string const &folder, bytes const &program, std::string const &command_line) {
  bytes image = payload(folder + "bios.bin", program, command_line);
  size_t const raw_sectors = (image.size() + SECTOR - 1) / SECTOR;
  image.resize(round_up(image.size(), MIB));
  size_t const first_sector = image.size() / SECTOR;
  bytes const partition = system_partition(efi_file(folder, program, command_line), first_sector);
  auto const describe = [&](size_t number, unsigned active, unsigned type, size_t first, size_t count) {
    size_t const at = PARTITIONS_AT + number * 16;
    put(image, at, 4, active | 0xfffffe00u);  // no cylinders: all by sector number
    put(image, at + 4, 4, type | 0xfffffe00u);
    put(image, at + 8, 4, first);
    put(image, at + 12, 4, count);
  };
  // The program is a partition too, so that no tool takes its place for free. Some BIOSes want to see an active one.
  describe(0, 0x80, 0xda, 1, raw_sectors - 1);
  if (partition.empty())
    note_bios_only();
  else
    describe(1, 0, 0xef, first_sector, partition.size() / SECTOR);
  image.insert(image.end(), partition.begin(), partition.end());
  return image;
}

/// The boot sector, alone in the first sector of the CD's; then what it reads, each from the beginning of one.
bytes cd_file(std::string const &folder, bytes const &program, std::string const &command_line) {
  bytes const disk = payload(folder + "bios.bin", program, command_line);
  bytes const partition = system_partition(efi_file(folder, program, command_line), 0);
  if (partition.empty()) note_bios_only();
  bytes bios(disk.begin(), disk.begin() + SECTOR);
  put(bios, SHIFT_AT, 1, 2);
  put(bios, FIRST_AT, 8, CD_BOOT_SECTOR + 1);
  bios.resize(CD_SECTOR);
  bios.insert(bios.end(), disk.begin() + SECTOR, disk.end());
  return cd_image(bios, partition);
}

}  // namespace

int main(int count, char **words) {
  std::string const kind = count > 1 ? words[1] : "";
  bytes (*make)(std::string const &folder, bytes const &program, std::string const &command_line) = nullptr;
  if (kind == "disk") make = disk_image;
  if (kind == "efi") make = efi_file;
  if (kind == "iso") make = cd_file;
  if (kind == "pvh") make = pvh_file;
  if (count != 5 || make == nullptr) refuse("usage: build/image disk|efi|iso|pvh PROGRAM \"COMMAND LINE\" OUTPUT");
  bytes const image = make(std::filesystem::path(words[0]).parent_path().string() + "/", read_file(words[2]), words[3]);

  // Blocks of zeros become holes in the file.
  std::ofstream output(words[4], std::ios::binary);
  for (size_t at = 0; at < image.size(); at += 65536) {
    size_t const length = std::min<size_t>(65536, image.size() - at);
    auto const *block = reinterpret_cast<char const *>(&image[at]);
    if (std::any_of(block, block + length, [](char byte) { return byte != 0; }))
      output.seekp(static_cast<std::streamoff>(at)).write(block, static_cast<std::streamsize>(length));
  }
  output.close();
  std::error_code error;
  if (output) std::filesystem::resize_file(words[4], image.size(), error);
  if (!output || error) refuse(std::string("'") + words[4] + "' cannot be written. Is the disk full?");
}
