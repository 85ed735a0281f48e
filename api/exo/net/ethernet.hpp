// Ethernet II frames without FCS.
#pragma once

#include <algorithm>

#include "wire.hpp"

namespace exo::net {

/// The address of a network card.
struct mac_address {
  std::array<u8, 6> octets{};

  /// An address of one's own making: unicast, locally administered, the other bits from a number. (IEEE 802-2014 §8.2)
  static constexpr mac_address local(u64 number) noexcept {
    mac_address address{{0x02}};
    for (std::size_t at = 1; at < 6; ++at, number >>= 8) address.octets[at] = static_cast<u8>(number);
    return address;
  }
  static constexpr mac_address broadcast() noexcept { return {{0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF}}; }

  /// Group addresses, broadcast among them. Nobody sends from one.
  [[nodiscard]] constexpr bool is_group() const noexcept { return (octets[0] & 1) != 0; }

  friend constexpr bool operator==(mac_address const &, mac_address const &) noexcept = default;
};

constexpr mac_address load_mac(std::span<std::byte const> bytes, std::size_t offset) noexcept {
  mac_address address;
  for (u8 &octet : address.octets) octet = std::to_integer<u8>(bytes[offset++]);
  return address;
}
constexpr void store_mac(std::span<std::byte> bytes, std::size_t offset, mac_address const &address) noexcept {
  for (u8 const octet : address.octets) bytes[offset++] = std::byte{octet};
}

/// EtherType: what the payload is. Values below 1536 are lengths of the older IEEE 802.3 form.
enum class ethernet_type : u16 { ipv4 = 0x0800, arp = 0x0806 };

inline constexpr std::size_t ethernet_header_bytes = 14;

/// Offsets of the fields.
struct ethernet_field {
  static constexpr std::size_t destination = 0, source = 6, type = 12;
};

/// The header as a value.
struct ethernet_header {
  mac_address destination;
  mac_address source;
  ethernet_type type;
};

/// A frame that has a whole header and a source that somebody can have.
class ethernet_view {
 public:
  [[nodiscard]] static constexpr std::expected<ethernet_view, drop> parse(std::span<std::byte const> frame) noexcept {
    if (frame.size() < ethernet_header_bytes) return std::unexpected(drop::too_short);
    ethernet_view const view(frame);
    if (view.source().is_group()) return std::unexpected(drop::bad_source);
    return view;
  }

  [[nodiscard]] constexpr mac_address destination() const noexcept {
    return load_mac(bytes_, ethernet_field::destination);
  }
  [[nodiscard]] constexpr mac_address source() const noexcept { return load_mac(bytes_, ethernet_field::source); }
  [[nodiscard]] constexpr ethernet_type type() const noexcept {
    return static_cast<ethernet_type>(load16(bytes_, ethernet_field::type));
  }

  /// What follows the header, padding of short frames included.
  [[nodiscard]] constexpr std::span<std::byte const> payload() const noexcept {
    return bytes_.subspan(ethernet_header_bytes);
  }

 private:
  constexpr explicit ethernet_view(std::span<std::byte const> bytes) noexcept : bytes_(bytes) {}

  std::span<std::byte const> bytes_;
};

/// Writes the header to the front of a frame; returns the place of the payload.
constexpr std::span<std::byte> emit(ethernet_header const &header, std::span<std::byte> frame) noexcept {
  store_mac(frame, ethernet_field::destination, header.destination);
  store_mac(frame, ethernet_field::source, header.source);
  store16(frame, ethernet_field::type, static_cast<u16>(header.type));
  return frame.subspan(ethernet_header_bytes);
}

}  // namespace exo::net
