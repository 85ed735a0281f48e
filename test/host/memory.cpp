#include <exo/memory.hpp>

#include <algorithm>
#include <catch2/catch.hpp>
#include <cstring>
#include <exo/page_map.hpp>
#include <exo/pmr.hpp>
#include <initializer_list>
#include <random>
#include <vector>

#include "fake.hpp"

using exo::u64;

TEST_CASE("pages: split, aligned, joined again") {
  fake::machine machine({.cores = 1});
  exo::page_pool pool;
  pool.start(exo::info().memory);
  u64 const all = pool.free().bytes;
  REQUIRE(all == u64{16} << 20);

  std::byte *const a = *pool.take(1);
  std::byte *const b = *pool.take(3 * exo::page_bytes);
  std::byte *const c = *pool.take(exo::page_bytes, u64{1} << 20);
  CHECK(b == a + exo::page_bytes);
  CHECK(reinterpret_cast<u64>(c) % (u64{1} << 20) == 0);
  CHECK(pool.free().bytes == all - 5 * exo::page_bytes);

  pool.give(reinterpret_cast<u64>(a), exo::page_bytes);
  pool.give(reinterpret_cast<u64>(c), exo::page_bytes);
  pool.give(reinterpret_cast<u64>(b), 3 * exo::page_bytes);
  CHECK(pool.free().bytes == all);
  CHECK(pool.free().longest == all);
}

TEST_CASE("pages: what cannot be had is an error") {
  fake::machine machine({.cores = 1});
  exo::page_pool pool;
  pool.start(exo::info().memory);
  u64 const all = pool.free().bytes;
  CHECK(pool.take(0).error() == exo::error::range);
  CHECK(pool.take(1, 3 * exo::page_bytes).error() == exo::error::range);
  CHECK(pool.take(1, 8).error() == exo::error::range);
  CHECK(pool.take(1, 0).error() == exo::error::range);
  CHECK(pool.take(all + 1).error() == exo::error::memory);
  CHECK(pool.take(~u64{0}).error() == exo::error::memory);
  CHECK(pool.take(exo::page_bytes, u64{1} << 63).error() == exo::error::memory);
  CHECK(pool.free().bytes == all);
  auto const everything = pool.take(all);
  REQUIRE(everything);
  CHECK(pool.take(1).error() == exo::error::memory);
  pool.give(reinterpret_cast<u64>(*everything), all);
  for (u64 const page : {u64{0}, u64{1}, all / exo::page_bytes - 1}) {
    CHECK_THROWS_AS(pool.give(reinterpret_cast<u64>(*everything) + page * exo::page_bytes, exo::page_bytes), fake::exited);
    CHECK(pool.free().longest == all);
  }
  // Among several runs: none is lost.
  std::vector<u64> single;
  for (int each = 0; each < 9; ++each) single.push_back(reinterpret_cast<u64>(*pool.take(exo::page_bytes)));
  for (std::size_t at = 1; at < 9; at += 2) pool.give(single[at], exo::page_bytes);
  for (std::size_t at = 1; at < 9; at += 2) CHECK_THROWS_AS(pool.give(single[at], exo::page_bytes), fake::exited);
  for (std::size_t at = 0; at < 9; at += 2) pool.give(single[at], exo::page_bytes);
  CHECK(pool.free().longest == all);
}

TEST_CASE("pages: any order of taking and giving leaves one run") {
  fake::machine machine({.cores = 1});
  exo::page_pool pool;
  pool.start(exo::info().memory);
  u64 const all = pool.free().bytes;
  std::mt19937 random(1);
  std::vector<std::pair<std::byte *, u64>> held;
  auto const longest_gap = [&] {
    std::sort(held.begin(), held.end());
    u64 at = exo::info().memory[0].first, longest = 0;
    u64 const end = at + all;
    for (auto const &[address, bytes] : held) {
      longest = std::max(longest, reinterpret_cast<u64>(address) - at);
      at = reinterpret_cast<u64>(address) + bytes;
    }
    return std::max(longest, end - at);
  };
  for (int turn = 0; turn < 5000; ++turn) {
    if (turn % 10 == 0) REQUIRE(pool.free().longest == longest_gap());
    if (held.empty() || random() % 2 == 0) {
      u64 const bytes = (1 + random() % 20) * exo::page_bytes;
      u64 const alignment = exo::page_bytes << random() % 4;
      auto const got = pool.take(bytes, alignment);
      if (!got) continue;
      CHECK(reinterpret_cast<u64>(*got) % alignment == 0);
      for (auto const &[other, length] : held) REQUIRE((*got + bytes <= other || other + length <= *got));
      held.emplace_back(*got, bytes);
    } else {
      std::swap(held[random() % held.size()], held.back());
      pool.give(reinterpret_cast<u64>(held.back().first), held.back().second);
      held.pop_back();
    }
  }
  for (auto const &[address, bytes] : held) pool.give(reinterpret_cast<u64>(address), bytes);
  CHECK(pool.free().longest == all);
}

