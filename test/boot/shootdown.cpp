// A change of a mapping is seen by all cores when the call returns: a core that keeps reading a page faults at its next
// read, sees the other page behind the same address, and all cores may change mappings at the same time.
// boot: --cores 2
// boot: --cores 4
#include "check.hpp"

#include <array>

using namespace check;

namespace {

constexpr u32 core_limit = 4, page_fault = 14;
constexpr u64 base = u64{0x4000} << 30;
constexpr u32 read_write = access_read | access_write;

/// Runs a routine on all cores but this one until `until_idle`.
void on_others(entry_fn routine) {
  for (u32 number = 1; number < info().cores.size(); ++number) {
    while (core().core_start(number, routine, nullptr) != 0) exo::pause();
  }
}

void until_idle() {
  for (u32 number = 1; number < info().cores.size(); ++number) {
    auto const *block = reinterpret_cast<core_local const volatile *>(info().cores[number].local);
    while (block->running != 0) exo::pause();
  }
}

constinit std::array<std::atomic<u64>, core_limit> reads{}, faults{};
constinit std::atomic<bool> stop = false;

/// All other cores read a page without end; from the return of mem_protect on nobody can read it any more.
void protected_pages_fault_at_once() {
  std::byte *const page = take_pages(page_bytes);
  *reinterpret_cast<u64 *>(page) = 1;
  same(core().mem_map(base, address(page), page_bytes, read_write), 0);
  stop = false;
  on_others([](void *) {
    core().trap_set(page_fault, [](trap_frame *state) {
      ++faults[local().index];
      state->rax = 0;
      state->rip += 3;  // the reading instruction
    });
    while (!stop) {
      u64 value;
      asm volatile("movq (%1), %0" : "=a"(value) : "D"(base));
      reads[local().index].fetch_add(value, std::memory_order_relaxed);
    }
    core().trap_set(page_fault, nullptr);
  });
  for (u32 round = 0; round < 20; ++round) {
    for (u32 number = 1; number < info().cores.size(); ++number) {
      u64 const before = reads[number];
      while (reads[number] == before) exo::pause();
    }
    same(core().mem_protect(base, page_bytes, 0), 0);
    std::array<u64, core_limit> at_return{};
    for (u32 number = 1; number < info().cores.size(); ++number) {
      at_return[number] = reads[number];
      u64 const before = faults[number];
      while (faults[number] < before + 10) exo::pause();
      // A read that was done when the call returned may have been counted only now.
      that(reads[number] <= at_return[number] + 1, "a core read a page that was gone");
    }
    same(core().mem_protect(base, page_bytes, access_read), 0);
  }
  stop = true;
  until_idle();
}

/// One address, another page behind it each time: after the call nobody may see the old one.
void remapped_pages_show_the_new_page() {
  static constinit std::atomic<u64> wanted = 0, seen_old = 0;
  constexpr u64 place = base + page_bytes;
  std::byte *const two = take_pages(2 * page_bytes);
  *reinterpret_cast<u64 *>(two) = 0;
  same(core().mem_map(place, address(two), page_bytes, access_read), 0);
  stop = false;
  wanted = 0;
  on_others([](void *) {
    auto const *word = reinterpret_cast<u64 const volatile *>(place);
    while (!stop) {
      u64 const least = wanted;
      if (*word < least) ++seen_old;
    }
  });
  for (u64 round = 1; round <= 200; ++round) {
    std::byte *const page = two + round % 2 * page_bytes;
    *reinterpret_cast<u64 volatile *>(page) = round;
    same(core().mem_map(place, address(page), page_bytes, access_read), 0);
    wanted = round;
  }
  stop = true;
  until_idle();
  same(static_cast<i64>(seen_old), 0);
}

/// All cores change mappings of their own at the same time, some with interrupts off.
void all_cores_change_mappings() {
  static constinit std::atomic<u64> wrong = 0;
  auto const change = [](void *) {
    u64 const mine = base + (u64{1} << 30) + local().index * 16 * page_bytes;
    for (u64 round = 0; round < 150; ++round) {
      u64 const page = mine + round % 16 * page_bytes;
      auto *const word = reinterpret_cast<u64 volatile *>(page);
      if (round % 3 == 0) asm volatile("cli");
      if (core().mem_protect(page, page_bytes, 0) != 0) ++wrong;
      if (core().mem_protect(page, page_bytes, read_write) != 0) ++wrong;
      asm volatile("sti");
      *word = round;
      if (*word != round) ++wrong;
    }
  };
  u64 const bytes = core_limit * 16 * page_bytes;
  same(core().mem_map(base + (u64{1} << 30), address(take_pages(bytes)), bytes, read_write), 0);
  on_others(change);
  change(nullptr);
  until_idle();
  same(static_cast<i64>(wrong), 0);
}

}  // namespace

int main() {
  protected_pages_fault_at_once();
  remapped_pages_show_the_new_page();
  all_cores_change_mappings();
  return verdict();
}
