// SATA disks: several at once with a core for each, which one interrupt wakes, errors with many operations in flight,
// flushes in between, what is no disk beside them, a soak, and a controller that is unplugged under load. The arguments are
// the test and the disks.
// boot: --pvh --cores 3 --disk-model ahci --disk "$work/a$(truncate -s 2M "$work/a")" --disk "$work/b$(truncate -s 3M "$work/b")" --disk "$work/c$(truncate -s 4M "$work/c")" --args "wakes 3 message"
// boot: --pvh --cores 4 --disk-model ahci --disk "$work/a$(truncate -s 2M "$work/a")" --disk "$work/b$(truncate -s 3M "$work/b")" --disk "$work/c$(truncate -s 4M "$work/c")" --disk "$work/d$(truncate -s 5M "$work/d")" --args "each-core 4"
// boot: --cores 2 --disk-model ahci --disk "$work/a$(truncate -s 2M "$work/a")" --args "each-core 1"
// boot: --pvh --args "each-core 2" -- -device ide-cd,bus=ide.0 -drive if=none,id=a,format=raw,file="$work/a$(truncate -s 2M "$work/a")" -device ide-hd,bus=ide.2,drive=a,serial=given,model=Letters -drive if=none,id=b,format=raw,file="$work/b$(truncate -s 3M "$work/b")" -device ide-hd,bus=ide.5,drive=b
// boot: --pvh --args "each-core 0"
// boot: --pvh --args "each-core 0" -- -device ide-cd,bus=ide.3
// boot: --pvh --args "each-core 2" -- -device ahci,id=more -drive if=none,id=a,format=raw,file="$work/a$(truncate -s 2M "$work/a")" -device ide-hd,bus=more.1,drive=a -drive if=none,id=b,format=raw,file="$work/b$(truncate -s 3M "$work/b")" -device ide-hd,bus=ide.4,drive=b
// boot: --pvh --args "bad-block 1" -- -drive if=none,id=d,driver=raw,file.driver=blkdebug,file.inject-error.0.event=read_aio,file.inject-error.0.errno=5,file.inject-error.0.sector=100,file.inject-error.0.once=off,file.inject-error.0.iotype=read,file.image.driver=file,file.image.filename="$work/disk$(truncate -s 1M "$work/disk")" -device ide-hd,bus=ide.0,drive=d
// boot: --pvh --args "bad-flush 1" -- -drive if=none,id=d,driver=raw,file.driver=blkdebug,file.inject-error.0.event=flush_to_disk,file.inject-error.0.errno=5,file.inject-error.0.once=off,file.inject-error.0.iotype=flush,file.image.driver=file,file.image.filename="$work/disk$(truncate -s 1M "$work/disk")" -device ide-hd,bus=ide.0,drive=d
// boot: --pvh --disk-model ahci --disk "$work/a$(truncate -s 8M "$work/a")" --args "soak 1"
// boot: --args "unplug 1" -- -machine pc -device ahci,id=sata,addr=9 -drive if=none,id=a,format=raw,file="$work/a$(truncate -s 2M "$work/a")" -device ide-hd,bus=sata.0,drive=a
// prints: exo16: device 0000000000000048 does not answer
#include <algorithm>
#include <array>
#include <charconv>
#include <string_view>

#include <exo/port.hpp>

#include "block_checks.hpp"

using namespace check;

