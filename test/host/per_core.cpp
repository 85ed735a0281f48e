// sanitizer: thread
#include <exo/per_core.hpp>

#include <catch2/catch.hpp>
#include <exo/smp.hpp>
#include <memory>

#include "fake.hpp"

using exo::u32;
using exo::u64;

TEST_CASE("per core: each has its own, on lines of its own") {
  fake::machine machine({.cores = 4});
  exo::system_pages.start(exo::info().memory);
  u64 const free = exo::system_pages.free().bytes;
  {
    auto counts = exo::per_core<u64>::make(u64{5});
    REQUIRE(counts);
    CHECK(counts->size() == 4);
    exo::run_on_all([&] {
      for (int turn = 0; turn < 1000; ++turn) ++counts->mine();
    });
    u64 sum = 0;
    counts->for_each([&](u64 each) { sum += each; });
    CHECK(sum == 4020);
    CHECK(counts->of(exo::core_id{3}) == 1005);
    CHECK(reinterpret_cast<u64>(&counts->of(exo::core_id{1})) - reinterpret_cast<u64>(&counts->of(exo::core_id{0})) >= 64);
    auto const moved = std::move(*counts);
    CHECK(moved.mine() == 1005);
  }
  CHECK(exo::system_pages.free().bytes == free);
}

TEST_CASE("per core: objects are destroyed, and too little memory is an error") {
  fake::machine machine({.cores = 2, .memory_bytes = 64 << 10});
  exo::system_pages.start(exo::info().memory);
  auto const counted = std::make_shared<int>(1);
  {
    auto all = exo::per_core<std::shared_ptr<int>>::make(counted);
    REQUIRE(all);
    CHECK(counted.use_count() == 3);
    auto other = exo::per_core<std::shared_ptr<int>>::make(counted);
    REQUIRE(other);
    *other = std::move(*all);
  }
  CHECK(counted.use_count() == 1);
  struct huge {
    std::byte bytes[60 << 10];
  };
  CHECK(exo::per_core<huge>::make().error() == exo::error::memory);
}
