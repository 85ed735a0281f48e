// The screen of pixels: colour bars, text, and the Mandelbrot set, drawn by all cores. Ends when a key is pressed.
//
//   ./run_x86-64.sh screen -- -display gtk   in a window (Debian package qemu-system-gui); a key there or here ends it
//   ./run_x86-64.sh screen --args once       ends as soon as it is drawn
#include <exo/exo.hpp>

#include <algorithm>
#include <array>
#include <chrono>
#include <string_view>

#include "mandelbrot.hpp"
#include "picture.hpp"

using exo::colour;
using exo::i32;
using exo::u32;

namespace {

void draw_bars(exo::screen &screen, i32 top, u32 height) {
  constexpr std::array bars{exo::white,          colour{255, 255, 0}, colour{0, 255, 255}, colour{0, 255, 0},
                            colour{255, 0, 255}, colour{255, 0, 0},   colour{0, 0, 255},   colour{64, 64, 64}};
  for (u32 bar = 0; bar < bars.size(); ++bar) {
    u32 const left = bar * screen.width() / u32{bars.size()};
    u32 const right = (bar + 1) * screen.width() / u32{bars.size()};
    screen.fill({static_cast<i32>(left), top, right - left, height}, bars[bar]);
  }
}

/// Draws the rows from top on. A row belongs to one core, so nobody waits for anybody.
void draw_mandelbrot(exo::screen &screen, u32 top) {
  mandelbrot::view const view(screen.width(), screen.height() - top, 64);
  exo::parallel_for(top, screen.height(), [&](u32 y) {
    for (u32 x = 0; x < screen.width(); ++x) screen.pixel(static_cast<i32>(x), static_cast<i32>(y), view(x, y - top));
    screen.present(y, y + 1);
  });
}

int no_screen(exo::error why) {
  exo::print("no screen of pixels: {}\n", why);
  if (why == exo::error::memory) {
    exo::print("It takes {} bytes of RAM in one piece: give the machine more.\n", exo::screen::bytes().value_or(0));
  } else if (why == exo::error::unsupported) {
    exo::print("The screen shows text only. This BIOS has no 1024 x 768 with 32 bits a pixel (VBE): boot by UEFI, or\n"
               "give the machine another graphics card, in QEMU -vga std.\n");
  } else {
    exo::print("The machine has no screen: give it a graphics card, in QEMU -vga std, and boot from the disk image.\n");
  }
  return 1;
}

}  // namespace

int main(int count, char **words) {
  bool const once = count > 1 && std::string_view(words[1]) == "once";
  if (count > 2 || (count == 2 && !once)) {
    exo::print("usage: screen [once]\n");
    return 2;
  }
  auto screen = exo::screen::open();
  if (!screen) return no_screen(screen.error());

  u32 const scale = std::max(1u, screen->width() / 320);
  i32 const margin = static_cast<i32>(4 * scale);
  u32 const title_height = exo::font::cell_rows * scale + 8 * scale;
  u32 const top = std::min(title_height + screen->height() / 8, screen->height() - 1);
  auto const begin = exo::clock::now();
  screen->text(margin, margin, "Exo16", exo::white, scale);
  draw_bars(*screen, static_cast<i32>(title_height), top - title_height);
  screen->present();
  draw_mandelbrot(*screen, top);
  auto const time = std::chrono::duration_cast<std::chrono::milliseconds>(exo::clock::now() - begin);

  char line[80];
  std::string_view const text = exo::format_to(std::span<char>(line), "{} x {}, {} cores, {}", screen->width(),
                                               screen->height(), exo::core_count(), time);
  u32 const small = std::max(1u, scale / 2);
  i32 const left = margin + static_cast<i32>(6 * exo::font::cell_columns * scale);
  screen->text(left, margin + static_cast<i32>(exo::font::rows * (scale - small)), text, {170, 170, 170}, small);
  screen->present();
  exo::print("screen: {}\n", text);
  if (once) return 0;

  picture::wait_for_key();
}
