// virtio for drivers in headers: the transports PCI and MMIO, and split rings.
//
//   auto bus = virtio_transport::open(function, kind, wanted_features);
//   auto ring = virtio_ring::open(*bus, 0);       // queue 0
//   bus->go();                                    // DRIVER_OK: the device works from here on
//   ring->try_add(parts, cookie); ring->kick();   // the device's until try_take() gives the cookie back
//
// What the device writes into a ring is checked: a number of nothing in flight breaks the ring, and from then on it takes
// and gives nothing; reset the device then. More bytes than there was room for are cut to that.
// Both are in one file since neither is of use without the other.
// SPEC  virtio 1.2
#pragma once

#include <array>
#include <atomic>
#include <bit>
#include <optional>

#include "driver.hpp"

namespace exo {

/// Kinds of devices (§5).
enum class virtio_kind : u16 { console = 3, entropy = 4, scsi = 8 };

/// A virtio device's registers: over PCI (§4.1) or over MMIO (§4.2).
class virtio_transport {
 public:
  static constexpr u64 feature_version_1 = u64{1} << 32;  // §6

  /// Whether a function is a virtio device of a kind, by its modern number or its transitional one (§4.1.2).
  [[nodiscard]] static bool probe(pci_record const &function, virtio_kind kind) noexcept {
    if (function.vendor != vendor) return false;
    if (function.device == modern_device + static_cast<u16>(kind)) return true;
    switch (kind) {
      case virtio_kind::console: return function.device == 0x1003;
      case virtio_kind::entropy: return function.device == 0x1005;
      case virtio_kind::scsi: return function.device == 0x1004;
    }
    return false;
  }

  /// Resets a PCI device and agrees on features: those wanted that it offers.
  ///
  /// @error no_such      it is another device
  /// @error unsupported  it has no modern registers, or wants features that nobody asked for
  /// @error timeout      it does not come out of its reset
  [[nodiscard]] static opened<virtio_transport> open(pci_record const &function, virtio_kind kind, u64 wanted) noexcept {
    if (!probe(function, kind)) return not_opened(error::no_such, "This function is no virtio device of that kind.");
    virtio_transport bus;
    bus.function_.emplace(function);
    if (!bus.find_registers(function)) {
      return not_opened(error::unsupported, "The virtio device has no modern registers: give it disable-modern=off.");
    }
    return std::move(bus).agree(wanted);
  }

  /// The same for a device that stands at an address, which has to be known: a firmware's table or a command line says it.
  [[nodiscard]] static opened<virtio_transport> open_mmio(u64 address, virtio_kind kind, u64 wanted) noexcept {
    virtio_transport bus;
    bus.common_ = address;
    bus.config_ = address + mmio_config;
    if (bus.get32(mmio_magic) != mmio_magic_value || bus.get32(mmio_device) != static_cast<u32>(kind)) {
      return not_opened(error::no_such, "There is no virtio device of that kind at this address.");
    }
    if (bus.get32(mmio_version) != 2) {
      return not_opened(error::unsupported, "The virtio device has no modern registers: give it force-legacy=false.");
    }
    return std::move(bus).agree(wanted);
  }

  virtio_transport(virtio_transport &&) noexcept = default;
  ~virtio_transport() {
    if (owned_ && common_ != 0) put_status(0);
  }

  /// Those that both sides agreed on.
  [[nodiscard]] u64 features() const noexcept { return features_; }

  /// Lets the device work, when its rings are set up (§3.1.1).
  void go() const noexcept { put_status(acknowledged | driver | features_ok | driver_ok); }

  /// Resets the device; it forgets its rings. False if it does not answer.
  bool reset() const noexcept {
    put_status(0);
    return holds_within(reset_patience, [&] { return status() == 0; });
  }

  /// Resets it and agrees on the same features again: for a device that is to be used with new rings. False if it fails.
  bool start_again() noexcept { return present() && reset() && offer(features_); }

  /// Whether the device is there, and has not given up on its driver (§2.1.1, DEVICE_NEEDS_RESET).
  [[nodiscard]] bool works() const noexcept {
    u8 const now = status();
    return (now & driver_ok) != 0 && (now & (needs_reset | failed)) == 0;
  }
  [[nodiscard]] bool present() const noexcept { return !function_ || function_->present(); }

  /// Ends an interrupt that came over a line (§4.1.4.5).
  void acknowledge() const noexcept {
    if (interrupt_ != 0) (void)mmio<u8>(interrupt_).read();
  }

