// VMware's vmxnet3: 10 Gbit/s on paper, one ring each to receive and to send, each with a ring of completions.
//
// Every descriptor has a buffer of its own for good, so a frame is written and read where the device does. Descriptors
// and completions belong to who their generation bit says; it changes with every round of a ring.
// SPEC  VMware has published none: the layout is the one that its drivers for free systems and emulators agree on, in
//       which the structs below keep those drivers' order of fields
#pragma once

#include <atomic>

#include "../frame_device.hpp"
#include "driver.hpp"

namespace exo {

namespace detail::vmxnet3_layout {

struct descriptor {
  u64 address;
  u32 word2;
  u32 word3;
};
struct completed {
  u32 word0;
  u32 word1;
  u32 word2;
  u32 word3;
};
static_assert(sizeof(descriptor) == 16 && sizeof(completed) == 16);

inline constexpr u32 length_mask = 0x3FFF;          // word2 of descriptors and of receive completions
inline constexpr u32 send_generation = 1 << 14;     // descriptor.word2
inline constexpr u32 send_end = 1 << 12;            // descriptor.word3: the frame's last part
inline constexpr u32 send_completion = 1 << 13;     // descriptor.word3: a completion is wanted
inline constexpr u32 receive_generation = 1u << 31;     // descriptor.word2
inline constexpr u32 completion_generation = 1u << 31;  // completion.word3
inline constexpr u32 index_mask = 0xFFF;            // completion.word0: number of the descriptor
inline constexpr u32 whole_frame = 3 << 14;         // completion.word0: begin and end of a frame
inline constexpr u32 ring_mask = 0x3FF << 16;       // completion.word0: number of the receive ring
inline constexpr u32 receive_error = 1 << 14;       // completion.word2

struct queue_status {
  u32 stopped;
  u32 why;
};

struct send_queue {
  u32 deferred;
  u32 threshold;
  u64 reserved;
  u64 ring;
  u64 data_ring;
  u64 completions;
  u64 driver_data;
  u64 reserved_too;
  u32 ring_size;
  u32 data_ring_size;
  u32 completions_size;
  u32 driver_data_bytes;
  u8 interrupt;
  u8 padding[7];
  queue_status status;
  u64 counts[10];
  u8 rest[88];
};
struct receive_queue {
  u8 wants_producer;  // the device wants to be told of new buffers
  u8 padding[7];
  u64 reserved;
  u64 ring[2];
  u64 completions;
  u64 driver_data;
  u64 reserved_too;
  u32 ring_size[2];
  u32 completions_size;
  u32 driver_data_bytes;
  u8 interrupt;
  u8 padding_too[7];
  queue_status status;
  u64 counts[10];
  u8 rest[88];
};
static_assert(sizeof(send_queue) == 256 && sizeof(receive_queue) == 256);

struct queues {
  send_queue send;
  receive_queue receive;
};

struct variable_block {
  u32 version;
  u32 bytes;
  u64 address;
};

/// What the device reads when it is activated, and where it reports events.
struct shared {
  u32 magic;
  u32 padding;
  u32 driver_version;
  u32 guest;
  u32 revisions;
  u32 upt_versions;
  u64 features;
  u64 driver_data;
  u64 queues;
  u32 driver_data_bytes;
  u32 queues_bytes;
  u32 mtu;
  u16 parts_max;
  u8 send_queues;
  u8 receive_queues;
  u32 reserved[4];
  u8 automatic_mask;
  u8 interrupts;
  u8 event_interrupt;
  u8 moderation[25];
  u32 interrupt_control;
  u32 reserved_too[2];
  u32 receive_mode;
  u16 multicast_bytes;
  u16 padding_too;
  u64 multicast;
  u32 vlans[128];
  variable_block rss, power, plugin;
  u32 events;
  u32 reserved_last[5];
};
static_assert(offsetof(shared, features) == 24 && offsetof(shared, automatic_mask) == 80);
static_assert(offsetof(shared, receive_mode) == 120 && offsetof(shared, events) == 696 && sizeof(shared) == 720);

inline constexpr u32 magic = 0xBABEFEE1;
inline constexpr u32 guest_64_bits = 2, guest_kind = 1 << 2;  // the kind that most drivers say
inline constexpr u32 mode_unicast = 0x01, mode_broadcast = 0x04, mode_all_multicast = 0x08;
inline constexpr u32 event_receive_error = 0x01, event_send_error = 0x02;

/// What a receive completion has to say for the buffer that comes next; else the device has lost its place.
[[nodiscard]] constexpr bool plausible(completed const &next, u32 expected, u32 buffer_bytes) noexcept {
  return (next.word0 & index_mask) == expected && (next.word0 & ring_mask) == 0 &&
         (next.word0 & whole_frame) == whole_frame && (next.word2 & length_mask) <= buffer_bytes;
}

}  // namespace detail::vmxnet3_layout

class vmxnet3 {
 public:
  static constexpr u32 mtu_max = 9000;

