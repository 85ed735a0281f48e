// UDP over IPv4 (RFC 768, host rules of RFC 1122 §4.1).
#pragma once

#include <algorithm>

#include "ipv4.hpp"

namespace exo::net {

inline constexpr std::size_t udp_header_bytes = 8;

/// Offsets of the fields.
struct udp_field {
  static constexpr std::size_t source_port = 0, destination_port = 2, length = 4, checksum = 6;
};

/// The header as a value. The addresses are those of the datagram around it: the checksum covers them.
struct udp_header {
  ipv4_address source;
  ipv4_address destination;
  u16 source_port;       ///< 0 if no answer is wanted
  u16 destination_port;
};

/// The sum over the addresses, the protocol and the length, which precedes the message's own.
inline checksum udp_pseudo_header(ipv4_address source, ipv4_address destination, u16 length) noexcept {
  std::array<std::byte, 12> bytes{};
  store32(bytes, 0, source.value);
  store32(bytes, 4, destination.value);
  store16(bytes, 8, static_cast<u16>(ipv4_protocol::udp));
  store16(bytes, 10, length);
  return checksum().add(bytes);
}

/// An undamaged UDP message; bytes behind its length are cut off.
class udp_view {
 public:
  /// @param datagram       the datagram whose payload is the message
  /// @param checksum_good  the device vouches for the checksum, so that it is not looked at
  [[nodiscard]] static std::expected<udp_view, drop> parse(ipv4_view const &datagram, bool checksum_good) noexcept {
    auto const bytes = datagram.payload();
    if (bytes.size() < udp_header_bytes) return std::unexpected(drop::too_short);
    u16 const length = load16(bytes, udp_field::length);
    if (length < udp_header_bytes || length > bytes.size()) return std::unexpected(drop::bad_length);
    auto const message = bytes.first(length);
    // A field of 0 says that the sender made no checksum.
    if (!checksum_good && load16(message, udp_field::checksum) != 0 &&
        udp_pseudo_header(datagram.source(), datagram.destination(), length).add(message).value() != 0)
      return std::unexpected(drop::bad_checksum);
    return udp_view(message);
  }

  [[nodiscard]] u16 source_port() const noexcept { return load16(bytes_, udp_field::source_port); }
  [[nodiscard]] u16 destination_port() const noexcept { return load16(bytes_, udp_field::destination_port); }
  [[nodiscard]] std::span<std::byte const> payload() const noexcept { return bytes_.subspan(udp_header_bytes); }

 private:
  explicit udp_view(std::span<std::byte const> bytes) noexcept : bytes_(bytes) {}

  std::span<std::byte const> bytes_;
};

/// Writes a message that fills `message`: header, a copy of the payload, checksum.
inline void emit(udp_header const &header, std::span<std::byte const> payload, std::span<std::byte> message) noexcept {
  u16 const length = static_cast<u16>(message.size());
  store16(message, udp_field::source_port, header.source_port);
  store16(message, udp_field::destination_port, header.destination_port);
  store16(message, udp_field::length, length);
  store16(message, udp_field::checksum, 0);
  std::ranges::copy(payload, message.subspan(udp_header_bytes).begin());
  u16 const sum = udp_pseudo_header(header.source, header.destination, length).add(message).value();
  store16(message, udp_field::checksum, sum == 0 ? 0xFFFF : sum);  // 0 would say that there is none
}

}  // namespace exo::net
