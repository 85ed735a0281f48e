// What test/contract does not ask of the memory and the faults of a process: demand paging, and handlers that resume.
#include "../boot/check.hpp"

#include <cstring>

using namespace check;

namespace {

constexpr u64 far = u64{0x5000} << 30;
constexpr u32 read_write = access_read | access_write;
constexpr u32 divide = 0, breakpoint = 3, undefined = 6, protection = 13, page_fault = 14;
constinit trap_frame seen{};
constinit u64 faults = 0;

/// Physical addresses that a process does not have.
void refuses() {
  calling(core().mem_map).refuses(error::unsupported, far, 0xFED00000, page_bytes, access_read);
}

/// A page of a range that was mapped with access 0 becomes usable when it is touched.
void pages_on_demand() {
  constexpr u64 count = 16;
  std::byte *const ram = take_pages(count * page_bytes);
  std::memset(ram, 7, count * page_bytes);
  u64 const place = far + (u64{2} << 30);
  same(core().mem_map(place, address(ram), count * page_bytes, 0), 0);
  core().trap_set(page_fault, [](trap_frame *state) {
    ++faults;
    seen = *state;
    core().mem_protect(state->address & ~(page_bytes - 1), page_bytes, read_write);
    same(core().core_idle(0), -static_cast<i64>(error::busy));
  });
  faults = 0;
  std::atomic_signal_fence(std::memory_order_seq_cst);  // the handler changes it, behind the compiler's back
  u64 sum = 0;
  for (u64 at = 0; at < count * page_bytes; at += page_bytes / 2) sum += *reinterpret_cast<u8 volatile *>(place + at);
  std::atomic_signal_fence(std::memory_order_seq_cst);
  same(static_cast<i64>(faults), count);
  same(static_cast<i64>(sum), 2 * 7 * count);
  same(static_cast<i64>(seen.error & ~u64{1}), 0);  // a read
  same(static_cast<i64>(seen.vector), page_fault);
  core().trap_set(page_fault, nullptr);
}

void handlers_resume() {
  trap_fn const skip = [](trap_frame *state) {
    seen = *state;
    state->rip += state->rdx;  // the length of the instruction
    state->rax = ~state->rax;
  };
  u64 value = 5;
  auto const expect = [&](u32 vector) {
    same(static_cast<i64>(seen.vector), vector);
    same(static_cast<i64>(value), ~i64{5});
    value = 5;
    core().trap_set(vector, nullptr);
  };
  core().trap_set(undefined, skip);
  asm volatile("ud2" : "+a"(value) : "d"(2) : "memory");
  expect(undefined);
  core().trap_set(breakpoint, skip);
  asm volatile("int3" : "+a"(value) : "d"(0) : "memory");
  expect(breakpoint);
  core().trap_set(protection, skip);
  asm volatile("hlt" : "+a"(value) : "d"(1) : "memory");
  expect(protection);
  core().trap_set(divide, skip);
  asm volatile("divl %%ecx" : "+a"(value) : "c"(0), "d"(2) : "memory");
  expect(divide);
  core().trap_set(page_fault, skip);
  asm volatile("movq %%rax, (%%rcx)" : "+a"(value) : "c"(0x123), "d"(3) : "memory");
  expect(page_fault);
  same(static_cast<i64>(seen.address), 0x123);
  same(static_cast<i64>(seen.error), 2);
}

/// What one core protects, the others find protected; each core has its own handlers.
void all_cores() {
  static constinit u64 volatile *word = nullptr;
  word = reinterpret_cast<u64 volatile *>(take_pages(page_bytes));
  same(core().mem_protect(address(const_cast<u64 *>(word)), page_bytes, access_read), 0);
  job writing([] {
    core().trap_set(page_fault, [](trap_frame *state) {
      ++faults;
      core().mem_protect(state->address & ~(page_bytes - 1), page_bytes, read_write);
    });
    *word = 9;
  });
  faults = 0;
  auto running = run_on(core_id{1}, writing);
  running->wait();
  same(static_cast<i64>(faults), 1);
  same(static_cast<i64>(*word), 9);
}

}  // namespace

int main() {
  refuses();
  pages_on_demand();
  handlers_resume();
  all_cores();
  return verdict();
}
