// How long a message takes from one core's run loop to another's and back, for each pair with core 0.
//
//   ./run_x86-64.sh pingpong --cores 4
//   ./run_x86-64.sh pingpong --native
#include <exo/exo.hpp>
#include <exo/on.hpp>

using exo::core_id;
using exo::result;
using exo::task;
using exo::u32;
using exo::u64;

namespace {

constexpr u64 rounds_max = 20'000;

task<result<void>> play(core_id other) {
  u64 best = exo::no_deadline;
  u64 const begin = exo::ticks();
  u64 rounds = 0;
  for (; rounds < rounds_max && exo::ticks() - begin < exo::info().tsc_hz; ++rounds) {  // a second at most
    u64 const sent = exo::ticks();
    auto const back = co_await exo::on(other, [] {});
    if (!back) co_return std::unexpected(back.error());
    best = std::min(best, exo::ticks() - sent);
  }
  auto const average = exo::clock::duration_of((exo::ticks() - begin) / rounds);
  exo::print("core 0 to core {} and back: {} on average, {} at best\n", other, average, exo::clock::duration_of(best));
  co_return {};
}

task<result<void>> play_with_all() {
  for (u32 core = 0; core < exo::core_count(); ++core) {
    auto const played = co_await play(core_id{core});
    if (!played) co_return played;
  }
  co_return {};
}

}  // namespace

int main() {
  auto const outcome = exo::run(play_with_all);
  if (!outcome) exo::print("pingpong: {}\n", outcome.error());
  return outcome ? 0 : 1;
}
