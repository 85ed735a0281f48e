// Flows through a NIC of several queues, the first one, which a second NIC sends to over a bridge; test/boot/network.sh has
// both at TAP devices. Each packet is answered on another queue than the one it came by: a host that chooses the queue by
// itself goes after the answers then, a NIC that has been told how does not.
#include <exo/exo.hpp>
#include <exo/nic.hpp>

#include <algorithm>
#include <cstring>

using namespace exo;

namespace {

constexpr u32 depth = 32, flows = 64, rounds = 3, frame_bytes = 128, buffer_bytes = 2048;
constexpr u32 receiver = 0, sender = 1, queues_most = 8, nowhere = ~0u;
constexpr u32 id_at = 96;

struct alignas(buffer_bytes) buffer {
  u8 bytes[buffer_bytes];
};
constinit buffer received[queues_most * depth], returned[depth];
constinit u8 sent[frame_bytes], answer[frame_bytes];
constinit u64 header_bytes = 0;  // virtio's own, before each frame that the receiver gets, where it is opened for long ones

void put16(u8 *at, u32 value) { at[0] = static_cast<u8>(value >> 8), at[1] = static_cast<u8>(value); }

struct kind {
  char const *name;
  u32 version;
  u8 protocol;
};
constexpr kind kinds[] = {{"UDP over IPv4", 4, 17}, {"TCP over IPv4", 4, 6}, {"UDP over IPv6", 6, 17}, {"TCP over IPv6", 6, 6}};

/// A packet of a flow, one way or the other, and a number to know it by.
void write_packet(kind const &what, u32 flow, bool back, u32 id) {
  std::memset(sent, 0, sizeof(sent));
  std::memcpy(sent, info().nics[receiver].mac, 6);
  std::memcpy(sent + 6, info().nics[sender].mac, 6);
  bool const four = what.version == 4;
  u8 *const ip = sent + 14;
  u32 const header = four ? 20 : 40, address = four ? 4 : 16, inside = frame_bytes - 14 - header;
  put16(sent + 12, four ? 0x0800 : 0x86DD);
  ip[0] = four ? 0x45 : 0x60;
  put16(ip + (four ? 2 : 4), inside + (four ? header : 0));
  ip[four ? 8 : 7] = 64;
  ip[four ? 9 : 6] = what.protocol;
  u8 *const from = ip + header - 2 * address, *const to = from + address;
  std::memset(back ? to : from, 0x2A, address);
  std::memset(back ? from : to, 0x35, address);
  if (four) {
    u32 sum = 0;
    for (u32 at = 0; at < header; at += 2) sum += u32{ip[at]} << 8 | ip[at + 1];
    put16(ip + 10, ~((sum & 0xFFFF) + (sum >> 16)));
  }
  u8 *const ports = ip + header;
  put16(ports + (back ? 2 : 0), 20'000 + flow);
  put16(ports + (back ? 0 : 2), 443);
  if (what.protocol == 17) put16(ports + 4, inside);
  if (what.protocol == 6) ports[12] = 5 << 4, ports[13] = 0x10;  // ACK
  std::memcpy(sent + id_at, &id, sizeof(id));
}

void post(u32 nic, u32 queue, u8 *at) {
  frame const one = frame_at(reinterpret_cast<std::byte *>(at), buffer_bytes, 0);
  if (core().nic_rx_post(nic, queue, &one, 1) != 1) panic("no place for a buffer in queue {}", queue);
}

u8 *buffer_of(frame const &got) { return reinterpret_cast<u8 *>(got.address & ~u64{buffer_bytes - 1}); }

void send(u32 nic, u32 queue, u8 const *at) {
  frame const one = frame_at(reinterpret_cast<std::byte const *>(at), frame_bytes, 0);
  completion done{};
  if (core().nic_tx(nic, queue, &one, 1) != 1) panic("a frame is not taken by queue {}", queue);
  for (u64 const end = ticks() + 20 * info().tsc_hz; core().nic_tx_reap(nic, queue, &done, 1) == 0;) {
    if (ticks() > end) panic("a frame is not sent by queue {}", queue);
  }
}

/// Sends what is in `sent` until it has come, answers it, and returns the queue that it came by.
u32 queue_of(u32 queues, u32 id) {
  for (u64 const end = ticks() + 20 * info().tsc_hz; ticks() < end;) {
    send(sender, 0, sent);
    for (u64 const again = ticks() + info().tsc_hz / 4; ticks() < again;) {
      frame got{};
      while (core().nic_rx_reap(sender, 0, &got, 1) == 1) post(sender, 0, buffer_of(got));
      for (u32 queue = 0; queue < queues; ++queue) {
        if (core().nic_rx_reap(receiver, queue, &got, 1) != 1) continue;
        auto *const in = reinterpret_cast<u8 *>(got.address);
        bool const it_is = got.bytes == frame_bytes && std::memcmp(in, sent, frame_bytes) == 0;
        if (it_is) {
          std::memcpy(answer, in, frame_bytes);
          std::swap_ranges(answer, answer + 6, answer + 6);
          send(receiver, (queue + 1) % queues, answer);
        }
        if (got.address % buffer_bytes != header_bytes) panic("queue {} is opened another way", queue);
        post(receiver, queue, buffer_of(got));
        if (it_is) return queue;
      }
    }
  }
  panic("packet {} does not come", id);
}

nic open_nic(u32 number, u32 queues, buffer *buffers, long_frames lengths = long_frames::no) {
  auto const rings = pages::take(nic::ring_bytes(info().nics[number], queues, depth))->release();
  auto card = nic::open(number, queues, depth, rings, lengths);
  if (!card) panic("NIC {} does not open with {} queues: {}", number, queues, card.error());
  for (u32 at = 0; at < queues * depth; ++at) post(number, at / depth, buffers[at].bytes);
  return std::move(*card);
}

}  // namespace

int main() {
  u32 const queues = std::min(info().nics[receiver].queue_max, queues_most);
  nic from = open_nic(sender, 1, returned);
  u32 id = 0;
  {
    nic const to = open_nic(receiver, queues, received);
    for (kind const &what : kinds) {
      u32 queue_of_flow[flows], on_queue[queues_most]{};
      std::ranges::fill(queue_of_flow, nowhere);
      for (u32 packet = 0; packet < rounds * flows * 2; ++packet) {
        u32 const flow = packet / 2 % flows;
        write_packet(what, flow, packet % 2 != 0, ++id);
        u32 const queue = queue_of(queues, id);
        if (queue_of_flow[flow] == nowhere) queue_of_flow[flow] = queue, ++on_queue[queue];
        if (queue_of_flow[flow] != queue) panic("{}: flow {} goes from queue {} to {}", what.name, flow, queue_of_flow[flow], queue);
      }
      print("{}:", what.name);
      for (u32 queue = 0; queue < queues; ++queue) print(" {}", on_queue[queue]);
      print(" flows\n");
      if (*std::min_element(on_queue, on_queue + queues) < flows / queues / 2) panic("a queue has hardly any");
    }
    write_packet(kinds[0], 0, false, ++id);
    put16(sent + 12, 0x88B5);  // for experiments
    if (queue_of(queues, id) != 0) panic("what is no flow does not come by queue 0");
  }
  {
    nic const again = open_nic(receiver, queues, received, long_frames::yes);
    header_bytes = 12;
    for (u32 flow = 0; flow < 2 * queues; ++flow) {
      write_packet(kinds[0], flow, false, ++id);
      u32 const there = queue_of(queues, id);
      write_packet(kinds[0], flow, true, ++id);
      if (queue_of(queues, id) != there) panic("opened for long frames, flow {} goes by two queues", flow);
    }
  }
  header_bytes = 0;
  nic const one = open_nic(receiver, 1, received);
  write_packet(kinds[0], 0, false, ++id);
  (void)queue_of(1, id);
  print("{} queues keep their flows\n", queues);
}
