// sanitizer: thread
#include <exo/heap.hpp>

#include <algorithm>
#include <array>
#include <catch2/catch.hpp>
#include <cstring>
#include <exo/heap_check.hpp>
#include <exo/ring.hpp>
#include <exo/smp.hpp>
#include <exo/sync.hpp>
#include <random>
#include <vector>

#include "fake.hpp"

using exo::u32;
using exo::u64;

namespace {

struct machine_with_pool {
  explicit machine_with_pool(fake::settings chosen = {.cores = 1}) : machine(chosen) { pool.start(exo::info().memory); }

  fake::machine machine;
  exo::page_pool pool;
};

/// What the machine says while a mistake ends it.
template <typename Mistake>
std::string report_of(machine_with_pool &m, Mistake mistake) {
  try {
    mistake();
  } catch (fake::exited const &end) {
    CHECK(end.status == exo::panic_status);
    return m.machine.take_output();
  }
  return "nothing was noticed";
}

}  // namespace

TEST_CASE("heap: sizes are at most an eighth more than what was asked for") {
  using sizes = exo::detail::size_classes;
  for (std::size_t bytes = 0; bytes <= sizes::block_max; ++bytes) {
    std::size_t const number = sizes::of(bytes);
    REQUIRE(number < sizes::count);
    REQUIRE(sizes::block_bytes(number) >= bytes);
    REQUIRE((number == 0 || sizes::block_bytes(number - 1) < bytes));
    if (bytes >= 128) REQUIRE(sizes::block_bytes(number) <= bytes + bytes / 8);
  }
  for (std::size_t number = 0; number < sizes::count; ++number) {
    for (std::size_t others = 0; others < 1 << 20; others += 10'000) {
      std::size_t const bytes = sizes::slab_bytes(number, others);
      REQUIRE(bytes % exo::page_bytes == 0);
      REQUIRE(bytes <= 128 << 10);
      REQUIRE(bytes % sizes::block_bytes(number) <= bytes / 16);
    }
  }
}

TEST_CASE("heap: every size and alignment, nothing overlaps, all comes back") {
  fake::machine machine({.cores = 1});
  exo::page_pool pool;
  pool.start(exo::info().memory);
  u64 const all = pool.free().bytes;
  exo::heap heap(pool);
  struct block {
    unsigned char *at;
    std::size_t bytes;
    unsigned char mark;
  };
  std::vector<block> held;
  std::mt19937 random(2);
  auto const give = [&](block const &each) {
    REQUIRE(std::all_of(each.at, each.at + each.bytes, [&](unsigned char byte) { return byte == each.mark; }));
    heap.give(each.at);
  };
  for (int turn = 0; turn < 20'000; ++turn) {
    if (held.empty() || random() % 5 < 3) {
      std::size_t const bytes = random() % 20 == 0 ? random() % 30'000 : random() % 1200;
      std::size_t const alignment = std::size_t{16} << (random() % 10 == 0 ? random() % 10 : 0);
      auto *const at = static_cast<unsigned char *>(heap.take(bytes, alignment));
      if (at == nullptr) break;
      REQUIRE(reinterpret_cast<u64>(at) % alignment == 0);
      held.push_back({at, bytes, static_cast<unsigned char>(random())});
      std::memset(at, held.back().mark, bytes);
    } else {
      std::swap(held[random() % held.size()], held.back());
      give(held.back());
      held.pop_back();
    }
  }
  for (block const &each : held) give(each);
  heap.give(nullptr);
  heap.collect();
  CHECK(pool.free().bytes >= all - 24 * exo::page_bytes);  // what it keeps of slabs and where they are
}

