// Every core says its number; then all of them add up numbers, and the sum is checked.
#include <exo/exo.hpp>

#include <atomic>
#include <chrono>

using exo::u64;

namespace {

/// Waits for all cores, so that each runs this once, and says which one it is.
void say_number(exo::barrier &everyone) {
  everyone.arrive_and_wait();
  u64 const core = static_cast<u64>(exo::this_core());
  exo::print("core {:>2}: APIC id {}\n", core, exo::info().cores[core].apic_id);
}

}  // namespace

int main() {
  exo::u32 const cores = exo::core_count();
  exo::barrier everyone(cores);
  if (exo::u32 const used = exo::run_on_all([&] { say_number(everyone); }); used != cores) {
    exo::print("only {} of {} cores were idle\n", used, cores);
    return 1;
  }

  constexpr u64 last = 100'000'000;
  std::atomic<u64> sum = 0;
  auto const begin = exo::clock::now();
  exo::parallel_for(u64{1}, last + 1, [&](u64 from, u64 to) {
    u64 part = 0;
    for (u64 number = from; number < to; ++number) part += number;
    sum += part;
  });
  auto const time = std::chrono::duration_cast<std::chrono::microseconds>(exo::clock::now() - begin);

  bool const right = sum == last * (last + 1) / 2;
  exo::print("sum of 1 to {}: {}, {}, {} cores, {}\n", last, sum.load(), right ? "right" : "wrong", cores, time);
  return right ? 0 : 1;
}
