// The Mandelbrot set, drawn by all cores: on the screen, if there is one, and as a PPM file on a disk.
//
//   ./run_x86-64.sh mandelbrot --cores 4 -- -display gtk
//   truncate -s 8M disk && ./run_x86-64.sh mandelbrot --disk disk --args "disk=0 once"
//
// picture.hpp has all arguments, and what happens to the pixels.
#include "mandelbrot.hpp"
#include "picture.hpp"

int main(int argc, char **argv) {
  constexpr exo::u32 steps_max = 256;
  return picture::run("mandelbrot", argc, argv,
                      [](exo::u32 width, exo::u32 height) { return mandelbrot::view(width, height, steps_max); });
}
