// ARP for IPv4 over Ethernet: which MAC address has this IPv4 address (RFC 826).
#pragma once

#include "ethernet.hpp"
#include "ipv4.hpp"

namespace exo::net {

enum class arp_operation : u16 { request = 1, reply = 2 };

inline constexpr std::size_t arp_message_bytes = 28;

/// Offsets of the fields.
struct arp_field {
  static constexpr std::size_t hardware = 0, protocol = 2, hardware_bytes = 4, protocol_bytes = 5, operation = 6,
                               sender_mac = 8, sender = 14, target_mac = 18, target = 24;
  static constexpr u16 ethernet = 1;
};

/// The message as a value.
struct arp_message {
  arp_operation operation;
  mac_address sender_mac;
  ipv4_address sender;
  mac_address target_mac;  ///< unknown, so zero, in a request
  ipv4_address target;
};

/// A request or a reply about IPv4 over Ethernet.
class arp_view {
 public:
  [[nodiscard]] static constexpr std::expected<arp_view, drop> parse(std::span<std::byte const> bytes) noexcept {
    if (bytes.size() < arp_message_bytes) return std::unexpected(drop::too_short);
    arp_view const view(bytes);
    if (load16(bytes, arp_field::hardware) != arp_field::ethernet ||
        load16(bytes, arp_field::protocol) != static_cast<u16>(ethernet_type::ipv4) ||
        bytes[arp_field::hardware_bytes] != std::byte{6} || bytes[arp_field::protocol_bytes] != std::byte{4})
      return std::unexpected(drop::bad_version);
    if (view.operation() != arp_operation::request && view.operation() != arp_operation::reply)
      return std::unexpected(drop::unknown_kind);
    if (view.sender_mac().is_group()) return std::unexpected(drop::bad_source);
    return view;
  }

  [[nodiscard]] constexpr arp_operation operation() const noexcept {
    return static_cast<arp_operation>(load16(bytes_, arp_field::operation));
  }
  [[nodiscard]] constexpr mac_address sender_mac() const noexcept { return load_mac(bytes_, arp_field::sender_mac); }
  [[nodiscard]] constexpr ipv4_address sender() const noexcept {
    return ipv4_address(load32(bytes_, arp_field::sender));
  }
  [[nodiscard]] constexpr mac_address target_mac() const noexcept { return load_mac(bytes_, arp_field::target_mac); }
  [[nodiscard]] constexpr ipv4_address target() const noexcept {
    return ipv4_address(load32(bytes_, arp_field::target));
  }

 private:
  constexpr explicit arp_view(std::span<std::byte const> bytes) noexcept : bytes_(bytes) {}

  std::span<std::byte const> bytes_;
};

/// Writes the message.
constexpr void emit(arp_message const &message, std::span<std::byte> bytes) noexcept {
  store16(bytes, arp_field::hardware, arp_field::ethernet);
  store16(bytes, arp_field::protocol, static_cast<u16>(ethernet_type::ipv4));
  bytes[arp_field::hardware_bytes] = std::byte{6};
  bytes[arp_field::protocol_bytes] = std::byte{4};
  store16(bytes, arp_field::operation, static_cast<u16>(message.operation));
  store_mac(bytes, arp_field::sender_mac, message.sender_mac);
  store32(bytes, arp_field::sender, message.sender.value);
  store_mac(bytes, arp_field::target_mac, message.target_mac);
  store32(bytes, arp_field::target, message.target.value);
}

}  // namespace exo::net
