#include <exo/disk.hpp>

#include <algorithm>
#include <atomic>
#include <catch2/catch.hpp>
#include <cstring>
#include <numeric>
#include <thread>
#include <vector>

#include "fake.hpp"

using exo::error;
using exo::lba;
using exo::u64;
using namespace std::chrono_literals;

namespace {

/// A machine with one disk, and the program's pages.
struct with_disk {
  fake::machine machine{{.cores = 2}};
  fake::fake_disk &disk;

  explicit with_disk(u64 blocks = 4096, exo::u32 block_bytes = 512, exo::u32 depth_max = 32)
      : disk(machine.devices.add_disk(blocks, block_bytes, 2, depth_max)) {
    machine.publish();
    exo::system_pages.start(exo::info().memory);
  }
  exo::disk_blocks blocks(exo::disk &opened, exo::clock::duration patience = 5s) {
    return exo::disk_blocks(std::move(*opened.take_queue()), patience);
  }
};

std::vector<std::byte> numbers(std::size_t bytes, unsigned seed = 1) {
  std::vector<std::byte> made(bytes);
  for (std::size_t at = 0; at < bytes; ++at) made[at] = static_cast<std::byte>(at * seed + at / 512);
  return made;
}

}  // namespace

TEST_CASE("disk: opening, queues, closing") {
  with_disk test;
  u64 const before = exo::system_pages.free().bytes;
  CHECK(exo::disk::open(exo::disk_id{1}).error() == error::no_such);
  CHECK(exo::disk::open(exo::disk_id{0}, 0).error() == error::range);
  CHECK(exo::disk::open(exo::disk_id{0}, 3).error() == error::range);
  CHECK(exo::disk::open(exo::disk_id{0}, 1, 20).error() == error::range);
  {
    auto opened = exo::disk::open(exo::disk_id{0}, 2, 1024);
    REQUIRE(opened);
    CHECK(test.disk.depth == 32);
    CHECK(opened->blocks() == 4096);
    CHECK(opened->block_bytes() == 512);
    CHECK(!opened->read_only());
    CHECK(exo::disk::open(exo::disk_id{0}).error() == error::busy);
    CHECK(opened->take_queue());
    exo::disk moved = std::move(*opened);
    CHECK(moved.take_queue());
    CHECK(moved.take_queue().error() == error::no_such);
    *opened = std::move(moved);
    CHECK(test.disk.open);
  }
  CHECK(!test.disk.open);
  CHECK(exo::system_pages.free().bytes == before);
}

TEST_CASE("disk: operations with cookies, several entries, a full queue") {
  with_disk test;
  auto opened = exo::disk::open(exo::disk_id{0}, 1, 16);
  auto queue = opened->take_queue();
  auto const text = numbers(1024);
  std::vector<std::byte> first(512), second(512);
  exo::completion done[32];

  CHECK(queue->try_submit(std::array{exo::write_op(lba{7}, text, 11)}) == 1u);
  REQUIRE(queue->try_reap(done) == 1u);
  CHECK(done[0].cookie == 11);
  CHECK(done[0].status == 0);

  std::array parts{exo::read_op(lba{7}, first, 12), exo::read_op(lba{0}, second, 0)};
  parts[0].flags = exo::disk_more;
  CHECK(queue->try_submit(parts) == 2u);
  REQUIRE(queue->try_reap(done) == 1u);
  CHECK(done[0].cookie == 12);
  CHECK(done[0].bytes == 1024);
  CHECK(std::equal(first.begin(), first.end(), text.begin()));
  CHECK(std::equal(second.begin(), second.end(), text.begin() + 512));

  std::vector<exo::disk_op> const many(20, exo::flush_op(5));
  CHECK(queue->try_submit(many) == 16u);
  CHECK(queue->try_submit(many) == 0u);
  CHECK(queue->arm() == true);
  CHECK(queue->try_reap(done) == 16u);
  CHECK(queue->arm() == false);

  CHECK(queue->try_submit(std::array{exo::read_op(lba{4096}, first, 0)}).error() == error::range);
  CHECK(queue->try_submit(std::array{exo::read_op(lba{0}, std::span(first).first(100), 0)}).error() == error::range);
  exo::disk_queue moved = std::move(*queue);
  CHECK(queue->try_submit(many).error() == error::closed);
  CHECK(queue->try_reap(done).error() == error::closed);
  CHECK(queue->arm().error() == error::closed);
  CHECK(moved.try_submit(many) == 16u);
}

TEST_CASE("disk: large transfers keep many operations in flight") {
  with_disk test(16384);
  test.disk.holds = true;
  auto opened = exo::disk::open(exo::disk_id{0});
  REQUIRE(opened);
  std::atomic<bool> stop = false;
  std::thread device([&] {
    while (!stop) {
      std::this_thread::sleep_for(1ms);
      fake::finish(test.disk, 0, 8);
    }
  });
  {
    exo::disk_blocks disk = test.blocks(*opened);
    auto const text = numbers(6 << 20, 3);
    CHECK(disk.write(lba{100}, text));
    CHECK(test.disk.queues[0].most_in_flight == 32);
    CHECK(std::equal(text.begin(), text.end(), test.disk.data.begin() + 100 * 512));
    CHECK(disk.flush());
    CHECK(test.disk.flushes == 1);
    std::vector<std::byte> back(text.size());
    CHECK(disk.read(lba{100}, back));
    CHECK(back == text);
    stop = true;
    device.join();
  }
}

