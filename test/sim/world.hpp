// The simulated world: virtual time, what happens when, and whose turn it is. Everything runs on one thread.
//
// A core runs from one step to the next: each call, each reading of the clock and each atomic operation is one, and takes
// a little time. When another core or a device has something to do before that time, it goes first. So cores run in turns
// of single steps, in an order that the seed decides: at every step a core may be stalled for a while.
#pragma once

#include <cstdio>
#include <functional>
#include <queue>
#include <string>
#include <utility>

#include <native/machine.hpp>

#include "chance.hpp"
#include "fiber.hpp"
#include "scenario.hpp"

namespace sim {

using exo::i64;
using native::never;

class computer;

struct core {
  computer *machine = nullptr;
  u32 index = 0;
  u32 number = 0;       // of all in the world, for chance
  native::core_state *state = nullptr;
  sim::fiber stack;
  std::vector<std::byte> tls;
  bool halted = false;
  u64 turns = 0;        // raised whenever it goes on: what was to wake it before then is void
  u64 timers = 0;       // likewise with each timer_set
};

class world {
 public:
  static constexpr u64 step_ns = 5, clock_ns = 20, call_ns = 100;

  /// Begins anew at time 1 ms.
  void start(u64 seed, std::vector<fault> const *only, u64 limit) {
    now_ = 1'000'000;
    limit_ = now_ + limit;
    order_ = 0;
    events_ = {};
    works_.clear();
    free_.clear();
    hash_ = 0xCBF29CE484222325;
    failure.clear();
    chances.start(seed, only);
  }

  [[nodiscard]] u64 now() const { return now_; }
  [[nodiscard]] u64 hash() const { return hash_; }
  [[nodiscard]] core *running() const { return running_; }

  /// Lets something happen at a time.
  template <typename Work>
  void at(u64 time, Work &&work) {
    u32 slot = static_cast<u32>(works_.size());
    if (free_.empty()) {
      works_.emplace_back(std::forward<Work>(work));
    } else {
      slot = free_.back();
      free_.pop_back();
      works_[slot] = std::forward<Work>(work);
    }
    events_.push({time, order_++, slot});
  }
  template <typename Work>
  void in(u64 wait, Work &&work) {
    at(now_ + wait, std::forward<Work>(work));
  }

  /// Lets things happen until done() or a failure.
  template <typename Done>
  void run(Done done) {
    while (failure.empty() && !done()) {
      if (events_.empty()) return fail("nothing can happen any more: every core is idle and waits for an event");
      event const next = events_.top();
      if (next.time > limit_) return fail("no end within the limit of virtual time");
      events_.pop();
      now_ = std::max(now_, next.time);
      auto work = std::exchange(works_[next.slot], {});
      free_.push_back(next.slot);
      work();
    }
  }

  /// Time passes for the running core; others may come first.
  void step(u64 nanoseconds);

  /// The running core stops here until resume().
  void stop() {
    core &mine = *running_;
    mine.stack.leave();
  }
  void resume(core &which);

  /// Takes a note of something, for the comparison of runs.
  void note(u64 one, u64 two, u64 three = 0) {
    for (u64 const each : {now_, one, two, three}) hash_ = (hash_ ^ each) * 0x100000001B3 + (hash_ >> 29);
  }
  /// Writes a line of the trace, if there is to be one.
  template <typename... Parts>
  void say(char const *format, Parts... parts) {
    if (!traces) return;
    std::printf("%12.6f ms  ", static_cast<double>(now_) / 1e6);
    std::printf(format, parts...);
    std::putchar('\n');
  }

  /// The first reason counts.
  void fail(std::string why) {
    if (failure.empty()) failure = std::move(why);
  }

  /// Whether a fault happens now; says so in the trace.
  bool happens(kind what, u32 object, rate often, u64 *amount = nullptr) {
    if (!chances.happens(what, object, often, amount)) return false;
    if (what != kind::stall) say("fault %s", chances.happened.back().text().c_str());
    return true;
  }

  chance chances;
  std::string failure;
  bool traces = false;

 private:
  struct event {
    u64 time, order;
    u32 slot;
    bool operator<(event const &other) const { return std::pair(time, order) > std::pair(other.time, other.order); }
  };

  u64 now_ = 0, limit_ = 0, order_ = 0, hash_ = 0;
  std::priority_queue<event> events_;
  std::vector<std::move_only_function<void()>> works_;
  std::vector<u32> free_;
  core *running_ = nullptr;
};

inline world now;  // the one that runs in this process

}  // namespace sim
