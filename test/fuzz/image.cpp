// The image maker's input, a program file: what it asks for by notes, and whole images around it.
#include "fuzz.hpp"

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wreturn-type"  // of what is called main there
#define main image_main
#include "../../tools/image.cpp"
#undef main
#pragma GCC diagnostic pop

namespace {

/// A folder with loaders of the right shape, as the image maker takes them from its own.
std::string make_loaders() {
  std::filesystem::path const folder = std::filesystem::temp_directory_path() / "exo16-fuzz-loaders";
  std::filesystem::create_directories(folder);
  bytes loader(4096);
  put(loader, 60, 4, 64);   // where the PE head lies
  put(loader, 84, 2, 240);  // bytes of its optional head
  put(loader, 56, 2, 3);    // segments of the ELF file
  for (char const *name : {"bios.bin", "uefi.bin", "pvh.bin"}) {
    std::ofstream(folder / name, std::ios::binary)
        .write(reinterpret_cast<char const *>(loader.data()), static_cast<std::streamsize>(loader.size()));
  }
  return folder.string() + "/";
}

}  // namespace

void fuzz(std::span<std::byte const> input) {
  static std::string const folder = make_loaders();
  auto const *const first = reinterpret_cast<unsigned char const *>(input.data());
  bytes const program(first, first + input.size());
  demand(wanted_screen(program) >> 32 == 0, "a screen has more than 32 bits");
  static std::size_t turn = 0;
  if (turn++ % 16 != 0) return;  // the images are big
  demand(efi_file(folder, program, "words").size() >= CORE_BYTES + program.size(), "an EFI file has not the program");
  demand(pvh_file(folder, program, "").size() >= CORE_BYTES + program.size(), "a PVH file has not the program");
  demand(disk_image(folder, program, "").size() % MIB == 0, "a disk is no whole number of MiB");
}
