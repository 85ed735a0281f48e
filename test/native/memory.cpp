// Memory and faults of a process: RAM at a second address, access, handlers that resume, and what stays the process's.
#include "../boot/check.hpp"

#include <cstring>

using namespace check;

namespace {

constexpr u64 far = u64{0x5000} << 30;
constexpr u32 read_write = access_read | access_write;
constexpr u32 divide = 0, breakpoint = 3, undefined = 6, protection = 13, page_fault = 14;
constinit trap_frame seen{};
constinit u64 faults = 0;

void aliases() {
  std::byte *const ram = take_pages(4 * page_bytes);
  auto *const word = reinterpret_cast<u64 volatile *>(ram);
  auto *const other = reinterpret_cast<u64 volatile *>(far);
  *word = 1;
  calling(core().mem_map).gives(0, far, address(ram), 4 * page_bytes, read_write);
  same(static_cast<i64>(*other), 1);
  *other = 2;
  same(static_cast<i64>(*word), 2);
  mapping at{};
  calling(core().mem_query).gives(0, far + page_bytes + 5, &at);
  same(static_cast<i64>(at.phys), static_cast<i64>(address(ram) + page_bytes + 5));
  same(at.access, read_write);
  for (u32 const access : {1u, 5u, 9u, 11u, 0u, 3u}) {
    calling(core().mem_protect).gives(0, far + page_bytes, 2 * page_bytes, access);
    for (u64 page = 0; page < 4; ++page) {
      calling(core().mem_query).gives(0, far + page * page_bytes, &at);
      same(at.access, page == 1 || page == 2 ? access : read_write);
      same(static_cast<i64>(at.phys), static_cast<i64>(address(ram) + page * page_bytes));
    }
  }
  // Over one that is there: the last page becomes the first one's, and a hole behind it is filled.
  calling(core().mem_map).gives(0, far + 3 * page_bytes, address(ram), 2 * page_bytes, read_write);
  same(static_cast<i64>(*reinterpret_cast<u64 volatile *>(far + 3 * page_bytes)), 2);
  calling(core().mem_query).gives(0, far + 2 * page_bytes, &at);
  same(static_cast<i64>(at.phys), static_cast<i64>(address(ram) + 2 * page_bytes));
}

void refuses() {
  auto const map = calling(core().mem_map);
  auto const protect = calling(core().mem_protect);
  u64 const page = address(take_pages(page_bytes)), place = far + (u64{1} << 30), end = u64{1} << 47;
  for (u64 const off : {u64{1}, u64{8}, u64{2048}, u64{4095}}) {
    map.refuses(error::range, place + off, page, page_bytes, access_read);
    map.refuses(error::range, place, page + off, page_bytes, access_read);
    map.refuses(error::range, place, page, page_bytes + off, access_read);
    protect.refuses(error::range, page + off, page_bytes, access_read);
    protect.refuses(error::range, page, page_bytes + off, access_read);
  }
  map.refuses(error::range, place, page, 0, access_read);
  map.refuses(error::range, end - page_bytes, page, 2 * page_bytes, access_read);
  map.refuses(error::range, place, u64{1} << 52, page_bytes, access_read);
  map.refuses(error::range, place, page, u64{1} << 46, access_read);
  for (u32 const access : {32u, ~0u}) map.refuses(error::range, place, page, page_bytes, access);
  for (u32 const both : {6u, 7u, 14u, 22u}) {
    map.refuses(error::denied, place, page, page_bytes, both);
    protect.refuses(error::denied, page, page_bytes, both);
  }
  map.refuses(error::denied, 0, page, page_bytes, access_read);
  map.refuses(error::unsupported, place, 0xFED00000, page_bytes, access_read);
  u64 const own = address(&failures) & ~(page_bytes - 1);
  map.refuses(error::denied, own, page, page_bytes, read_write);
  map.refuses(error::denied, own - 1024 * page_bytes, page, 2048 * page_bytes, read_write);
  protect.refuses(error::denied, own, page_bytes, access_read);
  protect.refuses(error::no_such, place, page_bytes, access_read);

  mapping at{};
  calling(core().mem_query).gives(0, address(&failures), &at);
  same(at.access, read_write);
  calling(core().mem_query).refuses(error::no_such, place, &at);
  calling(core().mem_query).refuses(error::range, end, &at);
  calling(core().mem_query).refuses(error::pointer, page, nullptr);
  auto const give = calling(core().mem_give);
  give.refuses(error::pointer, nullptr, page_bytes);
  give.refuses(error::range, reinterpret_cast<void *>(page), 0);
  give.refuses(error::pointer, reinterpret_cast<void *>(place), page_bytes);
  give.refuses(error::pointer, reinterpret_cast<void *>(far), page_bytes);  // RAM, but not at its own address
  give.refuses(error::denied, reinterpret_cast<void *>(own), page_bytes);
  give.gives(0, reinterpret_cast<void *>(page), page_bytes);
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
  for (u32 const none : {2u, 8u, 18u, 63u, 64u, ~0u}) calling(core().trap_set).refuses(error::no_such, none, skip);
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
  aliases();
  refuses();
  pages_on_demand();
  handlers_resume();
  all_cores();
  return verdict();
}
