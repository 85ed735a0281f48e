// Handlers of traps: what they are told, what they may change, and what the interrupted code never notices.
// On every core at the same time, with AVX state and where the CPU has only FXSAVE.
// boot: --cores 2
// boot: --cores 2 -- -cpu max,-xsave
// boot: --cores 2 -- -cpu qemu64
// boot: --cores 4 -- -cpu Nehalem
#include "check.hpp"

#include <cpuid.h>

#include <array>
#include <cstring>

using namespace check;

namespace {

constexpr u32 debug = 1, breakpoint = 3, undefined = 6, page_fault = 14;
constexpr u32 core_limit = 4;
constexpr u64 demand_bytes = 64 * page_bytes;

/// What handlers note, one for each core.
struct alignas(64) notes {
  u64 count;
  trap_frame frame;
  std::byte *pages;
  u64 next_page;
  u64 round;
};
constinit notes all_notes[core_limit];
notes &mine() { return all_notes[local().index]; }

/// Another range for each core and each time.
u64 demand_first() { return (u64{0x4000} << 30) + local().index * (u64{1} << 30) + mine().round * demand_bytes; }

void note(trap_frame *state) {
  ++mine().count;
  mine().frame = *state;
}

// --- what a handler is told

void tells_vector_address_and_error() {
  mine().count = 0;
  core().trap_set(undefined, [](trap_frame *state) {
    note(state);
    state->rip += 2;
  });
  core().trap_set(page_fault, [](trap_frame *state) {
    note(state);
    state->rip += state->rdx;  // the length of the instruction
  });
  asm volatile("ud2");
  same(static_cast<i64>(mine().count), 1);
  same(static_cast<i64>(mine().frame.vector), undefined);
  same(static_cast<i64>(mine().frame.error), 0);
  that((mine().frame.rflags & 0x200) != 0, "the frame shows interrupts as off");
  asm volatile("movq %%rax, (%0)" : : "r"(u64{0x123}), "d"(u64{3}) : "memory");
  same(static_cast<i64>(mine().count), 2);
  same(static_cast<i64>(mine().frame.vector), page_fault);
  same(static_cast<i64>(mine().frame.error), 2);
  same(static_cast<i64>(mine().frame.address), 0x123);
  core().trap_set(undefined, nullptr);
  core().trap_set(page_fault, nullptr);
}

void handlers_run_on_the_trap_stack_with_interrupts_off() {
  static constinit u64 flags[core_limit], stack[core_limit];
  core().trap_set(breakpoint, [](trap_frame *) {
    asm volatile("pushfq; popq %0" : "=r"(flags[local().index]));
    stack[local().index] = address(__builtin_frame_address(0));
  });
  asm volatile("std; int3; cld");
  core().trap_set(breakpoint, nullptr);
  same(static_cast<i64>(flags[local().index] & 0x600), 0);  // IF and DF
  core_record const &record = info().cores[local().index];
  that(stack[local().index] < record.stack_end - record.stack_bytes || stack[local().index] >= record.stack_end,
       "the handler runs on the stack of the interrupted code");
}

// --- what it may change

void registers_may_change() {
  core().trap_set(breakpoint, [](trap_frame *state) {
    note(state);
    u64 *const all[] = {&state->rax, &state->rbx, &state->rcx, &state->rdx, &state->rsi, &state->rdi, &state->r8,
                        &state->r9,  &state->r10, &state->r11, &state->r12, &state->r13, &state->r14, &state->r15};
    for (u64 *each : all) *each = ~*each;
    state->rflags |= 1;  // carry
  });
  u64 wrong = 0, carry = 0;
  asm volatile(R"(
    movq $1, %%rax
    movq $2, %%rbx
    movq $3, %%rcx
    movq $4, %%rdx
    movq $5, %%rsi
    movq $6, %%rdi
    movq $7, %%r8
    movq $8, %%r9
    movq $9, %%r10
    movq $10, %%r11
    movq $11, %%r12
    movq $12, %%r13
    movq $13, %%r14
    movq $14, %%r15
    clc
    int3
    setc %%al
    movb %%al, %1
    movb $0xfe, %%al
    .set value, -2
    .irp register, rax, rbx, rcx, rdx, rsi, rdi, r8, r9, r10, r11, r12, r13, r14, r15
    cmpq $value, %%\register
    je 1f
    incl %0
1:
    .set value, value - 1
    .endr
  )"
               : "+m"(wrong), "+m"(carry)
               :
               : "rax", "rbx", "rcx", "rdx", "rsi", "rdi", "r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15", "cc");
  core().trap_set(breakpoint, nullptr);
  same(static_cast<i64>(wrong), 0);
  same(static_cast<i64>(carry & 1), 1);
}

