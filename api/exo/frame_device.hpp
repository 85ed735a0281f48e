// What a program's loop asks of a NIC beyond sending and receiving: its link, sleeping until a frame comes, and sending
// the last frames before the end. frame_port has it over the core's NICs, every NIC driver in drivers/ by itself.
#pragma once

#include <concepts>

#include "net/device.hpp"
#include "time.hpp"

namespace exo {

/// What a NIC's queue or driver has counted since it was opened.
struct frame_counters {
  u64 received = 0;  ///< frames handed over
  u64 sent = 0;      ///< frames that the device says it has sent
  u64 damaged = 0;   ///< frames or reports of the device that were wrong, and dropped
  u64 lost = 0;      ///< frames that were with the device when it was reset or closed
  u64 resets = 0;    ///< resets of a device that was stuck or said what cannot be
};

/// A frame device that one core can also wait for.
///
/// link_speed     Mbit/s; 1: it is up and does not say; 0: it is down, or the device is gone
/// wait           flushes, then halts this core until a frame arrives, another event, or the deadline; may return early
/// drain          flushes, then polls until the device has sent everything; false if the deadline came first
template <typename Device>
concept waitable_frame_device =
    net::frame_device<Device> && requires(Device &device, Device const &same, clock::time_point deadline) {
      { same.link_speed() } noexcept -> std::same_as<u32>;
      { device.wait(deadline) } noexcept;
      { device.drain(deadline) } noexcept -> std::same_as<bool>;
    };

}  // namespace exo
