// Disks that refuse: read-only, without a write cache, with blocks that cannot be read or written, and one that does not answer; and
// one that discards and zeroes.
// boot: --args "ranges exo16-serial-number-" -- -drive if=none,id=d,format=raw,discard=unmap,file="$work/disk$(truncate -s 1M "$work/disk")" -device virtio-blk-pci,drive=d,romfile=,opt_io_size=65536,serial=exo16-serial-number-21
// boot: --args ranges -- -drive if=none,id=d,format=raw,discard=unmap,file="$work/disk$(truncate -s 1M "$work/disk")" -device virtio-blk-pci,drive=d,romfile=,opt_io_size=65536,logical_block_size=4096,physical_block_size=4096
// boot: --args "nvme-ranges 1" -- -drive if=none,id=d,format=raw,discard=unmap,file="$work/disk$(truncate -s 1M "$work/disk")" -device nvme,drive=d,serial=1
// boot: --args no-ranges -- -drive if=none,id=d,format=raw,file="$work/disk$(truncate -s 1M "$work/disk")" -device virtio-blk-pci,drive=d,romfile=,discard=off,write-zeroes=off
// boot: --args read-only -- -drive if=none,id=d,format=raw,read-only=on,file="$work/disk$(truncate -s 1M "$work/disk")" -device virtio-blk-pci,drive=d,romfile=
// boot: --args no-writes -- -drive if=none,id=d,format=raw,read-only=on,file="$work/disk$(truncate -s 1M "$work/disk")" -device nvme,drive=d,serial=1
// boot: --args no-cache -- -drive if=none,id=d,format=raw,cache=writethrough,file="$work/disk$(truncate -s 1M "$work/disk")" -device virtio-blk-pci,drive=d,romfile=,write-cache=off,config-wce=off
// boot: --args bad-block -- -drive if=none,id=d,driver=raw,file.driver=blkdebug,file.inject-error.0.event=read_aio,file.inject-error.0.errno=5,file.inject-error.0.sector=100,file.inject-error.0.once=off,file.inject-error.0.iotype=read,file.inject-error.1.event=write_aio,file.inject-error.1.errno=5,file.inject-error.1.sector=200,file.inject-error.1.once=off,file.inject-error.1.iotype=write,file.inject-error.2.event=flush_to_disk,file.inject-error.2.errno=5,file.inject-error.2.once=off,file.inject-error.2.iotype=flush,file.image.driver=file,file.image.filename="$work/disk$(truncate -s 1M "$work/disk")" -device virtio-blk-pci,drive=d,romfile=
// boot: --args bad-block -- -drive if=none,id=d,driver=raw,file.driver=blkdebug,file.inject-error.0.event=read_aio,file.inject-error.0.errno=5,file.inject-error.0.sector=100,file.inject-error.0.once=off,file.inject-error.0.iotype=read,file.inject-error.1.event=write_aio,file.inject-error.1.errno=5,file.inject-error.1.sector=200,file.inject-error.1.once=off,file.inject-error.1.iotype=write,file.inject-error.2.event=flush_to_disk,file.inject-error.2.errno=5,file.inject-error.2.once=off,file.inject-error.2.iotype=flush,file.image.driver=file,file.image.filename="$work/disk$(truncate -s 1M "$work/disk")" -device nvme,drive=d,serial=1
// boot: --args silent --disk "$work/disk$(truncate -s 1M "$work/disk")"
// prints: exo16: device 0000000000000010 does not answer
// boot: --args silent -- -machine pc -drive if=none,id=d,format=raw,file="$work/disk$(truncate -s 1M "$work/disk")" -device virtio-blk-pci,drive=d,romfile=
// prints: does not answer
// boot: --args no-cache -- -drive if=none,id=d,format=raw,cache=writethrough,file="$work/disk$(truncate -s 1M "$work/disk")" -device ide-hd,bus=ide.0,drive=d,write-cache=off
// boot: --args bad-block -- -drive if=none,id=d,driver=raw,file.driver=blkdebug,file.inject-error.0.event=read_aio,file.inject-error.0.errno=5,file.inject-error.0.sector=100,file.inject-error.0.once=off,file.inject-error.0.iotype=read,file.inject-error.1.event=write_aio,file.inject-error.1.errno=5,file.inject-error.1.sector=200,file.inject-error.1.once=off,file.inject-error.1.iotype=write,file.inject-error.2.event=flush_to_disk,file.inject-error.2.errno=5,file.inject-error.2.once=off,file.inject-error.2.iotype=flush,file.image.driver=file,file.image.filename="$work/disk$(truncate -s 1M "$work/disk")" -device ide-hd,bus=ide.0,drive=d
// boot: --args silent --disk "$work/disk$(truncate -s 1M "$work/disk")" --disk-model ahci
// prints: exo16: device 00000000000000fa does not answer
// boot: --args silent --disk "$work/disk$(truncate -s 1M "$work/disk")" --disk-model nvme
// prints: does not answer
// boot: --args silent-nic --net user
// prints: does not answer
#include "check.hpp"

