// A minimal IPv4 host over any frame device: answers ARP and ping, sends and receives UDP.
//
//   exo::net::ipv4_host host(port, {{10, 0, 2, 15}, 24, {10, 0, 2, 2}});
//   host.poll(now, [&](exo::net::udp_datagram const &datagram) {
//     return datagram.destination_port == 7 && host.try_reply(datagram, datagram.payload).has_value();
//   });
//
// Nothing waits and nothing is allocated. One host belongs to one core.
#pragma once

#include "arp_cache.hpp"
#include "device.hpp"
#include "icmp.hpp"
#include "udp.hpp"

namespace exo::net {

struct udp_endpoint {
  ipv4_address address;
  u16 port;

  friend constexpr bool operator==(udp_endpoint const &, udp_endpoint const &) noexcept = default;
};

/// A UDP message for us. The payload is the reader's during the call only.
struct udp_datagram {
  udp_endpoint source;
  u16 destination_port;
  bool broadcast;           ///< sent to everybody
  mac_address previous_hop; ///< who handed it to us: the source itself or a router
  std::span<std::byte const> payload;
};

/// What a host did since it was made.
struct host_counters {
  u64 frames = 0;        ///< received, good or bad
  u64 echo_replies = 0;  ///< pings answered
  u64 datagrams = 0;     ///< UDP messages taken
  drop_counters drops;
};

template <frame_device Device>
class ipv4_host {
 public:
  using time = arp_cache::time;

  /// @param device  outlives the host
  /// @param config  has to be valid()
  ipv4_host(Device &device, ipv4_config const &config) noexcept : device_(device), config_(config) {}

  /// Takes in a batch of what arrived, answers it, and repeats the questions that are due. Never waits.
  ///
  /// @param now          any clock that only grows
  /// @param on_datagram  bool(udp_datagram const &), called for each UDP message for us: true if it was taken. It may
  ///                     send and reply
  /// @return             frames received; call again until it is 0 before waiting
  template <typename Handler>
    requires std::is_invocable_r_v<bool, Handler &, udp_datagram const &>
  std::size_t poll(time now, Handler &&on_datagram) {
    now_ = now;
    ask_neighbours();
    std::size_t const received = device_.try_receive([&](received_frame const &frame) {
      ++counters_.frames;
      if (auto const taken = take(frame, on_datagram); !taken) counters_.drops.count(taken.error());
    });
    device_.flush();
    return received;
  }

  /// When poll() has something to do although nothing arrives; time::max() if never.
  [[nodiscard]] time deadline() const noexcept { return neighbours_.deadline(); }

  /// Sends a UDP message; a broadcast address is fine. It leaves with the next poll() or flush() of the device.
  ///
  /// @error resolving    the neighbour is being asked for its MAC address: poll and try again
  /// @error unreachable  no way there, or the neighbour does not answer
  /// @error full         the device has no room: poll and try again
  /// @error too_big      longer than the MTU less 28 bytes
  [[nodiscard]] std::expected<void, send_error> try_send(udp_endpoint const &to, u16 from_port,
                                                         std::span<std::byte const> payload) {
    if (config_.is_broadcast(to.address)) return send_udp(mac_address::broadcast(), to, from_port, payload);
    auto const next = config_.next_hop(to.address);
    if (!next) return std::unexpected(send_error::unreachable);
    auto const mac = neighbours_.find(*next, now_);
    if (!mac) {
      ask_neighbours();
      return std::unexpected(mac.error());
    }
    return send_udp(*mac, to, from_port, payload);
  }

  /// Answers a datagram on the way that it came, so that no neighbour has to be asked.
  ///
  /// @error unreachable  the sender wants no answer: its port is 0
  /// @error full         the device has no room
  /// @error too_big      longer than the MTU less 28 bytes
  [[nodiscard]] std::expected<void, send_error> try_reply(udp_datagram const &to, std::span<std::byte const> payload) {
    if (to.source.port == 0) return std::unexpected(send_error::unreachable);
    return send_udp(to.previous_hop, to.source, to.destination_port, payload);
  }

  [[nodiscard]] ipv4_config const &config() const noexcept { return config_; }
  [[nodiscard]] host_counters const &counters() const noexcept { return counters_; }

 private:
  using outcome = std::expected<void, drop>;

  template <typename Handler>
  outcome take(received_frame const &frame, Handler &on_datagram) {
    auto const ethernet = ethernet_view::parse(frame.bytes);
    if (!ethernet) return std::unexpected(ethernet.error());
    bool const to_all = ethernet->destination() == mac_address::broadcast();
    if (!to_all && ethernet->destination() != device_.mac()) return std::unexpected(drop::not_for_us);
    if (ethernet->source() == device_.mac()) return std::unexpected(drop::bad_source);
    switch (ethernet->type()) {
      case ethernet_type::arp:
        return take_arp(*ethernet);
      case ethernet_type::ipv4:
        return take_ipv4(*ethernet, to_all, frame.checksum_good, on_datagram);
    }
    return std::unexpected(drop::unknown_kind);
  }