void single_steps() {
  core().trap_set(breakpoint, [](trap_frame *state) {
    mine().count = 0;
    state->rflags |= 0x100;  // TF
  });
  core().trap_set(debug, [](trap_frame *state) {
    if (++mine().count == 5) state->rflags &= ~u64{0x100};
  });
  asm volatile("int3; nop; nop; nop; nop; nop; nop; nop; nop");
  same(static_cast<i64>(mine().count), 5);
  core().trap_set(debug, nullptr);
  core().trap_set(breakpoint, nullptr);
}

// --- demand paging

void maps_pages_on_demand() {
  ++mine().round;
  mine().pages = take_pages(demand_bytes);
  mine().next_page = mine().count = 0;
  core().trap_set(page_fault, [](trap_frame *state) {
    ++mine().count;
    u64 const page = state->address & ~(page_bytes - 1);
    if (page - demand_first() >= demand_bytes) panic("a fault elsewhere");
    if (core().mem_map(page, address(mine().pages) + mine().next_page, page_bytes, access_read | access_write) != 0) {
      panic("mem_map in a handler");
    }
    mine().next_page += page_bytes;
  });
  for (u32 round = 0; round < 2; ++round) {
    for (u64 at = 0; at < demand_bytes; at += page_bytes) {
      auto *const word = reinterpret_cast<u64 volatile *>(demand_first() + at);
      if (round == 0) {
        *word = at ^ 0x55;
      } else {
        same(static_cast<i64>(*word), static_cast<i64>(at ^ 0x55));
      }
    }
  }
  same(static_cast<i64>(mine().count), demand_bytes / page_bytes);

  core().trap_set(page_fault, [](trap_frame *state) {  // a page that was only protected
    ++mine().count;
    core().mem_protect(state->address & ~(page_bytes - 1), page_bytes, access_read | access_write);
  });
  mine().count = 0;
  same(core().mem_protect(demand_first(), demand_bytes, 0), 0);
  for (u64 at = 0; at < demand_bytes; at += page_bytes) {
    same(static_cast<i64>(*reinterpret_cast<u64 volatile *>(demand_first() + at)), static_cast<i64>(at ^ 0x55));
  }
  same(static_cast<i64>(mine().count), demand_bytes / page_bytes);
  core().trap_set(page_fault, nullptr);
}

// --- vector state

bool has_avx() {
  u32 eax = 1, ebx, ecx = 0, edx;
  asm("cpuid" : "+a"(eax), "=b"(ebx), "+c"(ecx), "=d"(edx));
  return (ecx & bit_AVX) != 0 && (ecx & bit_OSXSAVE) != 0;
}

/// Everything that XSAVE knows of, filled with one byte; x87 with one number.
void fill_vectors(u8 value, bool avx) {
  alignas(32) u8 bytes[32];
  std::memset(bytes, value, sizeof(bytes));
  double const number = value;
  asm volatile("fninit");
  for (u32 turn = 0; turn < 8; ++turn) asm volatile("fldl %0" : : "m"(number));
  if (avx) {
    asm volatile(".irp n,0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15\n vmovdqa (%0), %%ymm\\n\n .endr" : : "r"(bytes));
  } else {
    asm volatile(".irp n,0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15\n movdqa (%0), %%xmm\\n\n .endr" : : "r"(bytes));
  }
}

void vector_state_is_kept() {
  core().trap_set(breakpoint, [](trap_frame *) {
    fill_vectors(0xEE, has_avx());
    u32 const control = 0x7F80;  // round toward zero
    asm volatile("ldmxcsr %0" : : "m"(control));
  });
  bool const avx = has_avx();
  alignas(32) u8 after[16][32] = {};
  double numbers[8];
  u32 control = 0;
  fill_vectors(0x77, avx);
  asm volatile("int3" : : : "memory");
  if (avx) {
    asm volatile(".irp n,0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15\n vmovdqa %%ymm\\n, 32*\\n(%0)\n .endr"
                 : : "r"(after) : "memory");
  } else {
    asm volatile(".irp n,0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15\n movdqa %%xmm\\n, 32*\\n(%0)\n .endr"
                 : : "r"(after) : "memory");
  }
  for (double &each : numbers) asm volatile("fstpl %0" : "=m"(each));
  asm volatile("stmxcsr %0" : "=m"(control));
  asm volatile("fninit");
  core().trap_set(breakpoint, nullptr);
  for (auto const &each : after) {
    for (u32 at = 0; at < (avx ? 32u : 16u); ++at) {
      if (each[at] != 0x77) return fail(where::current(), "a vector register has changed");
    }
  }
  for (double const each : numbers) that(each == 0x77, "an x87 register has changed");
  same(control, 0x1F80);
}

