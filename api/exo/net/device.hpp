// What a protocol asks of a network card: the frame_device concept.
//
// Frames are lent by call, so none can be lost, leaked or used twice: a device calls `consume` once for each frame
// that arrived, and `fill` once for each frame that it has room to send. The bytes are the callee's during that call
// only. `consume` may send on the same device, but not receive.
#pragma once

#include <concepts>

#include "ethernet.hpp"

namespace exo::net {

/// A frame that arrived: destination MAC to end of payload, no FCS.
struct received_frame {
  std::span<std::byte const> bytes;
  bool checksum_good = false;  ///< the TCP or UDP checksum needs no check, and may not even be filled in
};

/// A network card, real or simulated. No call waits.
///
/// mac            its own address
/// mtu            payload bytes of a frame at most, header not counted
/// try_receive    hands what arrived to consume(received_frame), a bounded batch; returns how many
/// try_send       lets fill(std::span<std::byte>) write a frame of exactly `bytes` and queues it; false, and fill not
///                called, when there is no room
/// flush          gives queued frames to the device: one doorbell for all
template <typename Device>
concept frame_device =
    requires(Device &device, Device const &same, std::size_t bytes, void (&consume)(received_frame),
             void (&fill)(std::span<std::byte>)) {
      { same.mac() } noexcept -> std::same_as<mac_address>;
      { same.mtu() } noexcept -> std::same_as<std::size_t>;
      { device.try_receive(consume) } -> std::same_as<std::size_t>;
      { device.try_send(bytes, fill) } -> std::same_as<bool>;
      { device.flush() } noexcept;
    };

}  // namespace exo::net
