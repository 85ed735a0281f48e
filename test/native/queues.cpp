// A NIC with two queues, a core at each: every UDP message "flow" of 64 flows arrives, and both queues have some.
#include "../boot/check.hpp"

#include <exo/frame_port.hpp>

#include <cstring>

using namespace check;

namespace {

constexpr u32 depth = 64, flows = 64, header_bytes = 14 + 20 + 8;
constexpr u64 buffer_bytes = 2048;
constinit std::atomic<u32> arrived = 0;
constinit std::array<std::atomic<u32>, 2> at_queue{};

/// Takes frames of a queue until all flows have arrived, halting when there is none.
void serve(u32 queue) {
  std::byte *const memory = take_pages(depth * buffer_bytes);
  for (u32 each = 0; each < depth; ++each) {
    frame const buffer = frame_at(memory + each * buffer_bytes, buffer_bytes, each);
    same(core().nic_rx_post(0, queue, &buffer, 1), 1);
  }
  while (arrived < flows) {
    frame got[8];
    i64 const count = core().nic_rx_reap(0, queue, got, 8);
    for (i64 each = 0; each < count; ++each) {
      auto const *bytes = reinterpret_cast<char const *>(got[each].address);
      if (got[each].bytes >= header_bytes + 4 && std::memcmp(bytes + header_bytes, "flow", 4) == 0) {
        ++at_queue[queue];
        if (++arrived == flows) core().core_wake(1 - queue);
      }
      frame const again = frame_at(reinterpret_cast<std::byte *>(got[each].address), buffer_bytes, got[each].cookie);
      same(core().nic_rx_post(0, queue, &again, 1), 1);
    }
    if (count == 0 && core().nic_arm(0, queue, ring_rx) == 0) core().core_idle(ticks() + 20 * info().tsc_hz);
  }
}

}  // namespace

int main() {
  nic_record const &record = info().nics[0];
  same(record.queue_max, 2);
  u64 const bytes = u64{2} * depth * record.depth_bytes;
  same(core().nic_open(0, 2, depth, take_pages(bytes), bytes), 0);
  job other([] { serve(1); });
  auto running = run_on(core_id{1}, other);
  print("waiting\n");
  serve(0);
  running->wait();
  same(core().nic_close(0), 0);
  that(at_queue[0] != 0 && at_queue[1] != 0, "one queue has all frames");
  return verdict();
}
