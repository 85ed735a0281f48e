// sanitizer: thread
#include <exo/lock.hpp>

#include <array>
#include <atomic>
#include <catch2/catch.hpp>
#include <exo/smp.hpp>
#include <mutex>
#include <shared_mutex>

#include "fake.hpp"

using exo::u32;
using exo::u64;

TEMPLATE_TEST_CASE("lock: one at a time", "", exo::spin_lock, exo::ticket_lock, exo::rw_lock) {
  fake::machine machine({.cores = 4});
  TestType lock;
  u64 count = 0;
  exo::run_on_all([&] {
    for (int turn = 0; turn < 500; ++turn) {
      std::lock_guard const guard(lock);
      ++count;
    }
  });
  CHECK(count == 2000);
  CHECK(lock.try_lock());
  CHECK(!lock.try_lock());
  lock.unlock();
  CHECK(lock.try_lock());
  lock.unlock();
}

TEST_CASE("rw lock: readers together, writers alone") {
  fake::machine machine({.cores = 4});
  exo::rw_lock lock;
  CHECK(lock.try_lock_shared());
  CHECK(lock.try_lock_shared());
  CHECK(!lock.try_lock());
  lock.unlock_shared();
  CHECK(!lock.try_lock());
  lock.unlock_shared();
  CHECK(lock.try_lock());
  CHECK(!lock.try_lock_shared());
  lock.unlock();

  std::array<u64, 4> all{};  // always the same number in each
  std::atomic<u32> torn = 0, next = 0;
  exo::run_on_all([&] {
    bool const writes = next++ % 2 == 0;
    for (int turn = 0; turn < 500; ++turn) {
      if (writes) {
        std::lock_guard const guard(lock);
        for (u64 &each : all) ++each;
      } else {
        std::shared_lock const guard(lock);
        for (u64 const each : all) torn += each != all[0];
      }
    }
  });
  CHECK(torn == 0);
  CHECK(all[3] == 1000);
}

TEST_CASE("rw lock: a waiting writer holds new readers back") {
  fake::machine machine({.cores = 2});
  exo::rw_lock lock;
  lock.lock_shared();
  exo::job write([&] { std::lock_guard const guard(lock); });
  auto running = exo::run_on(exo::core_id{1}, write);
  REQUIRE(running);
  while (lock.try_lock_shared()) lock.unlock_shared();
  CHECK(!running->done());
  lock.unlock_shared();
  running->wait();
  CHECK(lock.try_lock_shared());
  lock.unlock_shared();
}

TEST_CASE("seqlock: a reader sees a value as it was written") {
  struct value {
    u64 a = 0;
    u64 b = 0;
    u32 c = 0;
  };
  fake::machine machine({.cores = 4});
  exo::seqlock<value> shared;
  CHECK(shared.load().a == 0);
  std::atomic<u32> next = 0, torn = 0, backwards = 0;
  exo::run_on_all([&] {
    if (next++ == 0) {
      for (u32 turn = 1; turn <= 5000; ++turn) shared.store({turn, 3 * u64{turn}, turn});
      return;
    }
    for (u64 last = 0; last < 5000;) {
      value const now = shared.load();
      torn += now.b != 3 * now.a || now.c != now.a;
      backwards += now.a < last;
      last = now.a;
    }
  });
  CHECK(torn == 0);
  CHECK(backwards == 0);
}
