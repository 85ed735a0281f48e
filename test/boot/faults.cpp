// Every fault without a handler ends the machine with a report: the vector's name, the core, the address where there is
// one, registers and a backtrace. On core 0 and on another one.
//
// boot: --args "divide 0"
// status: 128
// prints: fault #DE vector 0 core 0
// prints: exo16: trace 0
// boot: --args "divide 1"
// status: 128
// prints: fault #DE vector 0 core 1
// prints: exo16: trace 0
// boot: --args "breakpoint 0"
// status: 131
// prints: fault #BP vector 3 core 0
// boot: --args "breakpoint 1"
// status: 131
// prints: fault #BP vector 3 core 1
// boot: --args "undefined 0"
// status: 134
// prints: fault #UD vector 6 core 0
// boot: --args "undefined 1"
// status: 134
// prints: fault #UD vector 6 core 1
// boot: --args "null_call 0"
// status: 142
// prints: fault #PF vector 14 core 0
// prints: cr2 0000000000000000
// prints: rip 0000000000000000
// prints: err 0000000000000010
// boot: --args "null_call 1"
// status: 142
// prints: fault #PF vector 14 core 1
// prints: rip 0000000000000000
// boot: --args "null_read 0"
// status: 142
// prints: fault #PF vector 14 core 0
// prints: cr2 0000000000000008
// prints: err 0000000000000000
// boot: --args "null_read 1"
// status: 142
// prints: fault #PF vector 14 core 1
// prints: cr2 0000000000000008
// boot: --args "null_write 0"
// status: 142
// prints: cr2 0000000000000ff8
// prints: err 0000000000000002
// boot: --args "stack_overflow 0"
// status: 142
// prints: fault #PF vector 14 core 0
// boot: --args "stack_overflow 1"
// status: 142
// prints: fault #PF vector 14 core 1
// boot: --args "write_program_text 0"
// status: 142
// prints: fault #PF vector 14 core 0
// prints: err 0000000000000003
// boot: --args "write_program_text 1"
// status: 142
// prints: fault #PF vector 14 core 1
// prints: err 0000000000000003
// boot: --args "write_core_text 0"
// status: 142
// prints: cr2 0000000000100040
// prints: err 0000000000000003
// boot: --args "write_core_text 1"
// status: 142
// prints: fault #PF vector 14 core 1
// prints: cr2 0000000000100040
// boot: --args "write_call_table 0"
// status: 142
// prints: fault #PF vector 14 core 0
// prints: err 0000000000000003
// boot: --args "write_info 0"
// status: 142
// prints: fault #PF vector 14 core 0
// prints: err 0000000000000003
// boot: --args "run_data 0"
// status: 142
// prints: fault #PF vector 14 core 0
// prints: err 0000000000000011
// boot: --args "run_data 1"
// status: 142
// prints: fault #PF vector 14 core 1
// prints: err 0000000000000011
// boot: --args "run_stack 1"
// status: 142
// prints: err 0000000000000011
// boot: --args "run_core_data 0"
// status: 142
// prints: cr2 0000000000105000
// prints: err 0000000000000011
// boot: --args "unaligned_sse 0"
// status: 141
// prints: fault #GP vector 13 core 0
// boot: --args "unaligned_sse 1"
// status: 141
// prints: fault #GP vector 13 core 1
// boot: --args "non_canonical 0"
// status: 141
// prints: fault #GP vector 13 core 0
// boot: --args "non_canonical 1"
// status: 141
// prints: fault #GP vector 13 core 1
// boot: --args "x87_exception 1"
// status: 144
// prints: fault #MF vector 16 core 1
// boot: --args "double_fault 0"
// status: 136
// prints: fault #DF vector 8 core 0
// boot: --args "double_fault 1"
// status: 136
// prints: fault #DF vector 8 core 1
// boot: --args "double_fault_bad_stack 0"
// status: 136
// prints: fault #DF vector 8 core 0
// boot: --args "nmi 0"
// status: 130
// prints: vector 2 core 0
// boot: --args "in_handler 0"
// status: 142
// prints: fault #PF vector 14 core 0
// prints: cr2 0000000000000008
// boot: --args "in_handler 1"
// status: 142
// prints: fault #PF vector 14 core 1
// prints: cr2 0000000000000008
// boot: --args "handler_stack_overflow 1"
// status: 142
// prints: fault #PF vector 14 core 1
// boot: --args "registers 0"
// status: 134
// prints: r15 0f0f0f0f0f0f0f0f r14 0e0e0e0e0e0e0e0e
// prints: r13 0d0d0d0d0d0d0d0d r12 0c0c0c0c0c0c0c0c r11 0b0b0b0b0b0b0b0b
// prints: r10 0a0a0a0a0a0a0a0a r9  0909090909090909 r8  0808080808080808
// prints: rdi 0707070707070707 rsi 0606060606060606
// prints: rdx 0404040404040404 rcx 0303030303030303 rbx 0202020202020202
// prints: rax 0101010101010101
// boot: --args "console_is_held 0"
// status: 134
// prints: fault #UD vector 6 core 0
// boot: --args "all_at_once 0" --cores 4
// status: 134
// prints: fault #UD vector 6 core
#include "check.hpp"

