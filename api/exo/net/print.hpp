// How network addresses print: 10.0.2.15, 52:54:00:12:34:56.
#pragma once

#include "../format.hpp"
#include "ethernet.hpp"
#include "ipv4.hpp"

namespace exo {

template <>
struct formatter<net::ipv4_address> {
  static void write(text_sink &out, net::ipv4_address const &address) noexcept {
    format_to(out, "{}.{}.{}.{}", address.octet(0), address.octet(1), address.octet(2), address.octet(3));
  }
};

template <>
struct formatter<net::mac_address> {
  static void write(text_sink &out, net::mac_address const &address) noexcept {
    auto const &o = address.octets;
    format_to(out, "{:02x}:{:02x}:{:02x}:{:02x}:{:02x}:{:02x}", o[0], o[1], o[2], o[3], o[4], o[5]);
  }
};

}  // namespace exo
