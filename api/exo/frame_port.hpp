// A NIC queue with its own frame buffers: the frame_device that protocols run on.
//
//   auto port = exo::frame_port::open(std::move(*queue), memory);   // half of the memory receives, half sends
//   exo::net::ipv4_host host(*port, config);
//
// The number of buffers is fixed, so nothing is allocated. All receive buffers are with the device but during
// try_receive(); a send buffer is either free, queued here until flush(), or with the device until it is reaped.
#pragma once

#include <algorithm>
#include <concepts>
#include <new>

#include "frame_device.hpp"
#include "nic.hpp"

namespace exo {

class frame_port {
 public:
  /// Bytes of memory for `count` buffers to receive and as many to send.
  [[nodiscard]] static std::size_t memory_bytes(nic_record const &record, std::size_t count) noexcept {
    return 2 * count * buffer_bytes(record) + alignof(free_buffer);
  }

  /// Lends half of the buffers to the NIC for receiving; no ring gets more than its depth.
  ///
  /// @param queue   taken over
  /// @param memory  identity-mapped; the device's until the NIC is closed
  /// @error memory  no room for one buffer each way
  /// @error closed  the NIC is closed
  [[nodiscard]] static result<frame_port> open(nic_queue &&queue, std::span<std::byte> memory) noexcept {
    std::size_t const bytes = buffer_bytes(queue.record());
    std::size_t const unaligned = -reinterpret_cast<u64>(memory.data()) % alignof(free_buffer);
    if (memory.size() < unaligned + 2 * bytes) return std::unexpected(error::memory);
    memory = memory.subspan(unaligned);
    std::size_t const count = std::min<std::size_t>(memory.size() / (2 * bytes), queue.depth());

    frame_port port(std::move(queue), static_cast<u32>(bytes));
    frame batch[batch_frames];
    std::size_t batched = 0;
    for (std::size_t index = 0; index < count; ++index) {
      std::byte *const pair = memory.data() + 2 * bytes * index;
      port.release(pair);
      batch[batched++] = port.empty_buffer(pair + bytes);
      if (batched < batch_frames && index + 1 < count) continue;
      auto const posted = port.queue_.try_post({batch, std::exchange(batched, 0)});
      if (!posted) return std::unexpected(posted.error());
    }
    return port;
  }

  [[nodiscard]] net::mac_address mac() const noexcept { return mac_; }
  [[nodiscard]] std::size_t mtu() const noexcept { return mtu_; }

  /// In Mbit/s; 1: the link is up and does not say; 0: it is down, or the NIC is closed.
  [[nodiscard]] u32 link_speed() const noexcept { return queue_.link_speed(); }

  [[nodiscard]] frame_counters const &counters() const noexcept { return counters_; }

  /// Hands up to 32 frames to consume(net::received_frame), then lends their buffers to the device again.
  template <std::invocable<net::received_frame> Consume>
  std::size_t try_receive(Consume &&consume) {
    frame batch[batch_frames];
    std::size_t const count = queue_.try_receive(batch).value_or(0);
    for (frame &each : std::span(batch, count)) {
      auto *const first = reinterpret_cast<std::byte *>(each.address);
      consume(net::received_frame{{first, each.bytes}, (each.flags & (frame_checksum | frame_checksum_good)) != 0});
      each = empty_buffer(first);
    }
    // The ring has room for them: there are no more buffers than its depth. Only a closed NIC refuses.
    if (count != 0) (void)queue_.try_post({batch, count});
    counters_.received += count;
    return count;
  }