TEST_CASE("disk: blocks of 4 KiB, the last block, nothing at all") {
  with_disk test(64, 4096);
  auto opened = exo::disk::open(exo::disk_id{0});
  exo::disk_blocks disk = test.blocks(*opened);
  auto const text = numbers(4096);
  std::vector<std::byte> back(4096);
  CHECK(disk.block_bytes() == 4096);
  CHECK(disk.write(lba{63}, text));
  CHECK(disk.read(lba{63}, back));
  CHECK(back == text);
  CHECK(disk.read(lba{64}, {}));
  CHECK(disk.read(lba{64}, back).error() == error::range);
  CHECK(disk.read(lba{65}, {}).error() == error::range);
  CHECK(disk.read(lba{~u64{0}}, back).error() == error::range);
  CHECK(disk.write(lba{0}, std::span(text).first(512)).error() == error::range);
}

TEST_CASE("disk: an error ends the transfer after what is in flight") {
  with_disk test(16384);
  auto opened = exo::disk::open(exo::disk_id{0});
  exo::disk_blocks disk = test.blocks(*opened);
  std::vector<std::byte> back(4 << 20);
  test.disk.bad_blocks[3000] = error::io;
  CHECK(disk.read(lba{0}, back).error() == error::io);
  CHECK(test.disk.queues[0].in_flight == 0);
  CHECK(disk.read(lba{3001}, std::span(back).first(512)));
  test.disk.record.features |= exo::disk_read_only;
  CHECK(disk.write(lba{0}, back).error() == error::unsupported);
}

TEST_CASE("disk: a read that brings fewer bytes than asked for is an error") {
  with_disk test;
  auto opened = exo::disk::open(exo::disk_id{0});
  exo::disk_blocks disk = test.blocks(*opened);
  std::vector<std::byte> memory(1 << 20);
  test.disk.bytes_missing = 1;
  CHECK(disk.read(lba{0}, memory).error() == error::io);
  CHECK(disk.write(lba{0}, memory));
  CHECK(disk.flush());
  test.disk.bytes_missing = 0;
  CHECK(disk.read(lba{0}, memory));
}

TEST_CASE("disk: a device that stops answering is reset") {
  with_disk test;
  auto opened = exo::disk::open(exo::disk_id{0});
  exo::disk_blocks disk = test.blocks(*opened, 20ms);
  std::vector<std::byte> back(512);
  for (int round = 0; round < 3; ++round) {
    test.disk.holds = true;
    CHECK(disk.read(lba{0}, back).error() == error::timeout);
    CHECK(test.disk.queues[0].held.empty());
    test.disk.holds = false;
    CHECK(disk.read(lba{0}, back));
  }
}

TEST_CASE("disk: operations of a stuck disk come back with one error, and the queue is empty") {
  with_disk test;
  auto opened = exo::disk::open(exo::disk_id{0}, 1, 16);
  auto queue = opened->take_queue();
  queue->be_patient(10ms);
  CHECK(queue->deadline() == exo::no_deadline);
  std::vector<std::byte> back(1024);
  std::array operations{exo::read_op(lba{0}, std::span(back).first(512), 1), exo::read_op(lba{1}, std::span(back).last(512), 2),
                        exo::read_op(lba{2}, std::span(back).first(512), 3)};
  operations[0].flags = exo::disk_more;
  test.disk.holds = true;
  CHECK(queue->try_submit(operations) == 3u);
  CHECK(queue->deadline() > exo::ticks());
  exo::completion done[4];
  fake::finish(test.disk, 0, 1);  // progress: the deadline starts anew
  std::this_thread::sleep_for(20ms);
  CHECK(queue->try_reap(done) == 1u);
  CHECK(done[0].cookie == 1);
  CHECK(queue->try_reap(done) == 0u);
  std::this_thread::sleep_for(20ms);
  CHECK(queue->try_reap(done).error() == error::timeout);
  CHECK(queue->try_reap(done) == 0u);
  std::this_thread::sleep_for(20ms);
  CHECK(queue->try_reap(done) == 0u);  // nothing is in flight, so nothing is late
  CHECK(test.disk.open);
  test.disk.holds = false;
  CHECK(queue->try_submit(std::span(operations).last(1)) == 1u);
  CHECK(queue->try_reap(done) == 1u);
  CHECK(done[0].cookie == 3);
}

