#include <exo/frame_pool.hpp>

#include <algorithm>
#include <array>
#include <catch2/catch.hpp>
#include <cstring>
#include <exo/task.hpp>
#include <set>
#include <vector>

#include "machine_with_loops.hpp"

using exo::task;
using exo::detail::frame_pool;

namespace {

constexpr std::array<std::size_t, 8> sizes{1, 24, 32, 33, 1000, 4096, 4097, 100'000};

}  // namespace

TEST_CASE("frame_pool: frames of any size, none in another") {
  machine_with_loops machine;
  {
    frame_pool pool;
    struct frame {
      char *place;
      std::size_t bytes;
    };
    std::vector<frame> frames;
    for (int round = 0; round < 50; ++round) {
      for (std::size_t const bytes : sizes) {
        char *const place = static_cast<char *>(pool.take(bytes));
        REQUIRE(place != nullptr);
        CHECK(reinterpret_cast<std::uintptr_t>(place) % frame_pool::unit == 0);
        std::memset(place, static_cast<int>(frames.size() % 251), bytes);
        frames.push_back({place, bytes});
      }
    }
    for (std::size_t number = 0; number < frames.size(); ++number) {
      char const expected = static_cast<char>(number % 251);
      auto const [place, bytes] = frames[number];
      CHECK(std::count(place, place + bytes, expected) == static_cast<std::ptrdiff_t>(bytes));
      pool.give(place, bytes);
    }
  }
  CHECK(machine.kept_nothing());
}

TEST_CASE("frame_pool: what was given back is handed out again") {
  machine_with_loops machine;
  {
    frame_pool pool;
    for (std::size_t const bytes : sizes) {
      std::set<void *> places;
      for (int round = 0; round < 100; ++round) {
        void *const place = pool.take(bytes);
        places.insert(place);
        pool.give(place, bytes);
      }
      CHECK(places.size() == 1);
    }
  }
  CHECK(machine.kept_nothing());
}

TEST_CASE("frame_pool: where little memory is left") {
  machine_with_loops machine;
  {
    auto const taken = exo::pages::take(machine.free - 2 * exo::page_bytes);
    REQUIRE(taken);
    frame_pool pool;
    void *const place = pool.take(4096);
    REQUIRE(place != nullptr);
    std::memset(place, 1, 4096);
    CHECK(exo::system_pages.free().bytes == 0);
    CHECK(pool.take(4096) == nullptr);
    pool.give(place, 4096);
  }
  CHECK(machine.kept_nothing());
}

TEST_CASE("frame_pool: a frame of another pool") {
  machine_with_loops machine;
  {
    frame_pool one, other;
    for (std::size_t const bytes : sizes) {
      void *const place = one.take(bytes);
      other.give(place, bytes);
      void *const again = other.take(bytes);
      CHECK(again == place);
      other.give(again, bytes);
    }
  }
  CHECK(machine.kept_nothing());
}

TEST_CASE("frame_pool: a task with a large array in its frame") {
  machine_with_loops machine({.cores = 1});
  auto const sum = exo::run([]() -> task<int> {
    std::array<int, 20'000> values;
    for (int &each : values) each = 1;
    co_await exo::yield();
    int total = 0;
    for (int const each : values) total += each;
    co_return total;
  });
  CHECK(sum == 20'000);
  CHECK(machine.kept_nothing());
}
