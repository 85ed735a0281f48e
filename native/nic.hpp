// A NIC on a TAP device, or on any interface by a packet socket. Each queue pair has its own file: frames are written when they
// are sent, and read when they are reaped, straight from and into the program's buffers. What the kernel does not take is
// lost, as on any wire.
#pragma once

#include <fcntl.h>
#include <linux/if.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <linux/if_tun.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include <string_view>

#include "device.hpp"

namespace native {

inline constexpr u32 header_bytes = 14;
inline constexpr u32 nics_most = 4;
inline constexpr u32 armed_max = nics_most * queues_most;

/// Empty buffers that the program has posted, in its ring memory. Another core that armed it may look at the indices.
struct buffer_ring : ring_state {
  exo::frame *entries = nullptr;
  u32 depth = 0;
  std::atomic<u32> first = 0, end = 0;

  void start(void *memory, u32 entry_count) noexcept {
    entries = static_cast<exo::frame *>(memory);
    depth = entry_count;
    first = end = 0;
    armed_core = nobody;
  }
  [[nodiscard]] u32 used() const noexcept { return end - first; }
};

struct queue_pair {
  int file = -1;
  buffer_ring receive;
  completion_ring transmit;

  [[nodiscard]] bool has_frame() const noexcept {
    pollfd wait{.fd = file, .events = POLLIN, .revents = 0};
    return receive.used() != 0 && poll(&wait, 1, 0) > 0;
  }
};

struct nic_device {
  exo::nic_record record{};
  u32 open = 0;
  int control = -1;  // a socket to ask about the interface
  bool is_packet = false;  // the file of its one queue is a packet socket
  ifreq name{};
  std::array<queue_pair, queues_most> queues{};
};

inline constinit std::span<nic_device> nics{};

/// The receive rings that a core has armed and that have buffers, as files to poll.
inline u32 collect_armed(u32 core, pollfd *waits, ring_state **rings) noexcept {
  u32 count = 0;
  for (nic_device &nic : nics) {
    for (u32 queue = 0; queue < nic.record.queue_max; ++queue) {
      queue_pair &pair = nic.queues[queue];
      if (pair.receive.armed_core != core || pair.receive.used() == 0) continue;
      waits[count] = {.fd = pair.file, .events = POLLIN, .revents = 0};
      rings[count++] = &pair.receive;
    }
  }
  return count;
}

/// Attaches the first queues to the interface, so that it hands out frames to these only.
inline void attach(nic_device &device, u32 queues) noexcept {
  for (u32 queue = 0; device.record.queue_max > 1 && queue < device.record.queue_max; ++queue) {
    ifreq request{};
    request.ifr_flags = queue < queues ? IFF_ATTACH_QUEUE : IFF_DETACH_QUEUE;
    (void)ioctl(device.queues[queue].file, TUNSETQUEUE, &request);  // it may be so already
  }
}

inline i64 nic_open(u32 nic, u32 queues, u32 depth, void *memory, u64 bytes) {
  if (i64 const bad = check_open(nics, nic, queues, depth, memory, bytes)) return bad;
  nic_device &device = nics[nic];
  attach(device, queues);
  for (u32 queue = 0; queue < queues; ++queue) {
    queue_pair &pair = device.queues[queue];
    char *const ring = static_cast<char *>(memory) + u64{queue} * depth * device.record.depth_bytes;
    pair.receive.start(ring, depth);
    pair.transmit.start(ring + depth * sizeof(exo::frame), depth);
    char old;
    while (read(pair.file, &old, 1) > 0) {  // frames from before it was open
    }
  }
  device.open = queues;
  return 0;
}

inline i64 nic_close(u32 nic) {
  if (i64 const bad = check(nics, nic)) return bad;
  for (queue_pair &pair : nics[nic].queues) pair.receive.armed_core = pair.transmit.armed_core = nobody;
  attach(nics[nic], 1);
  nics[nic].open = 0;
  return 0;
}

/// An operation's entries as the kernel takes them, with one place more.
using vectors = std::array<iovec, depth_most + 1>;

inline i64 nic_tx(u32 nic, u32 queue, exo::frame const *frames, u32 count) {
  if (i64 const bad = check(nics, nic, queue, frames)) return bad;
  queue_pair &pair = nics[nic].queues[queue];
  i64 const fit = check_frames({frames, count}, pair.transmit.room, header_bytes, nics[nic].record.mtu + header_bytes);
  vectors parts;
  for (i64 next = 0; next < fit;) {
    exo::completion const what{.cookie = frames[next].cookie, .status = 0, .bytes = 0};
    u32 const entries = entries_of(std::span(frames + next, static_cast<std::size_t>(fit - next)));
    for (u32 entry = 0; entry < entries; ++entry, ++next) {
      parts[entry] = {.iov_base = reinterpret_cast<void *>(frames[next].address), .iov_len = frames[next].bytes};
    }
    (void)!writev(pair.file, parts.data(), static_cast<int>(entries));
    pair.transmit.room -= entries;
    pair.transmit.put(what, entries);
  }
  if (fit > 0) pair.transmit.finished();
  return fit;
}

inline i64 nic_tx_reap(u32 nic, u32 queue, exo::completion *out, u32 count) {
  if (i64 const bad = check(nics, nic, queue, out)) return bad;
  return nics[nic].queues[queue].transmit.reap(out, count);
}

inline i64 nic_rx_post(u32 nic, u32 queue, exo::frame const *buffers, u32 count) {
  if (i64 const bad = check(nics, nic, queue, buffers)) return bad;
  buffer_ring &ring = nics[nic].queues[queue].receive;
  i64 const fit = check_frames({buffers, count}, ring.depth - ring.used(), nics[nic].record.mtu + header_bytes, nobody);
  if (fit <= 0) return fit;
  for (u32 at = 0; at < fit; ++at) ring.entries[(ring.end + at) % ring.depth] = buffers[at];
  ring.end += static_cast<u32>(fit);
  return fit;
}

/// Reads a frame; `flags` gets those of the received one. The result is what it has, -1 if there is none.
inline ssize_t read_frame(nic_device const &device, int file, iovec *parts, u32 count, u8 &flags) noexcept {
  flags = 0;
  if (!device.is_packet) return readv(file, parts, static_cast<int>(count));
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(tpacket_auxdata))];
  msghdr message{.msg_name = nullptr, .msg_namelen = 0, .msg_iov = parts, .msg_iovlen = count, .msg_control = control,
                 .msg_controllen = sizeof(control), .msg_flags = 0};
  ssize_t const bytes = recvmsg(file, &message, 0);
  for (cmsghdr *each = CMSG_FIRSTHDR(&message); bytes >= 0 && each != nullptr; each = CMSG_NXTHDR(&message, each)) {
    tpacket_auxdata about{};
    if (each->cmsg_level != SOL_PACKET || each->cmsg_type != PACKET_AUXDATA) continue;
    std::memcpy(&about, CMSG_DATA(each), sizeof(about));
    if ((about.tp_status & TP_STATUS_CSUMNOTREADY) != 0) flags = exo::frame_checksum;  // from this host: left to its NIC
  }
  return bytes;
}

