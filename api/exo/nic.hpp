// Owned NIC queues: the NIC calls as move-only handles.
//
//   exo::nic card = *exo::nic::open(0, 1, 64, ring_memory);   // closes itself
//   exo::nic_queue queue = *card.take_queue();                // used by one core at a time
//   queue.try_post(empty_buffers);                            // lend buffers, then poll
//   queue.try_receive(frames);
//
// Nothing here waits, copies or allocates: each try_x is one table call. Buffers are the caller's; the device has a
// buffer from the call that takes it until its cookie comes back. See frame_port.hpp for a port that owns buffers, and
// nic_guard.hpp for a NIC whose frames have deadlines.
#pragma once

#include <utility>

#include "core.hpp"
#include "result.hpp"

namespace exo {

/// An entry for one whole frame, or for one empty buffer.
inline frame frame_at(std::byte const *first, std::size_t bytes, u64 cookie) noexcept {
  frame entry{};
  entry.address = reinterpret_cast<u64>(first);
  entry.cookie = cookie;
  entry.bytes = static_cast<u32>(bytes);
  return entry;
}

/// One receive ring and one transmit ring. Any core may use it, but only one at a time.
///
/// Outlives its NIC safely: after nic::close every call returns error::closed.
class nic_queue {
 public:
  nic_queue(nic_queue &&other) noexcept
      : nic_(std::exchange(other.nic_, nobody)), queue_(other.queue_), depth_(other.depth_) {}
  nic_queue &operator=(nic_queue &&other) noexcept {
    nic_ = std::exchange(other.nic_, nobody);
    queue_ = other.queue_;
    depth_ = other.depth_;
    return *this;
  }

  /// Sends frames, one doorbell for all.
  ///
  /// The device reads each frame in place: keep it unchanged until its cookie comes back from try_reap().
  ///
  /// @param frames  destination MAC to end of payload, no FCS; an entry with frame_more goes on in the next
  /// @return             entries taken, from the front; 0 when the ring is full
  /// @error range        a frame is shorter than its header or longer than the MTU, or has more than 59 entries; none was taken
  /// @error unsupported  a frame asks for an offload that the device does not have; none was taken
  /// @error pointer      an address is null; none was taken
  /// @error closed       the NIC is closed
  [[nodiscard]] result<std::size_t> try_send(std::span<frame const> frames) noexcept {
    return checked(core().nic_tx(nic_, queue_, frames.data(), static_cast<u32>(frames.size())));
  }

  /// Takes back sent frames.
  ///
  /// @param out     where the completions go; their order is the device's
  /// @return        completions written; 0 when none is ready
  /// @error closed  the NIC is closed
  [[nodiscard]] result<std::size_t> try_reap(std::span<completion> out) noexcept {
    return checked(core().nic_tx_reap(nic_, queue_, out.data(), static_cast<u32>(out.size())));
  }

  /// Lends empty buffers to the device, one doorbell for all.
  ///
  /// @param buffers  address, size and cookie of each; a frame longer than its buffer is lost
  /// @return         entries taken, from the front; 0 when the ring is full
  /// @error range    a buffer is smaller than the MTU and 22 bytes for header and two VLAN tags, or with long_frames::yes
  ///                 than 2,048 bytes; none was taken
  /// @error pointer  an address is null; none was taken
  /// @error closed   the NIC is closed
  [[nodiscard]] result<std::size_t> try_post(std::span<frame const> buffers) noexcept {
    return checked(core().nic_rx_post(nic_, queue_, buffers.data(), static_cast<u32>(buffers.size())));
  }

  /// Takes received frames; their buffers are the caller's again.
  ///
  /// @param out     where they go, in the order of arrival; of 0 bytes: the frame had an error. With long_frames::yes
  ///                one with frame_more goes on in the next entry, maybe of the next call, and is not where the buffer begins
  /// @return        entries written; 0 when nothing arrived
  /// @error closed  the NIC is closed
  [[nodiscard]] result<std::size_t> try_receive(std::span<frame> out) noexcept {
    return checked(core().nic_rx_reap(nic_, queue_, out.data(), static_cast<u32>(out.size())));
  }

  /// Makes the next completion raise event_queue on this core, once.
  ///
  /// @param rings        ring_rx, ring_tx or both
  /// @return             true when work is pending already: poll again, no event follows
  /// @error unsupported  the device has no interrupts
  /// @error closed       the NIC is closed
  [[nodiscard]] result<bool> arm(u64 rings) noexcept {
    i64 const pending = core().nic_arm(nic_, queue_, static_cast<u32>(rings));
    if (pending < 0) return std::unexpected(static_cast<error>(-pending));
    return pending != 0;
  }

