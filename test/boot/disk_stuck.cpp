// A disk that is too slow for its deadline is reset: what was in flight comes back, its memory is the program's, and the
// disk works again.
// boot: -- -drive if=none,id=d,format=raw,throttling.iops-total=2,file="$work/disk$(truncate -s 8M "$work/disk")" -device virtio-blk-pci,drive=d,disable-legacy=on,romfile=
// boot: -- -drive if=none,id=d,format=raw,throttling.iops-total=2,file="$work/disk$(truncate -s 8M "$work/disk")" -device nvme,drive=d,serial=1
// boot: -- -drive if=none,id=d,format=raw,throttling.iops-total=2,file="$work/disk$(truncate -s 8M "$work/disk")" -device ide-hd,bus=ide.0,drive=d
#include "check.hpp"

#include <algorithm>
#include <array>

using namespace check;
using namespace std::chrono_literals;

namespace {

constexpr std::size_t operations = 8;

}  // namespace

int main() {
  auto disk = exo::disk::open(disk_id{0}, 1, 16);
  if (!disk) panic("open: {}", disk.error());
  auto queue = disk->take_queue();
  u64 const unit = disk->block_bytes();
  std::byte *const memory = take_pages(operations * unit);
  std::array<disk_op, operations> ops;
  for (std::size_t at = 0; at < operations; ++at) ops[at] = read_op(lba{at * 100}, {memory + at * unit, unit}, at);
  std::array<completion, operations> done;

  queue->be_patient(200ms);
  auto const taken = queue->try_submit(ops);
  that(taken && *taken == operations, "not all are taken");
  result<std::size_t> got = 0;
  std::size_t finished = 0;
  for (u64 const end = ticks() + 60 * info().tsc_hz; got && finished < operations && ticks() < end; got = queue->try_reap(done)) {
    finished += *got;
  }
  that(!got && got.error() == error::timeout, "no timeout");
  that(finished < operations, "the disk was not slow");

  std::fill(memory, memory + operations * unit, std::byte{0x5A});
  u64 const end = ticks() + info().tsc_hz;
  while (ticks() < end) exo::pause();
  that(std::all_of(memory, memory + operations * unit, [](std::byte each) { return each == std::byte{0x5A}; }),
       "the disk wrote into memory that it had given back");

  queue->be_patient(60s);
  auto const again = queue->try_submit(std::span(ops).last(1));
  that(again && *again == 1, "the disk takes nothing any more");
  for (u64 const last = ticks() + 60 * info().tsc_hz; (got = queue->try_reap(done)) && *got == 0 && ticks() < last;) exo::pause();
  that(got && *got == 1, "the disk finishes nothing any more");
  same(done[0].status, 0);
  same(static_cast<i64>(done[0].cookie), operations - 1);
  return verdict();
}
