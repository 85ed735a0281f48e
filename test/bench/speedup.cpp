// wordcount on two cores against one, over a text in memory: the best time of each, in turns in the same run. And the
// RAM that the core takes with two cores.
//
// Needs two cores, and a disk with a text.
#include <algorithm>
#include <atomic>
#include <chrono>
#include <exo/exo.hpp>

#include "../../apps/wordcount/tally.hpp"

namespace {

using exo::u32;
using exo::u64;

constexpr int rounds = 40;
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

}  // namespace

int main() {
  if (exo::core_count() != 2 || exo::info().disks.empty()) exo::panic("this is no machine of two cores and a disk");
  std::span<char const> const text = load_text();
  u64 one = ~u64{0}, two = ~u64{0};
  for (int round = 0; round < rounds; ++round) {
    one = std::min(one, ticks_of_count(text, 1));
    two = std::min(two, ticks_of_count(text, 2));
  }
  u64 const hundredths = (100 * one + two / 2) / two;
  exo::print("figure core-memory {} KiB\n", (exo::info().core_bytes + 1023) / 1024);
  exo::print("figure wordcount-speedup-2 {}.{:02} times\n", hundredths / 100, hundredths % 100);
  exo::print("figure wordcount-one-core {} MB/s\n", text.size() * exo::info().tsc_hz / one / 1'000'000);
}
