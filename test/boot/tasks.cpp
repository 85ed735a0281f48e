// Run loops and tasks on real cores: messages, calls to other cores and back, delays, scopes, services, an orderly end.
// boot: --cores 1
// boot: --cores 2
// boot: --cores 4
// boot: --cores 8
#include "check.hpp"

#include <chrono>
#include <exo/on.hpp>
#include <exo/when.hpp>

using namespace check;
using namespace std::chrono_literals;

namespace {

constinit std::atomic<u64> posted = 0;
constinit std::atomic<u64> served = 0;

task<u64> sum_to(u64 number) {
  u64 sum = 0;
  for (u64 each = 1; each <= number; ++each) {
    sum += each;
    if (each % 64 == 0) co_await yield();
  }
  co_return sum;
}

/// Far more levels than a stack has room for.
constexpr u64 deep = 100'000;
task<u64> levels_below(u64 levels, bool waits) {
  if (levels != 0) {
    u64 const below = co_await levels_below(levels - 1, waits);
    co_return below + 1;
  }
  if (waits) co_await yield();
  co_return 0;
}

task<result<void>> ask_everyone() {
  for (u32 core = 0; core < core_count(); ++core) {
    auto const sum = co_await on(core_id{core}, [core] { return sum_to(100 + core); });
    if (!sum) co_return std::unexpected(sum.error());
    same(static_cast<i64>(*sum), (100 + core) * (101 + core) / 2);
  }
  co_return {};
}

task<void> serve() {
  result<void> waited;
  while (waited) waited = co_await delay(1h);
  ++served;
}

task<result<void>> sleep_a_little(u32 microseconds) { co_return co_await delay(std::chrono::microseconds(microseconds)); }

task<result<int>> everything() {
  u32 const cores = core_count();
  for (u32 core = 0; core < cores; ++core) {
    for (u32 each = 0; each < 500; ++each) {
      result<void> sent = try_post(core_id{core}, [](u64 value) noexcept { posted += value; }, u64{1});
      while (!sent) {
        that(sent.error() == error::full, "a message is refused");
        std::ignore = co_await delay(10us);
        sent = try_post(core_id{core}, [](u64 value) noexcept { posted += value; }, u64{1});
      }
    }
  }
  while (posted != 500 * cores) std::ignore = co_await delay(100us);

  // Everyone asks everyone, with cores that halt in between.
  scope all;
  for (u32 core = 0; core < cores; ++core) {
    that(all.spawn([](u32 from) -> task<result<void>> { co_return co_await on(core_id{from}, ask_everyone); }(core))
             .has_value(),
         "no memory");
  }
  for (u32 each = 0; each < 200; ++each) that(all.spawn(sleep_a_little(each * 20)).has_value(), "no memory");
  auto const joined = co_await all.join();
  that(joined.has_value(), "a child failed");

  std::atomic<u64> seen = 0;
  u32 const ran = co_await on_all([&] { seen += u64{1} << static_cast<u32>(this_core()); });
  same(ran, cores);
  same(static_cast<i64>(seen), (i64{1} << cores) - 1);
  auto const missing = co_await on(core_id{cores}, [] {});
  that(!missing && missing.error() == error::no_such, "there is a core too many");
  auto const late = co_await with_timeout(2ms, []() -> task<result<int>> {
    auto const waited = co_await delay(1h);
    if (!waited) co_return std::unexpected(waited.error());
    co_return 1;
  }());
  that(!late && late.error() == error::timeout, "no timeout");

  u64 const nested = co_await levels_below(deep, false);
  same(static_cast<i64>(nested), static_cast<i64>(deep));
  u64 const waited = co_await levels_below(deep, true);
  same(static_cast<i64>(waited), static_cast<i64>(deep));
  for (u64 each = 0; each < deep; ++each) {
    u64 const sum = co_await sum_to(3);
    if (sum != 6) panic("a child lost its value");
  }

  for (u32 core = 0; core < cores; ++core) {
    auto const started = co_await on(core_id{core}, [] { return spawn(serve()); });
    that(started.has_value(), "no memory");
  }
  u64 turns = 0;
  for (loop_counters const &each : all_counters()) turns += each.turns;
  that(turns > cores, "the counters stand still");
  co_return 7;
}

}  // namespace

int main() {
  u64 const free = system_pages.free().bytes;
  for (int round = 0; round < 3; ++round) {
    posted = served = 0;
    auto const outcome = run(everything);
    if (!outcome) panic("the run failed: {}", outcome.error());
    same(*outcome, 7);
    same(static_cast<i64>(served), core_count());
  }
  same(static_cast<i64>(system_pages.free().bytes), static_cast<i64>(free));
  return verdict();
}
