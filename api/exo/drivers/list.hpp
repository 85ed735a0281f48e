// Which header drives a PCI function: one row each. Bytes only where it is asked for.
#pragma once

#include <string_view>

#include "ata.hpp"
#include "ne2000.hpp"
#include "rtl8139.hpp"
#include "virtio_console.hpp"
#include "virtio_rng.hpp"
#include "virtio_scsi.hpp"
#include "vmxnet3.hpp"

namespace exo {

struct driver_row {
  std::string_view header;
  bool (*probe)(pci_record const &function) noexcept;
};

inline constexpr driver_row driver_rows[] = {
    {"exo/drivers/ata.hpp", ata_controller::probe},
    {"exo/drivers/ne2000.hpp", ne2000::probe},
    {"exo/drivers/rtl8139.hpp", rtl8139::probe},
    {"exo/drivers/virtio_console.hpp", virtio_console::probe},
    {"exo/drivers/virtio_rng.hpp", virtio_rng::probe},
    {"exo/drivers/virtio_scsi.hpp", virtio_scsi::probe},
    {"exo/drivers/vmxnet3.hpp", vmxnet3::probe},
};

/// The header that has a driver for a function; empty if none has.
[[nodiscard]] inline std::string_view driver_header(pci_record const &function) noexcept {
  for (driver_row const &row : driver_rows) {
    if (row.probe(function)) return row.header;
  }
  return {};
}

}  // namespace exo
