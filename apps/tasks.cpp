// A million coroutines at the same time, on all cores: each waits for its own moment, and adds one.
//
//   ./run_x86-64.sh tasks --cores 2 --mem 512M
//   ./run_x86-64.sh tasks --mem 64M --args 100000
#include <exo/exo.hpp>
#include <exo/on.hpp>
#include <exo/when.hpp>

#include <charconv>
#include <string_view>

using exo::core_id;
using exo::result;
using exo::task;
using exo::u32;
using exo::u64;

namespace {

constexpr u64 tasks_default = 1'000'000;

/// Waits until a deadline and counts.
task<result<void>> count_at(u64 deadline, u64 &counted) {
  auto const waited = co_await exo::delay_until(deadline);
  if (waited) ++counted;
  co_return waited;
}

/// This core's part: all of them wait at once, then come one after the other within 100 ms.
task<result<u64>> count_here(u64 tasks) {
  u64 counted = 0;
  u64 const first = exo::ticks() + exo::info().tsc_hz;
  u64 const step = exo::info().tsc_hz / 10 / std::max<u64>(tasks, 1);
  exo::scope all;
  result<void> spawned;
  for (u64 each = 0; each < tasks && spawned; ++each) {
    spawned = all.spawn(count_at(first + each * 7919 % tasks * step, counted));  // in no order
    if (each % 1024 == 0) co_await exo::yield();
  }
  if (!spawned) all.cancel();
  auto const joined = co_await all.join();
  if (!spawned) co_return std::unexpected(spawned.error());
  if (!joined) co_return std::unexpected(joined.error());
  co_return counted;
}

task<result<void>> count_on(core_id core, u64 tasks, u64 &sum) {
  auto const counted = co_await exo::on(core, [tasks] { return count_here(tasks); });
  if (!counted) co_return std::unexpected(counted.error());
  sum += *counted;
  co_return {};
}

task<result<u64>> count_everywhere(u64 tasks) {
  u32 const cores = exo::core_count();
  u64 sum = 0;
  exo::scope all;
  result<void> spawned;
  for (u32 core = 0; core < cores && spawned; ++core) {
    spawned = all.spawn(count_on(core_id{core}, tasks / cores + (core < tasks % cores), sum));
  }
  auto const joined = co_await all.join();
  if (!spawned) co_return std::unexpected(spawned.error());
  if (!joined) co_return std::unexpected(joined.error());
  co_return sum;
}

}  // namespace

int main(int count, char **words) {
  u64 tasks = tasks_default;
  if (count > 1) {
    std::string_view const word = words[1];
    auto const [end, why] = std::from_chars(word.data(), word.data() + word.size(), tasks);
    if (count > 2 || why != std::errc() || end != word.data() + word.size() || tasks > 1'000'000'000) {
      exo::print("usage: tasks [how many; {} if not said]\n", tasks_default);
      return 2;
    }
  }
  auto const begin = exo::clock::now();
  auto const counted = exo::run([tasks] { return count_everywhere(tasks); });
  if (!counted) {
    exo::print("tasks: {}\n", counted.error());
    if (counted.error() == exo::error::memory) exo::print("Each takes some 200 bytes: give the machine more with --mem.\n");
    return 1;
  }
  auto const time = std::chrono::duration_cast<std::chrono::milliseconds>(exo::clock::now() - begin);
  exo::print("{} of {} tasks waited at once on {} cores and came back, in {}\n", *counted, tasks, exo::core_count(), time);
  return *counted == tasks ? 0 : 1;
}
