// Cores that take blocks of a heap, hand them to each other and free each other's, with so little memory that it runs out;
// the seed decides how many cores, and which of the two parts.
//
// With EXO_PLANTED the list of returned blocks looks before it stores: a block of another core may be lost.
#include <sim/scenario.hpp>

#include <exo/exo.hpp>
#include <exo/free_list.hpp>
#include <exo/heap.hpp>

#include <array>
#include <atomic>
#include <cstring>
#include <iterator>

namespace {

using exo::u32;
using exo::u64;

constexpr u32 turns = 24;

#ifdef EXO_PLANTED
class careless_list {
 public:
  void push(exo::detail::free_block &block) noexcept {
    block.next = first_.load();
    first_.store(&block);
  }
  exo::detail::free_block *take_all() noexcept { return first_.exchange(nullptr); }

 private:
  std::atomic<exo::detail::free_block *> first_ = nullptr;
};
using first_list = careless_list;
#else
using first_list = exo::detail::returned_list;
#endif

/// As the heap has it: a ring, and a list for what finds no place there.
struct ring_and_list {
  void push(exo::detail::free_block &block) noexcept {
    if (!ring.try_push([&] { return &block; })) list.push(block);
  }
  template <typename Function>
  void take_all(Function take) noexcept {
    ring.take_all([&](void *block) { take(static_cast<exo::detail::free_block *>(block)); });
    for (auto *each = list.take_all(); each != nullptr; each = each->next) take(each);
  }

  exo::detail::returned_ring<4> ring;
  first_list list;
};

/// All give, one takes; each block comes out once.
int returned_blocks() {
  ring_and_list returned;
  static std::array<exo::detail::free_block, sim::cores_most * turns> blocks;
  static std::array<u32, blocks.size()> seen;
  seen.fill(0);
  auto const take = [&] {
    returned.take_all([](auto *each) { ++seen[static_cast<std::size_t>(each - blocks.data())]; });
  };
  u32 const cores = exo::run_on_all([&] {
    u32 const me = exo::local().index;
    for (u32 turn = 0; turn < turns; ++turn) {
      returned.push(blocks[me * turns + turn]);
      if (me == 0) take();
    }
  });
  take();
  for (u32 at = 0; at < cores * turns; ++at) {
    if (seen[at] != 1) return 1;
  }
  return 0;
}

/// A block says how long it is, and is filled with its first byte.
struct block_text {
  u32 bytes;
  unsigned char fill;
};

bool is_whole(block_text const *block) {
  auto const *const byte = reinterpret_cast<unsigned char const *>(block);
  for (u32 at = sizeof(block_text); at < block->bytes; ++at) {
    if (byte[at] != block->fill) return false;
  }
  return true;
}

/// Blocks go from core to core through a few places, and who finds one there frees it. In the end all memory is free.
int blocks_on_their_way() {
  constexpr u64 memory_bytes = 40 * exo::page_bytes;
  auto memory = exo::pages::take(memory_bytes);
  if (!memory) return 2;
  static exo::page_pool pool;
  static exo::heap heap(pool);
  pool.give(reinterpret_cast<u64>(memory->data()), memory_bytes);
  std::array<std::atomic<block_text *>, 6> places{};
  std::atomic<u32> wrong = 0, taken = 0;
  u64 free = 0;
  for (u32 round = 0; round < 2; ++round) {
    exo::run_on_all([&] {
      u32 random = exo::local().index + 10 * round + 1;
      auto const next = [&](u32 below) {
        random = random * 1'664'525 + 1'013'904'223;
        return (random >> 8) % below;
      };
      for (u32 turn = 0; turn < turns; ++turn) {
        u32 const bytes = static_cast<u32>(sizeof(block_text)) + next(next(8) == 0 ? 20'000 : 200);
        auto *const mine = static_cast<block_text *>(heap.take(bytes));
        if (mine != nullptr) {
          ++taken;
          std::memset(mine, static_cast<int>(turn), bytes);
          *mine = {bytes, static_cast<unsigned char>(turn)};
        }
        block_text *const other = places[next(static_cast<u32>(places.size()))].exchange(mine);
        wrong += other != nullptr && !is_whole(other);
        heap.give(other);
        if (next(4) == 0) heap.rest();
      }
      heap.rest();
    });
    for (auto &each : places) heap.give(each.exchange(nullptr));
    heap.rest();
    heap.collect();
    u64 const now = pool.free().bytes;
    wrong += round != 0 && now != free;
    free = now;
  }
  return wrong == 0 && taken != 0 ? 0 : 1;
}

}  // namespace

void scenario(sim::setup &world) {
  constexpr int (*all[])() = {returned_blocks, blocks_on_their_way};
  sim::machine &one = world.add_machine("cores", all[world.choose(std::size(all))]);
  one.cores = 2 + static_cast<unsigned>(world.choose(3));
  one.stall = 0.1;
}
