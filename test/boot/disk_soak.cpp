// Random reads and writes by all cores at once; then every block gets its pattern, for the host to compare.
//
//   disk_soak OPERATIONS        so many over all cores; test/boot/disks.sh runs it and compares the disk's file
//   disk_soak OPERATIONS KIND   on a disk that a header drives, by one core; KIND is scsi or ata
//   disk_soak compare           the other half: that disk 0 has the patterns
// boot: --args 20000 --cores 4 --disk "$work/disk$(truncate -s 4M "$work/disk")"
// boot: --args 20000 --cores 4 --disk "$work/disk$(truncate -s 4M "$work/disk")" --disk-model nvme
// boot: --args "5000 scsi" --disk "$work/disk$(truncate -s 4M "$work/disk")" --disk-model scsi
// boot: --args "2000 ata" --disk "$work/disk$(truncate -s 4M "$work/disk")" --disk-model ide
// soak: --args 1000000 --cores 2 --disk "$work/disk$(truncate -s 4M "$work/disk")"
// soak: --args 1000000 --cores 2 --disk "$work/disk$(truncate -s 4M "$work/disk")" --disk-model nvme
// soak: --args 1000000 --cores 2 --disk "$work/disk$(truncate -s 4M "$work/disk")" --disk-model ahci
// soak: --args "1000000 scsi" --disk "$work/disk$(truncate -s 4M "$work/disk")" --disk-model scsi
// soak: --args "1000000 ata" --disk "$work/disk$(truncate -s 4M "$work/disk")" --disk-model ide
#include "check.hpp"

#include <exo/drivers/ata.hpp>
#include <exo/drivers/virtio_scsi.hpp>

#include <algorithm>
#include <array>
#include <charconv>
#include <cstring>
#include <string_view>

using namespace check;

namespace {

constexpr u32 lanes = 16;  // operations in flight of a core, each in blocks of its own
constexpr u64 most_bytes = 32 * 1024;
constexpr u32 ata_bytes_max = 4 * 1024;  // half of its operations go by PIO, to odd addresses
constexpr std::chrono::seconds patience{30};

constinit u64 per_core = 0;
constinit exo::disk *opened = nullptr;
constinit u32 queues = 0;
constinit std::atomic<u64> operations_done = 0, bytes_done = 0, halts = 0;

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

/// A block device as a queue of one operation, which ends before try_submit does.
template <block_device Device>
class one_at_a_time {
 public:
  one_at_a_time(Device &device, u32 bytes_max) noexcept : device_(device) {
    record_.blocks = device.blocks();
    record_.block_bytes = device.block_bytes();
    record_.bytes_max = bytes_max;
  }

  [[nodiscard]] disk_record const &record() const noexcept { return record_; }
  [[nodiscard]] result<std::size_t> try_submit(std::span<disk_op const> operations) noexcept {
    disk_op const &op = operations.front();
    std::span const memory(reinterpret_cast<std::byte *>(op.address), op.bytes);
    result<void> const outcome = op.kind == disk_write ? device_.write(lba{op.block}, memory) : device_.read(lba{op.block}, memory);
    done_[count_++] = {.cookie = op.cookie, .status = outcome ? 0 : -static_cast<i32>(outcome.error()), .bytes = 0};
    return 1;
  }
  [[nodiscard]] result<std::size_t> try_reap(std::span<completion> out) noexcept {
    std::copy_n(done_.begin(), count_, out.begin());
    return std::exchange(count_, 0);
  }
  [[nodiscard]] result<bool> arm() noexcept { return std::unexpected(error::unsupported); }

 private:
  Device &device_;
  disk_record record_{};
  std::array<completion, lanes> done_{};
  std::size_t count_ = 0;
};

struct lane {
  u64 first = 0;        // its blocks
  u32 *rounds = nullptr;  // of each: which wrote it last, 0: none yet
  std::byte *buffer = nullptr;
  disk_op op{};
  u32 round = 0;  // that op writes
};

template <operation_queue Queue>
class worker {
 public:
  /// @param core  one of so many that share the disk
  worker(Queue &queue, u32 core, u32 cores)
      : queue_(queue), random_(core + 1), blocks_(queue.record().blocks / cores / lanes) {
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
        bytes_done += lanes_[each.cookie].op.bytes;
        if (started < operations) {
          start(each.cookie);
          ++started;
        }
      }
      if (*got == 0) {
        if (result<bool> const pending = queue_.arm(); pending && !*pending) {
          ++halts;
          if (core().core_idle(deadline_in(patience)) == 0) return fail(where::current(), "a wake is lost; operations", done);
        }
      }
    }
    operations_done += done;
  }

 private:
  [[nodiscard]] disk_record const &record() const { return queue_.record(); }
  [[nodiscard]] u64 unit() const { return record().block_bytes; }

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
             .kind = static_cast<u8>(writes ? disk_write : disk_read), .reserved = 0, .block = on.first + first};
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

  Queue &queue_;
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
  worker(*queue, me, queues).run(per_core);
}

