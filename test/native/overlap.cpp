// Operations of a disk overlap with the core and with each other: what is submitted is not done by submitting.
#include "../boot/check.hpp"

#include <vector>

using namespace check;

namespace {

constexpr u32 depth = 64, part_bytes = 1 << 20;

/// Writes and reads back the whole disk with all operations in flight; returns how many were open after the last submit.
u32 round(u8 kind, std::byte *memory) {
  std::vector<disk_op> ops(depth);
  for (u32 at = 0; at < depth; ++at) {
    ops[at].kind = kind;
    ops[at].cookie = at;
    ops[at].address = address(memory) + u64{at} * part_bytes;
    ops[at].bytes = part_bytes;
    ops[at].block = u64{at} * (part_bytes / 512);
  }
  same(core().disk_submit(0, 0, ops.data(), depth), depth);
  std::vector<completion> done(depth);
  i64 const early = core().disk_reap(0, 0, done.data(), depth);
  u64 seen = 0;
  for (i64 count = early, total = 0;; count = core().disk_reap(0, 0, done.data(), depth)) {
    for (i64 at = 0; at < count; ++at) {
      same(done[static_cast<std::size_t>(at)].status, 0);
      seen |= u64{1} << done[static_cast<std::size_t>(at)].cookie;
    }
    total += count;
    if (total == depth) break;
    if (count == 0 && core().disk_arm(0, 0) == 0) core().core_idle(ticks() + 20 * info().tsc_hz);
  }
  same(static_cast<i64>(seen), -1);  // each once
  return depth - static_cast<u32>(early);
}

}  // namespace

int main() {
  u64 const bytes = u64{depth} * info().disks[0].depth_bytes;
  std::byte *const rings = take_pages(bytes), *const memory = take_pages(u64{depth} * part_bytes);
  same(core().disk_open(0, 1, depth, rings, bytes), 0);
  for (u64 at = 0; at < u64{depth} * part_bytes; at += 512) memory[at] = static_cast<std::byte>(at / 512 % 251);
  that(round(disk_write, memory) > 0, "64 MiB were written by the time that the call returned");
  for (u64 at = 0; at < u64{depth} * part_bytes; at += 512) memory[at] = std::byte{255};
  round(disk_read, memory);
  for (u64 at = 0; at < u64{depth} * part_bytes; at += 512) {
    if (memory[at] != static_cast<std::byte>(at / 512 % 251)) return 1;
  }

  // Closing waits for what is under way: afterwards nothing writes to the memory any more.
  disk_op op{};
  op.address = address(memory);
  op.bytes = part_bytes;
  for (u32 turn = 0; turn < 20; ++turn) {
    same(core().disk_submit(0, 0, &op, 1), 1);
    same(core().disk_close(0), 0);
    memory[0] = std::byte{77};
    for (u32 spin = 0; spin < 1000; ++spin) exo::pause();
    that(memory[0] == std::byte{77}, "a closed disk writes to memory");
    same(core().disk_open(0, 1, depth, rings, bytes), 0);
    completion done{};
    same(core().disk_reap(0, 0, &done, 1), 0);
  }
  same(core().disk_close(0), 0);
  return verdict();
}
