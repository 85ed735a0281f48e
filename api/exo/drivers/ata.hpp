// ATA disks at an IDE controller: bus-master DMA where controller, disk and memory allow it, else PIO.
//
//   auto controller = exo::ata_controller::open(function);
//   auto disk = controller->disk({.channel = 0, .unit = 0});   // a block_device: read, write, flush, discard
//
// A controller has two channels with two units each. Commands run one at a time and are polled for; the channel's
// interrupt stays off. A command that has not ended in its time gets its channel reset, and both units can be used again.
// One core at a time uses a controller and its disks.
// SPEC  ATA/ATAPI-7 vol. 1 §6 (commands), vol. 2 §8 (protocols, software reset); ACS-2 (TRIM); PCI IDE Controller 1.0; Bus Master IDE 1.0
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <optional>
#include <string_view>

#include "../block.hpp"
#include "../port.hpp"
#include "driver.hpp"

namespace exo {

/// Where a disk is: channel 0 or 1, unit 0 (master) or 1 (slave).
struct ata_place {
  u8 channel = 0;
  u8 unit = 0;
};

namespace ata {

/// Ports of a channel (ATA/ATAPI-7 vol. 2 §5.3).
struct channel_ports {
  u16 command = 0;     // data, and the seven registers behind it
  u16 control = 0;     // device control and alternate status
  u16 bus_master = 0;  // command, status, table; 0: none
};

inline constexpr u16 reg_data = 0, reg_error = 1, reg_feature = 1, reg_count = 2, reg_lba = 3, reg_device = 6, reg_command = 7;
inline constexpr u8 status_error = 0x01, status_data = 0x08, status_fault = 0x20, status_busy = 0x80;
inline constexpr u8 control_reset = 0x04, control_no_interrupt = 0x02;
inline constexpr u8 device_lba = 0x40, device_old = 0xA0;

inline constexpr u16 master_command = 0, master_status = 2, master_table = 4;
inline constexpr u8 master_start = 0x01, master_to_memory = 0x08, master_failed = 0x02, master_clear = 0x06;

enum class command : u8 {
  trim = 0x06,  // DATA SET MANAGEMENT, with feature_trim (ACS-2 §7.10)
  read = 0x20, read_extended = 0x24, read_dma_extended = 0x25,
  write = 0x30, write_extended = 0x34, write_dma_extended = 0x35,
  read_dma = 0xC8, write_dma = 0xCA,
  flush = 0xE7, flush_extended = 0xEA, identify = 0xEC,
};
inline constexpr u8 feature_trim = 0x01;

/// What a trim names: blocks in the upper 16 bits, and the first one's number (ACS-2 §7.10.3.1). One of no blocks is none.
inline constexpr u64 trim_blocks_max = 0xFFFF;
constexpr u64 trim_range(u64 first, u64 blocks) noexcept { return blocks << 48 | first; }

/// A part of memory that a transfer goes to or comes from (Bus Master IDE 1.0 §1.2). It crosses no 64 KiB boundary.
struct region {
  u32 address;
  u16 bytes;  // 0: 64 KiB
  u16 last;   // region_last or 0
};
inline constexpr u16 region_last = 0x8000;
inline constexpr u64 region_boundary = 0x10000;

/// What the disks of a controller share. It lies in a page of its own, below 4 GiB, which the controller reads the table
/// from, so that disks find it wherever the controller moves.
struct shared {
  std::array<region, 16> table;
  alignas(512) std::array<u64, 64> trimmed;  // trim_range each
  std::array<channel_ports, 2> channels;
  clock::duration patience;
};

}  // namespace ata

/// An ATA disk, a clearing_block_device.
///
/// Every function waits for the disk. Errors of all:
/// @error range    no whole blocks, or blocks outside the disk
/// @error io       the disk reported an error
/// @error timeout  the disk did not answer; its channel was reset
class ata_disk {
 public:
  [[nodiscard]] u32 block_bytes() const noexcept { return block_bytes_; }
  [[nodiscard]] u64 blocks() const noexcept { return blocks_; }
  [[nodiscard]] std::string_view model() const noexcept { return trimmed(model_); }
  [[nodiscard]] std::string_view serial() const noexcept { return trimmed(serial_); }
  /// Whether transfers use DMA, if their memory lies below 4 GiB and at an even address.
  [[nodiscard]] bool has_dma() const noexcept { return dma_; }
  /// Lets the disk use PIO only, for a controller whose DMA does not work.
  void use_pio() noexcept { dma_ = false; }

