// An empty machine: there is no PCI function.
#pragma once

#include "machine.hpp"

namespace native {

inline i64 pci_read(u32, u32, u32) { return -error::no_such; }
inline i64 pci_write(u32, u32, u32, u32) { return -error::no_such; }

inline i64 irq_route(u32 function, u32, u32, u32 event) {
  if (event < exo::event_queue || event >= exo::event_count) return -error::range;
  return function == ~u32{0} ? -error::unsupported : -error::no_such;
}

}  // namespace native
