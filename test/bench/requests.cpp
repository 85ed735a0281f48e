// Instructions per disk request, in batches of 32, without the device's time: between submitting a batch and reaping it
// the program waits until all of it is done, and that is not counted.
//
// Needs one core and a disk; the argument is the figure's name. What is printed is the worst of several rounds.
#include <algorithm>
#include <array>
#include <exo/disk.hpp>

#include "count.hpp"

namespace {

using bench::instructions_of;
using bench::take_pages;
using bench::wait_for_device;
using exo::u64;

constexpr std::size_t batch = 32;
constexpr exo::u32 depth = 64;
constexpr int rounds = 16;

using completions = std::array<exo::completion, batch>;

/// Reads a block with each request.
u64 of_requests(exo::disk_queue &queue) {
  std::size_t const block_bytes = queue.record().block_bytes;
  auto const memory = take_pages(batch * block_bytes);
  std::array<exo::disk_op, batch> operations;
  for (std::size_t index = 0; index < batch; ++index) {
    operations[index] = exo::read_op(exo::lba{index}, memory.subspan(index * block_bytes, block_bytes), index);
  }
  u64 worst = 0;
  for (int round = 0; round < rounds;) {
    completions done;
    std::size_t submitted = 0, reaped = 0;
    u64 const submit = instructions_of([&] { submitted = queue.try_submit(operations).value_or(0); });
    wait_for_device();
    u64 const reap = instructions_of([&] { reaped = queue.try_reap(done).value_or(0); });
    if (submitted != batch) exo::panic("submitted: {} of {}", submitted, batch);
    if (reaped == batch) {
      if (std::ranges::any_of(done, [](exo::completion const &each) { return each.status != 0; })) exo::panic("read error");
      worst = std::max(worst, submit + reap);
      ++round;
    }
    while (reaped < batch) reaped += queue.try_reap(done).value_or(0);  // too early: the round does not count
  }
  return worst;
}

}  // namespace

int main(int argc, char **argv) {
  if (argc != 2) exo::panic("the argument is the figure's name");
  auto disk = exo::disk::open(exo::disk_id{0}, 1, depth);
  if (!disk) exo::panic("the disk does not open: {}", disk.error());
  exo::disk_queue queue = *disk->take_queue();
  bench::print_figure(argv[1], of_requests(queue), batch, "instructions");
}