TEST_CASE("heap: runs out with null, and works again when something came back") {
  machine_with_pool m({.cores = 1, .memory_bytes = 64 * 1024});
  exo::heap heap(m.pool);
  CHECK(heap.take(65 * 1024) == nullptr);
  CHECK(heap.take(~std::size_t{0}) == nullptr);
  CHECK(heap.take(~std::size_t{0} - 100, 4096) == nullptr);
  CHECK(heap.take(1, u64{1} << 63) == nullptr);
  for (int round = 0; round < 2; ++round) {
    std::vector<void *> blocks;
    while (void *const block = heap.take(512)) blocks.push_back(block);
    CHECK(blocks.size() == 12 * 8);  // four of the 16 pages are the heap's own
    CHECK(heap.take(1) == nullptr);
    CHECK(heap.take(40'000) == nullptr);
    for (void *const block : blocks) heap.give(block);
    void *const large = heap.take(30'000);  // the pages of small blocks
    CHECK(large != nullptr);
    heap.give(large);
  }
}

TEST_CASE("heap: a pool without a page gives null, from the first block on") {
  machine_with_pool m;
  std::byte *const all = *m.pool.take(m.pool.free().bytes);
  exo::heap heap(m.pool);
  CHECK(heap.take(16) == nullptr);
  for (u64 pages = 1; pages < 5; ++pages) {  // each thing that it needs is the one that is missing
    m.pool.give(reinterpret_cast<u64>(all + pages * exo::page_bytes), exo::page_bytes);
    CHECK(heap.take(16) == nullptr);
  }
  m.pool.give(reinterpret_cast<u64>(all + 5 * exo::page_bytes), exo::page_bytes);
  CHECK(heap.take(16) != nullptr);
}

TEST_CASE("heap: resizing keeps the contents") {
  machine_with_pool m;
  exo::heap heap(m.pool);
  auto *text = static_cast<char *>(heap.resize(nullptr, 6));
  std::memcpy(text, "block", 6);
  for (std::size_t const bytes : {100, 30'000, 200'000, 300'000, 50'000, 10, 0}) {
    text = static_cast<char *>(heap.resize(text, bytes));
    REQUIRE(text != nullptr);
    REQUIRE(heap.size_of(text) >= bytes);
    if (bytes >= 6) REQUIRE(std::strcmp(text, "block") == 0);
  }
  CHECK(heap.resize(text, u64{1} << 40) == nullptr);
  CHECK(heap.size_of(text) != 0);
  heap.give(text);
  CHECK(heap.size_of(nullptr) == 0);
}

TEST_CASE("heap: blocks are freed by any core, and nothing is lost") {
  machine_with_pool m({.cores = 4});
  exo::heap heap(m.pool);
  std::array<exo::spsc_ring<u64 *, 64>, 4> given;  // by core n, to core n + 1
  exo::barrier together(4);
  for (int round = 0; round < 3; ++round) {
    exo::run_on_all([&] {
      u32 const mine = exo::local().index;
      std::mt19937 random(mine);
      u64 sent = 0, got = 0;
      auto const take_over = [&] {
        while (auto const block = given[(mine + 3) % 4].try_pop()) {
          if (**block != ((mine + 3) % 4) * 1'000'000 + got++) exo::panic("somebody wrote to a block in use");
          heap.give(*block);
        }
      };
      while (sent < 2000) {
        auto *const block = static_cast<u64 *>(heap.take(8 + random() % 3000 * (random() % 8 == 0)));
        if (block == nullptr) exo::panic("no memory");
        *block = mine * 1'000'000 + sent;
        if (random() % 2 == 0) {
          heap.give(block);
          continue;
        }
        while (!given[mine].try_push(block)) take_over();
        ++sent;
      }
      while (got < 2000) take_over();
      together.arrive_and_wait();
      heap.rest();
    });
  }
  heap.collect();
  CHECK(m.pool.free().bytes >= (u64{16} << 20) - 24 * exo::page_bytes);
}

TEST_CASE("heap: what other cores freed, and what resting ones have free, is there for a core that runs short") {
  machine_with_pool m({.cores = 2, .memory_bytes = 1 << 20});
  exo::heap heap(m.pool);
  std::vector<void *> blocks;
  exo::job fill([&] {
    while (void *const block = heap.take(100)) blocks.push_back(block);
    heap.rest();
  });
  auto running = exo::run_on(exo::core_id{1}, fill);
  REQUIRE(running);
  running->wait();
  CHECK(heap.take(16) == nullptr);
  for (void *const block : blocks) heap.give(block);  // all to a core that does nothing any more
  CHECK(heap.take(300'000) != nullptr);
  running = exo::run_on(exo::core_id{1}, fill);  // and it comes back to work
  REQUIRE(running);
  running->wait();
  CHECK(blocks.size() > 3000);
}

TEST_CASE("heap: blocks freed twice, and such as are none, end the machine with a report") {
  machine_with_pool m({.cores = 2});
  exo::heap heap(m.pool);
  int local = 0;
  void *const small = heap.take(100), *const next = heap.take(100), *const large = heap.take(100'000);
  CHECK_THAT(report_of(m, [&] { heap.give(&local); }), Catch::Contains("which is no block in use"));
  CHECK_THAT(report_of(m, [&] { heap.give(static_cast<std::byte *>(large) + 16); }), Catch::Contains("no block in use"));
  CHECK_THAT(report_of(m, [&] { heap.give(reinterpret_cast<void *>(1)); }), Catch::Contains("no block in use"));
  heap.give(large);
  CHECK_THAT(report_of(m, [&] { heap.give(large); }), Catch::Contains("no block in use"));
  heap.give(small);
  CHECK_THAT(report_of(m, [&] { heap.give(small); }), Catch::Contains("of 112 bytes"));
  static_cast<void>(next);
}

TEST_CASE("heap: a block freed twice with others in between is not handed out twice") {
  machine_with_pool m({.cores = 2});
  exo::heap heap(m.pool);
  std::array<void *, 4> blocks;
  for (void *&each : blocks) each = heap.take(100);
  SECTION("on its own core") {
    for (int const each : {0, 1, 0}) heap.give(blocks[static_cast<std::size_t>(each)]);
  }
  SECTION("on another one") {
    exo::job twice([&] {
      for (int const each : {0, 1}) heap.give(blocks[static_cast<std::size_t>(each)]);
      heap.rest();
    });
    auto running = exo::run_on(exo::core_id{1}, twice);
    REQUIRE(running);
    running->wait();
    heap.give(blocks[0]);
  }
  CHECK_THAT(report_of(m,
                       [&] {
                         for (int turn = 0; turn < 10'000; ++turn) static_cast<void>(heap.take(100));
                       }),
             Catch::Contains("was freed twice"));
}

TEST_CASE("checked heap: finds overruns, use after free, double and foreign frees, and says where") {
  machine_with_pool m;
  exo::checked_heap heap(m.pool);
  auto *const block = static_cast<char *>(heap.take(100));
  auto *const other = static_cast<char *>(heap.take(100, 256));
  CHECK(reinterpret_cast<u64>(other) % 256 == 0);
  CHECK(heap.size_of(block) == 100);
  SECTION("nothing where there is nothing") {
    std::memset(block, 0, 100);
    auto *const more = static_cast<char *>(heap.resize(block, 1000));
    CHECK(more[99] == 0);
    heap.give(more);
    heap.give(other);
    heap.give(nullptr);
    heap.collect();
  }
  SECTION("behind the end") {
    block[100] = 1;
    CHECK_THAT(report_of(m, [&] { heap.give(block); }), Catch::Contains("of 100 bytes") && Catch::Contains("behind its end"));
  }
  SECTION("in front of the start") {
    block[-1] = 1;
    CHECK_THAT(report_of(m, [&] { heap.give(block); }), Catch::Contains("in front of its start"));
  }
  SECTION("after it was freed") {
    heap.give(block);
    block[5] = 1;
    CHECK_THAT(report_of(m, [&] { heap.collect(); }), Catch::Contains("after it was freed") && Catch::Contains("there is 0x1"));
  }
  SECTION("twice") {
    heap.give(block);
    CHECK_THAT(report_of(m, [&] { heap.give(block); }), Catch::Contains("of 100 bytes") && Catch::Contains("freed twice"));
  }
  SECTION("foreign") {
    int local = 0;
    CHECK_THAT(report_of(m, [&] { heap.give(&local); }), Catch::Contains("the start of no block"));
    CHECK_THAT(report_of(m, [&] { heap.give(block + 16); }), Catch::Contains("the start of no block"));
  }
}
