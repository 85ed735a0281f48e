// An ATA disk and its controller that answer anything.
#include <exo/drivers/ata.hpp>

#include "machine.hpp"

namespace {

using namespace exo;
using namespace fuzzed;

constexpr u16 master_at = ports_at, control_at = 0x3F6, command_at = 0x1F0;  // the first channel

/// A disk of 8 MiB, whose data are not kept.
class drive : public model {
 public:
  explicit drive(machine &here) : here_(here) {
    std::ranges::fill(identity_, u16{0x4141});
    identity_[0] = 0x0040;
    identity_[49] = 0x0300;                  // LBA, DMA
    identity_[60] = blocks, identity_[61] = 0;
    identity_[63] = 0x0407;
    identity_[83] = 0x7400;                  // 48-bit commands
    identity_[100] = blocks;
    identity_[101] = identity_[102] = identity_[103] = 0;
    identity_[106] = 0x4000;
    identity_[169] = 1;                      // TRIM
    for (u32 count = here.next() % 8; count != 0; --count) identity_[here.next()] = static_cast<u16>(here.number(2));
  }

  u64 read(u64 place, u32) override {
    if (place == command_at) return data();
    if (place == control_at || place == command_at + 7) return words_ != 0 ? 0x58 : 0x50;
    if (place == master_at + 2) return failed_ ? 0x06 : 0x04;
    return place == control_at - 0x80 || place == 0x177 ? 0 : 0xFF;
  }

  void write(u64 place, u64 value, u32) override {
    if (place == command_at && words_ != 0) --words_;
    if (place == command_at + 1) feature_ = static_cast<u8>(value);
    if (place == command_at + 2) count_ = static_cast<u8>(value);
    if (place == control_at && (value & 4) != 0) words_ = 0;
    if (place == command_at + 7) begin(static_cast<u8>(value));
    if (place == master_at && (value & 1) != 0) transfer((value & 8) != 0);
    if (place == master_at + 4u) table_ = value;
  }

  /// Whether the controller has moved no data, and says so (Bus Master IDE 1.0 §2.2).
  [[nodiscard]] bool failed() const { return failed_; }

  u64 size = 0;  // as the driver has understood it

 private:
  static constexpr u16 blocks = 16 * 1024;

  u64 data() {
    if (words_ == 0) return 0xFFFF;
    --words_;
    return identifies_ ? identity_[255 - words_] : 0x5A5A;
  }

  void begin(u8 command) {
    failed_ = false;
    identifies_ = command == 0xEC;
    bool const pio = command == 0x20 || command == 0x24 || command == 0x30 || command == 0x34;
    trims_ = command == 0x06;
    words_ = identifies_ ? 256 : pio ? (count_ == 0 ? 256u : count_) * 256 : 0;
  }

  /// What the table names has to be memory of the caller's, as long as the command.
  void transfer(bool to_memory) {
    u64 bytes = 0;
    failed_ = here_.next() >= 0xC0;
    for (u32 at = 0;; ++at) {
      demand(at < 16, "the table has no end");
      auto const &part = reinterpret_cast<ata::region const *>(table_)[at];
      u32 const count = part.bytes == 0 ? 0x10000 : part.bytes;
      demand(part.address % 0x10000 + count <= 0x10000, "a part crosses 64 KiB");
      std::span const memory(reinterpret_cast<std::byte *>(u64{part.address}), count);
      demand(here_.owns(memory), "the table names memory that is nobody's");
      if (to_memory && !failed_) std::ranges::fill(memory, std::byte{0x5A});
      bytes += count;
      if ((part.last & ata::region_last) != 0) break;
    }
    demand(bytes % 512 == 0 && bytes <= 512 * 1024, "the table has another length");
    if (!trims_) return;
    demand(feature_ == 1 && bytes == 512 && !to_memory, "it is no list of blocks");
    auto const *const list = reinterpret_cast<u64 const *>(u64{reinterpret_cast<ata::region const *>(table_)->address});
    for (u64 const each : std::span(list, 64)) demand((each << 16 >> 16) + (each >> 48) <= size, "blocks outside the disk are given up");
  }

  machine &here_;
  std::array<u16, 256> identity_;
  u32 words_ = 0;  // to be read or written by PIO
  u8 count_ = 0;
  u8 feature_ = 0;
  u64 table_ = 0;
  bool identifies_ = false, trims_ = false, failed_ = false;
};

pci_record const function = [] {
  pci_record made{};
  made.class_revision = 0x01018000;
  made.bar[4] = master_at;
  made.bar_bytes[4] = 16 | 1;
  return made;
}();

void use(machine &here, drive &good, ata_disk &disk) {
  good.size = disk.blocks();
  u32 const unit = disk.block_bytes();
  demand(unit >= 512 && unit <= 4096 && (unit & (unit - 1)) == 0 && disk.blocks() != 0, "the disk has no such size");
  demand(disk.model().size() <= 40 && disk.serial().size() <= 20, "a name is too long");
  constexpr u64 room = 64 * 1024;
  auto memory = take_dma(room + page_bytes);
  demand(memory.has_value(), "there is no memory for data");
  while (!here.rest.empty()) {
    u8 const what = here.next();
    u64 const count = 1 + here.next() % (room / unit), first = here.number(what % 2 == 0 ? 2 : 8);
    std::span const data = memory->span().subspan(what & 0x40 ? 1 : 0, count * unit);
    std::byte &behind = *(data.data() + data.size());
    behind = std::byte{0xA5};
    if ((what & 0x80) != 0) disk.use_pio();
    bool const inside = first < disk.blocks() && count <= disk.blocks() - first;
    result<void> outcome = std::unexpected(error::range);
    switch (what % 6 / 2) {
      case 0: outcome = disk.read(lba{first}, data); break;
      case 1: outcome = (what & 0x20) != 0 ? disk.discard(lba{first}, count) : disk.write(lba{first}, data); break;
      case 2: (void)disk.flush(); continue;
    }
    demand(inside || !outcome, "blocks outside the disk are read or written");
    demand(behind == std::byte{0xA5}, "a transfer goes on behind its memory");
    demand(!outcome || !good.failed() || !here.honest, "a transfer that the controller has given up ends well");
  }
  std::span const data = memory->span().first(unit);
  bool const works = disk.read(lba{0}, data).has_value() || disk.read(lba{0}, data).has_value();
  demand(works, "the disk does not come back");
}

}  // namespace

void fuzz(std::span<std::byte const> input) {
  machine here(input, function, 32);
  drive good(here);
  here.device = &good;
  auto controller = ata_controller::open(here.record(), std::chrono::milliseconds(50));
  if (!controller) return;
  if (auto disk = controller->disk({.channel = 0, .unit = static_cast<u8>(here.next() % 2)})) use(here, good, *disk);
}