  [[nodiscard]] static bool probe(pci_record const &function) noexcept {
    return function.vendor == 0x15AD && function.device == 0x07B0;
  }

  /// Resets and starts the device.
  ///
  /// @param mtu          up to 9000
  /// @error no_such      it is another device, or its registers have no address
  /// @error range        an MTU that the device does not have
  /// @error memory       too little RAM
  /// @error unsupported  it does not know the first revision of its interface
  /// @error io           it does not start
  /// @core  any          @heap  pages
  [[nodiscard]] static opened<vmxnet3> open(pci_record const &function) noexcept { return open(function, 1500); }
  [[nodiscard]] static opened<vmxnet3> open(pci_record const &function, u32 mtu) noexcept {
    if (!probe(function)) return not_opened(error::no_such, "This function is no vmxnet3.");
    result<pci_bar> const rings = pci_function(function).bar(0), control = pci_function(function).bar(1);
    if (!rings || !control || rings->bytes() < registers_bytes || control->bytes() < registers_bytes) {
      return not_opened(error::no_such, "The vmxnet3's registers have no address: the firmware has given it none.");
    }
    if (mtu < mtu_min || mtu > mtu_max) return not_opened(error::range, "A vmxnet3 has an MTU of 60 to 9000 bytes.");
    result<pages> memory = take_dma(sizeof(tables) + u64{send_count + receive_count} * buffer_bytes_for(mtu));
    if (!memory) return not_opened(memory.error(), "There is too little RAM for the vmxnet3's frames.");
    vmxnet3 device(function, rings->address(), control->address(), std::move(*memory), mtu);
    if ((device.control(revisions).read() & device.control(upt_versions).read() & 1) == 0) {
      return not_opened(error::unsupported, "The vmxnet3 does not speak revision 1 of its interface.");
    }
    if (!device.start()) return not_opened(error::io, "The vmxnet3 does not start.");
    return device;
  }

  vmxnet3(vmxnet3 &&) noexcept = default;
  ~vmxnet3() {
    if (function_.held()) control(command).write(command_reset);
  }

  [[nodiscard]] net::mac_address mac() const noexcept { return mac_; }
  [[nodiscard]] std::size_t mtu() const noexcept { return mtu_; }
  [[nodiscard]] frame_counters const &counters() const noexcept { return counters_; }

  /// In Mbit/s; 0: the link is down, or the device was removed.
  [[nodiscard]] u32 link_speed() const noexcept {
    if (gone_) return 0;
    u32 const link = ask(command_link);
    return link == ~u32{0} || (link & link_up) == 0 ? 0 : std::max<u32>(link >> 16, 1);
  }

