// The namespaces of an NVMe controller are disks that know nothing of each other. One with metadata is left out.
// boot: --cores 3 -- -device nvme,id=n,serial=exo16-serial,max_ioqpairs=9,msix_qsize=10 -drive if=none,id=a,format=raw,file="$work/a$(truncate -s 4M "$work/a")" -device nvme-ns,drive=a,bus=n,nsid=1 -drive if=none,id=b,format=raw,file="$work/b$(truncate -s 8M "$work/b")" -device nvme-ns,drive=b,bus=n,nsid=2,logical_block_size=4096,physical_block_size=4096 -drive if=none,id=c,format=raw,file="$work/c$(truncate -s 8M "$work/c")" -device nvme-ns,drive=c,bus=n,nsid=3,ms=8 -drive if=none,id=d,format=raw,file="$work/d$(truncate -s 2M "$work/d")" -device nvme-ns,drive=d,bus=n,nsid=7
// prints: the namespaces are as they should be
#include "check.hpp"

#include <algorithm>
#include <array>
#include <cstring>
#include <optional>
#include <string_view>
#include <utility>

using namespace check;

namespace {

constexpr u32 spaces = 3;
constexpr u64 sizes[spaces] = {4 << 20, 8 << 20, 2 << 20};

/// A text field without the blanks that fill it up.
template <std::size_t Size>
std::string_view text(u8 const (&field)[Size]) {
  std::string_view const all(reinterpret_cast<char const *>(field), Size);
  return all.substr(0, all.find_last_not_of(' ') + 1);
}

void records() {
  same(info().disks.size(), spaces + 1);  // and what it boots from, at the SATA controller
  for (u32 number = 0; number < spaces; ++number) {
    disk_record const &record = info().disks[number];
    same(static_cast<i64>(record.blocks * record.block_bytes), static_cast<i64>(sizes[number]));
    same(record.block_bytes, number == 1 ? 4096 : 512);
    same(record.queue_max, 2);  // nine queues, four namespaces
    same(record.interrupts, 1);
    same(record.address_mask, 3);
    same(record.features, disk_write_cache | disk_can_discard | disk_can_zero | disk_pages);
    same(record.optimal_bytes, 0);
    that(text(record.model) == "QEMU NVMe Ctrl", "the model is something else");
    that(text(record.serial) == "exo16-serial", "the serial number is something else");
  }
}

struct space {
  std::optional<exo::disk> disk;
  std::optional<disk_blocks> blocks;

  void open(u32 number) {
    auto opened = exo::disk::open(disk_id{number}, 2);
    if (!opened) panic("namespace {}: {}", number, opened.error());
    disk = std::move(*opened);
    blocks.emplace(std::move(*disk->take_queue()));
  }
  void close() {
    blocks.reset();
    disk.reset();
  }
};

}  // namespace

int main() {
  records();
  constexpr u64 bytes = 256 * 1024;
  std::array<space, spaces> all;
  std::byte *const memory = take_pages(bytes), *const back = take_pages(bytes);
  auto const put = [&](u32 number, int seed) {
    std::memset(memory, seed, bytes);
    if (!all[number].blocks->write(lba{8}, {memory, bytes})) fail(where::current(), "write", number);
  };
  auto const has = [&](u32 number, int seed, where at = where::current()) {
    std::memset(memory, seed, bytes);
    std::memset(back, 0, bytes);
    if (!all[number].blocks->read(lba{8}, {back, bytes})) fail(at, "read", number);
    that(std::memcmp(memory, back, bytes) == 0, "another namespace's data", at);
  };
  for (u32 number = 0; number < spaces; ++number) all[number].open(number);
  for (u32 number = 0; number < spaces; ++number) put(number, 10 + static_cast<int>(number));
  for (u32 number = 0; number < spaces; ++number) has(number, 10 + static_cast<int>(number));
  for (u32 round = 0; round < 20; ++round) {  // one goes and comes while the others work
    u32 const goes = round % spaces;
    all[goes].close();
    for (u32 number = 0; number < spaces; ++number) {
      if (number != goes) has(number, 10 + static_cast<int>(number));
    }
    all[goes].open(goes);
    has(goes, 10 + static_cast<int>(goes));
  }
  if (verdict() == 0) print("the namespaces are as they should be\n");
  return verdict();
}
