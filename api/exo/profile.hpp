// A sampling profiler: where each core is, so many times a second, as stacks for a flame graph.
//
//   exo::profile::start();     // begins, on all cores
//   …
//   exo::profile::print();     // ends it, and prints the stacks with how often each was seen
//
// `./run_x86-64.sh --profile FILE` or tools/inside.sh put names to the addresses and make lines `frame;frame;frame count`
// of it, which flamegraph.pl, inferno and speedscope.app read.
//
// A sample is an upcall of the core's timer event. The program's own timer_set still works, since the last deadline of both
// is the one that holds: sleeping and waiting are not touched, a program that sets deadlines of its own makes samples come
// late, and one that sets a handler of the timer's vector ends the sampling on that core. print() says how many are missing.
#pragma once

#include <algorithm>
#include <array>
#include <atomic>
#include <cstddef>
#include <cstring>
#include <memory>
#include <string_view>

#include "backtrace.hpp"
#include "console.hpp"
#include "core.hpp"
#include "memory.hpp"
#include "smp.hpp"

namespace exo::profile {

namespace detail {

inline constexpr u32 vector = event_vector + event_timer;
inline constexpr std::size_t stacks_most = 1024, frames_most = 29, probes_most = 16;

/// A stack that was seen. The first address is where the core was, the others are return addresses.
struct stack {
  u64 seen = 0;
  u64 hash = 0;
  u64 depth = 0;
  std::array<u64, frames_most> frames{};
};
static_assert(sizeof(stack) == 256);

/// What a core has seen. Its own handler writes it.
struct alignas(64) core_samples {
  u64 due = 0;      // the next sample
  u64 taken = 0;
  u64 missing = 0;  // ticks that passed without a sample
  u64 dropped = 0;  // samples of stacks that found no room
  u64 bare = 0;     // samples of the program without a caller
  std::array<stack, stacks_most> stacks{};
};

inline constinit core_samples *all = nullptr;
inline constinit std::atomic<u64> period{0};  // in ticks; 0: stopped

inline void note(core_samples &mine, trap_frame const &state) noexcept {
  std::array<u64, frames_most> frames;
  std::size_t const depth = walk_stack(state, frames);
  if (depth == 1 && state.rip >= info().program_first) ++mine.bare;
  u64 hash = depth;
  for (std::size_t at = 0; at < depth; ++at) hash = (hash ^ frames[at]) * 0x9E3779B97F4A7C15;
  for (std::size_t probe = 0; probe < probes_most; ++probe) {
    stack &place = mine.stacks[((hash >> 32) + probe) % stacks_most];
    if (place.seen == 0) {
      place = {.seen = 1, .hash = hash, .depth = depth, .frames = frames};
      return;
    }
    auto const seen = std::span(frames).first(depth);
    if (place.hash == hash && std::ranges::equal(seen, std::span(place.frames).first(place.depth))) {
      ++place.seen;
      return;
    }
  }
  ++mine.dropped;
}

inline void sample(trap_frame *state) noexcept {
  u64 const every = period.load(std::memory_order_relaxed);
  if (every == 0) return;
  core_samples &mine = all[local().index];
  u64 const now = ticks();
  if (now >= mine.due) {  // else a deadline of the program's own
    mine.missing += (now - mine.due) / every;
    ++mine.taken;
    note(mine, *state);
    mine.due = now + every;
  }
  core().timer_set(mine.due);
}

inline void begin_here() noexcept {
  all[local().index].due = ticks() + period.load(std::memory_order_relaxed);
  core().trap_set(vector, sample);
  core().timer_set(all[local().index].due);
}

}  // namespace detail

/// Begins to sample on this core and on all that are idle: call it before they have work.
///
/// @param hz      samples a second on each core, 1 to 10,000. A number that nothing else repeats with is best
/// @error range   hz is out of its limits
/// @error memory  too little RAM: 256 KiB for each core
/// @error busy    it runs already
/// @core  any, outside handlers    @heap  pages, until print()
[[nodiscard]] inline result<void> start(u64 hz = 997) noexcept {
  using namespace detail;
  if (hz == 0 || hz > 10'000) return std::unexpected(error::range);
  if (all != nullptr) return std::unexpected(error::busy);
  u64 const cores = info().cores.size();
  result<pages> memory = pages::take(cores * sizeof(core_samples));
  if (!memory) return std::unexpected(memory.error());
  auto *const first = reinterpret_cast<core_samples *>(memory->release().data());
  std::memset(static_cast<void *>(first), 0, cores * sizeof(core_samples));
  all = first;
  period.store(std::max<u64>(info().tsc_hz / hz, 1), std::memory_order_relaxed);
  run_on_all(begin_here);
  return {};
}

/// What each line of a printed profile begins with.
inline constexpr std::string_view line_mark = "exo16-profile: ";

/// Ends the sampling and prints what was seen: `core NUMBER FRAMES COUNT` for each stack, outermost frame first.
///
/// @return  samples taken on all cores; 0 if it was not started
/// @core    any, outside handlers, when no other core has work of the program
inline u64 print() noexcept {
  using namespace detail;
  if (all == nullptr) return 0;
  u64 const every = period.exchange(0, std::memory_order_relaxed);
  u64 const now = ticks();
  run_on_all([] {
    core().timer_set(0);
    core().trap_set(vector, nullptr);
  });
  u64 taken = 0;
  exo::print("{}begin\n", line_mark);
  for (u32 core = 0; core < info().cores.size(); ++core) {
    core_samples &seen = all[core];
    taken += seen.taken;
    for (stack const &each : seen.stacks) {
      if (each.seen == 0) continue;
      std::array<char, frames_most * 18> buffer;
      text_sink frames(buffer);
      for (std::size_t at = each.depth; at-- > 0;) format_to(frames, "{:x}{}", each.frames[at], at == 0 ? "" : ";");
      std::array<char, frames_most * 18 + 80> line;
      std::string_view const text =
          format_to(std::span<char>(line), "{}core {} {} {}\n", line_mark, core, frames.text(), each.seen);
      exo::core().console_write(text.data(), text.size());
    }
    if (seen.due != 0 && now > seen.due) seen.missing += (now - seen.due) / every;
    if (seen.missing > seen.taken / 8) {
      exo::print("{}note core {} has {} samples and lacks {}: "
                 "the program uses the timer itself, or was not run all the time\n",
                 line_mark, core, seen.taken, seen.missing);
    }
    if (seen.dropped != 0) {
      exo::print("{}note core {} has {} samples of stacks more than the {} that it keeps\n", line_mark, core,
                 seen.dropped, stacks_most);
    }
    if (seen.bare > seen.taken / 2) {
      exo::print("{}note core {} has {} of {} samples without callers: "
                 "is the program compiled with -fno-omit-frame-pointer?\n",
                 line_mark, core, seen.bare, seen.taken);
    }
  }
  exo::print("{}end\n", line_mark);
  system_pages.give(reinterpret_cast<u64>(all), info().cores.size() * sizeof(core_samples));
  all = nullptr;
  return taken;
}

}  // namespace exo::profile