  /// A field of the device's own configuration, of 8, 16 or 32 bits (§2.5). 0 where it has none.
  template <typename T>
  [[nodiscard]] T config(u32 offset) const noexcept {
    return config_ == 0 ? T{0} : mmio<T>(config_ + offset).read();
  }

  /// The interrupt of the queues that have one.
  [[nodiscard]] wake_up wake() const noexcept { return function_ ? wake_up(function_->record(), 0) : wake_up(); }

  /// Sets up a queue.
  ///
  /// @param size         entries wanted; cut to what the device has
  /// @param place        gives the addresses of descriptors, available and used ring for a size
  /// @param interrupts   whether it is to have MSI-X entry 0
  /// @return             its doorbell, and the size
  struct queue_place {
    u64 descriptors, available, used;
  };
  struct queue {
    u64 doorbell;
    u32 size;
    bool wide;  // the doorbell has 32 bits
  };
  template <typename Place>
  [[nodiscard]] result<queue> set_up_queue(u16 number, u32 size, bool interrupts, Place place) const noexcept {
    bool const pci = function_.has_value();
    pci ? put16(pci_queue_select, number) : put32(mmio_queue_select, number);
    u32 const most = pci ? get16(pci_queue_size) : get32(mmio_queue_size_max);
    if (most == 0) return std::unexpected(error::no_such);
    // A device may have sizes that are no power of two (§2.7); a ring of ours is always one.
    size = std::bit_floor(std::min(size, most));
    result<queue_place> const at = place(size);
    if (!at) return std::unexpected(at.error());
    if (!pci) {
      put32(mmio_queue_size, size);
      put64(mmio_queue_descriptors, at->descriptors);
      put64(mmio_queue_available, at->available);
      put64(mmio_queue_used, at->used);
      put32(mmio_queue_ready, 1);
      return queue{common_ + mmio_queue_notify, size, true};
    }
    put16(pci_queue_size, static_cast<u16>(size));
    put16(pci_queue_interrupt, interrupts ? u16{0} : no_interrupt);
    put64(pci_queue_descriptors, at->descriptors);
    put64(pci_queue_available, at->available);
    put64(pci_queue_used, at->used);
    u64 const doorbell = u64{get16(pci_queue_notify_offset)} * notify_multiplier_;
    if (doorbell + sizeof(u16) > notify_bytes_) return std::unexpected(error::io);
    put16(pci_queue_enable, 1);
    return queue{notify_ + doorbell, size, false};
  }

 private:
  static constexpr u16 vendor = 0x1AF4, modern_device = 0x1040;  // §4.1.2

  // Device status (§2.1)
  static constexpr u8 acknowledged = 1, driver = 2, driver_ok = 4, features_ok = 8, needs_reset = 64, failed = 128;

  // Capabilities of a PCI function (§4.1.4, PCI 3.0 §6.7)
  static constexpr u32 first_capability = 0x34;
  static constexpr u8 vendor_capability = 9;
  static constexpr u8 capability_common = 1, capability_notify = 2, capability_interrupt = 3, capability_device = 4;
  static constexpr u32 capability_bytes_max = 256;

  // The common configuration over PCI (§4.1.4.3)
  static constexpr u32 pci_offered_select = 0x00, pci_offered = 0x04, pci_accepted_select = 0x08, pci_accepted = 0x0C,
                       pci_config_interrupt = 0x10, pci_status = 0x14, pci_queue_select = 0x16, pci_queue_size = 0x18,
                       pci_queue_interrupt = 0x1A, pci_queue_enable = 0x1C, pci_queue_notify_offset = 0x1E,
                       pci_queue_descriptors = 0x20, pci_queue_available = 0x28, pci_queue_used = 0x30,
                       pci_common_bytes = 0x38;
  static constexpr u16 no_interrupt = 0xFFFF;

  // Registers over MMIO (§4.2.2)
  static constexpr u32 mmio_magic = 0x000, mmio_version = 0x004, mmio_device = 0x008, mmio_offered = 0x010,
                       mmio_offered_select = 0x014, mmio_accepted = 0x020, mmio_accepted_select = 0x024,
                       mmio_queue_select = 0x030, mmio_queue_size_max = 0x034, mmio_queue_size = 0x038,
                       mmio_queue_ready = 0x044, mmio_queue_notify = 0x050, mmio_status = 0x070,
                       mmio_queue_descriptors = 0x080, mmio_queue_available = 0x090, mmio_queue_used = 0x0A0,
                       mmio_config = 0x100;
  static constexpr u32 mmio_magic_value = 0x74726976;

