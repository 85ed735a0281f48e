// Cores: what each has of its own, the state in which it enters a routine, starting it again and again, a ring of wakes.
// boot: --cores 1
// boot: --cores 2
// boot: --cores 4
// boot: --cores 8
// boot: --cores 64
// boot: --cores 255
// boot: --cores 6 -- -smp 6,sockets=2,cores=3
// boot: --cores 5 -- -cpu max,-x2apic -smp 5,sockets=5
#include "check.hpp"

#include <array>

using namespace check;

namespace {

constexpr u32 core_limit = 256;
u32 count() { return static_cast<u32>(info().cores.size()); }

void each_has_its_own() {
  for (u32 number = 0; number < count(); ++number) {
    core_record const &it = info().cores[number];
    auto const &block = *reinterpret_cast<core_local const *>(it.local);
    same(it.started, 1);
    same(block.index, number);
    same(static_cast<i64>(block.self), static_cast<i64>(it.local));
    same(static_cast<i64>(block.user), 0);
    that(it.stack_end % 16 == 0 && it.stack_bytes % page_bytes == 0, "a stack that is not aligned");
    u64 const stack = it.stack_end - it.stack_bytes;
    for (u64 page = stack; page < it.stack_end; page += page_bytes) same(state_of(page).at.access, 3);
    same(state_of(stack - page_bytes).at.access, 0);  // the guard
    for (u32 other = 0; other < number; ++other) {
      core_record const &that_one = info().cores[other];
      that(it.apic_id != that_one.apic_id, "two cores with one APIC id");
      that(it.stack_end <= that_one.stack_end - that_one.stack_bytes || stack >= that_one.stack_end, "stacks overlap");
    }
  }
}

/// The state in which a routine is entered.
struct entry_state {
  u64 rdi, rsp, rflags, rbp, fs_base, ds;
  u32 mxcsr, index;
  unsigned short control;
  std::atomic<bool> done;
};
constinit std::array<entry_state, core_limit> states{};

extern "C" void note_entry(void *argument) noexcept;
asm(R"(
  .pushsection .text
note_entry:
  movq %rdi, (%rdi)
  movq %rsp, 8(%rdi)
  pushfq
  popq 16(%rdi)
  movq %rbp, 24(%rdi)
  movl $0xc0000100, %ecx
  rdmsr
  movl %eax, 32(%rdi)
  movl %edx, 36(%rdi)
  stmxcsr 48(%rdi)
  movl %gs:8, %eax
  movl %eax, 52(%rdi)
  fnstcw 56(%rdi)
  movb $1, 58(%rdi)
  std
  retq
  .popsection
)");
static_assert(offsetof(entry_state, index) == 52 && offsetof(entry_state, done) == 58);

/// Starts a routine on a core that may still be on its way to idle.
void start(u32 number, entry_fn routine, void *argument) {
  i64 status;
  while ((status = core().core_start(number, routine, argument)) == -static_cast<i64>(error::busy)) exo::pause();
  same(status, 0);
}

void enters_as_a_function() {
  for (u32 round = 0; round < 3; ++round) {  // the second time after DF was left set
    for (u32 number = 1; number < count(); ++number) {
      entry_state &it = states[number];
      it.done = false;
      start(number, note_entry, &it);
    }
    for (u32 number = 1; number < count(); ++number) {
      entry_state &it = states[number];
      while (!it.done) exo::pause();
      same(static_cast<i64>(it.rdi), static_cast<i64>(address(&it)));
      same(it.index, number);
      same(it.rsp % 16, 8);
      that(it.rsp < info().cores[number].stack_end && it.rsp > info().cores[number].stack_end - 128, "not on its stack");
      same(static_cast<i64>(it.rflags & 0x600), 0x200);
      same(static_cast<i64>(it.rbp), 0);
      same(static_cast<i64>(it.fs_base), 0);
      same(it.mxcsr, 0x1F80);
      same(it.control, 0x37F);
    }
  }
}

void starts_again_and_again() {
  if (count() == 1) return;
  static constinit std::atomic<u64> runs = 0;
  u64 const rounds = 20'000;
  for (u64 round = 0; round < rounds; ++round) {
    u32 const number = 1 + static_cast<u32>(round) % (count() - 1);
    start(number, [](void *) { runs.fetch_add(1, std::memory_order_relaxed); }, nullptr);
  }
  while (runs < rounds) exo::pause();
  same(static_cast<i64>(runs), static_cast<i64>(rounds));
}

/// Each core hands a number to the next and wakes it; all but one are halted at any time.
void passes_a_wake_round() {
  static constinit std::array<std::atomic<u64>, core_limit> mail{};
  static constinit std::atomic<u32> lost = 0, ended = 0;
  static constinit u64 laps = 0;
  laps = 2000 / count() + 20;
  auto const member = [](void *) {
    u32 const next = (local().index + 1) % count();
    for (u64 lap = 1; lap <= laps; ++lap) {
      while (mail[local().index] != lap) {
        i64 const events = core().core_idle(ticks() + 10 * info().tsc_hz);
        if (events == 0 && mail[local().index] == lap) ++lost;
      }
      mail[next] = lap + (next == 0 ? 1 : 0);
      core().core_wake(next);
    }
    ++ended;
  };
  for (u32 number = 1; number < count(); ++number) start(number, member, nullptr);
  mail[0] = 1;
  core().core_wake(0);
  member(nullptr);
  while (ended < count()) exo::pause();
  same(lost, 0);
}

}  // namespace

int main() {
  same(core_count(), count());
  each_has_its_own();
  enters_as_a_function();
  starts_again_and_again();
  passes_a_wake_round();
  return verdict();
}