  /// Lets fill(std::span<std::byte>) write a frame of `bytes` and queues it; flush() sends it.
  ///
  /// @return  false, and fill not called, when no buffer is free or the frame is longer than MTU and header
  template <std::invocable<std::span<std::byte>> Fill>
  bool try_send(std::size_t bytes, Fill &&fill) {
    if (bytes > mtu_ + net::ethernet_header_bytes) return false;
    if (free_ == nullptr) reap();
    if (free_ == nullptr) return false;
    auto *const buffer = reinterpret_cast<std::byte *>(free_);
    free_ = free_->next;
    fill(std::span(buffer, bytes));
    queued_[queued_count_++] = frame_at(buffer, bytes, reinterpret_cast<u64>(buffer));
    if (queued_count_ == batch_frames) flush();
    return true;
  }

  /// Gives the queued frames to the device, one doorbell for all.
  void flush() noexcept {
    if (queued_count_ == 0) return;
    std::span const frames(queued_, std::exchange(queued_count_, 0));
    // As with receiving, all fit: what the ring does not take, it takes never, because the NIC is closed.
    std::size_t const taken = queue_.try_send(frames).value_or(0);
    in_flight_ += taken;
    counters_.lost += frames.size() - taken;
    for (frame const &each : frames.subspan(taken)) release(reinterpret_cast<std::byte *>(each.address));
  }

  /// Flushes, then makes the next frame, or with `sending` the next free buffer too, wake this core once; true if there is
  /// one already.
  /// @error unsupported, closed  as of nic_queue::arm
  [[nodiscard]] result<bool> arm(bool sending) noexcept {
    flush();
    return queue_.arm(sending ? ring_rx | ring_tx : ring_rx);
  }

  /// Flushes, then halts this core until a frame arrives, another event, or the deadline. May return early.
  void wait(clock::time_point deadline = clock::time_point::max()) noexcept {
    auto const pending = arm(free_ == nullptr);
    if (pending && *pending) return;
    // A device without interrupts is looked at every millisecond.
    if (!pending) deadline = std::min(deadline, clock::now() + std::chrono::milliseconds(1));
    detail::idle(clock::to_ticks(deadline));
  }

  /// Flushes, then polls until the device has sent everything: before closing, or the last frames are lost.
  ///
  /// @return  false if the deadline came first
  bool drain(clock::time_point deadline) noexcept {
    flush();
    while (in_flight_ != 0 && clock::now() < deadline) reap();
    return in_flight_ == 0;
  }

 private:
  struct alignas(64) free_buffer {
    free_buffer *next;
  };
  static constexpr std::size_t batch_frames = 32;

  /// Header, payload and two VLAN tags, in whole cache lines.
  static std::size_t buffer_bytes(nic_record const &record) noexcept {
    std::size_t const longest = net::ethernet_header_bytes + 8 + record.mtu;
    return (longest + alignof(free_buffer) - 1) / alignof(free_buffer) * alignof(free_buffer);
  }

  frame_port(nic_queue &&queue, u32 bytes) noexcept : queue_(std::move(queue)), buffer_bytes_(bytes) {
    std::ranges::copy(queue_.record().mac, mac_.octets.begin());
    if (mac_ == net::mac_address{}) mac_ = net::mac_address::local(ticks());
    mtu_ = queue_.record().mtu;
  }

  [[nodiscard]] frame empty_buffer(std::byte *buffer) const noexcept {
    return frame_at(buffer, buffer_bytes_, reinterpret_cast<u64>(buffer));
  }

  void release(std::byte *buffer) noexcept { free_ = new (buffer) free_buffer{free_}; }

  void reap() noexcept {
    completion done[batch_frames];
    std::size_t const count = queue_.try_reap(done).value_or(0);
    in_flight_ -= count;
    counters_.sent += count;
    for (completion const &each : std::span(done, count)) release(reinterpret_cast<std::byte *>(each.cookie));
  }

  nic_queue queue_;
  net::mac_address mac_;
  u32 mtu_ = 0;
  u32 buffer_bytes_;
  free_buffer *free_ = nullptr;
  std::size_t in_flight_ = 0;
  frame_counters counters_;
  std::size_t queued_count_ = 0;
  frame queued_[batch_frames]{};
};

static_assert(waitable_frame_device<frame_port>);

}  // namespace exo
