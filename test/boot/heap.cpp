// The heap on real cores: new, malloc and std::pmr, blocks that other cores free, memory of cores that wait, and the end of
// memory in the middle.
// boot: --cores 1
// boot: --cores 2
// boot: --cores 4
// boot: --cores 8 --mem 64M
#include "check.hpp"

#include <array>
#include <atomic>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <exo/parallel.hpp>
#include <exo/pmr.hpp>
#include <exo/ring.hpp>
#include <exo/time.hpp>
#include <exo/workers.hpp>
#include <map>
#include <memory>
#include <new>
#include <string>
#include <vector>

using namespace check;

namespace {

std::string const early(1000, 'x');  // made before main

void all_ways_to_take() {
  for (std::size_t const bytes : {0ul, 1ul, 24ul, 1000ul, 5000ul, 40'000ul, 3'000'000ul}) {
    auto *const plain = static_cast<char *>(malloc(bytes));
    that(plain != nullptr && address(plain) % 16 == 0, "malloc");
    std::memset(plain, 1, bytes);
    auto *const larger = static_cast<char *>(realloc(plain, 2 * bytes + 1));
    that(larger != nullptr && (bytes == 0 || larger[bytes - 1] == 1), "realloc lost the contents");
    free(larger);
    auto *const zeros = static_cast<char *>(calloc(bytes, 3));
    for (std::size_t at = 0; at < 3 * bytes; at += 97) that(zeros[at] == 0, "calloc gives no zeros");
    free(zeros);
    for (std::size_t alignment = 16; alignment <= large_page_bytes; alignment *= 2) {
      void *const aligned = aligned_alloc(alignment, bytes);
      that(aligned != nullptr && address(aligned) % alignment == 0, "aligned_alloc");
      free(aligned);
    }
  }
  struct alignas(512) wide {
    char bytes[512];
  };
  std::vector<wide> many(7);
  that(address(many.data()) % 512 == 0, "new of an aligned type");
  void *block = nullptr;
  same(posix_memalign(&block, 4096, 10), 0);
  that(address(block) % 4096 == 0, "posix_memalign");
  free(block);
  same(posix_memalign(&block, 3, 10), 22);
  same(posix_memalign(&block, 16, u64{1} << 50), 12);
  that(aligned_alloc(24, 24) == nullptr, "an alignment that is none");
  std::size_t volatile half = std::size_t{1} << 63;
  that(calloc(half, 2) == nullptr, "calloc of more than there are numbers for");
  that(malloc(half) == nullptr, "malloc of all memory");
  free(nullptr);
}

/// A chain of cores: each frees what the one before took.
void frees_of_others() {
  auto rings = std::make_unique<std::array<spsc_ring<u32 *, 32>, 8>>();
  u32 const cores = core_count();
  std::atomic<u32> wrong = 0, came = 0;
  run_on_all([&] {
    u32 const mine = local().index, before = (mine + cores - 1) % cores;
    came.fetch_add(1);
    while (came != cores) exo::pause();
    u32 sent = 0, got = 0;
    auto const take_over = [&] {
      while (auto const block = (*rings)[before].try_pop()) {
        wrong += **block != (before << 24 | got++);
        delete *block;
      }
    };
    while (sent < 3000) {
      auto *const block = new (std::nothrow) u32[1 + sent % 700];
      if (block == nullptr) panic("no memory");
      *block = mine << 24 | sent++;
      while (!(*rings)[mine].try_push(block)) take_over();
    }
    while (got < 3000) take_over();
  });
  same(wrong, 0);
}

/// All memory, taken by all cores at once; each gets null at the end, and it all comes back.
void end_of_memory() {
  u64 const before = system_pages.free().bytes;
  for (int round = 0; round < 2; ++round) {
    struct link {
      link *next;
    };
    std::vector<link *> lists(8);
    std::atomic<u32> ends = 0;
    u32 const used = run_on_all([&] {
      link *&first = lists[local().index];
      std::size_t bytes = 16;
      while (auto *const block = static_cast<link *>(malloc(bytes))) {
        block->next = first;
        first = block;
        bytes = bytes < 60'000 ? 2 * bytes : 16;
      }
      ++ends;
    });
    same(ends, used);
    same(used, core_count());
    for (link *first : lists) {
      while (first != nullptr) free(std::exchange(first, first->next));  // most of them are other cores'
    }
  }
  system_heap.collect();
  u64 const lost = before - std::min(before, system_pages.free().bytes);
  that(lost < (1 << 20), "memory is lost");
}

/// Small blocks of half the memory, taken here; the first word of each is the next.
void **half_of_memory() {
  void **first = nullptr;
  u64 const enough = system_pages.free().bytes / 2;
  while (system_pages.free().bytes > enough) {
    auto *const block = static_cast<void **>(malloc(200));
    if (block == nullptr) panic("no memory");
    *block = std::exchange(first, block);
  }
  return first;
}

/// Whether all that another core took and this one frees can be had again while that one still waits, once it halts.
bool comes_back(void **first, u64 free_before) {
  while (first != nullptr) free(std::exchange(first, static_cast<void **>(*first)));
  auto const patience = clock::now() + std::chrono::seconds(20);
  while (system_pages.free().bytes < free_before / 8 * 7 && clock::now() < patience) system_heap.collect();
  return system_pages.free().bytes >= free_before / 8 * 7;
}

/// Memory is not kept by cores that only wait, for each other or for work.
void memory_of_waiting_cores() {
  if (core_count() == 1) return;
  u64 const free_before = system_pages.free().bytes;
  void **blocks = nullptr;
  {
    latch taken(1), enough(1);
    job waiter([&] {
      blocks = half_of_memory();
      taken.count_down();
      enough.wait();
    });
    auto const running = run_on(core_id{1}, waiter);
    if (!running) panic("core 1 is busy");
    taken.wait();
    that(comes_back(blocks, free_before), "a core that waits for another one keeps memory");
    enough.count_down();
  }
  workers const pool(2);
  std::atomic<bool> filled = false;
  parallel::for_each(std::array{0, 1}, [&](int) {
    if (local().index != 0 && !filled) {
      blocks = half_of_memory();
      filled = true;
    }
    while (!filled) exo::pause();
  });
  that(comes_back(blocks, free_before), "a core that waits for work keeps memory");
}

void resources() {
  alignas(16) static std::byte memory[64 << 10];
  arena_resource words(memory);
  pool_resource nodes;
  u64 const free_before = system_pages.free().bytes;
  {
    std::pmr::vector<std::pmr::string> texts(&words);
    for (int at = 0; at < 100; ++at) texts.emplace_back(100, 'y');
    that(words.arena().used() > 10'000, "the vector takes from somewhere else");
    that(words.is_equal(words) && !words.is_equal(nodes), "equal to another one");
    std::pmr::map<int, int> numbers(&nodes);
    for (int turn = 0; turn < 20'000; ++turn) {
      numbers[turn % 100] = turn;
      numbers.erase((turn + 50) % 100);
    }
    that(free_before - system_pages.free().bytes <= 128 << 10, "the pool does not use nodes again");
    std::pmr::vector<int> plain{1, 2, 3};  // of the heap
    same(plain[2], 3);
  }
  words.release();
  same(static_cast<i64>(words.arena().used()), 0);
}

void large_pages() {
  auto const page = pages::take(large_page_bytes, large_page_bytes);
  if (!page) return fail(where::current(), "no large page");
  same(static_cast<i64>(query(page->data())->page), static_cast<i64>(large_page_bytes));
}

}  // namespace

int main() {
  same(static_cast<i64>(early.size()), 1000);
  all_ways_to_take();
  large_pages();
  resources();
  frees_of_others();
  memory_of_waiting_cores();
  end_of_memory();
  return verdict();
}