  /// Hands up to 32 frames to consume(net::received_frame), where the device has put them.
  template <std::invocable<net::received_frame> Consume>
  std::size_t try_receive(Consume &&consume) {
    using namespace detail::vmxnet3_layout;
    std::size_t count = 0, taken = 0;  // frames handed over, completions
    for (; taken < receive_batch && has_frame(); ++taken) {
      completed const next = table().received[received_];
      u32 const index = next_buffer_;
      if (!plausible(next, index, buffer_bytes_)) {
        ++counters_.damaged;
        reset();
        return count;
      }
      advance(received_, received_generation_, received_size);
      next_buffer_ = (index + 1) % receive_count;
      u64 const resets = counters_.resets;
      if ((next.word2 & receive_error) != 0) {
        ++counters_.damaged;
      } else {
        ++counters_.received;
        ++count;
        consume(net::received_frame{{receive_buffer(index), next.word2 & length_mask}});
      }
      if (resets != counters_.resets) return count;  // consume() has sent, and found the device stuck
      post();
    }
    if (taken != 0) tell_posted();
    if (passed_over()) {
      ++counters_.damaged;
      reset();
    }
    check_events();
    return count;
  }

  /// Lets fill(std::span<std::byte>) write a frame of `bytes` and queues it; flush() sends it.
  ///
  /// @return  false, and fill not called, when 63 frames are on their way, or the frame is longer than MTU and header
  template <std::invocable<std::span<std::byte>> Fill>
  bool try_send(std::size_t bytes, Fill &&fill) {
    using namespace detail::vmxnet3_layout;
    if (bytes > mtu() + net::ethernet_header_bytes || gone_) return false;
    if (queued_ - done_ == send_count - 1) {
      flush();
      reap();
      if (queued_ - done_ == send_count - 1) return false;
    }
    u32 const index = queued_ % send_count;
    std::span const buffer(send_buffer(index), buffer_bytes_);
    fill(buffer.first(bytes));
    descriptor &entry = table().send[index];
    entry.address = reinterpret_cast<u64>(buffer.data());
    entry.word3 = send_end | send_completion;
    std::atomic_ref(entry.word2).store(pad_frame(buffer, bytes) | (queued_ / send_count % 2 == 0 ? send_generation : 0),
                                       std::memory_order_release);
    ++queued_;
    return true;
  }

  /// Gives the queued frames to the device, one doorbell for all.
  void flush() noexcept {
    if (sent_ == queued_ || gone_) return;
    sent_ = queued_;
    rings(send_producer).write(sent_ % send_count);
    stuck_at_ = deadline_in(send_patience);
  }

  /// Flushes, then halts this core until a frame arrives, another event, or the deadline. May return early.
  void wait(clock::time_point deadline) noexcept {
    flush();
    if (gone_) return;
    if (wake_.over_line()) (void)control(interrupt_cause).read();
    if (wake_.here()) rings(interrupt_mask).write(0);
    if (!has_frame() && (queued_ - done_ < send_count - 1 || !has_sent())) wake_.idle(deadline);
    rings(interrupt_mask).write(1);
    check_events();
  }

  /// Flushes, then polls until the device has sent everything; false if the deadline came first.
  bool drain(clock::time_point deadline) noexcept {
    flush();
    for (reap(); done_ != queued_ && !gone_ && clock::now() < deadline; reap()) pause();
    return done_ == queued_;
  }

 private:
  // Registers of BAR 0
  static constexpr u32 interrupt_mask = 0x000, send_producer = 0x600, receive_producer = 0x800;
  // Registers of BAR 1
  static constexpr u32 revisions = 0x00, upt_versions = 0x08, shared_low = 0x10, shared_high = 0x18, command = 0x20,
                       mac_low = 0x28, mac_high = 0x30, interrupt_cause = 0x38, events = 0x40;
  static constexpr u32 registers_bytes = 4096;
  static constexpr u32 command_activate = 0xCAFE0000, command_reset = 0xCAFE0002, command_receive_mode = 0xCAFE0003,
                       command_link = 0xF00D0002;
  static constexpr u32 link_up = 1;

  static constexpr u32 mtu_min = 60;
  static constexpr u32 send_count = 64, receive_count = 128;  // multiples of 32
  static constexpr u32 body_count = 32;                       // the second receive ring, of which none is lent
  static constexpr u32 received_size = receive_count + body_count;
  static constexpr std::chrono::seconds send_patience{2};