#include <algorithm>
#include <string_view>

using namespace check;

namespace {

constexpr u32 depth = 16;
constinit std::byte *buffer = nullptr;

disk_op operation(u8 kind, u64 block, u32 bytes = 512) {
  disk_op made{};
  made.kind = kind;
  made.block = block;
  made.address = kind == disk_flush ? 0 : address(buffer);
  made.bytes = kind == disk_flush ? 0 : bytes;
  return made;
}

/// Submits one operation; gives its status.
i64 status_of(disk_op const &op) {
  i64 const taken = core().disk_submit(0, 0, &op, 1);
  if (taken != 1) return taken;
  completion done{};
  for (u64 const end = ticks() + 20 * info().tsc_hz; core().disk_reap(0, 0, &done, 1) == 0;) {
    if (ticks() > end) panic("no completion");
  }
  return done.status;
}

i64 open_disk() {
  static std::byte *const rings = take_pages(u64{depth} * info().disks[0].depth_bytes);
  return core().disk_open(0, 1, depth, rings, u64{depth} * info().disks[0].depth_bytes);
}

void read_only() {
  same(info().disks[0].features & disk_read_only, disk_read_only);
  same(open_disk(), 0);
  same(status_of(operation(disk_read, 0)), 0);
  same(status_of(operation(disk_write, 0)), -static_cast<i64>(error::unsupported));
  for (u8 const kind : {u8{disk_zero}, u8{disk_discard}}) {
    same(status_of(operation(kind, 0)), -static_cast<i64>(error::unsupported));
  }
  disk_op const both[] = {operation(disk_read, 0), operation(disk_write, 0)};
  calling(core().disk_submit).refuses(error::unsupported, 0, 0, both, 2);
  completion none{};
  same(core().disk_reap(0, 0, &none, 1), 0);
  same(status_of(operation(disk_read, 1)), 0);
}

/// A disk that does not say that it is read-only, and fails what it cannot do.
void no_writes() {
  same(open_disk(), 0);
  for (u32 round = 0; round < 3; ++round) {
    same(status_of(operation(disk_read, 0)), 0);
    same(status_of(operation(disk_write, 0)), -static_cast<i64>(error::io));
    same(status_of(operation(disk_read, 1)), 0);
  }
}

/// Block 100 cannot be read, block 200 cannot be written, and nothing can be flushed; all else works, before and after.
void bad_block() {
  i64 const io = -static_cast<i64>(error::io);
  same(open_disk(), 0);
  for (u32 round = 0; round < 3; ++round) {
    same(status_of(operation(disk_read, 99)), 0);
    same(status_of(operation(disk_read, 100)), io);
    same(status_of(operation(disk_read, 98, 4096)), io);
    same(status_of(operation(disk_read, 101)), 0);
    same(status_of(operation(disk_write, 100)), 0);
    same(status_of(operation(disk_write, 200)), io);
    same(status_of(operation(disk_write, 198, 4096)), io);
    same(status_of(operation(disk_write, 201)), 0);
    same(status_of(operation(disk_flush, 0)), io);
    same(status_of(operation(disk_read, 200)), 0);
  }
}

/// A serial number, which is cut off after its last byte, and followed by what fills it up.
void has_serial(std::string_view expected) {
  std::string_view const all(reinterpret_cast<char const *>(info().disks[0].serial), sizeof info().disks[0].serial);
  that(all.starts_with(expected), "another serial number");
  that(all.find_first_not_of(std::string_view(" \0", 2), expected.size()) == all.npos, "a longer serial number");
}

/// Zeroes and discards blocks; the ones beside them stay, and bad ranges are refused.
void ranges(u32 optimal_bytes) {
  disk_record const &disk = info().disks[0];
  u32 const block = disk.block_bytes;
  same(disk.features & (disk_can_discard | disk_can_zero), disk_can_discard | disk_can_zero);
  same(disk.optimal_bytes, optimal_bytes);
  same(open_disk(), 0);
  auto const range = [&](u8 kind, u64 first, u32 bytes) {
    disk_op made = operation(kind, first, bytes);
    made.address = 0;
    return made;
  };
  for (u8 const kind : {u8{disk_zero}, u8{disk_discard}}) {
    for (u64 at = 0; at < 8; ++at) {
      std::fill_n(buffer, block, static_cast<std::byte>(at + 1));
      same(status_of(operation(disk_write, at, block)), 0);
    }
    same(status_of(range(kind, 2, 3 * block)), 0);
    for (u64 at = 0; at < 8; ++at) {
      bool const inside = at >= 2 && at < 5;
      if (inside && kind == disk_discard) continue;  // may read as anything
      std::fill_n(buffer, block, std::byte{0xEE});
      same(status_of(operation(disk_read, at, block)), 0);
      same(static_cast<i64>(buffer[0]), inside ? 0 : static_cast<i64>(at + 1));
      same(static_cast<i64>(buffer[block - 1]), inside ? 0 : static_cast<i64>(at + 1));
    }
    same(status_of(range(kind, disk.blocks - 1, block)), 0);
    for (disk_op const &bad : {range(kind, 0, 0), range(kind, 0, block - 1), range(kind, disk.blocks, block),
                               range(kind, disk.blocks - 1, 2 * block), range(kind, ~u64{0}, block)}) {
      same(status_of(bad), -static_cast<i64>(error::range));
    }
    disk_op more = range(kind, 0, block);
    more.flags = disk_more;
    same(status_of(more), -static_cast<i64>(error::range));
  }
  for (u8 const none : {u8{2}, u8{3}, u8{7}, u8{10}, u8{11}, u8{12}, u8{13}, u8{15}, u8{255}}) {
    same(status_of(range(none, 0, block)), -static_cast<i64>(error::range));
  }
}

void no_ranges() {
  same(info().disks[0].features & (disk_can_discard | disk_can_zero), 0);
  same(open_disk(), 0);
  for (u8 const kind : {u8{disk_zero}, u8{disk_discard}}) {
    same(status_of(operation(kind, 0)), -static_cast<i64>(error::unsupported));
  }
  same(status_of(operation(disk_read, 0)), 0);
}

void no_cache() {
  same(info().disks[0].features & disk_write_cache, 0);
  same(open_disk(), 0);
  same(status_of(operation(disk_write, 5)), 0);
  same(status_of(operation(disk_flush, 0)), -static_cast<i64>(error::unsupported));
  same(status_of(operation(disk_read, 5)), 0);
}

/// A device whose registers the test has switched off: open ends in time, and it comes back. QEMU's absent registers read
/// as 0, so that a reset seems to be done.
template <typename Open, typename Close>
void silent(u32 function, Open open, Close close) {
  constexpr u32 command = 4, decode = 3;
  u32 const before = static_cast<u32>(core().pci_read(function, command, 2));
  auto const answers = [&](bool on) { core().pci_write(function, command, 2, on ? before : before & ~decode); };
  for (u32 round = 0; round < 2; ++round) {
    answers(false);
    u64 const start = ticks();
    same(open(), -static_cast<i64>(error::timeout));
    that(ticks() - start < 20 * info().tsc_hz, "open took very long");
    same(close(), -static_cast<i64>(error::closed));
    answers(true);
    same(open(), 0);
    answers(false);
    i64 const closed = close();
    that(closed == 0 || closed == -static_cast<i64>(error::timeout), "close fails in another way");
    same(close(), -static_cast<i64>(error::closed));
    answers(true);
    same(open(), 0);
    same(close(), 0);
  }
}

}  // namespace

int main(int argc, char **argv) {
  if (argc != 2 && argc != 3) return 2;
  std::string_view const kind = argv[1];
  buffer = take_pages(page_bytes);
  if (kind == "silent-nic") {
    nic_record const &nic = info().nics[0];
    std::byte *const rings = take_pages(u64{depth} * nic.depth_bytes);
    silent(nic.function, [&] { return core().nic_open(0, 1, depth, rings, u64{depth} * nic.depth_bytes); },
           [] { return core().nic_close(0); });
    return verdict();
  }
  if (info().disks.empty()) return 3;
  if (kind == "read-only") read_only();
  if (kind == "no-writes") no_writes();
  if (kind == "ranges" || kind == "nvme-ranges") has_serial(argc == 3 ? argv[2] : "");
  if (kind == "ranges") ranges(65536);
  if (kind == "nvme-ranges") ranges(0);  // the emulator's disk does not say
  if (kind == "no-ranges") no_ranges();
  if (kind == "no-cache") no_cache();
  if (kind == "bad-block") bad_block();
  if (kind == "silent") silent(info().disks[0].function, open_disk, [] { return core().disk_close(0); });
  return verdict();
}
