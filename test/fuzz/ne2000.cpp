// An NE2000 that answers anything, and has anything in its memory.
#include <exo/drivers/ne2000.hpp>

#include "frames.hpp"

namespace {

using namespace exo;
using namespace fuzzed;

class card : public nic_model {
 public:
  explicit card(machine &here) : nic_model(here) {
    for (u32 at = 0; at < 6; ++at) memory_[at * 2] = static_cast<u8>(0x52 + at);
    memory_[28] = memory_[30] = 'W';
  }

  u64 read(u64 place, u32) override {
    switch (u64 const at = place - ports_at) {
      case 0x00: return command_now();
      case 0x07: return (command_now() & 0x40) != 0 ? current_ : status_;
      case 0x10: return copy_in();
      case 0x1F: reset(); return 0;
      default: return at;
    }
  }

  [[nodiscard]] bool may_lie(u64 place) const override { return place != ports_at + 0x10; }

  void write(u64 place, u64 value, u32) override {
    u8 const byte = static_cast<u8>(value);
    switch (place - ports_at) {
      case 0x00: do_command(byte); break;
      case 0x03: if ((command_ & 0x40) == 0) boundary_ = byte; break;
      case 0x04: if ((command_ & 0x40) == 0) send_page_ = byte; break;
      case 0x05: if ((command_ & 0x40) == 0) send_bytes_ = static_cast<u16>((send_bytes_ & 0xFF00) | byte); break;
      case 0x06: if ((command_ & 0x40) == 0) send_bytes_ = static_cast<u16>((send_bytes_ & 0xFF) | byte << 8); break;
      case 0x07: (command_ & 0x40) != 0 ? void(current_ = byte) : void(status_ &= static_cast<u8>(~byte)); break;
      case 0x08: copy_at_ = static_cast<u16>((copy_at_ & 0xFF00) | byte); break;
      case 0x09: copy_at_ = static_cast<u16>((copy_at_ & 0xFF) | byte << 8); break;
      case 0x0A: copy_bytes_ = static_cast<u16>((copy_bytes_ & 0xFF00) | byte); break;
      case 0x0B: copy_bytes_ = static_cast<u16>((copy_bytes_ & 0xFF) | byte << 8); break;
      case 0x0C: if ((command_ & 0x40) == 0) receives_ = (byte & 0x20) == 0; break;
      case 0x0D: if ((command_ & 0x40) == 0) set_loopback((byte & 0x02) != 0); break;
      case 0x0F: if ((command_ & 0x40) == 0) interrupts_ = byte != 0; break;
      case 0x10: copy_out(static_cast<u16>(value)); break;
      case 0x1F: reset(); break;
    }
  }

  bool arrive(std::span<std::byte const> frame) override {
    using ring = detail::ne2000_ring;
    if (!listens() || loopback_ || overflow_ != none) return false;
    if (!ring::has(current_) || !ring::has(boundary_)) return false;
    u32 const bytes = static_cast<u32>(frame.size()) + 4, pages = (bytes + ring::page_bytes - 1) / ring::page_bytes;
    u32 const room = current_ == boundary_ ? 0 : ring::bytes_between(current_, boundary_) / ring::page_bytes;
    if (room < pages) {
      status_ |= overwritten;
      overflow_ = full;
      return false;
    }
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
    return true;
  }

  [[nodiscard]] bool listens() const override { return (command_ & stop) == 0 && receives_; }
  [[nodiscard]] bool interrupts() const override { return interrupts_; }

  /// What stands in the card's memory becomes something else, a copy from or to there may not end, and nothing is sent.
  void damage() override {
    memory_[here_.number(2) % memory_.size()] = here_.next();
    u8 const what = here_.next();
    status_ |= what & 0x1F;
    hangs_ = (what & 0x20) != 0;
    copies_to_cut_ = what >> 6;
  }

  void handed_over() override { demand(!cut_, "a frame is handed over of which a part was not copied"); }

 private:
  static constexpr u8 stop = 0x01, send = 0x04;                           // command
  static constexpr u8 sent_good = 0x02, overwritten = 0x10, was_reset = 0x80;  // status
  static constexpr u64 send_ticks = 5'000;

  void reset() {
    status_ |= was_reset;
    cut_ = hangs_ = false;
    send_bytes_ = 0;
    command_ = stop;
    overflow_ = none;
  }

  void do_command(u8 byte) {
    bool const sending = (command_now() & send) != 0;
    command_ = sending ? byte | send : byte;
    if ((byte & stop) != 0) {  // a frame that is being sent is cut off
      status_ |= was_reset;
      command_ = byte;
      if (overflow_ == full) overflow_ = stopped;
    }
    if ((byte & send) == 0 || sending) return;
    is_given();
    demand(send_page_ >= 0x40 && send_page_ * 256 + send_bytes_ <= 0x4C00, "it sends what nobody has written");
    demand(send_bytes_ >= 60 && send_bytes_ <= 1514, "it sends what is no frame");
    sent_at_ = ticks() + send_ticks;
  }

  u8 command_now() {
    if ((command_ & send) == 0 || hangs_ || ticks() < sent_at_) return command_;
    status_ |= sent_good;
    if (!loopback_) sends(std::as_bytes(std::span(memory_).subspan(send_page_ * 256u, send_bytes_)));
    return command_ &= static_cast<u8>(~send);
  }

  /// The end of what a full ring demands (DP §7): stopped, started in loopback, acknowledged, and out of loopback.
  void set_loopback(bool on) {
    loopback_ = on;
    if (!on && overflow_ == stopped && (status_ & overwritten) == 0 && (command_ & stop) == 0) overflow_ = none;
  }

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
    if (copies_to_cut_ != 0 && --copies_to_cut_ == 0) {
      cut_ = here_.rest.empty();  // before, the card may have been made to say that it had ended
    } else {
      status_ |= 0x40;
    }
  }

  std::array<u8, 0x8000> memory_{};
  u8 command_ = 0, boundary_ = 0, current_ = 0, status_ = 0, send_page_ = 0;
  bool receives_ = false, loopback_ = false, hangs_ = false, interrupts_ = false;
  enum { none, full, stopped } overflow_ = none;  // in between, nothing is received
  u64 sent_at_ = 0;                               // when what is being sent is out
  u32 copies_to_cut_ = 0;  // the last of so many does not end
  bool cut_ = false;       // one has not ended, and there was no reset since
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
