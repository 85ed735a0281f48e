// Fibers on real cores: waits of every kind, priorities, preemption with all registers and the heap kept, stacks that are
// too small.
// boot: --cores 1
// boot: --cores 2
// boot: --cores 4
// boot: --cores 2 --args overflow
// status: 142
// prints: the stack of fiber 'deep' is full: give it more than 16384 bytes
// prints: fault #PF vector 14 core 0
// boot: --cores 2 --args "overflow 1"
// status: 142
// prints: exo16: core 1: the stack of fiber 'deep' is full
// prints: fault #PF vector 14 core 1
#define EXO_PREEMPTION
#include "check.hpp"

#include <array>
#include <chrono>
#include <cstring>
#include <exo/fiber_preemption.hpp>
#include <exo/on.hpp>
#include <exo/when.hpp>

using namespace check;
using namespace std::chrono_literals;

namespace {

int deep(int levels) {
  if (levels == 0) return 0;
  int volatile room[64] = {};
  room[levels % 64] = levels;
  return deep(levels - 1) + room[levels % 64];
}

task<int> plus_one(int value) {
  co_await yield();
  co_return value + 1;
}

task<u64> levels_below(u64 levels) {
  if (levels == 0) co_return 0;
  u64 const below = co_await levels_below(levels - 1);
  co_return below + 1;
}

/// A sum that takes a while, in general and vector registers, and in memory below the stack pointer.
u64 busy_sum(u64 seed, u64 rounds) {
  using vector = double __attribute__((vector_size(16)));
  vector lanes = {static_cast<double>(seed % 1000), 1};
  u64 mixed = seed;
  for (u64 round = 0; round < rounds; ++round) {
    mixed = mixed * 6364136223846793005 + round;
    lanes = lanes * vector{0.5, 1.0} + vector{static_cast<double>(mixed >> 60), 1};
  }
  return mixed ^ static_cast<u64>(lanes[0] * 1024) ^ static_cast<u64>(lanes[1]);
}

constexpr u64 long_rounds = 300'000;

result<void> wait_for_everything() {
  for (u32 core = 0; core < core_count(); ++core) {
    auto const sum = wait(on(core_id{core}, [] { return exo::fiber([] { return wait(plus_one(41)); }); }));
    if (!sum) return std::unexpected(sum.error());
    same(*sum, 42);
  }
  auto const begin = clock::now();
  if (auto const slept = wait(delay(2ms)); !slept) return slept;
  that(clock::now() - begin >= 2ms, "the delay is too short");
  same(deep(20), 210);
  same(static_cast<i64>(wait(levels_below(50'000))), 50'000);  // far more than the loop's stack has room for
  return {};
}

/// Fibers that never wait: each comes to its end with what it would have had alone, and a task gets its turns.
task<result<void>> preempted() {
  auto const slices = preemption::start(200us);
  if (!slices) co_return std::unexpected(slices.error());
  that(preemption::start(1ms).error() == error::busy, "it is started twice");
  scope all;
  u64 results[3] = {};
  u32 turns = 0, first_done = 3;
  for (u32 each = 0; each < 3; ++each) {
    auto const started = all.spawn(exo::fiber({.name = "busy"}, [&, each]() -> result<void> {
      static u64 const made_once = busy_sum(11, long_rounds / 8);  // for longer than a slice, and nobody else gets a turn
      that(made_once != 0, "a local static is half made");
      results[each] = busy_sum(each + 1, long_rounds);
      if (first_done == 3) first_done = each;
      return {};
    }));
    if (!started) co_return started;
  }
  // This one runs although it is started last, and ends first although it computes as long.
  auto const urgent = all.spawn(exo::fiber({.name = "urgent", .priority = fiber_priority::highest}, [&]() -> result<void> {
    same(static_cast<i64>(busy_sum(9, long_rounds / 8)), static_cast<i64>(busy_sum(9, long_rounds / 8)));
    same(first_done, 3);
    // A lock that it holds for longer than a slice: nobody else gets a turn to wait for it.
    static constinit spin_lock lock;
    u32 const before = turns;
    lock.lock();
    busy_sum(10, long_rounds / 8);
    same(turns, before);
    lock.unlock();
    return {};
  }));
  if (!urgent) co_return urgent;
  while (all.running() != 0) {
    ++turns;
    co_await yield();
  }
  auto const joined = co_await all.join();
  for (u32 each = 0; each < 3; ++each) {
    same(static_cast<i64>(results[each]), static_cast<i64>(busy_sum(each + 1, long_rounds)));
  }
  that(turns > 10, "nothing was preempted");
  co_return joined;
}

/// Fibers that do nothing but take and free blocks, while they are preempted.
task<result<void>> preempted_in_heap() {
  auto const slices = preemption::start(50us);
  if (!slices) co_return std::unexpected(slices.error());
  struct block {
    unsigned char *first = nullptr;
    std::size_t bytes = 0;
  };
  scope all;
  std::array<std::array<block, 64>, 3> held{};
  u32 turns = 0, broken = 0;
  for (u32 each = 0; each < held.size(); ++each) {
    auto const started = all.spawn(exo::fiber({.name = "allocates"}, [&, each]() -> result<void> {
      auto const mark = static_cast<unsigned char>(each + 1);
      u32 random = each;
      for (u32 round = 0; round < 30'000; ++round) {
        random = random * 1'664'525 + 1'013'904'223;
        block &mine = held[each][random >> 26];
        for (std::size_t at = 0; at < mine.bytes; ++at) broken += mine.first[at] != mark;
        delete[] mine.first;
        mine.bytes = random >> 16 & 63;
        mine.first = new unsigned char[mine.bytes];
        std::memset(mine.first, mark, mine.bytes);
      }
      for (block const &mine : held[each]) delete[] mine.first;
      return {};
    }));
    if (!started) co_return started;
  }
  while (all.running() != 0) {
    ++turns;
    co_await yield();
  }
  same(broken, 0);
  that(turns > 10, "nothing was preempted");
  auto const joined = co_await all.join();
  co_return joined;
}

/// One that computes for good does not hold up the end: it is named.
task<void> endless() {
  auto const started = spawn([]() -> task<void> {
    auto const slices = preemption::start(1ms);
    that(slices.has_value(), "no preemption");
    std::ignore = co_await exo::fiber({.name = "endless"}, [] {
      for (;;) exo::pause();
    });
  }());
  that(started.has_value(), "no memory");
  co_await yield();
}

task<result<void>> everything() {
  auto const waits = co_await exo::fiber(wait_for_everything);
  if (!waits) co_return waits;
  for (u32 core = 0; core < core_count(); ++core) {
    auto const fair = co_await on(core_id{core}, preempted);
    if (!fair) co_return fair;
    auto const safe = co_await on(core_id{core}, preempted_in_heap);
    if (!safe) co_return safe;
  }
  // Many stacks: more than one large page of them has a guard.
  scope many;
  u32 ran = 0;
  for (u32 each = 0; each < 200; ++each) {
    auto const started = many.spawn(exo::fiber({.stack_bytes = 16384}, [&]() -> result<void> {
      wait(yield());
      ++ran;
      return {};
    }));
    if (!started) co_return started;
  }
  auto const joined = co_await many.join();
  same(ran, 200);
  co_return joined;
}

task<void> overflow(u32 core) {
  std::ignore = co_await on(core_id{core}, [] {
    return exo::fiber({.name = "deep", .stack_bytes = 16384}, [] { same(deep(1'000'000), 0); });
  });
}

}  // namespace

int main(int count, char **) {
  if (count > 1) {
    u32 const core = count > 2 ? 1 : 0;
    auto const ended = run([core] { return overflow(core); });
    print("the stack of 16 KiB was enough: {}\n", ended.has_value());
    return 0;
  }
  u64 const free = system_pages.free().bytes;
  auto const outcome = run(everything);
  if (!outcome) panic("the run failed: {}", outcome.error());
  that(free - system_pages.free().bytes <= 16 * page_bytes * 16, "stacks are lost");
  auto const late = run({.cores = 1, .patience = 20ms}, endless);
  that(!late && late.error() == error::timeout, "an endless fiber has ended");
  return verdict();
}