  [[nodiscard]] result<void> read(lba first, std::span<std::byte> into) noexcept {
    return transfer(first, into.size(), [&](u64 block, u64 at, u64 bytes) {
      std::span const part = into.subspan(at, bytes);
      if (reachable(part)) {
        return run_dma(extended_ ? ata::command::read_dma_extended : ata::command::read_dma, block, bytes / block_bytes_, part,
                       ata::master_to_memory);
      }
      return run_pio(extended_ ? ata::command::read_extended : ata::command::read, block, bytes, [&](u64 offset) {
        port_in_words(ports().command, part.subspan(offset, block_bytes_));
      });
    });
  }

  /// The blocks last after flush().
  [[nodiscard]] result<void> write(lba first, std::span<std::byte const> from) noexcept {
    return transfer(first, from.size(), [&](u64 block, u64 at, u64 bytes) {
      std::span const part = from.subspan(at, bytes);
      if (reachable(part)) {
        return run_dma(extended_ ? ata::command::write_dma_extended : ata::command::write_dma, block, bytes / block_bytes_, part, 0);
      }
      return run_pio(extended_ ? ata::command::write_extended : ata::command::write, block, bytes, [&](u64 offset) {
        port_out_words(ports().command, part.subspan(offset, block_bytes_));
      });
    });
  }

  /// Makes all writes before it last.
  [[nodiscard]] result<void> flush() noexcept {
    result<void> const begun = begin(extended_ ? ata::command::flush_extended : ata::command::flush, 0, 0);
    return begun ? wait(0) : begun;
  }

  /// Tells the disk that blocks are needed no longer: they may read as anything until they are written again.
  /// @error unsupported  the disk has no TRIM, or there is no DMA, which TRIM needs
  [[nodiscard]] result<void> discard(lba first, u64 blocks) noexcept {
    if (!trims_ || !dma_) return std::unexpected(error::unsupported);
    u64 at = number(first);
    if (at > blocks_ || blocks > blocks_ - at) return std::unexpected(error::range);
    auto &ranges = shared_->trimmed;
    std::span<std::byte const> const list = std::as_bytes(std::span(ranges));
    for (u64 const end = at + blocks; at < end;) {
      for (u64 &each : ranges) {
        u64 const count = std::min(end - at, ata::trim_blocks_max);
        each = ata::trim_range(at, count);
        at += count;
      }
      result<void> const done = run_dma(ata::command::trim, 0, list.size() / 512, list, 0);
      if (!done) return done;
    }
    return {};
  }

  /// Unsupported: TRIM is advice, which a disk may leave alone, and ATA has no other way to make zeros without sending them.
  [[nodiscard]] result<void> zero(lba, u64) noexcept { return std::unexpected(error::unsupported); }

 private:
  friend class ata_controller;
  static constexpr u64 blocks_at_once = 128;  // of one command; 256 is the most without the 48-bit commands

  ata_disk(ata::shared &state, ata_place place) noexcept : shared_(&state), place_(place) {}

  [[nodiscard]] ata::channel_ports const &ports() const noexcept { return shared_->channels[place_.channel]; }
  [[nodiscard]] u8 status() const noexcept { return port_in(ports().control); }  // leaves a pending interrupt alone

  template <typename Byte>
  [[nodiscard]] bool reachable(std::span<Byte> memory) const noexcept {
    u64 const address = reinterpret_cast<u64>(memory.data());
    return dma_ && address % 2 == 0 && address + memory.size() <= below_4_gib;
  }

  /// Cuts a transfer into commands.
  template <typename Run>
  [[nodiscard]] result<void> transfer(lba first, u64 bytes, Run run) noexcept {
    u64 const start = number(first);
    if (bytes % block_bytes_ != 0 || start > blocks_ || bytes / block_bytes_ > blocks_ - start) {
      return std::unexpected(error::range);
    }
    u64 const most = blocks_at_once * std::min(block_bytes_, 4096u);
    for (u64 at = 0; at < bytes; at += most) {
      result<void> const done = run(start + at / block_bytes_, at, std::min(most, bytes - at));
      if (!done) return done;
    }
    return {};
  }

