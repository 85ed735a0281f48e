// IPv4: addresses, networks and the datagram header (RFC 791, host rules of RFC 1122 §3.2).
//
// Options are skipped. Fragments are refused: reassembly needs memory that an attacker decides over.
#pragma once

#include <charconv>
#include <compare>
#include <optional>
#include <string_view>

#include "checksum.hpp"

namespace exo::net {

/// An address as a number: 10.0.2.15 is 0x0A00020F.
struct ipv4_address {
  u32 value = 0;

  constexpr ipv4_address() noexcept = default;
  constexpr explicit ipv4_address(u32 number) noexcept : value(number) {}
  constexpr ipv4_address(u8 a, u8 b, u8 c, u8 d) noexcept
      : value(u32{a} << 24 | u32{b} << 16 | u32{c} << 8 | u32{d}) {}

  [[nodiscard]] constexpr u8 octet(unsigned index) const noexcept { return static_cast<u8>(value >> (24 - 8 * index)); }
  [[nodiscard]] constexpr bool is_multicast() const noexcept { return value >> 28 == 0xE; }
  [[nodiscard]] constexpr bool is_loopback() const noexcept { return value >> 24 == 127; }

  static constexpr ipv4_address broadcast() noexcept { return ipv4_address(0xFFFFFFFF); }

  /// Reads four decimal numbers of 0 to 255 with dots between and nothing else.
  [[nodiscard]] static std::optional<ipv4_address> from_text(std::string_view text) noexcept {
    u32 value = 0;
    char const *at = text.data();
    char const *const end = at + text.size();
    for (int index = 0; index < 4; ++index) {
      if (index != 0 && (at == end || *at++ != '.')) return std::nullopt;
      u8 octet = 0;
      auto const [next, problem] = std::from_chars(at, end, octet);
      if (problem != std::errc()) return std::nullopt;
      value = value << 8 | octet;
      at = next;
    }
    if (at != end) return std::nullopt;
    return ipv4_address(value);
  }

  friend constexpr auto operator<=>(ipv4_address, ipv4_address) noexcept = default;
};

/// Our address, the network it lies in, and the router to all others.
struct ipv4_config {
  ipv4_address address;
  u8 prefix = 24;        ///< leading bits that all addresses of the network share
  ipv4_address gateway;  ///< 0.0.0.0 if there is none

  [[nodiscard]] constexpr u32 mask() const noexcept { return prefix == 0 ? 0 : ~u32{0} << (32 - prefix); }

  [[nodiscard]] constexpr bool on_link(ipv4_address other) const noexcept {
    return ((other.value ^ address.value) & mask()) == 0;
  }

  /// 255.255.255.255 or our network's own; networks of one or two hosts have none (RFC 3021).
  [[nodiscard]] constexpr bool is_broadcast(ipv4_address other) const noexcept {
    return other == ipv4_address::broadcast() ||
           (prefix < 31 && on_link(other) && (other.value | mask()) == 0xFFFFFFFF);
  }

  /// Whether another host can have this address, as far as we can tell (RFC 1122 §3.2.1.3).
  [[nodiscard]] constexpr bool is_unicast(ipv4_address other) const noexcept {
    bool const this_network = other.value >> 24 == 0 || (prefix < 31 && on_link(other) && (other.value & ~mask()) == 0);
    return !this_network && !other.is_loopback() && !other.is_multicast() && !is_broadcast(other);
  }

  /// Whose MAC address leads there: the host itself or the gateway. None if there is no way.
  [[nodiscard]] constexpr std::optional<ipv4_address> next_hop(ipv4_address other) const noexcept {
    if (other == address || !is_unicast(other)) return std::nullopt;
    if (on_link(other)) return other;
    if (gateway == ipv4_address()) return std::nullopt;
    return gateway;
  }

  /// A prefix of 0 to 32, an address that a host can have, a gateway on our network or none.
  [[nodiscard]] constexpr bool valid() const noexcept {
    return prefix <= 32 && is_unicast(address) &&
           (gateway == ipv4_address() || (gateway != address && is_unicast(gateway) && on_link(gateway)));
  }

