// What devices answer: the used ring of a virtio queue, a SCSI disk's size and sense, the registers of a CMOS clock.
#include "fuzz.hpp"

#include <algorithm>
#include <array>
#include <cstring>
#include <exo/drivers/cmos_clock.hpp>
#include <exo/drivers/scsi.hpp>
#include <exo/drivers/virtio.hpp>

namespace {

using namespace exo;

u8 next(std::span<std::byte const> &input) {
  if (input.empty()) return 0;
  u8 const value = std::to_integer<u8>(input.front());
  input = input.subspan(1);
  return value;
}

/// A device writes what it likes into the used ring; only what was given to it comes back, each once.
void ring(std::span<std::byte const> input) {
  constexpr u32 size = 8;
  constexpr u64 used = size * 16 + 8 + 2 * size, used_bytes = 4 + 8 * size;  // virtio 1.2 §2.7
  static_assert(virtio_ring::bytes_for(size) == used + used_bytes + 4);
  alignas(16) std::array<std::byte, virtio_ring::bytes_for(size) + virtio_ring::slots_bytes(size)> memory{};
  u16 doorbell = 0;
  virtio_ring it(memory.data(), size, reinterpret_cast<u64>(&doorbell));
  struct chain {
    u64 cookie;
    u32 parts, writable;
  };
  std::vector<chain> flying;
  u32 free = size;
  for (u64 cookie = 0; !input.empty(); ++cookie) {
    u8 const what = next(input);
    if (what % 4 == 0) {
      std::array<virtio_part, 4> parts;
      std::span const some = std::span(parts).first(1 + what / 4 % 4);
      chain made{cookie, static_cast<u32>(some.size()), 0};
      for (virtio_part &each : some) {
        each = {0x1000, next(input), (what & 0x80) != 0};
        if (each.device_writes) made.writable += each.bytes;
      }
      bool const fits = !it.broken() && some.size() <= free;
      demand(it.try_add(some, cookie) == fits, "a chain is taken without room, or refused with it");
      if (!fits) continue;
      it.kick();
      free -= made.parts;
      flying.push_back(made);
    } else if (what % 4 == 1) {  // a good answer, of some of those in flight or of none
      u16 index;
      std::memcpy(&index, &memory[used + 2], sizeof(index));
      u32 const entry[2] = {next(input), next(input)};
      std::memcpy(&memory[used + 4 + index % size * 8u], entry, sizeof(entry));
      ++index;
      std::memcpy(&memory[used + 2], &index, sizeof(index));
    } else if (what % 4 == 2) {
      memory[used + next(input) % used_bytes] = std::byte{next(input)};
    } else if (auto const done = it.try_take()) {
      auto const found = std::ranges::find(flying, done->cookie, &chain::cookie);
      demand(found != flying.end(), "a cookie comes back that is not in flight");
      demand(done->bytes <= found->writable, "a device wrote more than there was room for");
      free += found->parts;
      flying.erase(found);
    }
    demand(it.in_flight() == flying.size(), "the ring counts wrong");
    demand(it.room() == (it.broken() ? 0 : free), "the ring has lost descriptors");
  }
}

void disk(std::span<std::byte const> input) {
  std::array<u8, scsi::capacity_bytes> answer{};
  std::ranges::generate(answer, [&] { return next(input); });
  if (auto const size = scsi::capacity_of(answer)) {
    demand(size->block_bytes >= 512 && size->blocks != 0 && size->blocks <= ~u64{0} / size->block_bytes, "no such size");
  }
  u8 const status = next(input);
  std::vector<u8> sense;  // of any length
  while (!input.empty() && sense.size() < scsi::sense_bytes) sense.push_back(next(input));
  demand(status != 0 || scsi::outcome_of(status, sense) == scsi::outcome::good, "a good status is no good outcome");
}

/// Ports of a clock whose registers are the input, one after the other.
struct clock_ports {
  std::span<std::byte const> *rest;

  u8 in(u16) noexcept { return next(*rest); }
  void out(u16, u8) noexcept {}
};

void time_of_day(std::span<std::byte const> input) {
  static machine_info machine{};
  static u64 now;
  machine.tsc_hz = 1'000'000;
  now = 0;
  host_info = &machine;
  host_ticks = []() noexcept { return now += 1000; };  // a millisecond for each look
  for (u8 const century : {u8{0}, u8{0x32}}) {
    std::span<std::byte const> rest = input;
    auto const shown = cmos_clock<clock_ports>(century, {&rest}).read();
    if (!shown) continue;
    std::chrono::year_month_day const date(std::chrono::floor<std::chrono::days>(*shown));
    demand(date.ok() && date.year() >= std::chrono::year(0) && date.year() <= std::chrono::year(9999), "that is no date");
  }
}

}  // namespace

void fuzz(std::span<std::byte const> input) {
  ring(input);
  disk(input);
  time_of_day(input);
}