  struct tables {  // each ring lies at a multiple of 512
    alignas(512) detail::vmxnet3_layout::descriptor send[send_count];
    alignas(512) detail::vmxnet3_layout::completed sent[send_count];
    alignas(512) detail::vmxnet3_layout::descriptor receive[receive_count];
    alignas(512) detail::vmxnet3_layout::descriptor body[body_count];
    alignas(512) detail::vmxnet3_layout::completed received[received_size];
    alignas(512) detail::vmxnet3_layout::queues queues;
    alignas(512) detail::vmxnet3_layout::shared shared;
  };

  static constexpr u32 buffer_bytes_for(u32 mtu) noexcept {
    return static_cast<u32>(align_up(u64{mtu} + net::ethernet_header_bytes + 4, 64));  // and a VLAN tag
  }

  vmxnet3(pci_record const &function, u64 rings, u64 control, pages memory, u32 mtu) noexcept
      : memory_(std::move(memory)),
        function_(function),
        wake_(function, 0),
        rings_(rings),
        control_(control),
        mtu_(mtu),
        buffer_bytes_(buffer_bytes_for(mtu)) {}

  [[nodiscard]] mmio<u32> rings(u32 offset) const noexcept { return mmio<u32>(rings_ + offset); }
  [[nodiscard]] mmio<u32> control(u32 offset) const noexcept { return mmio<u32>(control_ + offset); }
  [[nodiscard]] u32 ask(u32 what) const noexcept {
    control(command).write(what);
    return control(command).read();
  }

  [[nodiscard]] tables &table() const noexcept { return *reinterpret_cast<tables *>(memory_.data()); }
  [[nodiscard]] std::byte *send_buffer(u32 index) const noexcept {
    return memory_.data() + sizeof(tables) + u64{index} * buffer_bytes_;
  }
  [[nodiscard]] std::byte *receive_buffer(u32 index) const noexcept { return send_buffer(send_count + index); }

  /// Resets the device and sets it up from the beginning; false if it does not take it.
  bool start() noexcept {
    using namespace detail::vmxnet3_layout;
    control(revisions).write(1);
    control(upt_versions).write(1);
    control(command).write(command_reset);
    u32 const low = control(mac_low).read(), high = control(mac_high).read();
    for (u32 at = 0; at < mac_.octets.size(); ++at) {
      mac_.octets[at] = static_cast<u8>(at < 4 ? low >> 8 * at : high >> 8 * (at - 4));
    }
    fill_tables();
    function_.allow_dma();
    u64 const address = reinterpret_cast<u64>(&table().shared);
    control(shared_low).write(static_cast<u32>(address));
    control(shared_high).write(static_cast<u32>(address >> 32));
    if (ask(command_activate) != 0) return false;
    control(command).write(command_receive_mode);
    rings(interrupt_mask).write(1);
    tell_posted();
    return true;
  }

  void fill_tables() noexcept {
    using namespace detail::vmxnet3_layout;
    tables &all = *std::construct_at(&table());
    auto const address = [](auto const &ring) { return reinterpret_cast<u64>(&ring); };
    send_queue &send = all.queues.send;
    send.ring = address(all.send);
    send.ring_size = send_count;
    send.completions = address(all.sent);
    send.completions_size = send_count;
    receive_queue &receive = all.queues.receive;
    receive.ring[0] = address(all.receive);
    receive.ring[1] = address(all.body);
    receive.ring_size[0] = receive_count;
    receive.ring_size[1] = body_count;
    receive.completions = address(all.received);
    receive.completions_size = received_size;
    shared &common = all.shared;
    common.magic = magic;
    common.driver_version = 1;
    common.guest = guest_64_bits | guest_kind;
    common.revisions = 1;
    common.upt_versions = 1;
    common.queues = address(all.queues);
    common.queues_bytes = sizeof(queues);
    common.mtu = mtu_;
    common.send_queues = common.receive_queues = 1;
    common.automatic_mask = 1;
    common.interrupts = 1;
    common.receive_mode = mode_unicast | mode_broadcast | mode_all_multicast;
    done_ = sent_ = queued_ = 0;
    sent_at_ = received_ = next_buffer_ = posted_ = 0;
    sent_generation_ = received_generation_ = completion_generation;
    posted_generation_ = receive_generation;
    // One is always kept back: else the device could not tell a full ring from an empty one.
    while (posted_ != receive_count - 1) post();
  }