  static constexpr std::chrono::seconds reset_patience{1};

  virtio_transport() = default;

  [[nodiscard]] u16 get16(u32 at) const noexcept { return mmio<u16>(common_ + at).read(); }
  [[nodiscard]] u32 get32(u32 at) const noexcept { return mmio<u32>(common_ + at).read(); }
  void put16(u32 at, u16 value) const noexcept { mmio<u16>(common_ + at).write(value); }
  void put32(u32 at, u32 value) const noexcept { mmio<u32>(common_ + at).write(value); }
  void put64(u32 at, u64 value) const noexcept {  // in halves (§4.1.3.1)
    put32(at, static_cast<u32>(value));
    put32(at + 4, static_cast<u32>(value >> 32));
  }

  [[nodiscard]] u8 status() const noexcept {
    return function_ ? mmio<u8>(common_ + pci_status).read() : static_cast<u8>(get32(mmio_status));
  }
  void put_status(u8 value) const noexcept {
    if (function_) {
      mmio<u8>(common_ + pci_status).write(value);
    } else {
      put32(mmio_status, value);
    }
  }

  /// Takes the places of the register blocks out of the capabilities. Each has to lie in a BAR.
  bool find_registers(pci_record const &record) noexcept {
    pci_function const function(record);
    u8 at = function.read<u8>(first_capability).value_or(0);
    for (u32 turn = 0; at >= 0x40 && turn < capability_bytes_max / 4; ++turn) {  // the list may be a circle
      if (function.read<u8>(at) == vendor_capability) {
        auto const kind = function.read<u8>(at + 3u), index = function.read<u8>(at + 4u);
        auto const offset = function.read<u32>(at + 8u), bytes = function.read<u32>(at + 12u);
        if (kind && index && offset && bytes) take_block(function, *kind, *index, *offset, *bytes, at);
      }
      at = static_cast<u8>(function.read<u8>(at + 1u).value_or(0) & ~3);
    }
    return common_ != 0 && notify_ != 0;
  }

  void take_block(pci_function const &function, u8 kind, u8 index, u32 offset, u32 bytes, u8 capability) noexcept {
    result<pci_bar> const bar = function.bar(index);
    if (!bar || bytes > bar->bytes() || offset > bar->bytes() - bytes) return;
    u64 const address = bar->address() + offset;
    if (kind == capability_common && common_ == 0 && bytes >= pci_common_bytes) common_ = address;
    if (kind == capability_interrupt && interrupt_ == 0) interrupt_ = address;
    if (kind == capability_device && config_ == 0) config_ = address;
    if (kind == capability_notify && notify_ == 0) {
      notify_ = address;
      notify_bytes_ = bytes;
      notify_multiplier_ = function.read<u32>(capability + 16u).value_or(0);
    }
  }

  /// §3.1.1, up to FEATURES_OK
  bool offer(u64 wanted) noexcept {
    bool const pci = function_.has_value();
    put_status(acknowledged);
    put_status(acknowledged | driver);
    u64 offered = 0;
    for (u32 half = 0; half < 2; ++half) {
      put32(pci ? pci_offered_select : mmio_offered_select, half);
      offered |= u64{get32(pci ? pci_offered : mmio_offered)} << 32 * half;
    }
    features_ = offered & (wanted | feature_version_1);
    for (u32 half = 0; half < 2; ++half) {
      put32(pci ? pci_accepted_select : mmio_accepted_select, half);
      put32(pci ? pci_accepted : mmio_accepted, static_cast<u32>(features_ >> 32 * half));
    }
    put_status(acknowledged | driver | features_ok);
    if ((status() & features_ok) == 0 || (features_ & feature_version_1) == 0) return false;
    if (pci) {
      put16(pci_config_interrupt, no_interrupt);
      function_->allow_dma();
    }
    return true;
  }

  opened<virtio_transport> agree(u64 wanted) && noexcept {
    if (!reset()) {
      return not_opened(error::timeout, "The virtio device does not come out of its reset: take it out and put it back.");
    }
    if (!offer(wanted)) {
      return not_opened(error::unsupported, "The virtio device insists on features that this driver does not have.");
    }
    return std::move(*this);
  }

