// sanitizer: thread
#include <exo/buffers.hpp>

#include <catch2/catch.hpp>
#include <cstring>
#include <exo/smp.hpp>
#include <optional>
#include <vector>

#include "machine_with_loops.hpp"

using exo::u32;
using exo::u64;

TEST_CASE("buffers: taken, used up, given back") {
  machine_with_loops m;
  {
    auto pool = exo::buffer_pool::make(3, 100);
    REQUIRE(pool);
    std::vector<exo::buffer> held;
    while (auto one = pool->take()) {
      CHECK(one->span().size() == 128);
      CHECK(reinterpret_cast<u64>(one->span().data()) % 64 == 0);
      std::memset(one->span().data(), 1, one->span().size());
      held.push_back(std::move(*one));
      CHECK(one->span().empty());
    }
    CHECK(held.size() == 3);
    CHECK(pool->take().error() == exo::error::memory);
    held.pop_back();
    CHECK(pool->take());
  }
  CHECK(m.kept_nothing());
  CHECK(exo::buffer_pool::make(0, 1).error() == exo::error::range);
  CHECK(exo::buffer_pool::make(1, 0).error() == exo::error::range);
  CHECK(exo::buffer_pool::make(1, ~u32{0}).error() == exo::error::range);
  CHECK(exo::buffer_pool::make(1 << 20, 1 << 20).error() == exo::error::memory);
}

TEST_CASE("buffers: what a device has comes back by its cookie, once") {
  machine_with_loops m;
  auto pool = exo::buffer_pool::make(4, 4096);
  REQUIRE(pool);
  auto one = pool->take();
  std::byte *const memory = one->span().data();
  CHECK(reinterpret_cast<u64>(memory) % exo::page_bytes == 0);
  exo::frame const entry = frame_in(std::move(*one), 60);
  CHECK(one->span().empty());
  CHECK(entry.bytes == 60);
  CHECK(entry.address == reinterpret_cast<u64>(memory));
  CHECK(pool->returned(entry.cookie + 1).error() == exo::error::no_such);
  CHECK(pool->returned(~u64{0}).error() == exo::error::no_such);
  {
    auto const back = pool->returned(entry.cookie);
    REQUIRE(back);
    CHECK(pool->returned(entry.cookie).error() == exo::error::no_such);
  }
  exo::disk_op const read = read_op(exo::lba{7}, *pool->take(), 512);
  exo::disk_op const write = write_op(exo::lba{8}, *pool->take(), 1024);
  CHECK((read.bytes == 512 && read.kind == exo::disk_read && read.block == 7));
  CHECK((write.bytes == 1024 && write.kind == exo::disk_write && write.cookie != read.cookie));
  CHECK(pool->returned(read.cookie));
  CHECK(pool->returned(write.cookie));
  CHECK(read_op(exo::lba{7}, *pool->take(), 5000).bytes == 4096);
}

TEST_CASE("buffers: one that is assigned to goes back, and the other takes its place") {
  machine_with_loops m;
  auto pool = exo::buffer_pool::make(2, 64);
  auto one = pool->take(), other = pool->take();
  std::byte *const place = other->span().data();
  CHECK(pool->take().error() == exo::error::memory);
  *one = std::move(*other);
  CHECK(one->span().data() == place);
  auto const again = pool->take();
  REQUIRE(again);
  CHECK(pool->take().error() == exo::error::memory);
}

TEST_CASE("buffers: the memory stays while a device or the program has some of it") {
  machine_with_loops m;
  u64 cookie = 0;
  std::optional<exo::buffer> kept;
  {
    auto pool = exo::buffer_pool::make(2, 64);
    cookie = frame_in(*pool->take()).cookie;
    kept = *pool->take();
    CHECK(pool->returned(cookie));
  }
  CHECK(!m.kept_nothing());
  kept->span()[0] = std::byte{1};
  kept.reset();
  CHECK(m.kept_nothing());
  {
    auto pool = exo::buffer_pool::make(2, 64);
    static_cast<void>(frame_in(*pool->take()));
  }
  CHECK(!m.kept_nothing());  // the device may still write there
}

TEST_CASE("buffers: any core gives them back") {
  machine_with_loops m;
  auto pool = exo::buffer_pool::make(64, 64);
  for (int round = 0; round < 50; ++round) {
    std::vector<exo::buffer> all;
    while (auto one = pool->take()) all.push_back(std::move(*one));
    REQUIRE(all.size() == 64);
    std::atomic<u32> next = 0;
    exo::run_on_all([&] {
      for (u32 at = next++; at < all.size(); at = next++) {
        all[at].span()[0] = std::byte{1};
        exo::buffer const mine = std::move(all[at]);
      }
    });
  }
}
