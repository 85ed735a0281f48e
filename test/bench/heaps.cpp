// The heap against mimalloc, natively, on two cores, in one run and in turns; and how much more memory the heap takes than
// the program asked for.
//
// Each core has slots that are empty or hold a block, and fills or empties one after the other at random. Half of the sizes
// are 16 to 31 bytes, half of the others up to twice as much, and so on to 64 KiB. Every eighth block that goes is freed by
// the other core. A ratio above 1 says that the heap is faster.
//
// Needs --native, two idle processors and Debian's libmimalloc-dev; test/bench/run.sh has the flags.
#include <mimalloc.h>

#include <algorithm>
#include <atomic>
#include <bit>
#include <cstring>
#include <ctime>
#include <exo/exo.hpp>
#include <exo/ring.hpp>
#include <exo/smp.hpp>
#include <memory>
#include <random>
#include <span>
#include <vector>

namespace {

using exo::u32;
using exo::u64;

struct own_heap {
  static void *take(std::size_t bytes) { return exo::system_heap.take(bytes); }
  static void give(void *block) { exo::system_heap.give(block); }
};
struct other_heap {
  static void *take(std::size_t bytes) { return mi_malloc(bytes); }
  static void give(void *block) { mi_free(block); }
};

struct step {
  u32 slot;
  u32 bytes;
};

u64 processor_time() {
  std::timespec time;
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
  return static_cast<u64>(time.tv_sec) * 1'000'000'000 + static_cast<u64>(time.tv_nsec);
}

constexpr u32 cores = 2;
constexpr std::size_t slots = 1 << 14;
std::vector<step> steps[cores];  // made before, so that they cost both sides the same

void make_steps(std::size_t count) {
  std::mt19937_64 random(1);
  for (auto &each : steps) {
    for (std::size_t at = 0; at < count; ++at) {
      u64 const bits = random();
      u32 const least = 16u << std::min(std::countr_zero(bits | 1ull << 11), 11);
      each.push_back({static_cast<u32>(bits >> 32 & (slots - 1)), least + static_cast<u32>(bits >> 16 & (least - 1))});
    }
  }
}

/// What one core does and has.
template <typename Heap>
struct alignas(64) side {
  struct block {
    void *first = nullptr;
    u32 bytes = 0;
  };
  std::vector<block> held{slots};
  exo::spsc_ring<void *, 1024> given;  // to the other core, to be freed there
  u64 bytes = 0;                       // asked for

  void run(std::span<step const> all, side &other) {
    u64 number = 0;
    for (step const &each : all) {
      block &slot = held[each.slot];
      if (slot.first == nullptr) {
        slot = {Heap::take(each.bytes), each.bytes};
        if (slot.first == nullptr) exo::panic("there is too little memory; give more by --mem");
        std::memset(slot.first, 1, std::min<u32>(each.bytes, 64));
        bytes += each.bytes;
      } else {
        bytes -= slot.bytes;
        if (++number % 8 != 0 || !given.try_push(slot.first)) Heap::give(slot.first);
        slot.first = nullptr;
      }
      if (number % 8 == 1) free_what_came(other);
    }
  }
  void free_what_came(side &other) {
    while (auto const block = other.given.try_pop()) Heap::give(*block);
  }
};

template <typename Heap>
struct pair_of_cores {
  std::array<side<Heap>, cores> sides;

  /// Nanoseconds of processor time that both cores take, whatever else the host does.
  u64 time_of_run() {
    std::atomic<u64> sum = 0;
    exo::run_on_all([&] {
      u32 const mine = exo::local().index;
      u64 const begin = processor_time();
      sides[mine].run(steps[mine], sides[1 - mine]);
      sum += processor_time() - begin;
    });
    return sum;
  }
};

/// How much more memory the heap has taken than is in use, in thousandths of that, with many blocks on all cores.
u64 overhead() {
  constexpr std::size_t blocks = 1 << 20;
  u64 const free = exo::system_pages.free().bytes;
  std::array<std::vector<void *>, cores> held;
  std::atomic<u64> asked = 0;
  exo::run_on_all([&] {
    u32 const mine = exo::local().index;
    u64 sum = 0;
    held[mine].resize(blocks);
    // Each place twice at the mean, so that blocks of all sizes come and go.
    for (std::size_t turn = 0; turn < 2 * blocks; ++turn) {
      step const &each = steps[mine][turn % steps[mine].size()];
      void *&place = held[mine][(turn * 7919 + each.slot) % blocks];
      if (place != nullptr) {
        sum -= *static_cast<u32 *>(place);
        exo::system_heap.give(place);
      }
      place = exo::system_heap.take(each.bytes);
      if (place == nullptr) exo::panic("there is too little memory; give more by --mem");
      *static_cast<u32 *>(place) = each.bytes;
      sum += each.bytes;
    }
    asked += sum;
  });
  u64 const taken = free - exo::system_pages.free().bytes;
  for (auto const &each : held) {
    for (void *const block : each) exo::system_heap.give(block);
  }
  return 1000 * (taken - asked) / asked;
}

}  // namespace

int main(int count, char **) {
  bool const quick = count > 1;  // a look whether it runs at all, with any argument
  if (exo::core_count() != cores) exo::panic("this is no machine of two cores");
  make_steps(quick ? 100'000 : 250'000);
  auto const own = std::make_unique<pair_of_cores<own_heap>>();
  auto const other = std::make_unique<pair_of_cores<other_heap>>();
  u64 mine = exo::no_deadline, theirs = exo::no_deadline;
  for (int round = 0; round < (quick ? 1 : 41); ++round) {
    mine = std::min(mine, own->time_of_run());
    theirs = std::min(theirs, other->time_of_run());
  }
  u64 const hundredths = 100 * theirs / mine;
  exo::print("figure malloc-vs-mimalloc {}.{:02} times\n", hundredths / 100, hundredths % 100);
  u64 const tenths = overhead();
  exo::print("figure malloc-overhead {}.{} percent\n", tenths / 10, tenths % 10);
}
