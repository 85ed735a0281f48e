// An RTL8139 that answers anything, and writes anything into its receive ring.
#include <exo/drivers/rtl8139.hpp>

#include "frames.hpp"

namespace {

using namespace exo;
using namespace fuzzed;

class chip : public nic_model {
 public:
  using nic_model::nic_model;

  u64 read(u64 place, u32) override {
    u64 const at = place - ports_at;
    if (at < 6) return 0x52 + at;
    if (at == 0x37) return look();
    if (at >= 0x10 && at < 0x20) return send_status(at / 4 % 4);
    return 0;
  }

  void write(u64 place, u64 value, u32) override {
    u64 const at = place - ports_at;
    if (at == 0x37) (value & 0x10) != 0 ? reset() : void(command_ = value);
    if (at >= 0x10 && at < 0x20) send(at / 4 % 4, value & 0x1FFF);
    if (at >= 0x20 && at < 0x30) places_[at / 4 % 4] = value;
    if (at == 0x30) ring_ = reinterpret_cast<std::byte *>(value);
    if (at == 0x38) read_at_ = (static_cast<u32>(value) + 16) % ring_bytes & ~3u;
    if (at == 0x3C) interrupts_ = value != 0;
    if (at == 0x3E && (value & overflow) != 0 && read_at_ != full_at_) full_at_ = no_place;
  }

  bool arrive(std::span<std::byte const> frame) override {
    u32 const bytes = static_cast<u32>(frame.size());
    if (!listens() || full_at_ != no_place) return false;
    if ((write_at_ - read_at_ + ring_bytes) % ring_bytes + bytes + 16 >= ring_bytes) {
      full_at_ = read_at_;
      return false;
    }
    demand(here_.owns({ring_, ring_bytes + 2048}), "the ring lies outside the driver's memory");
    arrived();
    put_header(write_at_, 0xFFF0);
    std::ranges::copy(frame, ring_ + write_at_ + 4);
    arriving_at_ = write_at_;
    arriving_bytes_ = static_cast<u16>(bytes + 4);
    write_at_ = static_cast<u32>(align_up(write_at_ + bytes + 8, 4) % ring_bytes);
    return true;
  }

  [[nodiscard]] bool listens() const override { return ring_ != nullptr && (command_ & 0x08) != 0; }  // CR.RE
  [[nodiscard]] bool interrupts() const override { return interrupts_; }

  /// It writes anywhere, or sends nothing any more until it is reset.
  void damage() override { here_.next() % 2 == 0 ? here_.scribble() : void(hangs_ = true); }

 private:
  static constexpr u32 ring_bytes = 32 * 1024, no_place = ~u32{0};
  static constexpr u64 send_ticks = 500;
  static constexpr u64 overflow = 0x10;                    // ISR.RXOVW
  static constexpr u64 own = 1 << 13, sent_good = 1 << 15;  // TSD.OWN, TSD.TOK

  void reset() {
    read_at_ = write_at_ = 0;
    full_at_ = arriving_at_ = no_place;
    hangs_ = interrupts_ = false;
    ring_ = nullptr;
    command_ = 0;
    done_at_ = {};
  }
  void put_header(u32 at, u16 bytes) {
    u16 const header[2] = {1, bytes};
    std::memcpy(ring_ + at, header, sizeof(header));
  }
  void arrived() {
    if (arriving_at_ != no_place) put_header(std::exchange(arriving_at_, no_place), arriving_bytes_);
  }
  /// CR.BUFE. A frame is being written still when the driver looks at it for the first time.
  u64 look() {
    if (read_at_ == arriving_at_ && std::exchange(looked_at_, arriving_at_) == arriving_at_) arrived();
    return read_at_ == write_at_ ? 0x01 : 0x00;
  }

  void send(u64 number, u64 bytes) {
    is_given();
    std::span const frame(reinterpret_cast<std::byte const *>(places_[number]), bytes);
    demand(here_.owns(frame), "a frame to send lies outside the driver's memory");
    demand((command_ & 0x04) != 0 || !here_.honest, "it sends with a sender that is off");  // CR.TE
    sends(frame);
    done_at_[number] = ticks() + send_ticks;
  }
  [[nodiscard]] u64 send_status(u64 number) const {
    if (done_at_[number] == 0) return own;
    return hangs_ || ticks() < done_at_[number] ? 0 : own | sent_good;
  }

  std::byte *ring_ = nullptr;
  u64 command_ = 0;
  u32 read_at_ = 0, write_at_ = 0;
  u32 full_at_ = no_place;  // where the driver stood when there was no room; nothing comes until that is acknowledged
  u32 arriving_at_ = no_place, looked_at_ = no_place;  // of the frame that came last
  u16 arriving_bytes_ = 0;
  bool hangs_ = false, interrupts_ = false;
  std::array<u64, 4> places_{}, done_at_{};
};

pci_record const function = [] {
  pci_record made{};
  made.vendor = 0x10EC;
  made.device = 0x8139;
  made.bar[0] = ports_at;
  made.bar_bytes[0] = 256 | 1;
  return made;
}();

}  // namespace

void fuzz(std::span<std::byte const> input) { fuzz_nic<rtl8139, chip>(input, function); }
