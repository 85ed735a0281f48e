// What messages and tasks cost. In a guest under icount: instructions; as a process (--native): nanoseconds.
#include <algorithm>
#include <array>
#include <exo/fiber.hpp>
#include <exo/on.hpp>
#include <exo/when.hpp>

#include "count.hpp"

using exo::core_id;
using exo::task;
using exo::u64;

namespace {

constexpr u64 batch = 32;
constexpr u64 rounds = 4096;

/// An awaiter that has its value already.
struct ready {
  u64 value;
  [[nodiscard]] bool await_ready() const noexcept { return true; }
  void await_suspend(std::coroutine_handle<>) const noexcept {}
  [[nodiscard]] u64 await_resume() const noexcept { return value; }
};

task<u64> child(u64 value) { co_return value + 1; }

[[gnu::noinline]] u64 callback(u64 value) noexcept {
  asm volatile("" : "+r"(value));
  return value;
}

constinit u64 received = 0;

/// The least of several rounds, in ticks for `batch` times.
template <typename Round>
u64 best_of(Round round) {
  u64 best = exo::no_deadline;
  for (u64 each = 0; each < rounds; ++each) best = std::min(best, round());
  return best;
}

/// Both sides of a message: put into the ring, and taken out and run by the loop's turn.
u64 message_ticks() {
  return best_of([] {
    u64 const before = received;
    u64 const sent = bench::ticks_of([] {
      for (u64 each = 0; each < batch; ++each) (void)exo::try_post(core_id{0}, [](u64 by) noexcept { received += by; }, u64{1});
    });
    u64 const taken = bench::ticks_of([] { (void)exo::run_loop::here().turn(); });
    if (received != before + batch) exo::panic("messages are lost");
    return sent + taken;
  });
}

/// From one stack to another, `batch` times: half of there and back, with what the compiler saves around the switch.
u64 switch_ticks() {
  alignas(16) static constinit std::array<std::byte, 4096> stack;
  static constinit exo::detail::stack_place here, there;
  there.rsp = stack.data() + stack.size() - 8;
  there.rip = reinterpret_cast<void *>(+[] {
    for (;;) exo::detail::switch_stack(there, here);
  });
  return best_of([] {
    return bench::ticks_of([] {
      for (u64 each = 0; each < batch / 2; ++each) exo::detail::switch_stack(here, there);
    });
  });
}

task<void> measure() {
#ifdef EXO_HOST
  constexpr char const *unit = "ns";
  auto const per = [](u64 ticks) { return ticks * 1'000'000'000 / exo::info().tsc_hz; };
  bool const native = true;
#else
  constexpr char const *unit = "instructions";
  auto const per = [](u64 ticks) { return ticks; };
  bool const native = false;
#endif
  auto const print = [&](char const *of_guest, char const *of_process, u64 ticks) {
    bench::print_figure(native ? of_process : of_guest, per(ticks), batch, unit);
  };
  print("message-instructions", "message-both-sides-ns", message_ticks());
  print("fiber-switch-instructions", "fiber-switch-ns", switch_ticks());
  u64 yielding = exo::no_deadline;
  std::ignore = co_await exo::fiber([&] {
    yielding = best_of([] {
      return bench::ticks_of([] {
        for (u64 each = 0; each < batch; ++each) exo::wait(exo::yield());
      });
    });
  });
  print("fiber-yield-instructions", "fiber-yield-ns", yielding);

  u64 plain = exo::no_deadline, awaited = exo::no_deadline, children = exo::no_deadline, sum = 0;
  for (u64 round = 0; round < rounds; ++round) {
    u64 begin = exo::ticks();
    for (u64 each = 0; each < batch; ++each) sum += callback(each);
    plain = std::min(plain, exo::ticks() - begin);
    begin = exo::ticks();
    for (u64 each = 0; each < batch; ++each) {
      u64 const value = co_await ready{callback(each)};
      sum += value;
    }
    awaited = std::min(awaited, exo::ticks() - begin);
    begin = exo::ticks();
    for (u64 each = 0; each < batch; ++each) {
      u64 const value = co_await child(each);
      sum += value;
    }
    children = std::min(children, exo::ticks() - begin);
  }
  asm volatile("" : : "r"(sum));
  print("await-ready-instructions", "await-ready-ns", awaited > plain ? awaited - plain : 0);
  print("child-task-instructions", "child-task-ns", children);

  if (exo::run_loop::here().group().loop_of(core_id{1}) == nullptr) co_return;
  u64 round_trip = exo::no_deadline;
  for (u64 round = 0; round < 100'000; ++round) {
    u64 const begin = exo::ticks();
    auto const back = co_await exo::on(core_id{1}, [] {});
    if (!back) exo::panic("core 1 does not answer");
    round_trip = std::min(round_trip, exo::ticks() - begin);
  }
  if (native) bench::print_figure("message-one-way-ns", per(round_trip), 2, unit);
}

}  // namespace

int main() {
  auto const ran = exo::run(measure);
  if (!ran) exo::print("tasks: {}\n", ran.error());
  return ran ? 0 : 1;
}
