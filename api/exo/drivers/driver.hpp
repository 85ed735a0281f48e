// What the drivers in this folder share: how a device is opened, its function, its memory, its interrupt, its counters.
//
// A driver is a move-only class of one device with
//
//   static bool probe(pci_record const &) noexcept        whether it drives a function
//   static opened<Driver> open(pci_record const &)        resets and starts the device, or says why it cannot
//
// and what the concept asks for that it satisfies: waitable_frame_device, block_device, or its own few calls. One core
// at a time uses a device. doc/drivers.md tells how to write the next one.
#pragma once

#include <algorithm>
#include <chrono>
#include <concepts>
#include <cstddef>
#include <cstring>
#include <expected>
#include <span>
#include <utility>

#include "../lock.hpp"
#include "../memory.hpp"
#include "../pci.hpp"
#include "../time.hpp"

namespace exo {

/// Why a device did not open: the error, and a sentence that says what is wrong and what to do.
struct open_failure {
  error why;
  char const *sentence;
};

/// Prints as the sentence.
template <>
struct formatter<open_failure> {
  static void write(text_sink &out, open_failure const &failure) noexcept { out.put(failure.sentence); }
};

/// A device that is open, or why it is not.
template <typename T>
using opened = std::expected<T, open_failure>;

/// The failure of something that an error of the core explains well enough.
[[nodiscard]] inline std::unexpected<open_failure> not_opened(error why) noexcept {
  return std::unexpected(open_failure{why, explain(why)});
}
[[nodiscard]] inline std::unexpected<open_failure> not_opened(error why, char const *sentence) noexcept {
  return std::unexpected(open_failure{why, sentence});
}

/// What all drivers of PCI functions have.
template <typename Driver>
concept pci_driver = requires(pci_record const &function) {
  { Driver::probe(function) } noexcept -> std::same_as<bool>;
  { Driver::open(function) } noexcept -> std::same_as<opened<Driver>>;
};

inline constexpr std::size_t shortest_frame_bytes = 60;  // without FCS (IEEE 802.3-2018 §3.2.8); the sender pads
inline constexpr std::size_t receive_batch = 32;         // frames that one try_receive() hands over at most

/// Fills a frame up to the shortest that Ethernet has, in a buffer that has room for it; returns its length.
[[nodiscard]] inline u32 pad_frame(std::span<std::byte> buffer, std::size_t bytes) noexcept {
  if (bytes >= shortest_frame_bytes) return static_cast<u32>(bytes);
  std::ranges::fill(buffer.subspan(bytes, shortest_frame_bytes - bytes), std::byte{});
  return shortest_frame_bytes;
}

/// Polls until a condition holds; false if it does not in the time given.
template <std::predicate Condition>
[[nodiscard]] bool holds_within(clock::duration patience, Condition condition) noexcept {
  u64 const deadline = deadline_in(patience);
  while (!condition()) {
    if (ticks() >= deadline) return condition();  // once more: this core may have been away meanwhile
    pause();
  }
  return true;
}

/// True until it is moved from: tells a destructor whether there is something to close.
class ownership {
 public:
  ownership() = default;
  ownership(ownership &&other) noexcept : mine_(std::exchange(other.mine_, false)) {}
  ownership &operator=(ownership &&) = delete;
  explicit operator bool() const noexcept { return mine_; }

 private:
  bool mine_ = true;
};

inline constexpr u64 below_4_gib = u64{1} << 32;  // for devices with addresses of 32 bits

/// Zeroed pages that a device reaches.
///
/// @error memory  there is too little RAM, or none of it lies below the limit
[[nodiscard]] inline result<pages> take_dma(u64 bytes, u64 limit = ~u64{0}) noexcept {
  result<pages> taken = pages::take(bytes);
  if (!taken) return taken;
  // The lowest run that fits was taken: where it is too high, there is no other.
  if (reinterpret_cast<u64>(taken->data()) + taken->size() > limit) return std::unexpected(error::memory);
  std::ranges::fill(taken->span(), std::byte{});
  return taken;
}

/// A function that a driver holds: it answers at its ports and addresses, and reaches memory from allow_dma() on until the
/// driver goes.
///
/// Without bus mastering no device writes to memory, whatever state it is in (PCI 3.0 §6.2.2). So a driver that declares
/// its memory before its function gives back memory that nothing writes to any more.
class held_function {
 public:
  explicit held_function(pci_record const &record) noexcept : record_(&record) { set(decode, bus_master); }
  held_function(held_function &&other) noexcept : record_(std::exchange(other.record_, nullptr)) {}
  held_function &operator=(held_function &&) = delete;
  ~held_function() {
    if (held()) set(0, bus_master);
  }

  /// False once it was moved from.
  [[nodiscard]] bool held() const noexcept { return record_ != nullptr; }
  [[nodiscard]] pci_record const &record() const noexcept { return *record_; }

  /// Lets the device read and write memory: once it is reset, so that it does not go on with what it did before.
  void allow_dma() const noexcept { set(bus_master, 0); }

  /// Whether the function is still plugged in. Asks the bus: for when something looks wrong.
  [[nodiscard]] bool present() const noexcept {
    return pci_function(*record_).read<u16>(vendor_offset) == record_->vendor;
  }

 private:
  static constexpr u32 vendor_offset = 0x00, command_offset = 0x04;  // PCI 3.0 §6.2.1, §6.2.2
  static constexpr u16 decode = 0x0003, bus_master = 0x0004;

  void set(u16 on, u16 off) const noexcept {
    pci_function const function(*record_);
    u16 const command = function.read<u16>(command_offset).value_or(0);
    (void)function.write(command_offset, static_cast<u16>((command | on) & ~off));
  }

  pci_record const *record_;  // null when moved from
};

/// A device's interrupt, which wakes the core that waits. A device without one is looked at every millisecond.
class wake_up {
 public:
  /// @param entry  of the function's MSI-X table, if it has one
  wake_up(pci_record const &record, u32 entry) noexcept : function_(record.function), entry_(entry) {}
  /// The interrupt line of an ISA card: the IOAPICs' number of it, which is that of the IRQ where firmware says no other.
  explicit wake_up(u32 line) noexcept : entry_(line) {}
  wake_up() = default;

  /// Makes the interrupt wake this core: once the device has nothing to interrupt for, and before it is told to and
  /// looked at. False if it cannot interrupt.
  [[nodiscard]] bool here() noexcept {
    core_id const me = this_core();
    if (how_ == message && core_ == me) return true;
    how_ = entry_ == nothing ? unsupported : core().irq_route(function_, entry_, static_cast<u32>(me), event_queue);
    core_ = me;
    return how_ >= 0;
  }

  /// Whether here() has found that the device shares a line, which it holds until it is told that it was heard.
  [[nodiscard]] bool over_line() const noexcept { return how_ == line; }

  /// Halts this core until an event or the deadline: after here(), when the device was told to interrupt and nothing
  /// had come by then.
  void idle(clock::time_point deadline) const noexcept {
    if (how_ < 0) deadline = std::min(deadline, clock::now() + std::chrono::milliseconds(1));
    exo::detail::idle(clock::to_ticks(deadline));
  }

 private:
  static constexpr u32 no_function = ~u32{0}, nothing = ~u32{0};
  static constexpr i64 message = 0, line = 1, unsupported = -1;  // what irq_route says

  u32 function_ = no_function;
  u32 entry_ = nothing;
  core_id core_{};
  i64 how_ = unsupported;
};

}  // namespace exo
