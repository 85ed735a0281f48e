// A machine for fuzz targets of drivers: a device behind ports and registers that answers what the input says, memory that
// it reaches, and time that goes on with each look at it.
//
// A target has a model: what a good device answers. The input says when the device answers something else. When the input
// is at its end, all answers are good, so that a driver is seen to come out of what was done to it.
#pragma once

#include <sys/mman.h>

#include <algorithm>
#include <cstring>
#include <exo/drivers/driver.hpp>

#include "fuzz.hpp"

namespace fuzzed {

using namespace exo;

/// A good device.
class model {
 public:
  virtual ~model() = default;
  virtual u64 read(u64 place, u32 bytes) = 0;
  /// False: what is read there comes out of the device's memory, which a target damages by itself.
  [[nodiscard]] virtual bool may_lie(u64) const { return true; }
  virtual void write(u64 place, u64 value, u32 bytes) = 0;
  /// It is so many ticks later by now: what takes time goes on.
  virtual void passes(u64) {}
  /// The core that uses it halts.
  virtual void halts() {}
};

inline constexpr u64 registers_at = u64{1} << 40;  // of the function's BARs in memory
inline constexpr u16 ports_at = 0xC000;            // and of those with ports

/// The machine with one function; there is one at a time.
class machine {
 public:
  /// @param pages_for_drivers  so many, and nothing that may be touched before and behind them
  machine(std::span<std::byte const> input, pci_record const &function, u64 pages_for_drivers)
      : rest(input), record_(function), bytes_(pages_for_drivers * page_bytes) {
    if (bytes_ > memory_bytes) std::abort();
    demand(mprotect(memory(), bytes_, PROT_READ | PROT_WRITE) == 0, "there is no memory for the target");
    memory_range const range{reinterpret_cast<u64>(memory()), bytes_};
    system_pages.start({&range, 1, sizeof(range)});
    std::memcpy(config.data(), &function.vendor, sizeof(function.vendor));
    info_.tsc_hz = 1'000'000;
    now_ = this;
    host_info = &info_;
    host_local = &local_;
    host_table = &table;
    host_ticks = []() noexcept { return now_->pass(100); };
    host_read = [](u64 place, u32 bytes) noexcept { return now_->read(place, bytes); };
    host_write = [](u64 place, u64 value, u32 bytes) noexcept {
      if (now_->device != nullptr) now_->device->write(place, value, bytes);
    };
  }
  machine(machine const &) = delete;
  machine &operator=(machine const &) = delete;
  ~machine() {
    demand(system_pages.free().bytes == bytes_, "a driver keeps memory");
    memory_range const none{};
    system_pages.start({&none, 0, sizeof(none)});
    mprotect(memory(), bytes_, PROT_NONE);
    host_read = nullptr;
    host_write = nullptr;
    host_ticks = nullptr;
  }

  u8 next() {
    if (rest.empty()) return 0;
    u8 const value = std::to_integer<u8>(rest.front());
    rest = rest.subspan(1);
    return value;
  }
  u64 number(u32 bytes) {
    u64 value = 0;
    for (u32 at = 0; at < bytes; ++at) value |= u64{next()} << 8 * at;
    return value;
  }

  /// What the device answers in place of what is good: mostly that, all ones as if it were gone, or anything.
  u64 answer(u64 good, u32 bytes) {
    if (rest.empty()) return good;
    u8 const what = next();
    if (what < 0xC0) return good;
    honest = false;
    return what == 0xFF ? ~u64{0} : number(bytes);
  }

  /// The memory of drivers.
  [[nodiscard]] std::span<std::byte> pages() const { return {memory(), bytes_}; }
  [[nodiscard]] bool owns(std::span<std::byte const> part) const {
    return part.data() >= memory() && part.data() + part.size() <= memory() + bytes_;
  }

  /// The device writes anywhere into the memory of drivers.
  void scribble() {
    u64 at = number(3) % bytes_;
    for (u32 count = 1 + next() % 16; count != 0 && at < bytes_; --count) memory()[at++] = std::byte{next()};
  }

  [[nodiscard]] pci_record const &record() const { return record_; }

  std::span<std::byte const> rest;
  model *device = nullptr;
  bool honest = true;   // all that the device has said so far was good
  bool present = true;  // and its vendor was there, as often as a driver looked whether it is gone
  std::array<u8, 256> config{};  // of the function

 private:
  static constexpr u64 memory_bytes = u64{4} << 20;

  /// Below 4 GiB, for devices with short addresses.
  static std::byte *memory() {
    static auto *const all = static_cast<std::byte *>(mmap(nullptr, memory_bytes + 2 * page_bytes, PROT_NONE,
                                                           MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT, -1, 0));
    if (all == MAP_FAILED) std::abort();
    return all + page_bytes;
  }

  u64 pass(u64 some) {
    ticks_ += some;
    if (device != nullptr) device->passes(some);
    return ticks_;
  }

  u64 read(u64 place, u32 bytes) {
    pass(10);
    if (device == nullptr) return ~u64{0};
    u64 const good = device->read(place, bytes);
    return device->may_lie(place) ? answer(good, bytes) : good;
  }

  static i64 pci_read(u32, u32 offset, u32 width) {
    u64 value = 0;
    if (offset > now_->config.size() - width) return 0;
    std::memcpy(&value, &now_->config[offset], width);
    u64 const answer = now_->answer(value, width) & ((u64{1} << 8 * width) - 1);
    if (offset == 0 && answer != value) now_->present = false;
    return static_cast<i64>(answer);
  }
  static i64 core_idle(u64 deadline) {
    if (now_->device != nullptr) now_->device->halts();
    now_->pass(std::min(std::max(deadline, now_->ticks_) - now_->ticks_, u64{10'000'000}));
    return 0;
  }
  static calls make_table() {
    calls made{};
    made.core_idle = core_idle;
    made.pci_read = pci_read;
    made.pci_write = [](u32, u32, u32, u32) -> i64 { return 0; };
    made.irq_route = [](u32, u32, u32, u32) -> i64 { return now_->answer(0, 1) % 3 == 0 ? 0 : 1; };
    return made;
  }
  static inline calls const table = make_table();
  static inline machine *now_ = nullptr;

  pci_record record_;
  u64 bytes_;
  machine_info info_{};
  core_local local_{};
  u64 ticks_ = 0;
};

/// How many pages a driver takes: the fewest with which it opens, at a good device.
template <typename Open>
u64 pages_for(pci_record const &function, Open open) {
  for (u64 count = 1;; ++count) {
    machine here({}, function, count);
    if (open(here)) return count;
  }
}

}  // namespace fuzzed