TEST_CASE("pages: the owner gives them back") {
  fake::machine machine({.cores = 1});
  exo::system_pages.start(exo::info().memory);
  u64 const all = exo::system_pages.free().bytes;
  {
    auto first = exo::pages::take(10'000);
    REQUIRE(first);
    CHECK(first->size() == 3 * exo::page_bytes);
    std::memset(first->data(), 1, first->size());
    exo::pages second = std::move(*first);
    CHECK(first->size() == 0);
    *first = std::move(second);
    CHECK(first->size() == 3 * exo::page_bytes);
    auto third = exo::pages::take(1);
    *first = std::move(*third);
    CHECK(exo::system_pages.free().bytes == all - exo::page_bytes);
  }
  CHECK(exo::system_pages.free().bytes == all);
  CHECK(exo::pages::take(all + 1).error() == exo::error::memory);
}

TEST_CASE("arena: bumps, aligns, ends") {
  alignas(512) std::byte memory[256];
  exo::arena arena(memory);
  CHECK(arena.take(3, 1)->data() == memory);
  CHECK(arena.take(8, 64)->data() == memory + 64);
  CHECK(*arena.make<int>(42) == 42);
  CHECK(arena.used() == 76);
  CHECK(arena.take(181, 1).error() == exo::error::memory);
  CHECK(arena.take(180, 1));
  CHECK(arena.left() == 0);
  CHECK(arena.make<char>() == nullptr);
  arena.reset();
  CHECK(arena.left() == 256);
  CHECK(arena.take(250, 1));
  CHECK(arena.take(1, 512).error() == exo::error::memory);
}

TEST_CASE("pmr: an arena and a pool, pieces of any size and alignment, none in another") {
  fake::machine machine({.cores = 1});
  exo::system_pages.start(exo::info().memory);
  u64 const all = exo::system_pages.free().bytes;
  {
    exo::pool_resource pool;
    std::vector<std::byte> memory(128 << 10);
    exo::arena_resource arena(memory);
    struct piece {
      std::byte *place;
      std::size_t bytes, alignment;
    };
    for (std::pmr::memory_resource *from : std::initializer_list<std::pmr::memory_resource *>{&pool, &arena}) {
      std::vector<piece> pieces;
      for (std::size_t const alignment : {1, 64, 128, 4096}) {
        for (std::size_t const bytes : {0, 1, 64, 100, 4096, 5000}) {
          auto *const place = static_cast<std::byte *>(from->allocate(bytes, alignment));
          REQUIRE(place != nullptr);
          CHECK(reinterpret_cast<u64>(place) % alignment == 0);
          std::memset(place, static_cast<int>(pieces.size()), bytes);
          pieces.push_back({place, bytes, alignment});
        }
      }
      for (std::size_t at = 0; at < pieces.size(); ++at) {
        auto const [place, bytes, alignment] = pieces[at];
        CHECK(std::count(place, place + bytes, static_cast<std::byte>(at)) == static_cast<std::ptrdiff_t>(bytes));
        from->deallocate(place, bytes, alignment);
      }
      CHECK(from->is_equal(*from));
    }
    CHECK(!pool.is_equal(arena));
    void *const nothing = pool.allocate(0, 1);
    auto *const next = static_cast<char *>(pool.allocate(60, 1));
    std::memset(next, 7, 60);
    pool.deallocate(nothing, 0, 1);
    CHECK(std::count(next, next + 60, 7) == 60);
    pool.deallocate(next, 60, 1);
    std::size_t const used = arena.arena().used();
    CHECK(used > 0);
    arena.release();
    CHECK(arena.arena().used() == 0);
    CHECK_THROWS_AS(arena.allocate(memory.size() + 1), fake::exited);
    CHECK_THROWS_AS(pool.allocate(all + 1), fake::exited);
    CHECK_THROWS_AS(pool.allocate(1, 8192), fake::exited);
  }
  CHECK(exo::system_pages.free().bytes == all);
}

TEST_CASE("page_map: a number for each page of RAM, and none for others") {
  fake::machine machine({.cores = 1});
  exo::page_pool pool;
  pool.start(exo::info().memory);
  exo::detail::page_map map;
  std::byte *const run = *pool.take(4 * exo::page_bytes);
  CHECK(map.find(run) == 0);
  REQUIRE(map.start(pool));
  CHECK(map.find(run) == 0);
  CHECK(map.set(pool, run, 3 * exo::page_bytes, 7));
  CHECK(map.find(run) == 7);
  CHECK(map.find(run + 3 * exo::page_bytes - 1) == 7);
  CHECK(map.find(run + 3 * exo::page_bytes) == 0);
  CHECK_FALSE(map.clear_if(run, 8));
  CHECK(map.find(run) == 7);
  CHECK(map.clear_if(run, 7));
  CHECK_FALSE(map.clear_if(run, 7));
  CHECK(map.find(run) == 0);
  map.clear(run + exo::page_bytes, 2 * exo::page_bytes);
  CHECK(map.find(run + exo::page_bytes) == 0);

  // Across the end of a page of entries, and outside of RAM.
  std::byte *const across = *pool.take(u64{4} << 20);
  CHECK(map.set(pool, across, u64{4} << 20, 9));
  for (u64 at = 0; at < u64{4} << 20; at += exo::page_bytes) CHECK(map.find(across + at) == 9);
  exo::memory_range const &last = exo::info().memory[exo::info().memory.size() - 1];
  auto *const outside = reinterpret_cast<std::byte *>(last.first + last.bytes + (u64{4} << 20));
  CHECK_FALSE(map.set(pool, outside, exo::page_bytes, 5));
  CHECK(map.find(outside) == 0);

  // Without memory for entries nothing is set.
  while (pool.take(exo::page_bytes)) {
  }
  exo::detail::page_map empty;
  CHECK_FALSE(empty.start(pool));
  CHECK_FALSE(empty.set(pool, run, exo::page_bytes, 1));
  CHECK(empty.find(run) == 0);
  std::byte *const far = across + (u64{6} << 20);
  CHECK_FALSE(map.set(pool, far, exo::page_bytes, 1));
  CHECK(map.find(far) == 0);
}

TEST_CASE("memory: mapping, protection, query") {
  fake::machine machine({.cores = 1});
  exo::system_pages.start(exo::info().memory);
  auto taken = exo::pages::take(2 * exo::page_bytes);
  REQUIRE(taken);
  auto const address = reinterpret_cast<u64>(taken->data());
  using exo::access;

  CHECK(exo::query(taken->data() + 5)->phys == address + 5);
  CHECK(exo::query(nullptr).error() == exo::error::range);
  CHECK(exo::map(u64{1} << 40, address, exo::page_bytes, access::read | access::write));
  CHECK(exo::query(reinterpret_cast<void *>((u64{1} << 40) + 7))->phys == address + 7);
  CHECK(exo::map(1, address, exo::page_bytes, access::read).error() == exo::error::range);
  CHECK(exo::map(u64{1} << 40, address, exo::page_bytes, access::write | access::execute).error() ==
        exo::error::denied);
  CHECK(exo::protect(taken->span(), access::none));
  CHECK(exo::query(taken->data())->access == 0);
  CHECK(exo::protect(taken->span().subspan(1, 4096), access::read).error() == exo::error::range);
  CHECK(exo::give_to_core(std::move(*taken)));
  CHECK(machine.given_bytes == 2 * exo::page_bytes);
  CHECK(exo::system_pages.free().bytes == (u64{16} << 20) - 2 * exo::page_bytes);
}