#include <charconv>
#include <cstring>
#include <string_view>

using namespace check;

namespace {

/// Something that the compiler cannot see through.
template <typename T>
T opaque(T value) {
  asm volatile("" : "+r"(value));
  return value;
}

constinit u64 data_word = 0xC3C3C3C3C3C3C3C3;  // ret, were it code

[[gnu::noinline]] void divide() {
  u32 low = 1, high = 0;
  asm volatile("divl %2" : "+a"(low), "+d"(high) : "r"(0));
}

void breakpoint() { asm volatile("int3"); }
void undefined() { asm volatile("ud2"); }
void null_call() { asm volatile("call *%0" : : "r"(u64{0})); }
void null_read() { asm volatile("movq 8, %%rax" : : : "rax"); }
void null_write() { asm volatile("movq $1, 0xff8" : : : "memory"); }

[[gnu::noinline]] u64 deeper(u64 volatile *above) {
  u64 volatile room[32];
  room[0] = *above;
  return opaque(&deeper)(room) + room[0];
}
void stack_overflow() {
  u64 volatile one = 1;
  print("{}", deeper(&one));
}

void write_to(u64 place) { *reinterpret_cast<u64 volatile *>(opaque(place)) = 1; }
void write_program_text() { write_to(address(reinterpret_cast<void const *>(&null_read)) & ~u64{7}); }
void write_core_text() { write_to(0x100040); }
void write_call_table() { write_to(table_address + sizeof(table_header)); }
void write_info() { write_to(address(&info())); }

void run_at(u64 place) { asm volatile("call *%0" : : "r"(place)); }
void run_data() { run_at(address(&data_word)); }
void run_stack() {
  u64 volatile word = data_word;
  run_at(address(const_cast<u64 *>(&word)));
}
void run_core_data() { run_at(0x105000); }

void unaligned_sse() { asm volatile("movaps (%0), %%xmm0" : : "r"(address(&data_word) | 1) : "xmm0"); }
void non_canonical() { asm volatile("movq (%0), %%rax" : : "r"(u64{1} << 63) : "rax"); }

void x87_exception() {
  unsigned short const unmasked = 0x37F & ~4;  // division by zero
  asm volatile("fldcw %0; fld1; fldz; fdivrp; fwait" : : "m"(unmasked));
}

/// A copy of the core's IDT in which some gates are not present.
void without_gates(u64 vectors) {
  struct [[gnu::packed]] {
    u16 limit;
    u64 base;
  } idt;
  asm volatile("sidt %0" : "=m"(idt));
  static std::byte copy[64 * 16];
  std::memcpy(copy, reinterpret_cast<void const *>(idt.base), idt.limit + 1u);
  for (u32 vector = 0; vector < 64; ++vector) {
    if ((vectors >> vector & 1) != 0) copy[vector * 16 + 5] &= std::byte{0x7F};
  }
  idt.base = address(copy);
  asm volatile("lidt %0" : : "m"(idt));
}

void double_fault() {
  without_gates(1 << 13 | 1 << 11);  // #GP, and the #NP that its missing gate makes
  non_canonical();
}

/// The same where even the stack pointer leads nowhere.
void double_fault_bad_stack() {
  without_gates(1 << 14 | 1 << 11);
  asm volatile("movq $0x1000, %rsp; pushq %rax; movq 8, %rsp; pushq %rax");
}

void nmi() { asm volatile("int $2"); }

void fault_again(trap_frame *) { null_read(); }
void in_handler() {
  core().trap_set(6, fault_again);
  undefined();
}
void overflow_again(trap_frame *) { stack_overflow(); }
void handler_stack_overflow() {
  core().trap_set(6, overflow_again);
  undefined();
}

void registers() {
  asm volatile(R"(
    movabsq $0x0101010101010101, %rax
    movabsq $0x0202020202020202, %rbx
    movabsq $0x0303030303030303, %rcx
    movabsq $0x0404040404040404, %rdx
    movabsq $0x0606060606060606, %rsi
    movabsq $0x0707070707070707, %rdi
    movabsq $0x0808080808080808, %r8
    movabsq $0x0909090909090909, %r9
    movabsq $0x0a0a0a0a0a0a0a0a, %r10
    movabsq $0x0b0b0b0b0b0b0b0b, %r11
    movabsq $0x0c0c0c0c0c0c0c0c, %r12
    movabsq $0x0d0d0d0d0d0d0d0d, %r13
    movabsq $0x0e0e0e0e0e0e0e0e, %r14
    movabsq $0x0f0f0f0f0f0f0f0f, %r15
    ud2
  )");
}

/// Another core is in the middle of a long text.
void console_is_held() {
  static constinit std::atomic<bool> writing = false;
  auto const write = [](void *) {
    static char text[10'000];
    std::memset(text, '.', sizeof(text));
    writing = true;
    for (;;) core().console_write(text, sizeof(text));
  };
  for (u32 other = 0; other < info().cores.size(); ++other) core().core_start(other, write, nullptr);
  sleep_for(std::chrono::milliseconds(10));
  undefined();
}

void all_at_once() {
  static constinit std::atomic<u32> here = 0;
  run_on_all([] {
    ++here;
    while (here < 4) exo::pause();
    undefined();
  });
}

struct kind {
  std::string_view name;
  void (*run)();
};
constexpr kind kinds[] = {
    {"divide", divide}, {"breakpoint", breakpoint}, {"undefined", undefined}, {"null_call", null_call},
    {"null_read", null_read}, {"null_write", null_write}, {"stack_overflow", stack_overflow},
    {"write_program_text", write_program_text}, {"write_core_text", write_core_text}, {"write_call_table", write_call_table},
    {"write_info", write_info},
    {"run_data", run_data}, {"run_stack", run_stack}, {"run_core_data", run_core_data},
    {"unaligned_sse", unaligned_sse}, {"non_canonical", non_canonical}, {"x87_exception", x87_exception},
    {"double_fault", double_fault},
    {"double_fault_bad_stack", double_fault_bad_stack}, {"nmi", nmi}, {"in_handler", in_handler},
    {"handler_stack_overflow", handler_stack_overflow}, {"registers", registers},
    {"console_is_held", console_is_held}, {"all_at_once", all_at_once}};

}  // namespace

int main(int argc, char **argv) {
  if (argc != 3) return 1;
  for (kind const &each : kinds) {
    if (each.name != argv[1]) continue;
    if (argv[2][0] == '0') {
      each.run();
      return 2;
    }
    job other([&] { each.run(); });
    auto running = run_on(core_id{1}, other);
    if (!running) return 3;
    running->wait();
    return 2;
  }
  return 4;
}
