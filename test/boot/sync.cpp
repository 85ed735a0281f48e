// Locks, latches, channels and teams between real cores.
// boot: --cores 1
// boot: --cores 2
// boot: --cores 4
// boot: --cores 8
#include "check.hpp"

#include <array>
#include <exo/channel.hpp>
#include <exo/per_core.hpp>
#include <exo/team.hpp>
#include <functional>
#include <mutex>
#include <shared_mutex>

using namespace check;

namespace {

template <typename Lock>
void one_at_a_time() {
  Lock lock;
  u64 count = 0;
  u32 const cores = run_on_all([&] {
    for (int turn = 0; turn < 2000; ++turn) {
      std::lock_guard const guard(lock);
      ++count;
    }
  });
  same(static_cast<i64>(count), 2000 * cores);
}

void readers_and_writers() {
  rw_lock lock;
  seqlock<std::array<u64, 3>> shared;
  std::array<u64, 2> pair{};
  std::atomic<u32> torn = 0;
  u32 const cores = run_on_all([&] {
    for (u64 turn = 0; turn < 500; ++turn) {
      {
        std::lock_guard const guard(lock);
        ++pair[0];
        ++pair[1];
        shared.store({pair[0], pair[0], pair[0]});
      }
      std::shared_lock const guard(lock);
      torn += pair[0] != pair[1];
      auto const seen = shared.load();
      torn += seen[0] != seen[2];
    }
  });
  same(torn, 0);
  same(static_cast<i64>(pair[0]), 500 * cores);
}

void latches_and_once() {
  for (int round = 0; round < 100; ++round) {
    latch all(core_count());
    once first;
    int made = 0;
    std::atomic<u32> wrong = 0;
    u32 const cores = run_on_all([&] {
      first.call([&] { ++made; });
      wrong += made != 1;
      all.arrive_and_wait();
    });
    same(cores, core_count());
    same(made, 1);
    same(wrong, 0);
  }
}

/// Every core sends to all, through a channel that is always full or empty: all of them halt and are woken.
void channels() {
  channel<u64, 2> values;
  std::atomic<u32> sending = core_count();
  std::atomic<u64> sum = 0;
  constexpr u64 each = 300;
  run_on_all([&] {
    if (core_count() > 1 && this_core() == core_id{0}) {  // the receiver, but where there is one core alone
      --sending;
      for (auto value = values.receive(); value; value = values.receive()) sum += *value;
      return;
    }
    for (u64 at = 1; at <= each; ++at) {
      if (core_count() == 1) {
        that(values.try_send(at).has_value(), "no room");
        sum += *values.receive();
      } else {
        that(values.send(at).has_value(), "closed");
      }
    }
    if (--sending == 0) values.close();
  });
  u64 const senders = core_count() > 1 ? core_count() - 1 : 1;
  same(static_cast<i64>(sum), static_cast<i64>(senders * each * (each + 1) / 2));
}

/// Everybody puts in and takes out; and one core sends to one other, through a channel that is full most of the time.
void rings() {
  mpmc_ring<u64, 8> ring;
  std::atomic<u64> in = 0, out = 0;
  barrier begin(core_count());
  run_on_all([&] {
    begin.arrive_and_wait();
    for (u64 turn = 1; turn <= 1000; ++turn) {
      if (ring.try_push(turn)) in += turn;
      if (auto const value = ring.try_pop()) out += *value;
    }
  });
  while (auto const value = ring.try_pop()) out += *value;
  same(static_cast<i64>(in), static_cast<i64>(out));
  if (core_count() == 1) return;

  spsc_channel<u64, 4> values;
  u64 last = 0;
  job send([&] {
    for (u64 each = 1; each <= 1000; ++each) that(values.send(each).has_value(), "closed");
    values.close();
  });
  auto const sending = run_on(core_id{1}, send);
  if (!sending) panic("core 1 is busy: {}", sending.error());
  for (auto value = values.receive(); value; value = values.receive()) same(static_cast<i64>(*value), static_cast<i64>(++last));
  same(static_cast<i64>(last), 1000);
}

void teams() {
  auto counts = per_core<u64>::make(u64{0});
  if (!counts) panic("no memory for a count of each core");
  std::atomic<u32> wrong = 0;
  for (int round = 0; round < 50; ++round) {
    auto const size = team::run([&](team::member &me) {
      ++counts->mine();
      u32 const n = me.size();
      wrong += me.all_reduce(me.rank(), std::plus()) != n * (n - 1) / 2;
      wrong += me.broadcast(me.rank(), n - 1) != n - 1;
      wrong += me.reduce(u64{1}, std::plus()) != (me.rank() == 0 ? n : 1);
      std::array<u32, 8> list{};
      for (u32 each = 0; each < n; ++each) list[each] = each * each;
      wrong += me.scatter(std::span<u32 const>(list)).value_or(n * n) != me.rank() * me.rank();
      list = {};
      wrong += !me.gather(me.rank() + 1, std::span<u32>(list));
      wrong += me.rank() == 0 && list[n - 1] != n;
    });
    if (!size) panic("no team: {}", size.error());
    same(*size, core_count());
  }
  same(wrong, 0);
  counts->for_each([](u64 count) { same(static_cast<i64>(count), 50); });
}

}  // namespace

int main() {
  one_at_a_time<spin_lock>();
  one_at_a_time<ticket_lock>();
  one_at_a_time<rw_lock>();
  readers_and_writers();
  latches_and_once();
  channels();
  rings();
  teams();
  return verdict();
}
