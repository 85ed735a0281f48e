// A frame interrupts a core that only runs: the handler of the queue's event is called. Any frame does.
#include "../boot/check.hpp"

using namespace check;

namespace {

constinit std::atomic<bool> told = false;

}  // namespace

int main() {
  constexpr u32 depth = 16, buffer_bytes = 2048;
  u64 const bytes = u64{depth} * info().nics[0].depth_bytes;
  same(core().nic_open(0, 1, depth, take_pages(bytes), bytes), 0);
  same(core().trap_set(event_vector + event_queue, [](trap_frame *) { told = true; }), 0);
  frame buffer{};
  buffer.address = address(take_pages(page_bytes));
  buffer.bytes = buffer_bytes;
  same(core().nic_rx_post(0, 0, &buffer, 1), 1);
  if (core().nic_arm(0, 0, ring_rx) == 1) told = true;  // one was there already
  print("waiting\n");
  for (u64 const end = ticks() + 60 * info().tsc_hz; !told && ticks() < end;) exo::pause();
  that(told, "the handler was not called");
  frame got{};
  same(core().nic_rx_reap(0, 0, &got, 1), 1);
  that(got.bytes >= 14, "that is no frame");
  same(core().core_idle(0) & ~i64{1 << event_queue}, 0);
  same(core().nic_close(0), 0);
  return verdict();
}
