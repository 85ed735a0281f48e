// What all protocol files share: big-endian fields, and the reasons for which a packet is dropped.
//
// Every protocol file has the same parts in the same order: where its fields lie, a checked view of received bytes
// (a view exists only if parse() found every length, version and checksum right), the header as a plain value, and
// emit(), which writes that value. Nothing below net/ knows a device, an interrupt or the call table.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <expected>
#include <span>

namespace exo::net {

using u8 = std::uint8_t;
using u16 = std::uint16_t;
using u32 = std::uint32_t;
using u64 = std::uint64_t;

/// Why a received packet goes no further, or an answer was not sent.
enum class drop : u8 {
  too_short,     ///< ends before its header does
  bad_length,    ///< its length fields contradict each other or the bytes that arrived
  bad_version,   ///< not the version or address sizes of this protocol
  bad_checksum,  ///< damaged on the way
  bad_source,    ///< a source that nobody may have: broadcast, multicast, zero, or our own
  fragment,      ///< a part of a datagram; reassembly is not done
  not_for_us,    ///< another host's
  unknown_kind,  ///< a protocol or message that is not spoken here
  no_listener,   ///< a UDP port that nobody takes
  no_room,       ///< an answer that the device had no room for
};
inline constexpr std::size_t drop_kinds = 10;

/// How many packets were dropped, by reason.
class drop_counters {
 public:
  void count(drop why) noexcept { ++counts_[static_cast<std::size_t>(why)]; }
  [[nodiscard]] u64 operator[](drop why) const noexcept { return counts_[static_cast<std::size_t>(why)]; }

 private:
  std::array<u64, drop_kinds> counts_{};
};

/// A big-endian field; the caller has checked that it lies inside.
constexpr u16 load16(std::span<std::byte const> bytes, std::size_t offset) noexcept {
  return static_cast<u16>(std::to_integer<u32>(bytes[offset]) << 8 | std::to_integer<u32>(bytes[offset + 1]));
}
constexpr u32 load32(std::span<std::byte const> bytes, std::size_t offset) noexcept {
  return u32{load16(bytes, offset)} << 16 | load16(bytes, offset + 2);
}
constexpr void store16(std::span<std::byte> bytes, std::size_t offset, u16 value) noexcept {
  bytes[offset] = static_cast<std::byte>(value >> 8);
  bytes[offset + 1] = static_cast<std::byte>(value);
}
constexpr void store32(std::span<std::byte> bytes, std::size_t offset, u32 value) noexcept {
  store16(bytes, offset, static_cast<u16>(value >> 16));
  store16(bytes, offset + 2, static_cast<u16>(value));
}

}  // namespace exo::net
