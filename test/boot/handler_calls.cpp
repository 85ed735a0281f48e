// A handler of the timer may use the same calls as the code that it interrupts, in the middle of the same call: nothing
// hangs, nothing is lost. It may not idle.
// boot: --cores 2
// boot: --cores 2 -- -machine pc
#include "check.hpp"

#include <array>

using namespace check;

namespace {

constexpr u32 timer_vector = event_vector + event_timer, core_limit = 2;
constexpr u32 read_write = access_read | access_write;

struct alignas(64) state {
  std::atomic<u64> ticks_seen;
  std::byte *pages;
  u64 wrong;
};
constinit std::array<state, core_limit> states{};
state &mine() { return states[local().index]; }

void use_calls(std::byte *page) {
  static constexpr char text[] = ".";
  state &it = mine();
  u32 const host_bridge = 0;
  if (core().console_write(text, 1) != 1) ++it.wrong;
  if (core().mem_protect(address(page), page_bytes, access_read) != 0) ++it.wrong;
  if (core().mem_protect(address(page), page_bytes, read_write) != 0) ++it.wrong;
  if (core().pci_read(host_bridge, 0, 2) != info().pci[0].vendor) ++it.wrong;
  if (core().pci_read(host_bridge, 2, 2) != info().pci[0].device) ++it.wrong;
  if (state_of(address(page)).at.access != read_write) ++it.wrong;
  if (core().core_wake(local().index ^ 1) != 0) ++it.wrong;
}

void on_timer(trap_frame *) {
  state &it = mine();
  use_calls(it.pages + page_bytes);
  if (core().core_idle(0) != -static_cast<i64>(error::busy)) ++it.wrong;
  it.ticks_seen.fetch_add(1, std::memory_order_relaxed);
  core().timer_set(ticks() + info().tsc_hz / 5'000);
}

void storm() {
  state &it = mine();
  it.pages = take_pages(2 * page_bytes);
  it.ticks_seen = 0;
  core().trap_set(timer_vector, on_timer);
  core().timer_set(ticks());
  while (it.ticks_seen < 300) use_calls(it.pages);
  core().trap_set(timer_vector, nullptr);
  core().timer_set(0);
  same(static_cast<i64>(it.wrong), 0);
}

}  // namespace

int main() {
  storm();
  same(run_on_all([] { storm(); }), 2);
  return verdict();
}
