// What the headers count, as rows in the page of counters: a core's run loop, a NIC's queue, a disk's queue.
//
//   auto const of_loop = exo::list_counters(core, exo::all_counters()[core]);      // `turns`, `messages`, …
//   auto const of_nic = exo::list_counters("nic0", queue, port.counters());        // `nic0 received`, …
//   auto const of_disk = exo::list_counters("disk0", queue, disk.counters());      // `disk0 finished`, …
//
// The rows stay as long as what is returned. What counts must not be moved meanwhile.
#pragma once

#include <array>
#include <string_view>

#include "counters.hpp"
#include "disk.hpp"
#include "frame_device.hpp"
#include "run.hpp"

namespace exo {

namespace detail {

/// A row `DEVICE WHAT`.
inline counted device_row(std::string_view device, std::string_view what, u32 queue, u64 const &value) noexcept {
  std::array<char, counter_page::name_most + 2> name;  // one too many, so that a name too long is none
  return counted(format_to(std::span<char>(name), "{} {}", device, what), queue, value);
}

}  // namespace detail

/// Lists what a NIC's queue or driver counts: frame_port, and every driver of drivers/nics.hpp, has counters().
/// @param device  up to 6 letters, such as nic0
[[nodiscard]] inline std::array<counted, 5> list_counters(std::string_view device, u32 queue, frame_counters const &of) noexcept {
  using detail::device_row;
  return {device_row(device, "received", queue, of.received), device_row(device, "sent", queue, of.sent),
          device_row(device, "damaged", queue, of.damaged), device_row(device, "lost", queue, of.lost),
          device_row(device, "resets", queue, of.resets)};
}

/// Lists what a disk's queue counts.
/// @param device  up to 6 letters, such as disk0
[[nodiscard]] inline std::array<counted, 2> list_counters(std::string_view device, u32 queue, disk_counters const &of) noexcept {
  return {detail::device_row(device, "finished", queue, of.finished), detail::device_row(device, "resets", queue, of.resets)};
}

/// Lists what a core's run loop counts.
[[nodiscard]] inline std::array<counted, 8> list_counters(u32 core, loop_counters const &of) noexcept {
  return {counted("busy ticks", core, of.busy_ticks), counted("idle ticks", core, of.idle_ticks), counted("turns", core, of.turns),
          counted("operations", core, of.operations), counted("messages", core, of.messages), counted("polls", core, of.polls),
          counted("halts", core, of.halts),           counted("wakes", core, of.wakes)};
}

}  // namespace exo