inline i64 nic_rx_reap(u32 nic, u32 queue, exo::frame *out, u32 count) {
  if (i64 const bad = check(nics, nic, queue, out)) return bad;
  queue_pair &pair = nics[nic].queues[queue];
  buffer_ring &ring = pair.receive;
  ring.armed_core = nobody;
  u32 taken = 0;
  vectors parts;
  while (taken < count && ring.used() != 0) {
    exo::frame const &head = ring.entries[ring.first % ring.depth];
    u32 entries = 0;
    ssize_t room = 0;
    for (bool more = true; more; ++entries) {
      exo::frame const &each = ring.entries[(ring.first + entries) % ring.depth];
      parts[entries] = {.iov_base = reinterpret_cast<void *>(each.address), .iov_len = each.bytes};
      room += each.bytes;
      more = (each.flags & entry_more) != 0;
    }
    char beyond;  // a frame that reaches here does not fit, and is lost
    parts[entries] = {.iov_base = &beyond, .iov_len = 1};
    u8 flags = 0;
    ssize_t const bytes = read_frame(nics[nic], pair.file, parts.data(), entries + 1, flags);
    if (bytes < 0) break;
    if (bytes > room) continue;
    exo::frame got{};
    got.address = head.address;
    got.cookie = head.cookie;
    got.bytes = static_cast<u32>(bytes);
    got.flags = flags;
    out[taken++] = got;
    ring.first += entries;
  }
  return taken;
}

/// Has a core interrupted when a frame comes in, if it has a handler for that: it may run and poll nothing.
inline void interrupt_on_frames(int file, core_state const &core) noexcept {
  if ((core.handled & u64{1} << exo::event_queue) == 0) return;
  f_owner_ex const owner{.type = F_OWNER_TID, .pid = core.thread};
  (void)fcntl(file, F_SETOWN_EX, &owner);
  (void)fcntl(file, F_SETSIG, event_signal);
  (void)fcntl(file, F_SETFL, O_RDWR | O_NONBLOCK | O_ASYNC);
}

inline i64 nic_arm(u32 nic, u32 queue, u32 rings) {
  if (rings == 0 || rings > (exo::ring_rx | exo::ring_tx)) return -error::range;
  if (i64 const bad = check(nics, nic, queue)) return bad;
  queue_pair &pair = nics[nic].queues[queue];
  if ((rings & exo::ring_rx) != 0) {
    pair.receive.armed_core = exo::local().index;
    interrupt_on_frames(pair.file, this_core());
    if (pair.has_frame()) {
      pair.receive.armed_core = nobody;
      return 1;
    }
  }
  return (rings & exo::ring_tx) != 0 ? pair.transmit.arm() : 0;
}

inline i64 nic_link(u32 nic) {
  if (i64 const bad = check(nics, nic)) return bad;
  ifreq request = nics[nic].name;
  return ioctl(nics[nic].control, SIOCGIFFLAGS, &request) == 0 && (request.ifr_flags & IFF_UP) != 0 ? 1 : 0;
}