TEST_CASE("disk: an operation that never finishes is found among others that do") {
  with_disk test;
  auto opened = exo::disk::open(exo::disk_id{0}, 1, 16);
  auto queue = opened->take_queue();
  queue->be_patient(100ms);
  std::vector<std::byte> back(512);
  std::array const operation{exo::read_op(lba{0}, back, 1)};
  exo::completion done[4];
  test.disk.holds = true;
  bool const lost = GENERATE(true, false);  // the first operation
  CHECK(queue->try_submit(operation) == 1u);
  std::size_t drained = 0;
  bool timeout = false, drains = false;
  for (auto const end = std::chrono::steady_clock::now() + (lost ? 20s : 500ms); !timeout && std::chrono::steady_clock::now() < end;) {
    auto const taken = queue->try_submit(operation);
    if (taken == 0u) drains = true;
    if (taken == 1u && std::exchange(drains, false)) ++drained;
    auto &held = test.disk.queues[0].held;
    if (lost && held.size() > 1) std::swap(held.front(), held.back());
    if (held.size() > (lost ? 1 : 0)) fake::finish(test.disk, 0, 1);
    auto const reaped = queue->try_reap(done);
    timeout = !reaped && reaped.error() == error::timeout;
  }
  CHECK(timeout == lost);
  CHECK(queue->counters().resets == (lost ? 1u : 0u));
  if (!lost) CHECK(drained > 0);
  test.disk.holds = false;
  CHECK(queue->try_submit(operation) == (lost || !drains ? 1u : 0u));
}

TEST_CASE("disk: a stuck disk waits for all its queues before it is reset") {
  with_disk test;
  auto opened = exo::disk::open(exo::disk_id{0}, 2, 16);
  auto one = opened->take_queue(), two = opened->take_queue();
  one->be_patient(5ms);
  test.disk.holds = true;
  std::vector<std::byte> back(1024);
  std::array first{exo::read_op(lba{0}, std::span(back).first(512), 1)}, second{exo::read_op(lba{1}, std::span(back).last(512), 2)};
  exo::completion done[2];
  SECTION("the other queue calls") {
    for (int round = 0; round < 2; ++round) {
      CHECK(one->try_submit(first) == 1u);
      CHECK(two->try_submit(second) == 1u);
      std::this_thread::sleep_for(10ms);
      CHECK(one->try_reap(done).error() == error::busy);
      CHECK(one->try_submit(first).error() == error::busy);
      CHECK(test.disk.queues[1].held.size() == 1);  // not yet
      CHECK(two->try_submit(second).error() == error::timeout);
      CHECK(test.disk.queues[1].held.empty());
      CHECK(one->try_reap(done).error() == error::timeout);
      CHECK(one->try_reap(done) == 0u);
      CHECK(two->try_reap(done) == 0u);
    }
  }
  SECTION("the other queue goes") {
    CHECK(one->try_submit(first) == 1u);
    std::this_thread::sleep_for(10ms);
    CHECK(one->try_reap(done).error() == error::busy);
    { exo::disk_queue gone = std::move(*two); }
    CHECK(one->try_reap(done).error() == error::timeout);
  }
  SECTION("the other queue never comes") {
    exo::disk_blocks disk(std::move(*one), 5ms);
    CHECK(disk.read(lba{0}, std::span(back).first(512)).error() == error::timeout);
    test.disk.holds = false;
    CHECK(disk.read(lba{0}, std::span(back).first(512)).error() == error::timeout);
  }
}

TEST_CASE("disk: a disk that cannot be opened again stays closed") {
  with_disk test;
  auto opened = exo::disk::open(exo::disk_id{0}, 1, 16);
  auto queue = opened->take_queue();
  queue->be_patient(5ms);
  test.disk.holds = true;
  std::vector<std::byte> back(512);
  std::array first{exo::read_op(lba{0}, back, 1)};
  CHECK(queue->try_submit(first) == 1u);
  std::this_thread::sleep_for(10ms);
  exo::completion done[2];
  test.disk.gone = true;
  CHECK(queue->try_reap(done).error() == error::io);
  CHECK(queue->try_submit(first).error() == error::io);
}

TEST_CASE("disk: a disk without interrupts is polled") {
  with_disk test;
  test.disk.record.interrupts = 0;
  test.machine.publish();
  test.disk.holds = true;
  auto opened = exo::disk::open(exo::disk_id{0});
  exo::disk_blocks disk = test.blocks(*opened);
  std::vector<std::byte> back(512);
  std::atomic<bool> read = false;
  std::thread device([&] {
    while (!read) {
      std::this_thread::sleep_for(5ms);
      fake::finish(test.disk, 0);
    }
  });
  CHECK(disk.read(lba{0}, back));
  read = true;
  device.join();
}

TEST_CASE("disk: a queue on each core") {
  with_disk test;
  auto opened = exo::disk::open(exo::disk_id{0}, 2);
  std::array blocks{test.blocks(*opened), test.blocks(*opened)};
  exo::machine_info const &info = exo::info();
  REQUIRE(info.cores.size() == 2);
  auto const one = numbers(100 * 512, 5), two = numbers(100 * 512, 7);
  std::thread other([&] { CHECK_NOTHROW(static_cast<void>(blocks[1].write(lba{1000}, two))); });
  CHECK(blocks[0].write(lba{0}, one));
  other.join();
  CHECK(std::equal(one.begin(), one.end(), test.disk.data.begin()));
  CHECK(std::equal(two.begin(), two.end(), test.disk.data.begin() + 1000 * 512));
}
