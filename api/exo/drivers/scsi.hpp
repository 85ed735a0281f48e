// SCSI commands of disks, as bytes: what virtio_scsi.hpp sends and gets back, and any other transport would.
// SPEC  SBC-3 (blocks), SPC-4 (all devices), SAM-5 (status)
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <optional>
#include <span>

#include "../core.hpp"

namespace exo::scsi {

using command = std::array<u8, 16>;

inline constexpr u32 inquiry_bytes = 36, capacity_bytes = 32, serial_bytes = 4 + 20, sense_bytes = 96;

/// Writes a number, its highest byte first.
constexpr void store(std::span<u8> to, u64 value) noexcept {
  for (std::size_t at = to.size(); at-- > 0; value >>= 8) to[at] = static_cast<u8>(value);
}
constexpr u64 load(std::span<u8 const> from) noexcept {
  u64 value = 0;
  for (u8 const each : from) value = value << 8 | each;
  return value;
}

constexpr command test_unit_ready() noexcept { return {}; }             // SPC-4 §6.37
constexpr command inquiry() noexcept { return {0x12, 0, 0, 0, inquiry_bytes}; }           // SPC-4 §6.4
constexpr command inquiry_serial() noexcept { return {0x12, 1, 0x80, 0, serial_bytes}; }  // page 0x80
constexpr command mode_sense(u8 page, u8 bytes) noexcept { return {0x1A, 0x08, page, 0, bytes}; }  // SPC-4 §6.11
constexpr command read_capacity() noexcept {                            // SBC-3 §5.16: READ CAPACITY (16)
  command made{0x9E, 0x10};
  store(std::span(made).subspan(10, 4), capacity_bytes);
  return made;
}
constexpr command report_luns(u32 bytes) noexcept {                     // SPC-4 §6.33
  command made{0xA0};
  store(std::span(made).subspan(6, 4), bytes);
  return made;
}
constexpr command transfer(bool write, u64 block, u32 blocks) noexcept {  // SBC-3 §5.11, §5.36: READ, WRITE (16)
  command made{write ? u8{0x8A} : u8{0x88}};
  store(std::span(made).subspan(2, 8), block);
  store(std::span(made).subspan(10, 4), blocks);
  return made;
}
constexpr command synchronize_cache() noexcept { return {0x35}; }       // SBC-3 §5.22: SYNCHRONIZE CACHE (10), of all

/// The size of a disk, by its answer to read_capacity(); none if that cannot be.
struct capacity {
  u64 blocks;
  u32 block_bytes;
};
constexpr std::optional<capacity> capacity_of(std::span<u8 const, capacity_bytes> answer) noexcept {
  u64 const last = load(answer.first(8)), bytes = load(answer.subspan(8, 4));
  if (bytes < 512 || (bytes & (bytes - 1)) != 0 || last >= ~u64{0} / bytes) return std::nullopt;
  return capacity{last + 1, static_cast<u32>(bytes)};
}

/// Whether an answer to inquiry() comes from a disk that is there (SPC-4 §6.4.2).
constexpr bool is_disk(std::span<u8 const, inquiry_bytes> answer) noexcept { return answer[0] == 0; }

/// What a command ended with: 0, or why not. The keys are those of SPC-4 §4.5.6.
enum class outcome : u8 { good, attention, protected_data, other };
constexpr outcome outcome_of(u8 status, std::span<u8 const> sense) noexcept {
  constexpr u8 good = 0x00, check_condition = 0x02;  // SAM-5 §5.3.1
  if (status == good) return outcome::good;
  if (status != check_condition || sense.size() < 3) return outcome::other;
  u8 const form = sense[0] & 0x7F;  // 70h, 71h: fixed; 72h, 73h: descriptors
  switch ((form >= 0x72 ? sense[1] : sense[2]) & 0x0F) {
    case 0x1: return outcome::good;  // recovered
    case 0x6: return outcome::attention;
    case 0x7: return outcome::protected_data;
    default: return outcome::other;
  }
}

}  // namespace exo::scsi