/// Opens one more queue of a TAP device that exists; false if it has no more.
inline bool open_queue(nic_device &device, u32 queue, int flags) {
  int const file = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
  if (file < 0) refuse("/dev/net/tun cannot be opened: %s. Run as root, or leave out --net.", std::strerror(errno));
  ifreq request = device.name;
  request.ifr_flags = static_cast<short>(IFF_TAP | IFF_NO_PI | flags);
  if (ioctl(file, TUNSETIFF, &request) == 0) {
    device.queues[queue].file = file;
    return true;
  }
  int const why = errno;
  close(file);
  if (why == EPERM) {
    refuse("the TAP device '%s' may not be used. Run as root, or make it for a user: ip tuntap add %s mode tap user NAME",
           device.name.ifr_name, device.name.ifr_name);
  }
  if (why == EBUSY) refuse("the TAP device '%s' is in use by another program.", device.name.ifr_name);
  return false;
}

/// Waits until Linux has noticed that the other end is held, for which it takes up to a second: before, frames are lost.
inline void await_carrier(nic_device &device) noexcept {
  for (int tries = 0; tries < 2000; ++tries) {
    ifreq request = device.name;
    if (ioctl(device.control, SIOCGIFFLAGS, &request) != 0) return;
    if ((request.ifr_flags & IFF_UP) == 0 || (request.ifr_flags & IFF_RUNNING) != 0) return;
    usleep(1000);
  }
}

/// Opens a packet socket on an interface, which sees all frames that come in there, whoever they are for.
inline void open_packet(nic_device &device) {
  char const *const name = device.name.ifr_name;
  int const file = socket(AF_PACKET, SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);  // protocol 0: nothing comes before bind
  if (file < 0) refuse("the interface '%s' may not be used: %s. Run as root, or leave out --net.", name, std::strerror(errno));
  ifreq index = device.name;
  sockaddr_ll place{};
  place.sll_family = AF_PACKET;
  place.sll_protocol = __builtin_bswap16(ETH_P_ALL);
  packet_mreq promiscuous{};
  promiscuous.mr_type = PACKET_MR_PROMISC;
  int const on = 1;
  auto const set = [&](int option, auto const &value) { return setsockopt(file, SOL_PACKET, option, &value, sizeof(value)) == 0; };
  bool good = ioctl(device.control, SIOCGIFINDEX, &index) == 0;
  place.sll_ifindex = promiscuous.mr_ifindex = index.ifr_ifindex;
  // What this host itself sends there is not seen: it is on this side of the wire.
  good = good && set(PACKET_IGNORE_OUTGOING, on) && set(PACKET_AUXDATA, on) && set(PACKET_ADD_MEMBERSHIP, promiscuous);
  good = good && bind(file, reinterpret_cast<sockaddr const *>(&place), sizeof(place)) == 0;
  if (!good) refuse("the interface '%s' takes no packet socket: %s. Choose another for --net.", name, std::strerror(errno));
  device.queues[0].file = file;
  device.is_packet = true;
}

/// Makes a NIC as an option says: `tap:NAME`, with a queue for each core if the device was made with multi_queue, or
/// `packet:NAME`.
inline void make_nic(nic_device &device, char const *option) {
  char const *const name = std::strchr(option, ':') + 1;
  std::strncpy(device.name.ifr_name, name, IFNAMSIZ - 1);
  device.control = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  ifreq mtu = device.name, address = device.name;
  if (ioctl(device.control, SIOCGIFMTU, &mtu) != 0) {
    refuse("there is no network device '%s'. See those that there are: ip link; or make one as root: ip tuntap add %s mode tap",
           name, name);
  }
  u32 queues = 1;
  if (std::string_view(option).starts_with("packet:")) {
    open_packet(device);
  } else if (open_queue(device, 0, IFF_MULTI_QUEUE)) {
    u32 const most = core_count < queues_most ? core_count : queues_most;
    while (queues < most && open_queue(device, queues, IFF_MULTI_QUEUE)) ++queues;
  } else if (!open_queue(device, 0, 0)) {
    refuse("the network device '%s' is not a TAP device. Make one as root: ip tuntap add NAME mode tap", name);
  }
  device.record = {.function = ~u32{0},
                   .offloads = 0,
                   .mac = {},
                   .mtu = static_cast<exo::u16>(mtu.ifr_mtu),
                   .queue_max = queues,
                   .depth_max = depth_most,
                   .depth_bytes = sizeof(exo::frame) + sizeof(completion_ring::slot),
                   .interrupts = 1};
  // The other end of the wire has the device's own address; this end the same with another last bit, locally given.
  (void)ioctl(device.control, SIOCGIFHWADDR, &address);
  std::memcpy(device.record.mac, address.ifr_hwaddr.sa_data, sizeof(device.record.mac));
  device.record.mac[0] = static_cast<u8>((device.record.mac[0] & ~1) | 2);
  device.record.mac[5] ^= 1;
  attach(device, 1);
  if (!device.is_packet) await_carrier(device);
}

}  // namespace native