  /// Lends the buffer behind the last one that was lent.
  void post() noexcept {
    using namespace detail::vmxnet3_layout;
    descriptor &entry = table().receive[posted_];
    entry.address = reinterpret_cast<u64>(receive_buffer(posted_));
    std::atomic_ref(entry.word2).store(buffer_bytes_ | posted_generation_, std::memory_order_release);
    advance(posted_, posted_generation_, receive_count);
  }
  void tell_posted() const noexcept { rings(receive_producer).write(posted_); }

  /// The next place of a ring; behind the last one is the first, of the other generation.
  static void advance(u32 &index, u32 &generation, u32 size) noexcept {
    if (++index != size) return;
    index = 0;
    generation ^= 1u << 31;
  }

  [[nodiscard]] bool has(detail::vmxnet3_layout::completed &next, u32 generation) const noexcept {
    u32 const word = std::atomic_ref(next.word3).load(std::memory_order_acquire);
    return !gone_ && (word & detail::vmxnet3_layout::completion_generation) == generation;
  }
  [[nodiscard]] bool has_frame() const noexcept { return has(table().received[received_], received_generation_); }
  /// Whether the device has completed the frame behind the next one, but not that: it would be waited for without end.
  [[nodiscard]] bool passed_over() const noexcept {
    u32 behind = received_, generation = received_generation_;
    advance(behind, generation, received_size);
    return has(table().received[behind], generation) && !has_frame();  // in this order: both may come meanwhile
  }
  [[nodiscard]] bool has_sent() const noexcept { return has(table().sent[sent_at_], sent_generation_); }

  /// Takes back the buffers whose frames are sent.
  void reap() noexcept {
    using namespace detail::vmxnet3_layout;
    while (has_sent()) {
      u32 const last = table().sent[sent_at_].word0 & index_mask;
      u32 const frames = (last - done_) % send_count + 1;
      if (last >= send_count || frames > sent_ - done_) {
        ++counters_.damaged;
        return reset();
      }
      advance(sent_at_, sent_generation_, send_count);
      done_ += frames;
      counters_.sent += frames;
    }
    if (done_ != sent_ && ticks() >= stuck_at_) reset();
  }

  /// A queue that the device has stopped begins anew; other events need no more than to be acknowledged.
  void check_events() noexcept {
    using namespace detail::vmxnet3_layout;
    u32 const seen = std::atomic_ref(table().shared.events).load(std::memory_order_relaxed);
    if (seen == 0 || gone_) return;
    control(events).write(seen);
    if ((seen & (event_receive_error | event_send_error)) != 0) reset();
  }

  /// After nonsense or a standstill. What was with the device is lost.
  void reset() noexcept {
    counters_.lost += queued_ - done_;
    ++counters_.resets;
    if (!function_.present() || !start()) gone_ = true;
  }

  pages memory_;  // tables, then the buffers to send, then those to receive; stands before function_, see there
  held_function function_;
  wake_up wake_;
  u64 rings_, control_;
  u32 mtu_, buffer_bytes_;
  bool gone_ = false;
  net::mac_address mac_;
  u32 done_ = 0, sent_ = 0, queued_ = 0;           // frames so far: sent and taken back, given to the device, written
  u32 sent_at_ = 0, sent_generation_ = 0;          // next completion of a frame sent
  u32 received_ = 0, received_generation_ = 0;     // next completion of a frame received
  u32 next_buffer_ = 0;                            // the buffer that it has to name
  u32 posted_ = 0, posted_generation_ = 0;         // next buffer to lend
  u64 stuck_at_ = 0;                               // TSC deadline of the frames given last
  frame_counters counters_;
};

static_assert(pci_driver<vmxnet3>);
static_assert(waitable_frame_device<vmxnet3>);

}  // namespace exo