  /// The steps of RFC 826, "Packet Reception".
  outcome take_arp(ethernet_view const &frame) {
    auto const arp = arp_view::parse(frame.payload());
    if (!arp) return std::unexpected(arp.error());
    bool const for_us = arp->target() == config_.address;
    // A sender of 0.0.0.0 asks whether an address is free (RFC 5227 §2.1.1): answered, but nothing to learn.
    bool const probe = arp->sender() == ipv4_address();
    if (!probe) {
      if (!config_.next_hop(arp->sender()) || !config_.on_link(arp->sender()))
        return std::unexpected(drop::bad_source);
      neighbours_.learn(arp->sender(), arp->sender_mac(), for_us, now_);
    }
    if (!for_us) return std::unexpected(drop::not_for_us);
    if (arp->operation() != arp_operation::request) return {};
    arp_message const reply{arp_operation::reply, device_.mac(), config_.address, arp->sender_mac(), arp->sender()};
    return send_arp(arp->sender_mac(), reply) ? outcome() : std::unexpected(drop::no_room);
  }

  template <typename Handler>
  outcome take_ipv4(ethernet_view const &frame, bool to_all, bool checksum_good, Handler &on_datagram) {
    auto const datagram = ipv4_view::parse(frame.payload());
    if (!datagram) return std::unexpected(datagram.error());
    bool const broadcast = config_.is_broadcast(datagram->destination());
    // RFC 1122 §3.3.6: what comes in a broadcast frame has a broadcast address, or is no datagram for us.
    if (!broadcast && (to_all || datagram->destination() != config_.address))
      return std::unexpected(drop::not_for_us);
    if (datagram->source() == config_.address || !config_.is_unicast(datagram->source()))
      return std::unexpected(drop::bad_source);
    switch (datagram->protocol()) {
      case ipv4_protocol::icmp:
        return take_icmp(frame.source(), *datagram, broadcast);
      case ipv4_protocol::udp:
        return take_udp(frame.source(), *datagram, broadcast, checksum_good, on_datagram);
      default:
        return std::unexpected(drop::unknown_kind);
    }
  }

  outcome take_icmp(mac_address const &previous_hop, ipv4_view const &datagram, bool broadcast) {
    auto const echo = icmp_echo_view::parse(datagram.payload());
    if (!echo) return std::unexpected(echo.error());
    // RFC 1122 §3.2.2.6 allows silence on a broadcast ping; answers from all hosts would flood the asker.
    if (echo->type() != icmp_type::echo_request || broadcast) return std::unexpected(drop::unknown_kind);
    icmp_echo_header const reply{icmp_type::echo_reply, echo->identifier(), echo->sequence()};
    auto const sent = send_ipv4(previous_hop, datagram.source(), ipv4_protocol::icmp, datagram.payload().size(),
                                [&](std::span<std::byte> message) { emit(reply, echo->payload(), message); });
    if (!sent) return std::unexpected(drop::no_room);
    ++counters_.echo_replies;
    return {};
  }

  template <typename Handler>
  outcome take_udp(mac_address const &previous_hop, ipv4_view const &datagram, bool broadcast, bool checksum_good,
                   Handler &on_datagram) {
    auto const udp = udp_view::parse(datagram, checksum_good);
    if (!udp) return std::unexpected(udp.error());
    udp_endpoint const source{datagram.source(), udp->source_port()};
    udp_datagram const message{source, udp->destination_port(), broadcast, previous_hop, udp->payload()};
    if (!on_datagram(message)) return std::unexpected(drop::no_listener);
    ++counters_.datagrams;
    return {};
  }

  void ask_neighbours() {
    neighbours_.poll(now_, [&](ipv4_address target) {
      arp_message const request{arp_operation::request, device_.mac(), config_.address, {}, target};
      if (!send_arp(mac_address::broadcast(), request)) counters_.drops.count(drop::no_room);
    });
  }

  bool send_arp(mac_address const &to, arp_message const &message) {
    return device_.try_send(ethernet_header_bytes + arp_message_bytes, [&](std::span<std::byte> frame) {
      emit(message, emit(ethernet_header{to, device_.mac(), ethernet_type::arp}, frame));
    });
  }

  std::expected<void, send_error> send_udp(mac_address const &next_hop, udp_endpoint const &to, u16 from_port,
                                           std::span<std::byte const> payload) {
    udp_header const header{config_.address, to.address, from_port, to.port};
    return send_ipv4(next_hop, to.address, ipv4_protocol::udp, udp_header_bytes + payload.size(),
                     [&](std::span<std::byte> message) { emit(header, payload, message); });
  }

  /// Sends one datagram whose payload of `bytes` is written by `fill`.
  template <typename Fill>
  std::expected<void, send_error> send_ipv4(mac_address const &next_hop, ipv4_address to, ipv4_protocol protocol,
                                            std::size_t bytes, Fill const &fill) {
    std::size_t const total = ipv4_header_bytes + bytes;
    if (total > device_.mtu()) return std::unexpected(send_error::too_big);
    bool const sent = device_.try_send(ethernet_header_bytes + total, [&](std::span<std::byte> frame) {
      auto const datagram = emit(ethernet_header{next_hop, device_.mac(), ethernet_type::ipv4}, frame);
      fill(emit(ipv4_header{config_.address, to, protocol}, datagram));
    });
    if (!sent) return std::unexpected(send_error::full);
    return {};
  }

  Device &device_;
  ipv4_config config_;
  arp_cache neighbours_;
  host_counters counters_;
  time now_{};
};

}  // namespace exo::net