  ownership owned_;
  std::optional<held_function> function_;  // none: over MMIO
  u64 common_ = 0, config_ = 0, interrupt_ = 0;  // addresses of register blocks, 0: there is none
  u64 notify_ = 0;
  u32 notify_bytes_ = 0, notify_multiplier_ = 0;
  u64 features_ = 0;
};

/// A piece of memory for a device.
struct virtio_part {
  u64 address;
  u32 bytes;
  bool device_writes;  ///< parts that the device reads come first (§2.7.4.2)
};

/// What came back from a ring.
struct virtio_done {
  u64 cookie;
  u32 bytes;  ///< that the device has written
};

/// A split ring (§2.7). One core at a time.
class virtio_ring {
 public:
  /// Memory for a ring of a size; zeroed.
  [[nodiscard]] static constexpr u64 bytes_for(u32 size) noexcept { return used_at(size) + 4 + 8 * u64{size} + 4; }

  /// Sets up a queue of a device, with up to `size` descriptors.
  ///
  /// @error no_such  the device has no such queue
  /// @error memory   too little RAM
  [[nodiscard]] static result<virtio_ring> open(virtio_transport const &bus, u16 number, u32 size = 128,
                                                bool interrupts = true) noexcept {
    virtio_ring ring;
    auto const queue = bus.set_up_queue(number, size, interrupts, [&](u32 cut) -> result<virtio_transport::queue_place> {
      result<pages> memory = take_dma(bytes_for(cut) + cut * sizeof(slot));
      if (!memory) return std::unexpected(memory.error());
      ring.memory_ = std::move(*memory);
      ring.lay_out(ring.memory_.data(), cut);
      return virtio_transport::queue_place{address(ring.descriptors_), address(ring.available_), address(ring.used_)};
    });
    if (!queue) return std::unexpected(queue.error());
    ring.doorbell_ = queue->doorbell;
    ring.wide_doorbell_ = queue->wide;
    ring.number_ = number;
    return ring;
  }

  /// A ring in memory of the caller's, bytes_for() and slots_bytes() long, with a doorbell of the caller's: for tests.
  virtio_ring(std::byte *memory, u32 size, u64 doorbell) noexcept : doorbell_(doorbell) { lay_out(memory, size); }
  [[nodiscard]] static constexpr u64 slots_bytes(u32 size) noexcept { return u64{size} * sizeof(slot); }

  virtio_ring(virtio_ring &&) noexcept = default;

  /// Descriptors that are free.
  [[nodiscard]] u32 room() const noexcept { return broken_ ? 0 : free_count_; }
  [[nodiscard]] u32 size() const noexcept { return size_; }
  [[nodiscard]] u32 in_flight() const noexcept { return in_flight_; }

  /// The device has said what cannot be.
  [[nodiscard]] bool broken() const noexcept { return broken_; }

  /// Gives a chain of parts to the device, with kick(); false when there is no room.
  [[nodiscard]] bool try_add(std::span<virtio_part const> parts, u64 cookie) noexcept {
    if (parts.empty() || parts.size() > room()) return false;
    u16 const head = free_;
    u16 last = head;
    u32 writable = 0;
    for (virtio_part const &part : parts) {
      descriptor &entry = descriptors_[free_];
      entry.address = part.address;
      entry.bytes = part.bytes;
      entry.flags = static_cast<u16>(descriptor_next | (part.device_writes ? descriptor_write : 0));
      if (part.device_writes) writable += part.bytes;
      last = free_;
      free_ = entry.next;
    }
    descriptors_[last].flags = static_cast<u16>(descriptors_[last].flags & ~descriptor_next);
    slots_[head] = {cookie, writable, last, true};
    free_count_ -= static_cast<u32>(parts.size());
    ++in_flight_;
    available_[2 + added_ % size_] = head;
    ++added_;
    return true;
  }

  /// Tells the device of what was added since, one doorbell for all (§2.7.13).
  void kick() noexcept {
    if (added_ == told_ || broken_) return;
    told_ = added_;
    std::atomic_ref(available_[1]).store(added_, std::memory_order_release);
    std::atomic_thread_fence(std::memory_order_seq_cst);  // the index is seen before the flag is looked at
    if ((std::atomic_ref(used_flags()).load(std::memory_order_relaxed) & used_no_notify) == 0) {
      wide_doorbell_ ? mmio<u32>(doorbell_).write(number_) : mmio<u16>(doorbell_).write(number_);
    }
  }

