// PCI functions: finding them, their configuration space, their registers and their interrupts.
#pragma once

#include <concepts>
#include <cstddef>

#include "console.hpp"
#include "core.hpp"
#include "result.hpp"

namespace exo {

/// A function's number: segment, bus, device, function as 16.8.5.3 bits.
enum class pci_id : u32 {};

/// Prints as segment:bus:device.function.
template <>
struct formatter<pci_id> {
  static void write(text_sink &out, pci_id const &id) noexcept {
    u32 const bits = static_cast<u32>(id);
    format_to(out, "{:04x}:{:02x}:{:02x}.{}", bits >> 16, bits >> 8 & 0xFF, bits >> 3 & 0x1F, bits & 7);
  }
};

/// A device register in memory. Every read and write of the program is one of the machine.
template <typename T>
  requires std::unsigned_integral<T>
class mmio {
 public:
  explicit mmio(u64 address) noexcept : register_(reinterpret_cast<T volatile *>(address)) {}
  [[nodiscard]] T read() const noexcept {
#ifdef EXO_HOST
    if (host_read != nullptr) return static_cast<T>(host_read(reinterpret_cast<u64>(register_), sizeof(T)));
#endif
    return *register_;
  }
  void write(T value) const noexcept {
#ifdef EXO_HOST
    if (host_write != nullptr) return host_write(reinterpret_cast<u64>(register_), value, sizeof(T));
#endif
    *register_ = value;
  }

 private:
  T volatile *register_;
};

/// A function's block of registers.
class pci_bar {
 public:
  pci_bar(u64 address, u64 bytes) noexcept : address_(address), bytes_(bytes) {}

  /// A register at an offset in bytes.
  /// @error range  the offset is not a multiple of the register's size, or lies outside
  template <typename T>
  [[nodiscard]] result<mmio<T>> at(u64 offset) const noexcept {
    if (offset % sizeof(T) != 0 || bytes_ < sizeof(T) || offset > bytes_ - sizeof(T)) {
      return std::unexpected(error::range);
    }
    return mmio<T>(address_ + offset);
  }

  [[nodiscard]] u64 address() const noexcept { return address_; }
  [[nodiscard]] u64 bytes() const noexcept { return bytes_; }

 private:
  u64 address_;
  u64 bytes_;
};

/// One PCI function that was found at boot.
class pci_function {
 public:
  explicit pci_function(pci_record const &record) noexcept : record_(&record) {}

  [[nodiscard]] pci_id id() const noexcept { return pci_id{record_->function}; }
  [[nodiscard]] u16 vendor() const noexcept { return record_->vendor; }
  [[nodiscard]] u16 device() const noexcept { return record_->device; }
  [[nodiscard]] u8 base_class() const noexcept { return static_cast<u8>(record_->class_revision >> 24); }
  [[nodiscard]] u8 subclass() const noexcept { return static_cast<u8>(record_->class_revision >> 16); }
  [[nodiscard]] u8 interface() const noexcept { return static_cast<u8>(record_->class_revision >> 8); }
  [[nodiscard]] pci_record const &record() const noexcept { return *record_; }

  /// Reads 1, 2 or 4 bytes of the configuration space.
  /// @error range  the offset is outside, or not a multiple of the size
  template <typename T>
    requires(std::same_as<T, u8> || std::same_as<T, u16> || std::same_as<T, u32>)
  [[nodiscard]] result<T> read(u32 offset) const noexcept {
    result<u64> const value = checked(core().pci_read(record_->function, offset, sizeof(T)));
    if (!value) return std::unexpected(value.error());
    return static_cast<T>(*value);
  }

  /// Writes 1, 2 or 4 bytes of the configuration space; errors as of read.
  template <typename T>
    requires(std::same_as<T, u8> || std::same_as<T, u16> || std::same_as<T, u32>)
  [[nodiscard]] result<void> write(u32 offset, T value) const noexcept {
    return done(core().pci_write(record_->function, offset, sizeof(T), value));
  }

  /// A block of registers in memory.
  /// @error range        index is above 5
  /// @error no_such      the function has no such block
  /// @error unsupported  it is a block of I/O ports
  [[nodiscard]] result<pci_bar> bar(u32 index) const noexcept {
    if (index >= std::size(record_->bar)) return std::unexpected(error::range);
    u64 const bytes = record_->bar_bytes[index];
    if (bytes == 0) return std::unexpected(error::no_such);
    if ((bytes & 1) != 0) return std::unexpected(error::unsupported);
    return pci_bar(record_->bar[index], bytes);
  }

  /// The first of a block of I/O ports.
  /// @error range        index is above 5
  /// @error no_such      the function has no such block, or it has fewer than so many ports
  /// @error unsupported  it is a block of registers in memory
  [[nodiscard]] result<u16> ports(u32 index, u32 count) const noexcept {
    if (index >= std::size(record_->bar)) return std::unexpected(error::range);
    u64 const bytes = record_->bar_bytes[index];
    if ((bytes & ~u64{1}) < count) return std::unexpected(error::no_such);
    if ((bytes & 1) == 0) return std::unexpected(error::unsupported);
    return static_cast<u16>(record_->bar[index]);
  }

  /// Makes the function raise an event bit of a core; event_program is the first free one. It uses MSI-X, else MSI, else
  /// its line to an IOAPIC.
  ///
  /// To lose no wake, a driver clears what the device interrupts for, calls this, looks for work, and only then idles.
  ///
  /// @param entry  of its MSI-X table; 0 if it has none
  /// @return       whether it is a line: then the core masks it when it has raised the event, and until the next call
  /// @error no_such      there is no such core
  /// @error range        there is no such entry or event
  /// @error unsupported  no interrupt of it can reach that core: poll it
  [[nodiscard]] result<bool> route(u32 entry, core_id to, u32 event) const noexcept {
    result<u64> const kind = checked(core().irq_route(record_->function, entry, static_cast<u32>(to), event));
    if (!kind) return std::unexpected(kind.error());
    return *kind != 0;
  }

 private:
  pci_record const *record_;
};

/// The nth function that a test accepts.
/// @error no_such  there are fewer
template <std::predicate<pci_function> Accept>
[[nodiscard]] result<pci_function> find_pci(Accept accept, u32 nth = 0) noexcept {
  for (pci_record const &record : info().pci) {
    if (accept(pci_function(record)) && nth-- == 0) return pci_function(record);
  }
  return std::unexpected(error::no_such);
}

/// The nth function with a vendor's and a device's number.
[[nodiscard]] inline result<pci_function> find_pci_device(u16 vendor, u16 device, u32 nth = 0) noexcept {
  return find_pci([=](pci_function const &f) { return f.vendor() == vendor && f.device() == device; }, nth);
}

/// The nth function of a class and subclass.
[[nodiscard]] inline result<pci_function> find_pci_class(u8 base_class, u8 subclass, u32 nth = 0) noexcept {
  return find_pci([=](pci_function const &f) { return f.base_class() == base_class && f.subclass() == subclass; }, nth);
}

}  // namespace exo
