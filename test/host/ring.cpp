// sanitizer: thread
#include <exo/ring.hpp>

#include <array>
#include <atomic>
#include <catch2/catch.hpp>
#include <exo/smp.hpp>
#include <memory>
#include <thread>
#include <vector>

#include "fake.hpp"

using exo::core_id;
using exo::u64;

namespace {

/// Counts how many of its kind there are, those that were moved from too.
struct counted {
  counted() noexcept { ++alive; }
  counted(counted const &) noexcept { ++alive; }
  ~counted() { --alive; }
  static inline int alive = 0;
};

}  // namespace

TEMPLATE_TEST_CASE("ring: what was taken is destroyed in its slot", "", (exo::spsc_ring<counted, 2>), (exo::mpmc_ring<counted, 2>)) {
  TestType ring;
  CHECK(ring.try_push(counted()));
  CHECK(ring.try_push(counted()));
  CHECK(counted::alive == 2);
  CHECK(ring.try_pop());
  CHECK(counted::alive == 1);
  CHECK(ring.try_pop());
  CHECK(counted::alive == 0);
}

TEST_CASE("ring: order, full, empty, elements that only move") {
  exo::spsc_ring<std::unique_ptr<int>, 4> ring;
  CHECK(!ring.try_pop());
  for (int turn = 0; turn < 10; ++turn) {
    for (int each = 0; each < 4; ++each) CHECK(ring.try_push(std::make_unique<int>(each)));
    auto fifth = std::make_unique<int>(5);
    CHECK(!ring.try_push(std::move(fifth)));
    CHECK(fifth);
    for (int each = 0; each < 4; ++each) CHECK(**ring.try_pop() == each);
    CHECK(!ring.try_pop());
  }
  CHECK(ring.try_push(std::make_unique<int>(1)));  // destroyed with the ring
}

TEST_CASE("ring: between two cores") {
  fake::machine machine({.cores = 2});
  constexpr u64 count = 100'000;
  exo::spsc_ring<u64, 64> ring;
  exo::job producer([&] {
    for (u64 each = 0; each < count; ++each) {
      while (!ring.try_push(each)) std::this_thread::yield();
    }
  });
  auto running = exo::run_on(core_id{1}, producer);
  REQUIRE(running);
  bool in_order = true;
  for (u64 each = 0; each < count; ++each) {
    std::optional<u64> got;
    while (!(got = ring.try_pop())) std::this_thread::yield();
    in_order = in_order && *got == each;
  }
  CHECK(in_order);
}

TEST_CASE("ring: its ends, which move") {
  exo::spsc_ring<std::unique_ptr<int>, 2> ring;
  auto [first, out] = ring.ends();
  auto in = std::move(first);
  CHECK(in.try_push(std::make_unique<int>(1)));
  CHECK(in.try_push(std::make_unique<int>(2)));
  auto third = std::make_unique<int>(3);
  CHECK_FALSE(in.try_push(std::move(third)));
  CHECK(third != nullptr);
  CHECK(**out.try_pop() == 1);
  auto other = std::move(out);
  CHECK(**other.try_pop() == 2);
  CHECK_FALSE(other.try_pop());
  first = std::move(in);
  CHECK(first.try_push(std::make_unique<int>(4)));
  out = std::move(other);
  CHECK(**out.try_pop() == 4);
}

TEST_CASE("mpmc ring: order, full, empty, elements that only move") {
  exo::mpmc_ring<std::unique_ptr<int>, 4> ring;
  CHECK(!ring.try_pop());
  for (int turn = 0; turn < 10; ++turn) {
    for (int each = 0; each < 4; ++each) CHECK(ring.try_push(std::make_unique<int>(each)));
    auto fifth = std::make_unique<int>(5);
    CHECK(!ring.try_push(std::move(fifth)));
    CHECK(fifth);
    for (int each = 0; each < 4; ++each) CHECK(**ring.try_pop() == each);
    CHECK(!ring.try_pop());
  }
  CHECK(ring.try_push(std::make_unique<int>(1)));  // destroyed with the ring
  exo::mpmc_ring<int, 1> one;
  for (int turn = 0; turn < 5; ++turn) {
    CHECK(one.try_push(turn));
    CHECK(!one.try_push(turn));
    CHECK(one.try_pop() == turn);
    CHECK(!one.try_pop());
  }
}

TEST_CASE("mpmc ring: every element once, each producer's in order") {
  fake::machine machine({.cores = 4});
  constexpr u64 each = 20'000;
  exo::mpmc_ring<u64, 16> ring;
  std::atomic<u64> next_producer = 0, taken = 0;
  std::array<std::atomic<u64>, 2> sum{};
  std::atomic<bool> in_order = true;
  exo::run_on_all([&] {
    u64 const me = next_producer++;
    if (me < 2) {  // 4 cores: two of each
      for (u64 at = 0; at < each; ++at) {
        while (!ring.try_push(me << 32 | at)) std::this_thread::yield();
      }
      return;
    }
    std::array<u64, 2> last{~u64{0}, ~u64{0}};
    while (taken < 2 * each) {
      auto const got = ring.try_pop();
      if (!got) {
        std::this_thread::yield();
        continue;
      }
      u64 const from = *got >> 32, at = *got & 0xFFFFFFFF;
      if (last[from] != ~u64{0} && at <= last[from]) in_order = false;
      last[from] = at;
      sum[from] += at;
      ++taken;
    }
  });
  CHECK(in_order);
  CHECK(sum[0] == each * (each - 1) / 2);
  CHECK(sum[1] == sum[0]);
}