namespace {

constexpr u32 depth = 32;

disk_record const &record(u32 disk) { return info().disks[disk]; }

disk_op operation(u8 kind, u64 cookie, u64 block, std::byte *memory, u64 bytes) {
  disk_op made{};
  made.kind = kind;
  made.cookie = cookie;
  made.block = block;
  made.address = address(memory);
  made.bytes = static_cast<u32>(bytes);
  return made;
}

u32 open(u32 disk) {
  u32 const wanted = std::min(depth, record(disk).depth_max);
  u64 const bytes = u64{wanted} * record(disk).depth_bytes;
  same(core().disk_open(disk, 1, wanted, take_pages(bytes), bytes), 0);
  return wanted;
}

void submit(u32 disk, std::span<disk_op const> ops) {
  i64 const taken = core().disk_submit(disk, 0, ops.data(), static_cast<u32>(ops.size()));
  if (taken != static_cast<i64>(ops.size())) panic("taken {} of {}", taken, ops.size());
}

/// Waits for so many completions. Cookies below 64 come once each: which are -io is set in the result.
u64 finish(u32 disk, u32 count) {
  u64 seen = 0, failed = 0;
  u64 const end = ticks() + 30 * info().tsc_hz;
  for (u32 got = 0; got < count;) {
    completion done[3]{};
    i64 const some = core().disk_reap(disk, 0, done, 3);
    if (some < 0 || ticks() > end) panic("{} of {} completions, status {}", got, count, some);
    for (i64 at = 0; at < some; ++at) {
      u64 const bit = u64{1} << done[at].cookie;
      that((seen & bit) == 0, "an operation ended twice");
      seen |= bit;
      if (done[at].status != 0) {
        same(done[at].status, -static_cast<i64>(error::io));
        same(done[at].bytes, 0);
        failed |= bit;
      }
    }
    got += static_cast<u32>(some);
  }
  completion more{};
  same(core().disk_reap(disk, 0, &more, 1), 0);
  return failed;
}

void records_are_right(u64 disks) {
  that(info().disks.size() == disks || info().disks.size() == disks + 1, "another number of disks");
  for (u32 disk = 0; disk < disks; ++disk) {
    disk_record const &each = record(disk);
    same(each.queue_max, 1);
    same(each.depth_max, 32);
    same(each.block_bytes, 512);
    same(each.features, disk_write_cache);
    same(each.interrupts, 1);
    std::string_view const model(reinterpret_cast<char const *>(each.model), sizeof each.model);
    std::string_view const serial(reinterpret_cast<char const *>(each.serial), sizeof each.serial);
    bool const named = serial.starts_with("given               ");
    that(model.starts_with(named ? "Letters              " : "QEMU HARDDISK              "), "another model");
    that(named || serial.starts_with("exo16-") || serial.starts_with("QM000"), "another serial number");
  }
}

// --- each disk has a core

constinit u64 disks_in_use = 0;

void one_disk() {
  for (u32 disk = local().index; disk < disks_in_use; disk += core_count()) {
    std::byte *const memory = take_pages(depth * page_bytes);
    u32 const taken = open(disk);
    u64 const blocks = record(disk).blocks;
    that(blocks % 2048 == 0, "no whole MiB");
    for (u32 round = 0; round < 30; ++round) {
      std::array<disk_op, depth> ops;
      u64 const step = blocks / taken;
      for (u32 at = 0; at < taken; ++at) {
        std::byte *const place = memory + at * page_bytes;
        fill_blocks({place, page_bytes}, at * step * 512 + disk, round);
        ops[at] = operation(disk_write, at, at * step + round, place, page_bytes);
      }
      submit(disk, std::span(ops).first(taken));
      same(static_cast<i64>(finish(disk, taken)), 0);
      std::memset(memory, 0, depth * page_bytes);
      for (disk_op &each : ops) each.kind = disk_read;
      submit(disk, std::span(ops).first(taken));
      same(static_cast<i64>(finish(disk, taken)), 0);
      for (u32 at = 0; at < taken; ++at) {
        bool const right = holds_blocks({memory + at * page_bytes, page_bytes}, at * step * 512 + disk, round);
        if (!right) return fail(where::current(), "another disk's data; disk, round", disk, round);
      }
    }
    same(core().disk_close(disk), 0);
  }
}

// --- each disk wakes a core

/// No wake is lost where disks share an interrupt: all cores begin a round together, each with its disk, and none begins the
/// next before all have been woken. So nothing else wakes the last one. The disks change cores now and then.
void wakes() {
  constexpr u32 rounds = 1000, rounds_of_a_core = 50;
  u32 const me = local().index, cores = static_cast<u32>(disks_in_use);
  static constinit std::atomic<u64> began = 0, halts = 0;
  if (me >= cores) return;
  std::byte *const memory = take_pages(page_bytes);
  open(me);
  u64 random = 88172645463325252 + me;
  for (u32 round = 0; round < rounds && failures == 0; ++round) {
    ++began;
    while (began < u64{cores} * (round + 1) && failures == 0) exo::pause();
    u32 const disk = (me + round / rounds_of_a_core) % cores;
    random ^= random << 13, random ^= random >> 7, random ^= random << 17;
    for (u64 turn = 0; turn < random % 4000; ++turn) asm volatile("" : : : "memory");
    disk_op const op = operation(disk_read, me, round, memory, 512);
    submit(disk, {&op, 1});
    completion done{};
    for (u64 const end = ticks() + 30 * info().tsc_hz; core().disk_reap(disk, 0, &done, 1) == 0;) {
      i64 const there = core().disk_arm(disk, 0);
      if (there == 1) continue;
      same(there, 0);
      ++halts;
      if (core().core_idle(end) == 0) return fail(where::current(), "a wake is lost; disk, round", disk, round);
    }
    same(done.status, 0);
    same(static_cast<i64>(done.cookie), me);
  }
  ++began;
  if (me != 0) return;
  while (began < u64{cores} * rounds + cores && failures == 0) exo::pause();
  print("{} rounds, {} halts\n", rounds, halts.load());
  that(halts > 0, "no core has halted");
  for (u32 disk = 0; disk < cores; ++disk) same(core().disk_close(disk), 0);
}

/// The disks have interrupted in the way that was meant: 1 from irq_route is a line.
void interrupts_by(std::string_view way) {
  same(core().irq_route(record(0).function, 0, 0, event_program), way == "line" ? 1 : 0);
}

// --- errors

/// With a full queue every operation ends once; what fails lies at block 100, or was in flight with it. After it all goes on.
void bad_block() {
  std::byte *const memory = take_pages(depth * page_bytes);
  u32 const taken = open(0);
  std::array<disk_op, depth> ops;
  for (u32 round = 0; round < 12; ++round) {
    u32 const bad = round % 3 == 2 ? 64 : (round * 7) % taken;  // or none
    for (u32 at = 0; at < taken; ++at) ops[at] = operation(disk_read, at, at == bad ? 100 : 200 + at, memory + at * page_bytes, 512);
    submit(0, std::span(ops).first(taken));
    u64 const failed = finish(0, taken);
    if (bad < taken) that((failed >> bad & 1) != 0, "what cannot be read was read");
    if (bad >= taken) same(static_cast<i64>(failed), 0);
  }
  // A flush and writes beside it.
  ops[0] = operation(disk_read, 0, 100, memory, 512);
  ops[1] = operation(disk_flush, 1, 0, nullptr, 0);
  ops[2] = operation(disk_write, 2, 100, memory, 512);
  for (u32 round = 0; round < 4; ++round) {
    submit(0, std::span(ops).first(3));
    u64 const failed = finish(0, 3);
    that((failed & 1) != 0 && (failed & 2) == 0, "the read succeeds, or the flush fails");
  }
  same(core().disk_close(0), 0);
}

void bad_flush() {
  std::byte *const memory = take_pages(page_bytes);
  open(0);
  std::array<disk_op, 3> const ops = {operation(disk_write, 0, 5, memory, 512), operation(disk_flush, 1, 0, nullptr, 0),
                                      operation(disk_read, 2, 6, memory, 512)};
  for (u32 round = 0; round < 4; ++round) {
    submit(0, std::span(ops).first(1));
    same(static_cast<i64>(finish(0, 1)), 0);
    submit(0, std::span(ops).last(2));  // (without a write before it the emulator has nothing to flush)
    same(static_cast<i64>(finish(0, 2)), 2);
  }
  same(core().disk_close(0), 0);
}

/// A controller that goes with a full queue: each operation ends once, done or failed, and later ones fail.
void unplug() {
  constexpr u16 eject_port = 0xAE08, bus_port = 0xAE10;  // of QEMU's machine `pc`
  std::byte *const memory = take_pages(depth * page_bytes);
  u32 const taken = open(0);
  std::array<disk_op, depth> ops;
  for (u32 at = 0; at < taken; ++at) ops[at] = operation(disk_write, at, at * 8, memory + at * page_bytes, page_bytes);
  for (u32 round = 0; round < 20; ++round) {
    submit(0, std::span(ops).first(taken));
    same(static_cast<i64>(finish(0, taken)), 0);
  }
  submit(0, std::span(ops).first(taken));
  port_out<u32>(bus_port, 0);
  port_out<u32>(eject_port, u32{1} << (record(0).function >> 3 & 31));
  for (u64 const end = ticks() + 20 * info().tsc_hz; core().pci_read(record(0).function, 0, 2) != 0xFFFF;) {
    if (ticks() > end) panic("the controller stays");
  }
  finish(0, taken);
  ops[1] = operation(disk_flush, 1, 0, nullptr, 0);
  for (u32 round = 0; round < 3; ++round) {
    submit(0, std::span(ops).first(3));
    same(static_cast<i64>(finish(0, 3)), 7);
  }
  i64 const closed = core().disk_close(0);
  that(closed == 0 || closed == -static_cast<i64>(error::timeout), "close fails in another way");
  u64 const bytes = u64{depth} * record(0).depth_bytes;
  same(core().disk_open(0, 1, depth, take_pages(bytes), bytes), -static_cast<i64>(error::timeout));
}

// --- many operations

/// Random operations, with a queue that is kept full: each block holds what was written last. In the end the disk is
/// filled, for the host to compare.
void soak() {
  constexpr u32 operations = 20000;
  u32 const taken = open(0);
  u64 const blocks = record(0).blocks, share = blocks / taken;  // each cookie has its own blocks, and one operation at a time
  std::byte *const memory = take_pages(taken * page_bytes);
  std::array<u64, depth> written{};  // the round of the last write to the share's first eight blocks
  std::array<u8, depth> kind{};
  u64 random = 1, started = 0, ended = 0, flushes = 0;
  auto const start = [&](u64 cookie) {
    random = random * 6364136223846793005 + 1442695040888963407;
    kind[cookie] = random >> 60 == 0 ? disk_flush : written[cookie] == 0 || (random >> 50 & 1) != 0 ? disk_write : disk_read;
    std::byte *const place = memory + cookie * page_bytes;
    if (kind[cookie] == disk_write) {
      written[cookie] = ++started;
      fill_blocks({place, page_bytes}, cookie * share * 512, written[cookie]);
    } else {
      ++started;
      std::memset(place, 0x33, page_bytes);
    }
    if (kind[cookie] == disk_flush) ++flushes;
    return kind[cookie] == disk_flush ? operation(disk_flush, cookie, 0, nullptr, 0)
                                      : operation(kind[cookie], cookie, cookie * share, place, page_bytes);
  };
  std::array<disk_op, depth> ops;
  for (u32 at = 0; at < taken; ++at) ops[at] = start(at);
  submit(0, std::span(ops).first(taken));
  u64 last = ticks();
  while (ended < started) {
    std::array<completion, depth> done;
    i64 const some = core().disk_reap(0, 0, done.data(), depth);
    if (some < 0) panic("reap: {}", some);
    if (some > 0) last = ticks();
    if (ticks() - last > 30 * info().tsc_hz) panic("nothing comes; {} of {}", ended, started);
    u32 again = 0;
    for (i64 at = 0; at < some; ++at) {
      u64 const cookie = done[at].cookie;
      if (cookie >= taken) panic("a cookie that was not given");
      same(done[at].status, 0);
      same(done[at].bytes, kind[cookie] == disk_read ? page_bytes : 0);
      if (kind[cookie] == disk_read && !holds_blocks({memory + cookie * page_bytes, page_bytes}, cookie * share * 512, written[cookie])) {
        return fail(where::current(), "other data; cookie, operation", cookie, ended);
      }
      ++ended;
      if (started < operations) ops[again++] = start(cookie);
    }
    if (again != 0) submit(0, std::span(ops).first(again));
  }
  that(flushes > operations / 32, "there were no flushes");
  same(core().disk_close(0), 0);
}

}  // namespace

int main(int argc, char **argv) {
  if (argc < 3) return 2;
  std::string_view const kind = argv[1], count = argv[2];
  std::from_chars(count.data(), count.data() + count.size(), disks_in_use);
  records_are_right(disks_in_use);
  if (kind == "each-core") run_on_all([] { one_disk(); });
  if (kind == "wakes") {
    run_on_all([] { wakes(); });
    interrupts_by(argv[3]);
  }
  if (kind == "bad-block") bad_block();
  if (kind == "bad-flush") bad_flush();
  if (kind == "unplug") unplug();
  if (kind == "soak") soak();
  return verdict();
}