  /// Selects the disk and gives it a command, once the channel is free.
  [[nodiscard]] result<void> begin(ata::command command, u64 block, u64 count) noexcept {
    u16 const base = ports().command;
    u8 const device = static_cast<u8>(ata::device_old | ata::device_lba | place_.unit << 4);
    if (!idle()) return stuck();
    port_out<u8>(static_cast<u16>(base + ata::reg_device), device);
    settle();
    if (!idle()) return stuck();
    auto const put = [&](u16 reg, u64 value) { port_out(static_cast<u16>(base + reg), static_cast<u8>(value)); };
    if (extended_) {  // the registers hold two bytes each: the upper one goes first
      put(ata::reg_feature, 0);
      put(ata::reg_count, count >> 8);
      for (u16 byte = 0; byte < 3; ++byte) put(static_cast<u16>(ata::reg_lba + byte), block >> (24 + 8 * byte));
    } else {
      put(ata::reg_device, device | (block >> 24 & 0x0F));
    }
    put(ata::reg_feature, command == ata::command::trim ? ata::feature_trim : 0);
    put(ata::reg_count, count);
    for (u16 byte = 0; byte < 3; ++byte) put(static_cast<u16>(ata::reg_lba + byte), block >> (8 * byte));
    put(ata::reg_command, static_cast<u8>(command));
    settle();
    return {};
  }

  /// Waits until the disk wants data (status_data) or has done its command (0): a transfer by DMA may look as if it wanted
  /// data. An error ends both.
  [[nodiscard]] result<void> wait(u8 wanted) noexcept {
    bool const ended = holds_within(shared_->patience, [&] {
      u8 const now = status();
      if ((now & ata::status_busy) != 0) return false;
      return (now & ata::status_data) == wanted || (now & (ata::status_error | ata::status_fault)) != 0;
    });
    if (!ended) return stuck();
    u8 const now = port_in(static_cast<u16>(ports().command + ata::reg_command));
    if ((now & (ata::status_error | ata::status_fault)) != 0) return std::unexpected(error::io);
    return {};
  }

  template <typename Move>
  [[nodiscard]] result<void> run_pio(ata::command command, u64 block, u64 bytes, Move move) noexcept {
    result<void> done = begin(command, block, bytes / block_bytes_);
    for (u64 at = 0; done && at < bytes; at += block_bytes_) {
      done = wait(ata::status_data);
      if (done) move(at);
      settle();
    }
    return done ? wait(0) : done;
  }

  template <typename Byte>
  [[nodiscard]] result<void> run_dma(ata::command command, u64 block, u64 count, std::span<Byte> memory, u8 direction) noexcept {
    u16 const master = ports().bus_master;
    u64 address = reinterpret_cast<u64>(memory.data());
    u64 const end = address + memory.size();
    for (ata::region &each : shared_->table) {
      u64 const bytes = std::min(end - address, ata::region_boundary - address % ata::region_boundary);
      each = {static_cast<u32>(address), static_cast<u16>(bytes), address + bytes == end ? ata::region_last : u16{0}};
      address += bytes;
      if (address == end) break;
    }
    port_out(static_cast<u16>(master + ata::master_table), static_cast<u32>(reinterpret_cast<u64>(&shared_->table)));
    port_out(static_cast<u16>(master + ata::master_command), direction);
    port_out(static_cast<u16>(master + ata::master_status), ata::master_clear);
    result<void> done = begin(command, block, count);
    if (!done) return done;
    port_out(static_cast<u16>(master + ata::master_command), static_cast<u8>(direction | ata::master_start));
    done = wait(0);
    u8 const outcome = port_in(static_cast<u16>(master + ata::master_status));
    port_out(static_cast<u16>(master + ata::master_command), u8{0});  // whatever happened, it leaves memory alone now
    if (done && (outcome & ata::master_failed) != 0) return std::unexpected(error::io);
    return done;
  }

