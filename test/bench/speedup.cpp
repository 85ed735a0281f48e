// wordcount on two cores against one, over a text in memory, and the Mandelbrot set: the best time of each, in turns in the
// same run. And the RAM that the core takes with two cores.
//
// Needs two cores, and a disk with a text.
#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <exo/exo.hpp>
#include <exo/parallel.hpp>
#include <ranges>

#include "../../apps/mandelbrot.hpp"
#include "../../apps/wordcount/tally.hpp"

namespace {

using exo::u32;
using exo::u64;

constexpr std::size_t text_bytes = 8 << 20;  // a round is short enough to find a quiet moment of the host

/// The first part of the disk.
std::span<char const> load_text() {
  auto disk = exo::disk::open(exo::disk_id{0});
  if (!disk) exo::panic("the disk does not open: {}", disk.error());
  auto memory = exo::pages::take(text_bytes);
  if (!memory) exo::panic("no memory for the text");
  auto const bytes = memory->release();
  if (!exo::disk_blocks(*disk->take_queue()).read(exo::lba{0}, bytes)) exo::panic("the text cannot be read");
  return {reinterpret_cast<char const *>(bytes.data()), bytes.size()};
}

constexpr auto on_cores = [](u32 cores, auto const &function) {
  std::atomic<u32> next = 0;
  exo::run_on_all(
      [&] {
        for (u32 core = next++; core < cores; core = next++) function(core);
      },
      cores);
};

u64 ticks_of_count(std::span<char const> text, u32 cores) {
  u64 const begin = exo::ticks();
  auto const found = wordcount::count_parallel<wordcount::program_heap>(text, cores, on_cores);
  u64 const end = exo::ticks();
  if (!found || found->bytes != text.size()) exo::panic("no count");
  return end - begin;
}

/// Draws a picture that is small, so that some round finds a quiet moment of the host, too.
u64 ticks_of_picture(u32 cores) {
  constexpr u32 width = 48, height = 48;
  static std::array<exo::colour, width * height> pixels;
  mandelbrot::view const view(width, height, 256);
  exo::workers const pool(cores);
  if (pool.size() != cores) exo::panic("a core is busy");
  u64 const begin = exo::ticks();
  exo::parallel::for_each(std::views::iota(u32{0}, width * height),
                          [&](u32 at) { pixels[at] = view(at % width, at / width); });
  u64 const end = exo::ticks();
  asm volatile("" : : "r"(pixels.data()) : "memory");  // somebody may look at it
  return end - begin;
}

/// Prints the best time of one core over that of two; returns the first.
template <typename Ticks>
u64 print_speedup(char const *name, int rounds, Ticks ticks_with) {
  u64 one = ~u64{0}, two = ~u64{0};
  for (int round = 0; round < rounds; ++round) {
    one = std::min(one, ticks_with(1));
    two = std::min(two, ticks_with(2));
  }
  u64 const hundredths = (100 * one + two / 2) / two;
  exo::print("figure {} {}.{:02} times\n", name, hundredths / 100, hundredths % 100);
  return one;
}

}  // namespace

int main() {
  if (exo::core_count() != 2 || exo::info().disks.empty()) exo::panic("this is no machine of two cores and a disk");
  std::span<char const> const text = load_text();
  exo::print("figure core-memory {} KiB\n", (exo::info().core_bytes + 1023) / 1024);
  u64 const one = print_speedup("wordcount-speedup-2", 40, [&](u32 cores) { return ticks_of_count(text, cores); });
  exo::print("figure wordcount-one-core {} MB/s\n", text.size() * exo::info().tsc_hz / one / 1'000'000);
  print_speedup("mandelbrot-speedup-2", 200, ticks_of_picture);
}
