// What a record of a trace costs the program that makes it.
#include "count.hpp"

#include <exo/trace.hpp>

namespace {

constexpr exo::u64 records = 64;

/// Instructions of a record, in a piece of code that has nothing else; the worst of some rounds.
template <typename Record>
void measure(char const *name, Record record) noexcept {
  exo::u64 worst = 0;
  for (int round = 0; round < 4; ++round) {
    exo::u64 const sum = bench::instructions_of([&] {
#pragma GCC unroll 64
      for (exo::u64 at = 0; at < records; ++at) {
        record();
        asm volatile("" ::: "memory");
      }
    });
    worst = std::max(worst, sum);
  }
  bench::print_figure(name, worst, records, "instructions");
}

}  // namespace

int main() {
  if (auto const started = exo::trace::start(1024); !started) {
    exo::print("trace: {}\n", started.error());
    return 1;
  }
  measure("trace-record", [] { exo::trace::mark("mark"); });
  measure("trace-record-count", [] { exo::trace::count("count", 7); });
  measure("trace-record-scope", [] { exo::trace::scope const whole("scope"); });
}