  /// Whether try_take() would give something.
  [[nodiscard]] bool pending() const noexcept {
    return !broken_ && std::atomic_ref(used_index()).load(std::memory_order_acquire) != taken_;
  }

  /// Takes back what the device is done with, if there is something.
  [[nodiscard]] std::optional<virtio_done> try_take() noexcept {
    if (!pending()) return std::nullopt;
    used_entry const done = used_entries()[taken_ % size_];
    if (done.id >= size_ || !slots_[done.id].in_flight) {
      broken_ = true;
      return std::nullopt;
    }
    ++taken_;
    --in_flight_;
    slot &its = slots_[done.id];
    its.in_flight = false;
    u32 parts = 1;
    for (u16 at = static_cast<u16>(done.id); at != its.last; at = descriptors_[at].next) ++parts;
    descriptors_[its.last].next = free_;
    free_ = static_cast<u16>(done.id);
    free_count_ += parts;
    return virtio_done{its.cookie, std::min(done.bytes, its.writable)};  // some count what they have read, too
  }

  /// Whether the device is to interrupt when it is done with something. Look at pending() afterwards: then either there
  /// was something, or the interrupt comes (§2.7.7).
  void interrupts(bool on) noexcept {
    std::atomic_ref(available_[0]).store(on ? u16{0} : available_no_interrupt, std::memory_order_relaxed);
    std::atomic_thread_fence(std::memory_order_seq_cst);
  }

  /// Halts this core until the device is done with something, another event, or the deadline.
  void wait(virtio_transport const &bus, wake_up &wake, clock::time_point deadline) noexcept {
    if (wake.over_line()) bus.acknowledge();
    bool const armed = wake.here();
    if (armed) interrupts(true);
    if (!pending() && !broken_) wake.idle(deadline);
    if (armed) interrupts(false);
  }

 private:
  struct descriptor {
    u64 address;
    u32 bytes;
    u16 flags;
    u16 next;
  };
  struct used_entry {
    u32 id;
    u32 bytes;
  };
  struct slot {  // what is kept of a chain, by its first descriptor
    u64 cookie;
    u32 writable;
    u16 last;
    bool in_flight;
  };
  static constexpr u16 descriptor_next = 1, descriptor_write = 2, available_no_interrupt = 1, used_no_notify = 1;

  /// The order and alignment of §2.7; our slots come behind it, at a multiple of 8.
  static constexpr u64 available_at(u32 size) noexcept { return u64{size} * sizeof(descriptor); }
  static constexpr u64 used_at(u32 size) noexcept { return align_up(available_at(size) + 4 + 2 * u64{size} + 2, 8); }

  virtio_ring() = default;

  template <typename T>
  static u64 address(T const *pointer) noexcept {
    return reinterpret_cast<u64>(pointer);
  }

  void lay_out(std::byte *memory, u32 size) noexcept {
    size_ = size;
    free_count_ = size;
    descriptors_ = reinterpret_cast<descriptor *>(memory);
    available_ = reinterpret_cast<u16 *>(memory + available_at(size));
    used_ = memory + used_at(size);
    slots_ = reinterpret_cast<slot *>(memory + bytes_for(size));
    for (u32 at = 0; at < size; ++at) descriptors_[at].next = static_cast<u16>((at + 1) % size);
    interrupts(false);
  }

  [[nodiscard]] u16 &used_flags() const noexcept { return *reinterpret_cast<u16 *>(used_); }
  [[nodiscard]] u16 &used_index() const noexcept { return *reinterpret_cast<u16 *>(used_ + 2); }
  [[nodiscard]] used_entry *used_entries() const noexcept { return reinterpret_cast<used_entry *>(used_ + 4); }

  pages memory_;
  u32 size_ = 0;
  descriptor *descriptors_ = nullptr;
  u16 *available_ = nullptr;  // flags, index, entries
  std::byte *used_ = nullptr;
  slot *slots_ = nullptr;
  u64 doorbell_ = 0;
  bool wide_doorbell_ = false;
  u16 number_ = 0;
  u16 free_ = 0;              // first of the free descriptors, which are linked
  u32 free_count_ = 0, in_flight_ = 0;
  u16 added_ = 0, told_ = 0, taken_ = 0;  // chains so far; they wrap as the indices in memory do
  bool broken_ = false;
};

}  // namespace exo