/// Fills the whole disk with its patterns, or compares it with them.
template <block_device Device>
void last_round(Device &device, bool compares) {
  u64 const unit = device.block_bytes(), chunk = most_bytes / unit;
  std::byte *const buffer = take_pages(most_bytes);
  for (u64 block = 0; block < device.blocks(); block += chunk) {
    std::span const part(buffer, std::min(chunk, device.blocks() - block) * unit);
    if (compares) {
      if (!device.read(lba{block}, part)) fail(where::current(), "read", block);
      if (!filled(buffer, part.size(), block * unit, 7)) fail(where::current(), "other data from block", block);
    } else {
      fill(buffer, part.size(), block * unit, 7);
      if (!device.write(lba{block}, part)) fail(where::current(), "write", block);
    }
  }
  if (!device.flush()) fail(where::current(), "flush");
}

template <typename T, typename Why>
T &must(std::expected<T, Why> &outcome) {
  if (!outcome) panic("it does not open: {}", outcome.error());
  return *outcome;
}

pci_record const &function(bool (*probe)(pci_record const &) noexcept) {
  auto const found = find_pci([=](pci_function const &each) { return probe(each.record()); });
  if (!found) panic("there is no controller of that kind");
  return found->record();
}

void soak_scsi(u64 operations) {
  auto controller = virtio_scsi::open(function(virtio_scsi::probe));
  std::array<scsi_address, 1> room;
  auto const places = must(controller).find(room);
  if (places.empty()) panic("there is no SCSI disk");
  auto disk = controller->disk(places.front());
  worker(must(disk), 0, 1).run(operations);
  same(static_cast<i64>(controller->resets()), 0);
  scsi_blocks blocks(std::move(*disk));
  last_round(blocks, false);
}

void soak_ata(u64 operations) {
  auto controller = ata_controller::open(function(ata_controller::probe));
  auto disk = must(controller).disk({.channel = 0, .unit = 0});
  one_at_a_time queue(must(disk), ata_bytes_max);
  worker(queue, 0, 1).run(operations);
  last_round(*disk, false);
}

/// The core's first disk, with one queue.
template <typename Use>
void with_first_disk(Use use) {
  auto disk = exo::disk::open(disk_id{0});
  disk_blocks blocks(std::move(*must(disk).take_queue()));
  use(blocks);
}

void soak_core(u64 operations) {
  {
    queues = std::min(info().disks[0].queue_max, core_count());
    auto disk = exo::disk::open(disk_id{0}, queues, lanes);
    opened = &must(disk);
    per_core = std::max<u64>(operations / queues, lanes);
    run_on_all([] { work(); });
  }
  with_first_disk([](disk_blocks &blocks) { last_round(blocks, false); });
}

}  // namespace

int main(int argc, char **argv) {
  std::string_view const what = argc > 1 ? argv[1] : "", kind = argc == 3 ? argv[2] : "core";
  u64 operations = 0;
  bool const compares = what == "compare" && argc == 2;
  auto const [end, wrong] = std::from_chars(what.data(), what.data() + what.size(), operations);
  bool const counts = wrong == std::errc{} && end == what.data() + what.size() && operations != 0;
  if (!compares && !(counts && argc <= 3 && (kind == "core" || kind == "scsi" || kind == "ata"))) {
    print("the arguments are a number of operations, and scsi or ata if a header drives the disk; or: compare\n");
    return 2;
  }
  if (compares) {
    with_first_disk([](disk_blocks &blocks) { last_round(blocks, true); });
    return verdict();
  }
  clock::time_point const begin = clock::now();
  kind == "core" ? soak_core(operations) : kind == "scsi" ? soak_scsi(operations) : soak_ata(operations);
  auto const seconds = std::chrono::duration_cast<std::chrono::seconds>(clock::now() - begin).count();
  print("{} operations, {} MiB, {} halts, {} s\n", operations_done.load(), bytes_done.load() >> 20, halts.load(), seconds);
  return verdict();
}
