// An RTL8139 that answers anything, and writes anything into its receive ring.
#include <exo/drivers/rtl8139.hpp>

#include "frames.hpp"

namespace {

using namespace exo;
using namespace fuzzed;

class chip : public nic_model {
 public:
  explicit chip(machine &here) : here_(here) {}

  u64 read(u64 place, u32) override {
    u64 const at = place - ports_at;
    if (at < 6) return 0x52 + at;
    if (at == 0x37) return read_at_ == write_at_ ? 0x01 : 0x00;  // CR.BUFE
    if (at >= 0x10 && at < 0x20) return 1 << 15;                 // TSD.TOK: sent at once
    return 0;
  }

  void write(u64 place, u64 value, u32) override {
    u64 const at = place - ports_at;
    if (at == 0x37 && (value & 0x10) != 0) read_at_ = write_at_ = 0;
    if (at == 0x30) ring_ = reinterpret_cast<std::byte *>(value);
    if (at == 0x38) read_at_ = (static_cast<u32>(value) + 16) % ring_bytes & ~3u;
    if (at >= 0x10 && at < 0x20) demand((value & 0x1FFF) >= 60 && (value & 0x1FFF) <= 1514, "it sends what is no frame");
  }

  void arrive(std::span<std::byte const> frame) override {
    u32 const bytes = static_cast<u32>(frame.size());
    if (ring_ == nullptr || (write_at_ - read_at_ + ring_bytes) % ring_bytes > ring_bytes / 2) return;
    detail::rtl8139_header const header{1, static_cast<u16>(bytes + 4)};
    demand(here_.owns({ring_, ring_bytes + 2048}), "the ring lies outside the driver's memory");
    std::memcpy(ring_ + write_at_, &header, sizeof(header));
    std::ranges::copy(frame, ring_ + write_at_ + sizeof(header));
    write_at_ = header.next(write_at_, ring_bytes);
  }

  void damage() override { here_.scribble(); }

 private:
  static constexpr u32 ring_bytes = 32 * 1024;
  machine &here_;
  std::byte *ring_ = nullptr;
  u32 read_at_ = 0, write_at_ = 0;
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