  [[nodiscard]] bool idle() const noexcept {
    return holds_within(shared_->patience, [&] { return (status() & (ata::status_busy | ata::status_data)) == 0; });
  }

  /// The 400 ns that a status needs to be true: a read of a port takes 100 at least.
  void settle() const noexcept {
    for (u32 read = 0; read < 4; ++read) (void)status();
  }

  [[nodiscard]] result<void> stuck() noexcept {
    reset();
    return std::unexpected(error::timeout);
  }

  /// Ends whatever the channel's units do (vol. 2 §8.2).
  void reset() const noexcept {
    if (ports().bus_master != 0) port_out(ports().bus_master, u8{0});
    port_out(ports().control, static_cast<u8>(ata::control_no_interrupt | ata::control_reset));
    u64 const pressed = deadline_in(std::chrono::microseconds(5));
    while (ticks() < pressed) pause();
    port_out(ports().control, ata::control_no_interrupt);
    u64 const released = deadline_in(std::chrono::milliseconds(2));
    while (ticks() < released) pause();
    (void)holds_within(shared_->patience, [&] { return (status() & ata::status_busy) == 0; });
  }

  /// Asks the disk what it is.
  [[nodiscard]] std::expected<void, open_failure> identify() noexcept {
    port_out(ports().control, ata::control_no_interrupt);
    u16 const base = ports().command;
    port_out<u8>(static_cast<u16>(base + ata::reg_device), static_cast<u8>(ata::device_old | place_.unit << 4));
    settle();
    // Nothing at all, or no such unit: both read as all ones or 0.
    if (u8 const now = status(); now == 0xFF || now == 0) return not_opened(error::no_such, nothing_there);
    result<void> begun = begin(ata::command::identify, 0, 0);
    if (!begun) return not_opened(begun.error(), "The disk does not answer: check its cable and power.");
    if (status() == 0) return not_opened(error::no_such, nothing_there);
    begun = wait(ata::status_data);
    if (!begun) return not_opened(error::no_such, "What is there is no ATA disk; it may be a CD drive.");
    std::array<u16, 256> words;
    port_in_words(base, std::as_writable_bytes(std::span(words)));
    if ((words[0] & 0x8000) != 0 || (words[49] & 0x0200) == 0) {
      return not_opened(error::unsupported, "The disk has no LBA, or is none: it is too old.");
    }
    extended_ = (words[83] & 0xC400) == 0x4400;
    blocks_ = words[60] | u64{words[61]} << 16;
    if (extended_) blocks_ = words[100] | u64{words[101]} << 16 | u64{words[102]} << 32;
    if ((words[106] & 0xD000) == 0x5000) block_bytes_ = (words[117] | u32{words[118]} << 16) * 2;
    if (blocks_ == 0 || block_bytes_ < 512 || block_bytes_ > 4096 || !std::has_single_bit(block_bytes_)) {
      return not_opened(error::unsupported, "The disk says that its size or its block size is what cannot be.");
    }
    // DMA, where the firmware has chosen a mode for it (words 63 and 88, upper bytes).
    bool const chosen = (words[63] & 0x0700) != 0 || ((words[53] & 4) != 0 && (words[88] & 0x7F00) != 0);
    dma_ = ports().bus_master != 0 && (words[49] & 0x0100) != 0 && chosen;
    trims_ = extended_ && (words[169] & 1) != 0;
    text(model_, &words[27]);
    text(serial_, &words[10]);
    return {};
  }

  static void text(std::span<char> out, u16 const *words) noexcept {
    for (std::size_t at = 0; at < out.size(); ++at) {  // the first letter of a pair is the upper byte
      out[at] = static_cast<char>(words[at / 2] >> (at % 2 == 0 ? 8 : 0));
    }
  }
  static std::string_view trimmed(std::span<char const> letters) noexcept {
    std::string_view const all(letters.data(), letters.size());
    return all.substr(0, all.find_last_not_of(std::string_view(" \0", 2)) + 1);
  }

  static constexpr char const *nothing_there = "There is no disk at this place.";

