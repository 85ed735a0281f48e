// Random reads and writes by all cores at once; then every block gets its pattern, for the host to compare.
//
//   disk_soak OPERATIONS   so many over all cores; test/boot/disks.sh runs it and compares the disk's file
//   disk_soak compare      the other half: that disk 0 has the patterns
// boot: --args 20000 --cores 4 --disk "$work/disk$(truncate -s 4M "$work/disk")"
// boot: --args 20000 --cores 4 --disk "$work/disk$(truncate -s 4M "$work/disk")" --disk-model nvme
#include "check.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <cstring>
#include <string_view>

using namespace check;

namespace {

constexpr u32 lanes = 16;  // operations in flight of a core, each in blocks of its own
constexpr u64 most_bytes = 32 * 1024;

constinit u64 per_core = 0;
constinit exo::disk *opened = nullptr;
constinit u32 queues = 0;

disk_record const &record() { return info().disks[0]; }
u64 unit() { return record().block_bytes; }

/// The word at a place of the disk that round has written.
u64 pattern(u64 place, u64 round) {
  u64 const mixed = (place + round * 0x10001) * 0x9E3779B97F4A7C15;
  return mixed ^ mixed >> 29;
}

void fill(std::byte *memory, u64 bytes, u64 place, u64 round) {
  for (u64 at = 0; at < bytes; at += 8) {
    u64 const word = pattern(place + at, round);
    std::memcpy(memory + at, &word, 8);
  }
}

bool filled(std::byte const *memory, u64 bytes, u64 place, u64 round) {
  for (u64 at = 0; at < bytes; at += 8) {
    u64 const word = pattern(place + at, round);
    if (std::memcmp(memory + at, &word, 8) != 0) return false;
  }
  return true;
}

struct lane {
  u64 first = 0;        // its blocks
  u32 *rounds = nullptr;  // of each: which wrote it last, 0: none yet
  std::byte *buffer = nullptr;
  disk_op op{};
  u32 round = 0;  // that op writes
};

class worker {
 public:
  worker(disk_queue &queue, u32 core) : queue_(queue), random_(core + 1), blocks_(record().blocks / core_count() / lanes) {
    u32 number = 0;
    for (lane &each : lanes_) {
      each.first = (core * lanes + number++) * blocks_;
      each.rounds = reinterpret_cast<u32 *>(take_pages(blocks_ * sizeof(u32)));
      std::memset(each.rounds, 0, blocks_ * sizeof(u32));
      each.buffer = take_pages(most_bytes + page_bytes);
    }
  }

  void run(u64 operations) {
    for (u64 lane = 0; lane < lanes; ++lane) start(lane);
    u64 done = 0, started = lanes;
    while (done < operations) {
      std::array<completion, lanes> finished;
      result<std::size_t> const got = queue_.try_reap(finished);
      if (!got) return fail(where::current(), "reap:", got.error());
      for (completion const &each : std::span(finished).first(*got)) {
        if (each.status != 0) return fail(where::current(), "status", each.status);
        check_lane(each.cookie);
        ++done;
        if (started < operations) {
          start(each.cookie);
          ++started;
        }
      }
      if (*got == 0) {
        if (result<bool> const pending = queue_.arm(); pending && !*pending) core().core_idle(queue_.deadline());
      }
    }
  }

 private:
  u64 random(u64 limit) {
    random_ = random_ * 6364136223846793005 + 1442695040888963407;
    return (random_ >> 33) % limit;
  }

  void start(u64 number) {
    lane &on = lanes_[number];
    u64 const most = std::min<u64>({most_bytes / unit(), record().bytes_max / unit(), blocks_});
    u64 const count = 1 + random(most), first = random(blocks_ - count + 1);
    std::byte *const at = on.buffer + (random(page_bytes) & ~u64{record().address_mask});
    bool const writes = random(2) == 0;
    on.op = {.address = address(at), .cookie = number, .bytes = static_cast<u32>(count * unit()), .flags = 0,
             .kind = writes ? disk_write : disk_read, .reserved = 0, .block = on.first + first};
    if (writes) {
      ++on.round;
      for (u64 block = 0; block < count; ++block) {
        fill(at + block * unit(), unit(), (on.op.block + block) * unit(), on.round);
        on.rounds[first + block] = on.round;
      }
    } else {
      std::memset(at, 0x33, on.op.bytes);
    }
    result<std::size_t> const taken = queue_.try_submit(std::span(&on.op, 1));
    if (!taken || *taken != 1) panic("not taken");
  }

  void check_lane(u64 number) {
    if (number >= lanes) panic("a cookie that was not given");
    lane &on = lanes_[number];
    if (on.op.kind != disk_read) return;
    auto const *const at = reinterpret_cast<std::byte const *>(on.op.address);
    for (u64 block = 0; block < on.op.bytes / unit(); ++block) {
      u32 const round = on.rounds[on.op.block - on.first + block];
      if (round != 0 && !filled(at + block * unit(), unit(), (on.op.block + block) * unit(), round)) {
        fail(where::current(), "other data; block, round:", on.op.block + block, round);
      }
    }
  }

  disk_queue &queue_;
  u64 random_;
  u64 blocks_;
  std::array<lane, lanes> lanes_{};
};

constinit spin_lock taking{};

void work() {
  u32 const me = local().index;
  if (me >= queues) return;
  taking.lock();
  auto queue = opened->take_queue();
  taking.unlock();
  if (!queue) panic("no queue");
  worker(*queue, me).run(per_core);
}

/// Each chunk of the disk in turn, with its first block.
template <typename Step>
void each_chunk(Step step) {
  u64 const chunk = most_bytes / unit();
  for (u64 block = 0; block < record().blocks; block += chunk) step(block, std::min(chunk, record().blocks - block) * unit());
}

}  // namespace

int main(int argc, char **argv) {
  std::string_view const what = argc == 2 ? argv[1] : "";
  u64 operations = 0;
  bool const compares = what == "compare";
  auto const [end, wrong] = std::from_chars(what.data(), what.data() + what.size(), operations);
  if (!compares && (wrong != std::errc{} || end != what.data() + what.size() || operations == 0)) {
    print("the argument is a number of operations, or: compare\n");
    return 2;
  }
  queues = std::min(record().queue_max, core_count());
  if (!compares) {
    auto disk = exo::disk::open(disk_id{0}, queues, lanes);
    if (!disk) panic("open: {}", disk.error());
    opened = &*disk;
    per_core = std::max<u64>(operations / queues, lanes);
    run_on_all([] { work(); });
  }
  auto disk = exo::disk::open(disk_id{0});
  if (!disk) panic("open: {}", disk.error());
  disk_blocks blocks(std::move(*disk->take_queue()));
  std::byte *const buffer = take_pages(most_bytes);
  each_chunk([&](u64 block, u64 bytes) {
    if (compares) {
      if (!blocks.read(lba{block}, {buffer, bytes})) fail(where::current(), "read", block);
      if (!filled(buffer, bytes, block * unit(), 7)) fail(where::current(), "other data from block", block);
    } else {
      fill(buffer, bytes, block * unit(), 7);
      if (!blocks.write(lba{block}, {buffer, bytes})) fail(where::current(), "write", block);
    }
  });
  if (!blocks.flush()) fail(where::current(), "flush");
  return verdict();
}
