// An NE2000 that answers anything, and has anything in its memory.
#include <exo/drivers/ne2000.hpp>

#include "frames.hpp"

namespace {

using namespace exo;
using namespace fuzzed;

class card : public nic_model {
 public:
  explicit card(machine &here) : here_(here) {
    for (u32 at = 0; at < 6; ++at) memory_[at * 2] = static_cast<u8>(0x52 + at);
    memory_[28] = memory_[30] = 'W';
  }

  u64 read(u64 place, u32) override {
    switch (u64 const at = place - ports_at) {
      case 0x00: return command_ & ~0x04;  // sent at once
      case 0x07: return (command_ & 0x40) != 0 ? current_ : status_;
      case 0x10: return copy_in();
      case 0x1F: status_ |= 0x80; cut_ = false; return 0;
      default: return at;
    }
  }

  void write(u64 place, u64 value, u32) override {
    u8 const byte = static_cast<u8>(value);
    switch (place - ports_at) {
      case 0x00: command_ = byte; break;
      case 0x03: if ((command_ & 0x40) == 0) boundary_ = byte; break;
      case 0x05: send_bytes_ = static_cast<u16>((send_bytes_ & 0xFF00) | byte); break;
      case 0x06: send_bytes_ = static_cast<u16>((send_bytes_ & 0xFF) | byte << 8); break;
      case 0x07: (command_ & 0x40) != 0 ? void(current_ = byte) : void(status_ &= static_cast<u8>(~byte)); break;
      case 0x08: copy_at_ = static_cast<u16>((copy_at_ & 0xFF00) | byte); break;
      case 0x09: copy_at_ = static_cast<u16>((copy_at_ & 0xFF) | byte << 8); break;
      case 0x0A: copy_bytes_ = static_cast<u16>((copy_bytes_ & 0xFF00) | byte); break;
      case 0x0B: copy_bytes_ = static_cast<u16>((copy_bytes_ & 0xFF) | byte << 8); break;
      case 0x10: copy_out(static_cast<u16>(value)); break;
      case 0x1F: status_ |= 0x80; break;
    }
    if (place == ports_at && (byte & 0x04) != 0) demand(send_bytes_ >= 60 && send_bytes_ <= 1514, "it sends what is no frame");
  }

  void arrive(std::span<std::byte const> frame) override {
    using ring = detail::ne2000_ring;
    if (!ring::has(current_) || !ring::has(boundary_)) return;
    u32 const bytes = static_cast<u32>(frame.size()) + 4, pages = (bytes + ring::page_bytes - 1) / ring::page_bytes;
    u32 const room = current_ == boundary_ ? 0 : ring::bytes_between(current_, boundary_) / ring::page_bytes;
    if (room < pages) return;
    u32 next = current_ + pages;
    if (next >= ring::end) next -= ring::end - ring::first;
    u8 const header[4] = {0x01, static_cast<u8>(next), static_cast<u8>(bytes), static_cast<u8>(bytes >> 8)};
    u32 at = current_ * ring::page_bytes;
    auto const put = [&](u8 value) {
      memory_[at] = value;
      if (++at == ring::end * ring::page_bytes) at = ring::first * ring::page_bytes;
    };
    for (u8 each : header) put(each);
    for (std::byte each : frame) put(std::to_integer<u8>(each));
    current_ = static_cast<u8>(next);
    status_ |= 0x01;
  }

  /// What stands in the card's memory becomes something else, and a copy from there may not end.
  void damage() override {
    memory_[here_.number(2) % memory_.size()] = here_.next();
    u8 const what = here_.next();
    status_ |= what & 0x1F;
    cuts_ = (what & 0x80) != 0;
  }

  void handed_over() override { demand(!cut_, "a frame is handed over of which a part was not copied"); }

 private:
  u64 copy_in() {
    u16 const at = copy_at_ & 0x7FFE;
    copied();
    return at + 1u < memory_.size() ? u64{memory_[at]} | u64{memory_[at + 1u]} << 8 : 0;
  }
  void copy_out(u16 word) {
    u16 const at = copy_at_;
    copied();
    demand(at >= 0x4000 && at < 0x4C00, "it writes where frames are received");
    memory_[at] = static_cast<u8>(word);
    memory_[at + 1u] = static_cast<u8>(word >> 8);
  }
  void copied() {
    copy_at_ = static_cast<u16>(copy_at_ + 2);
    copy_bytes_ = static_cast<u16>(copy_bytes_ - 2);
    if (copy_bytes_ != 0) return;
    if (std::exchange(cuts_, false)) {
      cut_ = here_.rest.empty();  // before, the card may have been made to say that it had ended
    } else {
      status_ |= 0x40;
    }
  }

  machine &here_;
  std::array<u8, 0x8000> memory_{};
  u8 command_ = 0, boundary_ = 0, current_ = 0, status_ = 0;
  bool cuts_ = false, cut_ = false;  // the next copy does not end; one has not, and there was no reset since
  u16 copy_at_ = 0, copy_bytes_ = 0, send_bytes_ = 0;
};

pci_record const function = [] {
  pci_record made{};
  made.vendor = 0x10EC;
  made.device = 0x8029;
  made.bar[0] = ports_at;
  made.bar_bytes[0] = 32 | 1;
  return made;
}();

}  // namespace

void fuzz(std::span<std::byte const> input) { fuzz_nic<ne2000, card>(input, function); }