  ata::shared *shared_;
  ata_place place_;
  u64 blocks_ = 0;
  u32 block_bytes_ = 512;
  bool extended_ = false;
  bool dma_ = false;
  bool trims_ = false;
  std::array<char, 40> model_{};
  std::array<char, 20> serial_{};
};
static_assert(clearing_block_device<ata_disk>);

/// An IDE controller. It must outlive its disks, but may move meanwhile.
class ata_controller {
 public:
  [[nodiscard]] static bool probe(pci_record const &function) noexcept {
    return function.class_revision >> 16 == 0x0101;  // mass storage, IDE
  }

  /// Takes a controller.
  ///
  /// @param patience     for a command, before its channel is reset
  /// @error no_such      the function is no IDE controller
  /// @error unsupported  it was given no ports
  /// @error memory       too little RAM below 4 GiB
  /// @core  any          @heap  pages
  [[nodiscard]] static opened<ata_controller> open(pci_record const &function) noexcept {
    return open(function, std::chrono::seconds(10));
  }
  [[nodiscard]] static opened<ata_controller> open(pci_record const &function, clock::duration patience) noexcept {
    if (!probe(function)) return not_opened(error::no_such, "This function is no IDE controller.");
    auto const ports_of = [&](u32 bar) -> u16 {  // 0: it has none
      bool const has = (function.bar_bytes[bar] & 1) != 0 && function.bar[bar] != 0;
      return has ? static_cast<u16>(function.bar[bar]) : u16{0};
    };
    auto channels = legacy_channels;
    u16 const master = (function.class_revision & bus_mastering) != 0 ? ports_of(4) : u16{0};
    for (u32 each = 0; each < channels.size(); ++each) {
      ata::channel_ports &ports = channels[each];
      if ((function.class_revision & (native_mode << (2 * each))) != 0) {
        ports.command = ports_of(2 * each);
        ports.control = ports_of(2 * each + 1);
        if (ports.command == 0 || ports.control == 0) {
          return not_opened(error::unsupported, "The firmware has given the IDE controller no ports.");
        }
        ports.control = static_cast<u16>(ports.control + 2);
      }
      if (master != 0) ports.bus_master = static_cast<u16>(master + 8 * each);
    }
    opened<ata_controller> made = make(channels, patience);
    if (made) {
      made->function_.emplace(function);
      for (ata::channel_ports const &ports : channels) {
        if (ports.bus_master != 0) port_out(ports.bus_master, u8{0});  // what the firmware began ends here
      }
      made->function_->allow_dma();
    }
    return made;
  }

  /// Takes the controller that an old machine without PCI has at the usual ports, for PIO.
  [[nodiscard]] static opened<ata_controller> open_legacy(clock::duration patience = std::chrono::seconds(10)) noexcept {
    return make(legacy_channels, patience);
  }

  /// Opens a disk.
  ///
  /// @error range        there is no such place
  /// @error no_such      there is nothing at that place, or no disk
  /// @error unsupported  the disk has no LBA, or says what cannot be
  /// @error timeout      it does not answer
  [[nodiscard]] opened<ata_disk> disk(ata_place place) noexcept {
    if (place.channel > 1 || place.unit > 1) return not_opened(error::range);
    ata_disk made(*reinterpret_cast<ata::shared *>(memory_.data()), place);
    if (auto const known = made.identify(); !known) return std::unexpected(known.error());
    return made;
  }

 private:
  static constexpr u32 bus_mastering = 0x8000, native_mode = 0x0100;  // of the interface byte (PCI IDE 1.0 §2)
  static constexpr std::array<ata::channel_ports, 2> legacy_channels = {{{0x1F0, 0x3F6, 0}, {0x170, 0x376, 0}}};

  explicit ata_controller(pages memory) noexcept : memory_(std::move(memory)) {}

  [[nodiscard]] static opened<ata_controller> make(std::array<ata::channel_ports, 2> const &channels,
                                                   clock::duration patience) noexcept {
    auto memory = take_dma(sizeof(ata::shared), below_4_gib);
    if (!memory) return not_opened(memory.error());
    new (memory->data()) ata::shared{.table{}, .trimmed{}, .channels = channels, .patience = patience};
    return ata_controller(std::move(*memory));
  }

  pages memory_;                           // ata::shared; goes behind the function, which reaches it until then
  std::optional<held_function> function_;
};
static_assert(pci_driver<ata_controller>);

}  // namespace exo
