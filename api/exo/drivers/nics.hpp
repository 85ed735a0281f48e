// The machine's first NIC, whoever drives it: the core or a header.
//
//   auto const used = exo::with_first_nic([](auto &port) { serve(port); });
//   if (!used) exo::print("{}\n", used.error());
#pragma once

#include "../frame_port.hpp"
#include "ne2000.hpp"
#include "rtl8139.hpp"
#include "vmxnet3.hpp"

namespace exo {

namespace detail {

/// Opens the core's first NIC with as many frames of depth as it takes, up to 64.
template <typename Use>
opened<void> with_core_nic(Use &use) {
  nic_record const &record = info().nics[0];
  u32 const depth = std::min<u32>(64, record.depth_max);
  auto const rings = pages::take(nic::ring_bytes(record, 1, depth));
  auto const frames = pages::take(frame_port::memory_bytes(record, depth));
  if (!rings || !frames) return not_opened(error::memory, "There is too little RAM for the NIC's frames.");
  auto card = nic::open(0, 1, depth, rings->span());
  if (!card) return not_opened(card.error());
  auto queue = card->take_queue();
  if (!queue) return not_opened(queue.error());
  auto port = frame_port::open(std::move(*queue), frames->span());
  if (!port) return not_opened(port.error());
  use(*port);
  return {};
}

/// Whether Driver drives a function; if it does, `outcome` tells how that went.
template <typename Driver, typename Use>
bool with_header_nic(pci_record const &function, Use &use, opened<void> &outcome) {
  if (!Driver::probe(function)) return false;
  auto device = Driver::open(function);
  if (device) {
    outcome = {};
    use(*device);
  } else {
    outcome = std::unexpected(device.error());
  }
  return true;
}

template <typename... Drivers, typename Use>
opened<void> with_first_of(Use &use) {
  opened<void> outcome = not_opened(error::no_such, "This machine has no NIC that the core or a header has a driver for.");
  for (pci_record const &function : info().pci) {
    if ((with_header_nic<Drivers>(function, use, outcome) || ...)) break;
  }
  return outcome;
}

}  // namespace detail

/// Opens the first NIC that a header has a driver for, in the order of the PCI functions; otherwise as with_first_nic.
template <typename Use>
[[nodiscard]] opened<void> with_first_header_nic(Use use) {
  return detail::with_first_of<ne2000, rtl8139, vmxnet3>(use);
}

/// Opens the first NIC and hands it to use(port), port being a waitable_frame_device; closes it when that returns. The
/// core's own come first, then those of headers.
///
/// @error no_such  there is none; other errors are those of opening it, each with its sentence
/// @core  any      @heap  pages
template <typename Use>
[[nodiscard]] opened<void> with_first_nic(Use use) {
  if (!info().nics.empty()) return detail::with_core_nic(use);
  return with_first_header_nic(use);
}

}  // namespace exo