  /// Reads an address and a prefix: "10.0.2.15/24".
  [[nodiscard]] static std::optional<ipv4_config> from_text(std::string_view text, ipv4_address gateway) noexcept {
    auto const slash = text.find('/');
    if (slash == text.npos) return std::nullopt;
    auto const address = ipv4_address::from_text(text.substr(0, slash));
    u8 prefix = 0;
    char const *const end = text.data() + text.size();
    auto const [last, problem] = std::from_chars(text.data() + slash + 1, end, prefix);
    if (!address || problem != std::errc() || last != end) return std::nullopt;
    ipv4_config const config{*address, prefix, gateway};
    if (!config.valid()) return std::nullopt;
    return config;
  }
};

enum class ipv4_protocol : u8 { icmp = 1, tcp = 6, udp = 17 };

inline constexpr std::size_t ipv4_header_bytes = 20;  // without options

/// Offsets of the fields.
struct ipv4_field {
  static constexpr std::size_t version_ihl = 0, total_length = 2, identification = 4, fragment = 6, time_to_live = 8,
                               protocol = 9, checksum = 10, source = 12, destination = 16;
  static constexpr u16 dont_fragment = 0x4000, more_fragments = 0x2000, fragment_offset = 0x1FFF;
};

/// The header as a value.
struct ipv4_header {
  ipv4_address source;
  ipv4_address destination;
  ipv4_protocol protocol;
  u8 time_to_live = 64;  // the default that RFC 1700 recommends
};

/// A whole datagram with a correct header; bytes behind its total length (padding of short frames) are cut off.
class ipv4_view {
 public:
  [[nodiscard]] static std::expected<ipv4_view, drop> parse(std::span<std::byte const> bytes) noexcept {
    if (bytes.size() < ipv4_header_bytes) return std::unexpected(drop::too_short);
    u8 const version_ihl = std::to_integer<u8>(bytes[ipv4_field::version_ihl]);
    if (version_ihl >> 4 != 4) return std::unexpected(drop::bad_version);
    std::size_t const header = (version_ihl & 15u) * 4;
    std::size_t const total = load16(bytes, ipv4_field::total_length);
    if (header < ipv4_header_bytes || total < header || total > bytes.size()) return std::unexpected(drop::bad_length);
    if (checksum().add(bytes.first(header)).value() != 0) return std::unexpected(drop::bad_checksum);
    // A time to live of 0 is no reason to drop: RFC 1122 §3.2.1.7 leaves that to routers.
    if ((load16(bytes, ipv4_field::fragment) & (ipv4_field::more_fragments | ipv4_field::fragment_offset)) != 0)
      return std::unexpected(drop::fragment);
    return ipv4_view(bytes.first(total), header);
  }

  [[nodiscard]] ipv4_address source() const noexcept { return ipv4_address(load32(bytes_, ipv4_field::source)); }
  [[nodiscard]] ipv4_address destination() const noexcept {
    return ipv4_address(load32(bytes_, ipv4_field::destination));
  }
  [[nodiscard]] ipv4_protocol protocol() const noexcept {
    return static_cast<ipv4_protocol>(bytes_[ipv4_field::protocol]);
  }
  [[nodiscard]] u8 time_to_live() const noexcept { return std::to_integer<u8>(bytes_[ipv4_field::time_to_live]); }
  [[nodiscard]] std::span<std::byte const> payload() const noexcept { return bytes_.subspan(header_); }

 private:
  ipv4_view(std::span<std::byte const> bytes, std::size_t header) noexcept : bytes_(bytes), header_(header) {}

  std::span<std::byte const> bytes_;
  std::size_t header_;
};

/// Writes the header of a datagram that fills `datagram`; returns the place of the payload.
inline std::span<std::byte> emit(ipv4_header const &header, std::span<std::byte> datagram) noexcept {
  datagram[ipv4_field::version_ihl] = std::byte{4 << 4 | ipv4_header_bytes / 4};
  datagram[1] = std::byte{0};  // differentiated services: best effort
  store16(datagram, ipv4_field::total_length, static_cast<u16>(datagram.size()));
  store16(datagram, ipv4_field::identification, 0);  // RFC 6864 §4.1: needs no number if never fragmented
  store16(datagram, ipv4_field::fragment, ipv4_field::dont_fragment);
  datagram[ipv4_field::time_to_live] = std::byte{header.time_to_live};
  datagram[ipv4_field::protocol] = static_cast<std::byte>(header.protocol);
  store16(datagram, ipv4_field::checksum, 0);
  store32(datagram, ipv4_field::source, header.source.value);
  store32(datagram, ipv4_field::destination, header.destination.value);
  store16(datagram, ipv4_field::checksum, checksum().add(datagram.first(ipv4_header_bytes)).value());
  return datagram.subspan(ipv4_header_bytes);
}

}  // namespace exo::net
