// A program that draws a picture, each pixel by itself: all cores take rows, the screen shows them as they are done, and
// a disk keeps them.
//
//   size=WxH   pixels; without it the screen's, or 1024x768
//   disk=N     writes the picture to disk N as a PPM file, from block 0 on; prints how long it is
//   force      writes it to a disk that begins with a boot sector too
//   once       ends when the picture is done; without it a key ends it, if there is a screen
//
// On this machine, if the disk is the file `disk`: head -c LENGTH disk > picture.ppm
#pragma once

#include <exo/exo.hpp>

#include <exo/keyboard.hpp>
#include <exo/screen.hpp>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <optional>
#include <span>
#include <string_view>

#include "data_disk.hpp"
#include "options.hpp"

EXO_SCREEN(1024, 768);

namespace picture {

using exo::u32;
using exo::u64;

constexpr u64 side_most = 16384;  // pixels

struct options {
  u64 width = 0;  // 0: as the screen
  u64 height = 0;
  std::optional<u64> disk;
  bool force = false;
  bool once = false;
};

/// What the arguments ask for; says which one is wrong, and why.
inline std::optional<options> read_options(char const *program, std::span<char *const> arguments) {
  options chosen;
  for (std::string_view const argument : arguments) {
    if (auto const size = value_of(argument, "size=")) {
      std::size_t const cross = std::min(size->find('x'), size->size());
      auto const width = number_of(size->substr(0, cross), 1, side_most);
      auto const height = number_of(size->substr(std::min(cross + 1, size->size())), 1, side_most);
      if (!width || !height) {
        exo::print("{}: {}: a size is WIDTHxHEIGHT, each from 1 to {}, as in size=640x480.\n", program, argument, side_most);
        return std::nullopt;
      }
      chosen.width = *width;
      chosen.height = *height;
    } else if (auto const disk = value_of(argument, "disk=")) {
      chosen.disk = number_of(*disk);
      if (!chosen.disk) {
        exo::print("{}: {}: a disk is a number, as in disk=0.\n", program, argument);
        return std::nullopt;
      }
    } else if (argument == "force") {
      chosen.force = true;
    } else if (argument == "once") {
      chosen.once = true;
    } else {
      exo::print("{}: there is no argument '{}'; there are size=WxH, disk=N, force, once.\n", program, argument);
      return std::nullopt;
    }
  }
  return chosen;
}

inline void wait_for_key() {
  exo::input input;
  exo::print("Press a key{} to end.\n", input.has_keyboard() ? ", here or on the machine's keyboard," : "");
  char key[1];
  static_cast<void>(input.read(key));
}

/// Draws as the arguments say; returns main's status: 2 if one is wrong, 1 if the picture cannot be drawn or kept.
///
/// @param painter  painter(width, height) gives what pixel(x, y) is called on for each colour, on any core
template <typename Painter>
int run(char const *program, int argc, char **argv, Painter const &painter) {
  auto chosen = read_options(program, std::span(argv + 1, static_cast<std::size_t>(argc - 1)));
  if (!chosen) return 2;
  std::optional<data_disk> disk;
  if (chosen->disk) {
    disk = open_data_disk(program, *chosen->disk, chosen->force);
    if (!disk) return 1;
  }
  auto screen = exo::screen::open();
  if (chosen->width == 0) {
    chosen->width = screen ? screen->width() : 1024;
    chosen->height = screen ? screen->height() : 768;
  }
  u32 const width = static_cast<u32>(chosen->width), height = static_cast<u32>(chosen->height);

  char head[40];
  std::string_view const header = exo::format_to(std::span<char>(head), "P6\n{} {}\n255\n", width, height);
  u64 const length = header.size() + u64{3} * width * height;
  u64 const stored = disk ? exo::align_up(length, disk->blocks.block_bytes()) : length;
  if (disk && stored > disk->blocks.blocks() * disk->blocks.block_bytes()) {
    exo::print("{}: disk {} has {} bytes, the picture {}. Give it a larger disk, or a smaller size=WxH.\n", program,
               *chosen->disk, disk->blocks.blocks() * disk->blocks.block_bytes(), length);
    return 1;
  }
  auto const memory = exo::pages::take(stored);
  if (!memory) {
    exo::print("{}: there is no memory for {} x {} pixels, {} bytes. Give the machine more, or a smaller size=WxH.\n",
               program, width, height, stored);
    return 1;
  }
  std::span<std::byte> const file = memory->span().first(stored);
  std::ranges::copy(std::as_bytes(std::span(header)), file.begin());
  std::ranges::fill(file.subspan(length), std::byte{0});
  std::span<std::byte> const pixels = file.subspan(header.size());

  // A row belongs to one core, so nobody waits for anybody.
  auto const pixel = painter(width, height);
  auto const begin = exo::clock::now();
  exo::parallel_for(u32{0}, height, [&](u32 y) {
    std::byte *at = pixels.data() + u64{3} * width * y;
    for (u32 x = 0; x < width; ++x) {
      exo::colour const ink = pixel(x, y);
      *at++ = std::byte{ink.red()};
      *at++ = std::byte{ink.green()};
      *at++ = std::byte{ink.blue()};
      if (screen) screen->pixel(static_cast<exo::i32>(x), static_cast<exo::i32>(y), ink);
    }
    if (screen) screen->present(y, y + 1);
  });
  exo::print("{}: {} x {}, {} cores, {}\n", program, width, height, exo::core_count(),
             std::chrono::duration_cast<std::chrono::milliseconds>(exo::clock::now() - begin));

  if (disk) {
    auto kept = disk->blocks.write(exo::lba{0}, file);
    if (kept) kept = disk->blocks.flush();
    if (!kept) {
      exo::print("{}: the picture cannot be written to disk {}: {}\n", program, *chosen->disk, kept.error());
      return 1;
    }
    exo::print("{}: {} bytes of PPM on disk {}, from its first on\n", program, length, *chosen->disk);
  } else if (!screen) {
    exo::print("{}: nothing shows it: this machine has no screen of pixels. Keep it on a disk with disk=N.\n", program);
  }
  if (screen && !chosen->once) wait_for_key();
  return 0;
}

}  // namespace picture