  /// In Mbit/s; 1: the link is up and does not say; 0: it is down, or the NIC is closed.
  [[nodiscard]] u32 link_speed() const noexcept { return static_cast<u32>(checked(core().nic_link(nic_)).value_or(0)); }

  /// What the NIC is: MAC address, MTU, offloads.
  [[nodiscard]] nic_record const &record() const noexcept { return info().nics[nic_]; }

  /// Frames in flight per ring.
  [[nodiscard]] u32 depth() const noexcept { return depth_; }

 private:
  friend class nic;
  static constexpr u32 nobody = ~u32{0};  // a moved-from queue answers error::no_such

  nic_queue(u32 nic, u32 queue, u32 depth) noexcept : nic_(nic), queue_(queue), depth_(depth) {}

  u32 nic_;
  u32 queue_;
  u32 depth_;
};

/// Whether a NIC that is opened takes frames longer than mtu + 14 bytes too, each in as many buffers as it needs. One of the
/// e1000 family sends them too then, up to 9,014 bytes.
enum class long_frames : u32 { no = 0, yes = nic_open_long };

/// An open NIC. Closing it resets the device, so all buffers and the ring memory are the caller's again.
class nic {
 public:
  /// Bytes of ring memory that open() needs, page aligned.
  [[nodiscard]] static std::size_t ring_bytes(nic_record const &record, u32 queues, u32 depth) noexcept {
    return std::size_t{queues} * depth * record.depth_bytes;
  }

  /// Starts a NIC.
  ///
  /// @param number       0 to info().nics.size() - 1
  /// @param queues       1 to record.queue_max
  /// @param depth        frames in flight per ring: a power of two, 16 to record.depth_max
  /// @param rings        ring_bytes() or more, page aligned; the device's until the NIC is closed
  /// @param lengths      long_frames::yes where record.offloads has nic_long: buffers then have 2,048 bytes at least
  /// @error no_such      there is no NIC of that number
  /// @error range        queues or depth is outside its limits
  /// @error pointer      rings is null or not page aligned
  /// @error memory       rings is too small
  /// @error busy         it is open already
  /// @error unsupported  it has no nic_long, or the device does not agree to work with this driver
  /// @error timeout, io  the device does not start
  [[nodiscard]] static result<nic> open(u32 number, u32 queues, u32 depth, std::span<std::byte> rings,
                                        long_frames lengths = long_frames::no) noexcept {
    if (queues >= nic_open_long) return std::unexpected(error::range);
    u32 const wanted = queues | static_cast<u32>(lengths);
    auto const opened = checked(core().nic_open(number, wanted, depth, rings.data(), rings.size()));
    if (!opened) return std::unexpected(opened.error());
    return nic(number, queues, depth);
  }

  nic(nic &&other) noexcept
      : number_(std::exchange(other.number_, nic_queue::nobody)),
        queues_(other.queues_),
        taken_(other.taken_),
        depth_(other.depth_) {}
  nic &operator=(nic &&other) noexcept {
    std::swap(number_, other.number_);
    std::swap(queues_, other.queues_);
    std::swap(taken_, other.taken_);
    std::swap(depth_, other.depth_);
    return *this;
  }
  ~nic() {
    if (number_ != nic_queue::nobody) (void)close();
  }

  /// Closes it now, and tells whether that went well.
  ///
  /// @error timeout  the device did not reset: it may still write to the memory that it had
  [[nodiscard]] result<void> close() noexcept {
    return done(core().nic_close(std::exchange(number_, nic_queue::nobody)));
  }

  /// The next queue that nobody has yet: 0, 1, …
  ///
  /// @error no_such  all queues are taken
  [[nodiscard]] result<nic_queue> take_queue() noexcept {
    if (taken_ == queues_) return std::unexpected(error::no_such);
    return nic_queue(number_, taken_++, depth_);
  }

  /// Whether the link is up.
  [[nodiscard]] bool link() const noexcept { return core().nic_link(number_) > 0; }

  /// What the NIC is: MAC address, MTU, offloads.
  [[nodiscard]] nic_record const &record() const noexcept { return info().nics[number_]; }

 private:
  nic(u32 number, u32 queues, u32 depth) noexcept : number_(number), queues_(queues), depth_(depth) {}

  u32 number_;
  u32 queues_;
  u32 taken_ = 0;
  u32 depth_;
};

}  // namespace exo
