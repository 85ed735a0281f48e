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
inline constexpr u32 limits_bytes = 64, provisioning_bytes = 8;
inline constexpr u8 serial_page = 0x80, limits_page = 0xB0, provisioning_page = 0xB2;  // SPC-4 §7.8, SBC-3 §6.6

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
constexpr command inquiry(u8 page, u8 bytes) noexcept { return {0x12, 1, page, 0, bytes}; }
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

/// What an unmap() sends along: one descriptor behind a header.
using unmap_list = std::array<u8, 24>;
constexpr command unmap() noexcept { return {0x42, 0, 0, 0, 0, 0, 0, 0, sizeof(unmap_list)}; }  // SBC-3 §5.28
constexpr unmap_list unmap_list_of(u64 block, u32 blocks) noexcept {
  unmap_list made{0, sizeof(made) - 2, 0, sizeof(made) - 8};  // bytes behind each length
  store(std::span(made).subspan(8, 8), block);
  store(std::span(made).subspan(16, 4), blocks);
  return made;
}
constexpr command write_same(u64 block, u32 blocks) noexcept {          // SBC-3 §5.45: WRITE SAME (16), of the block sent along
  command made = transfer(true, block, blocks);
  made[0] = 0x93;
  return made;
}

/// The size of a disk, by its answer to read_capacity(); none if that cannot be.
struct capacity {
  u64 blocks;
  u32 block_bytes;
  bool provisioned;  // logical block provisioning: blocks can be given up (LBPME)
};
constexpr std::optional<capacity> capacity_of(std::span<u8 const, capacity_bytes> answer) noexcept {
  u64 const last = load(answer.first(8)), bytes = load(answer.subspan(8, 4));
  if (bytes < 512 || (bytes & (bytes - 1)) != 0 || last >= ~u64{0} / bytes) return std::nullopt;
  return capacity{last + 1, static_cast<u32>(bytes), (answer[14] & 0x80) != 0};
}

/// How many blocks a command clears at most; 0: there is no such command.
struct clearing {
  u64 unmap;
  u64 write_same;
};
/// By the answers for provisioning_page and limits_page; one that did not come is all 0 (SBC-3 §6.6.4, §6.6.3).
constexpr clearing clearing_of(std::span<u8 const, provisioning_bytes> provisioning,
                               std::span<u8 const, limits_bytes> limits) noexcept {
  constexpr u8 can_unmap = 0x80, can_write_same = 0x40;  // LBPU, LBPWS
  u8 const ways = provisioning[1] == provisioning_page ? provisioning[5] : u8{0};
  bool const limited = limits[1] == limits_page;
  u64 const unmap_descriptors = limited ? load(limits.subspan(24, 4)) : 0;
  u64 const write_same_most = limited ? load(limits.subspan(36, 8)) : 0;  // 0: any
  return {.unmap = (ways & can_unmap) != 0 && unmap_descriptors != 0 ? load(limits.subspan(20, 4)) : 0,
          .write_same = (ways & can_write_same) == 0 ? 0 : write_same_most == 0 ? ~u64{0} : write_same_most};
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