// --- the timer as an upcall

constexpr u32 timer_vector = event_vector + event_timer;
u64 slice() { return info().tsc_hz / 20'000; }

void rearm(trap_frame *) {
  ++mine().count;
  core().timer_set(ticks() + slice());
}

void stop_timer() {
  core().trap_set(timer_vector, nullptr);
  core().timer_set(0);
}

void timer_interrupts_a_loop() {
  std::atomic_ref const count(mine().count);
  count = 0;
  core().trap_set(timer_vector, rearm);
  core().timer_set(ticks() + slice());
  while (count.load(std::memory_order_relaxed) < 100) {
  }
  stop_timer();
}

/// Writes below its own stack pointer, as leaf functions may, and looks after it for a while.
u64 use_red_zone(u64 rounds) {
  u64 broken = 0;
  asm volatile(R"(
    subq $256, %%rsp
1:
    .set place, 8
    .rept 16
    leaq place(%%rsp,%1,8), %%rax
    movq %%rax, -place(%%rsp)
    .set place, place + 8
    .endr
    pause
    .set place, 8
    .rept 16
    leaq place(%%rsp,%1,8), %%rax
    cmpq %%rax, -place(%%rsp)
    setne %%al
    movzbl %%al, %%eax
    addq %%rax, %0
    .set place, place + 8
    .endr
    decq %1
    jnz 1b
    addq $256, %%rsp
  )"
               : "+r"(broken), "+r"(rounds)
               :
               : "rax", "cc", "memory");
  return broken;
}

void red_zone_is_safe_in_a_storm() {
  mine().count = 0;
  core().trap_set(timer_vector, rearm);
  core().timer_set(ticks() + slice());
  for (u32 turn = 0; turn < 1000 && mine().count < 300; ++turn) same(static_cast<i64>(use_red_zone(20'000)), 0);
  stop_timer();
  that(mine().count >= 300, "there was no storm");
}

/// Two loops without any call in them share a core: the handler swaps whole frames.
struct fibers {
  trap_frame waiting;
  u64 turns[2];
  u64 current;
  u64 switches;
};
constinit fibers all_fibers[core_limit];

void swap_fibers(trap_frame *state) {
  fibers &both = all_fibers[local().index];
  std::swap(*state, both.waiting);
  both.current ^= 1;
  ++both.switches;
  core().timer_set(ticks() + slice());
}

[[noreturn]] void second_fiber(u64 *turns) {
  for (;;) {
    asm volatile("" : : : "memory");
    ++*turns;
  }
}

void timer_switches_fibers() {
  fibers &both = all_fibers[local().index];
  both = {};
  alignas(16) static constinit std::byte stacks[core_limit][4096];
  core().trap_set(breakpoint, [](trap_frame *state) {
    fibers &mine = all_fibers[local().index];
    mine.waiting = *state;  // segments and flags
    mine.waiting.rip = address(reinterpret_cast<void const *>(&second_fiber));
    mine.waiting.rsp = address(stacks[local().index]) + sizeof(stacks[0]) - 8;
    mine.waiting.rdi = address(&mine.turns[1]);
  });
  asm volatile("int3" : : : "memory");
  core().trap_set(breakpoint, nullptr);
  core().trap_set(timer_vector, swap_fibers);
  core().timer_set(ticks() + slice());
  std::atomic_ref const switches(both.switches);
  u64 turns_at_last = 0;
  while (switches.load(std::memory_order_relaxed) < 60) ++turns_at_last;
  asm volatile("cli");
  stop_timer();
  asm volatile("sti");
  that(both.turns[1] > 0 && turns_at_last > 0, "one of the fibers did not run");
}

void on_each_core() {
  tells_vector_address_and_error();
  handlers_run_on_the_trap_stack_with_interrupts_off();
  registers_may_change();
  single_steps();
  maps_pages_on_demand();
  vector_state_is_kept();
  timer_interrupts_a_loop();
  red_zone_is_safe_in_a_storm();
  timer_switches_fibers();
}

}  // namespace

int main() {
  // One core after another, then all at once.
  for (u32 number = 0; number < core_count(); ++number) {
    if (number == local().index) {
      on_each_core();
      continue;
    }
    job work(on_each_core);
    auto running = run_on(core_id{number}, work);
    that(running.has_value(), "the core did not start");
  }
  same(run_on_all([] { on_each_core(); }), core_count());
  return verdict();
}
