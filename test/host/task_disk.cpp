#include <exo/task_disk.hpp>

#include <algorithm>
#include <catch2/catch.hpp>
#include <chrono>
#include <exo/when.hpp>
#include <vector>

#include "machine_with_loops.hpp"

using exo::error;
using exo::lba;
using exo::result;
using exo::task;
using namespace std::chrono_literals;

namespace {

/// A disk with blocks of 512 bytes, each filled with the lower byte of its number.
struct with_disk : machine_with_loops {
  with_disk() : machine_with_loops({.cores = 1}), disk(machine.devices.add_disk(64, 512, 1, 16)) {
    machine.publish();
    exo::system_pages.start(exo::info().memory);
    for (std::size_t at = 0; at < disk.data.size(); ++at) disk.data[at] = static_cast<std::byte>(at / 512);
  }
  fake::fake_disk &disk;
};

task<result<void>> read_block(exo::task_disk<> &disk, exo::u64 block) {
  std::vector<std::byte> buffer(512);
  auto const got = co_await disk.read(lba{block}, buffer);
  if (!got) co_return got;
  bool const right = std::ranges::all_of(buffer, [&](std::byte each) { return each == static_cast<std::byte>(block); });
  co_return right ? result<void>() : std::unexpected(error::range);
}

}  // namespace

TEST_CASE("task_disk: more operations than the queue holds, one bad block, requests that cannot be") {
  with_disk machine;
  machine.disk.bad_blocks[9] = error::io;
  CHECK(exo::run([]() -> task<void> {
    auto opened = exo::disk::open(exo::disk_id{0}, 1, 16);
    exo::task_disk<> disk(*opened->take_queue());
    exo::scope all;
    for (exo::u64 block = 10; block < 64; ++block) CHECK(all.spawn(read_block(disk, block)));
    auto const read = co_await all.join();
    CHECK(read);
    auto const bad = co_await read_block(disk, 9);
    CHECK(bad.error() == error::io);
    auto const outside = co_await read_block(disk, 64);
    CHECK(outside.error() == error::range);
    std::vector<std::byte> buffer(512, std::byte{0x77});
    auto const part = co_await disk.write(lba{0}, std::span(buffer).first(511));
    CHECK(part.error() == error::range);
    auto const written = co_await disk.write(lba{3}, buffer);
    CHECK(written);
    auto const flushed = co_await disk.flush();
    CHECK(flushed);
    fake::device_set::now().disks[0]->bytes_missing = 512;
    auto const missing = co_await read_block(disk, 10);
    CHECK(missing.error() == error::io);
  }));
  CHECK(machine.disk.flushes == 1);
  CHECK(machine.disk.data[3 * 512] == std::byte{0x77});
  CHECK(machine.disk.queues[0].most_in_flight == 16);
}

TEST_CASE("task_disk: what a disk cannot do is refused, and what was begun beside it is done") {
  with_disk machine;
  machine.disk.record.features |= exo::disk_read_only;
  machine.disk.record.bytes_max = 1024;
  machine.disk.record.address_mask = 7;
  machine.machine.publish();
  CHECK(exo::run([]() -> task<void> {
    auto opened = exo::disk::open(exo::disk_id{0}, 1, 16);
    exo::task_disk<> disk(*opened->take_queue());
    struct request {
      exo::u64 block;
      std::size_t bytes, shift;
      bool writes;
      error expected;
    };
    for (request const &bad : {request{0, 0, 0, false, error::range}, request{0, 1536, 0, false, error::range},
                               request{63, 1024, 0, false, error::range}, request{65, 512, 0, false, error::range},
                               request{~exo::u64{0}, 512, 0, false, error::range}, request{0, 512, 4, false, error::range},
                               request{0, 512, 0, true, error::unsupported}}) {
      auto const [before, refused, behind] = co_await exo::when_all(
          read_block(disk, 5),
          [](exo::task_disk<> &to, request what) -> task<result<void>> {
            std::vector<std::byte> buffer(2048);
            std::span const part = std::span(buffer).subspan(what.shift, what.bytes);
            if (what.writes) co_return co_await to.write(lba{what.block}, part);
            co_return co_await to.read(lba{what.block}, part);
          }(disk, bad),
          read_block(disk, 6));
      CHECK(before);
      CHECK((!refused && refused.error() == bad.expected));
      CHECK(behind);
    }
    std::vector<std::byte> buffer(1024);
    auto const most = co_await disk.read(lba{62}, buffer);
    CHECK(most);
  }));
}

TEST_CASE("task_disk: cancelled, what waits ends at once, and what the device has when it is done") {
  with_disk machine;
  machine.disk.holds = true;
  CHECK(exo::run([&]() -> task<void> {
    return [](fake::fake_disk &held) -> task<void> {
      auto opened = exo::disk::open(exo::disk_id{0}, 1, 16);
      exo::task_disk<> disk(*opened->take_queue());
      exo::scope all;
      for (exo::u64 block = 10; block < 40; ++block) CHECK(all.spawn(read_block(disk, block)));
      auto const submitted = co_await exo::delay(1ms);
      CHECK(submitted);
      all.cancel();
      auto const ended_some = co_await exo::delay(1ms);
      CHECK(ended_some);
      CHECK(all.running() == 16);
      fake::finish(held, 0);
      auto const ended = co_await all.join();
      CHECK(ended.error() == error::cancelled);
      auto const late = co_await exo::with_deadline(0, read_block(disk, 1));
      CHECK(late.error() == error::timeout);
    }(machine.disk);
  }));
}

TEST_CASE("task_disk: a stuck disk is reset, and its operations end with timeout") {
  with_disk machine;
  machine.disk.holds = true;
  CHECK(exo::run([&]() -> task<void> {
    return [](fake::fake_disk &held) -> task<void> {
      auto opened = exo::disk::open(exo::disk_id{0}, 1, 16);
      auto queue = opened->take_queue();
      queue->be_patient(5ms);
      exo::task_disk<> disk(std::move(*queue));
      exo::scope all;
      for (exo::u64 block = 10; block < 14; ++block) CHECK(all.spawn(read_block(disk, block)));
      auto const ended = co_await all.join();
      CHECK(ended.error() == error::timeout);
      CHECK(!disk.keeps_buffers());
      held.holds = false;
      auto const again = co_await read_block(disk, 5);
      CHECK(again);
    }(machine.disk);
  }));
}

TEST_CASE("task_disk: of several that the device refuses, the first that goes on cancels the others") {
  with_disk machine;
  machine.disk.record.features |= exo::disk_read_only;
  machine.machine.publish();
  CHECK(exo::run([]() -> task<void> {
    auto opened = exo::disk::open(exo::disk_id{0}, 1, 16);
    exo::task_disk<> disk(*opened->take_queue());
    exo::scope all;
    for (exo::u64 block = 0; block < 3; ++block) {
      CHECK(all.spawn([](exo::task_disk<> &to, exo::u64 at) -> task<result<void>> {
        std::vector<std::byte> buffer(512);
        co_return co_await to.write(lba{at}, buffer);
      }(disk, block)));
    }
    auto const ended = co_await all.join();
    CHECK(ended.error() == error::unsupported);
    auto const read = co_await read_block(disk, 5);
    CHECK(read);
  }));
}
