// Cores with locks, barriers, latches, channels, per-core variables and teams; the seed decides how many cores, and which.
//
// With EXO_PLANTED the spin lock looks before it takes: two cores may get it.
#include <sim/scenario.hpp>

#include <exo/channel.hpp>
#include <exo/exo.hpp>
#include <exo/per_core.hpp>
#include <exo/team.hpp>

#include <array>
#include <atomic>
#include <functional>
#include <iterator>
#include <mutex>
#include <shared_mutex>

namespace {

using exo::u32;
using exo::u64;

constexpr u32 turns = 12;

/// A variable that is plain for the program; the simulator lets other cores in between its reading and its writing.
class number {
 public:
  void add_one() noexcept { value_.store(value_.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed); }
  [[nodiscard]] u64 value() const noexcept { return value_.load(std::memory_order_relaxed); }

 private:
  std::atomic<u64> value_ = 0;
};

#ifdef EXO_PLANTED
class careless_lock {
 public:
  void lock() noexcept {
    while (taken_.load()) exo::pause();
    taken_.store(true);
  }
  void unlock() noexcept { taken_.store(false); }

 private:
  std::atomic<bool> taken_ = false;
};
using first_lock = careless_lock;
#else
using first_lock = exo::spin_lock;
#endif

template <typename Lock>
int one_at_a_time() {
  Lock lock;
  number count;
  u32 const cores = exo::run_on_all([&] {
    for (u32 turn = 0; turn < turns; ++turn) {
      std::lock_guard const guard(lock);
      count.add_one();
    }
  });
  return count.value() == turns * cores ? 0 : 1;
}

template <typename Lock>
int tries() {
  Lock lock;
  number count;
  std::atomic<u64> got = 0;
  exo::run_on_all([&] {
    for (u32 turn = 0; turn < turns; ++turn) {
      std::unique_lock const guard(lock, std::try_to_lock);
      if (!guard) continue;
      count.add_one();
      ++got;
    }
  });
  return count.value() == got && got != 0 ? 0 : 1;
}

int readers_and_writers() {
  exo::rw_lock lock;
  number left, right;
  std::atomic<u32> torn = 0;
  u32 const cores = exo::run_on_all([&] {
    for (u32 turn = 0; turn < turns; ++turn) {
      if ((turn + exo::local().index) % 3 == 0) {
        std::lock_guard const guard(lock);
        left.add_one();
        right.add_one();
      } else {
        std::shared_lock const guard(lock);
        torn += left.value() != right.value();
      }
    }
  });
  return torn == 0 && left.value() == turns / 3 * cores ? 0 : 1;
}

int sequences() {
  exo::seqlock<std::array<u64, 3>> shared;
  std::atomic<u32> wrong = 0;
  exo::run_on_all([&] {
    u64 last = 0;
    for (u64 turn = 1; turn <= turns; ++turn) {
      if (exo::this_core() == exo::core_id{0}) {
        shared.store({turn, 2 * turn, 3 * turn});
      } else {
        auto const seen = shared.load();
        wrong += seen[1] != 2 * seen[0] || seen[2] != 3 * seen[0] || seen[0] < last;
        last = seen[0];
      }
    }
  });
  return wrong == 0 ? 0 : 1;
}

int barriers() {
  u32 const cores = exo::core_count();
  exo::barrier all(cores);
  std::atomic<u32> came = 0, wrong = 0;
  exo::run_on_all([&] {
    for (u32 round = 1; round <= turns; ++round) {
      ++came;
      all.arrive_and_wait();
      u32 const seen = came;
      wrong += seen < round * cores || seen > (round + 1) * cores;
      all.arrive_and_wait();
    }
  });
  return wrong == 0 ? 0 : 1;
}

int latches_and_onces() {
  for (u32 round = 0; round < turns; ++round) {
    exo::latch all(exo::core_count());
    exo::once first;
    number made;
    std::atomic<u32> wrong = 0;
    exo::run_on_all([&] {
      first.call([&] { made.add_one(); });
      wrong += made.value() != 1;
      all.arrive_and_wait();
      wrong += !all.try_wait();
    });
    if (wrong != 0) return 1;
  }
  return 0;
}

/// All but core 0 send, and core 0 receives, through a channel that is full or empty most of the time.
template <typename Channel>
int channels(u32 cores_most) {
  Channel values;
  std::atomic<u32> sending = 0, wrong = 0;
  exo::barrier begin(std::min(cores_most, exo::core_count()));
  u64 received = 0;
  u32 const cores = exo::run_on_all(
      [&] {
        if (exo::this_core() != exo::core_id{0}) ++sending;
        begin.arrive_and_wait();
        if (exo::this_core() == exo::core_id{0}) {
          std::array<u64, sim::cores_most> last{};
          for (auto value = values.receive(); value; value = values.receive()) {
            u64 &before = last[*value % sim::cores_most];
            wrong += *value / sim::cores_most != ++before;  // each sender's in order, none lost
            ++received;
          }
          return;
        }
        for (u64 at = 1; at <= turns; ++at) wrong += !values.send(at * sim::cores_most + exo::local().index);
        if (--sending == 0) values.close();
      },
      cores_most);
  return wrong == 0 && received == turns * (cores - 1) ? 0 : 1;
}

/// All push and pop; everything comes out once.
int rings() {
  exo::mpmc_ring<u64, 4> ring;
  std::atomic<u64> in = 0, out = 0;
  exo::run_on_all([&] {
    for (u64 turn = 1; turn <= turns; ++turn) {
      if (ring.try_push(turn)) in += turn;
      if (auto const value = ring.try_pop()) out += *value;
    }
  });
  while (auto const value = ring.try_pop()) out += *value;
  return in == out ? 0 : 1;
}

int collectives() {
  auto counts = exo::per_core<u64>::make(u64{0});
  if (!counts) return 2;
  std::atomic<u32> wrong = 0;
  auto const size = exo::team::run([&](exo::team::member &me) {
    u32 const n = me.size();
    for (u32 root = 0; root < n; ++root) {
      ++counts->mine();
      wrong += me.broadcast(me.rank(), root) != root;
      wrong += me.reduce(me.rank(), std::plus(), root) != (me.rank() == root ? n * (n - 1) / 2 : me.rank());
      wrong += me.all_reduce(me.rank() + 1, std::multiplies()) == 0;
      std::array<u32, sim::cores_most> list{};
      for (u32 each = 0; each < n; ++each) list[each] = 10 * root + each;
      auto const mine = me.scatter(std::span<u32 const>(list), root);
      wrong += !mine || *mine != 10 * root + me.rank();
      std::array<u32, sim::cores_most> gathered{};
      wrong += !me.gather(me.rank() + 5, std::span<u32>(gathered), root);
      for (u32 each = 0; me.rank() == root && each < n; ++each) wrong += gathered[each] != each + 5;
    }
  });
  if (!size || wrong != 0) return 1;
  counts->for_each([&](u64 count) { wrong += count != *size; });
  return wrong == 0 ? 0 : 1;
}

}  // namespace

void scenario(sim::setup &world) {
  constexpr int (*all[])() = {
      one_at_a_time<first_lock>,
      one_at_a_time<exo::ticket_lock>,
      one_at_a_time<exo::rw_lock>,
      tries<exo::spin_lock>,
      tries<exo::ticket_lock>,
      tries<exo::rw_lock>,
      readers_and_writers,
      sequences,
      barriers,
      latches_and_onces,
      [] { return channels<exo::channel<u64, 2>>(exo::core_count()); },
      [] { return channels<exo::spsc_channel<u64, 2>>(2); },
      rings,
      collectives,
  };
  sim::machine &one = world.add_machine("cores", all[world.choose(std::size(all))]);
  one.cores = 2 + static_cast<unsigned>(world.choose(3));
  one.stall = 0.1;
}
