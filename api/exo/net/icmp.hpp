// ICMP echo, the message behind ping (RFC 792).
#pragma once

#include <algorithm>

#include "checksum.hpp"

namespace exo::net {

enum class icmp_type : u8 { echo_reply = 0, echo_request = 8 };

inline constexpr std::size_t icmp_header_bytes = 8;

/// Offsets of the fields of an echo message.
struct icmp_field {
  static constexpr std::size_t type = 0, code = 1, checksum = 2, identifier = 4, sequence = 6;
};

/// The header of an echo message as a value.
struct icmp_echo_header {
  icmp_type type;
  u16 identifier;
  u16 sequence;
};

/// An undamaged echo request or echo reply.
class icmp_echo_view {
 public:
  [[nodiscard]] static std::expected<icmp_echo_view, drop> parse(std::span<std::byte const> bytes) noexcept {
    if (bytes.size() < icmp_header_bytes) return std::unexpected(drop::too_short);
    if (checksum().add(bytes).value() != 0) return std::unexpected(drop::bad_checksum);
    icmp_echo_view const view(bytes);
    bool const echo = view.type() == icmp_type::echo_request || view.type() == icmp_type::echo_reply;
    if (!echo || bytes[icmp_field::code] != std::byte{0}) return std::unexpected(drop::unknown_kind);
    return view;
  }

  [[nodiscard]] icmp_type type() const noexcept { return static_cast<icmp_type>(bytes_[icmp_field::type]); }
  [[nodiscard]] u16 identifier() const noexcept { return load16(bytes_, icmp_field::identifier); }
  [[nodiscard]] u16 sequence() const noexcept { return load16(bytes_, icmp_field::sequence); }
  [[nodiscard]] std::span<std::byte const> payload() const noexcept { return bytes_.subspan(icmp_header_bytes); }

 private:
  explicit icmp_echo_view(std::span<std::byte const> bytes) noexcept : bytes_(bytes) {}

  std::span<std::byte const> bytes_;
};

/// Writes an echo message that fills `message`: header, a copy of the payload, checksum.
inline void emit(icmp_echo_header const &header, std::span<std::byte const> payload,
                 std::span<std::byte> message) noexcept {
  message[icmp_field::type] = static_cast<std::byte>(header.type);
  message[icmp_field::code] = std::byte{0};
  store16(message, icmp_field::checksum, 0);
  store16(message, icmp_field::identifier, header.identifier);
  store16(message, icmp_field::sequence, header.sequence);
  std::ranges::copy(payload, message.subspan(icmp_header_bytes).begin());
  store16(message, icmp_field::checksum, checksum().add(message).value());
}

}  // namespace exo::net
