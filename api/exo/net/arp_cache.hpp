// The neighbours that we know, and those that we ask for: a small table of IPv4 to MAC addresses.
//
// A question is repeated once a second, three times in all (RFC 1122 §2.3.2.1); after that the neighbour counts as
// unreachable for a while, so that a program in a hurry cannot flood the network. What is known is forgotten after a
// minute without a word from the neighbour. Time is whatever the caller says: it only has to grow.
#pragma once

#include <chrono>

#include "arp.hpp"

namespace exo::net {

/// Why a datagram was not sent.
enum class send_error : u8 {
  resolving,    ///< the neighbour's MAC address is being asked for: try again
  unreachable,  ///< no way there, or the neighbour does not answer
  full,         ///< the device has no room: try again
  too_big,      ///< longer than the MTU
};

/// At most 16 neighbours; a new one takes the place of the one that is due first.
class arp_cache {
 public:
  using time = std::chrono::nanoseconds;
  static constexpr std::size_t entry_count = 16;
  static constexpr unsigned request_limit = 3;
  static constexpr time request_every = std::chrono::seconds(1);
  static constexpr time unreachable_for = std::chrono::seconds(5);
  static constexpr time known_for = std::chrono::seconds(60);

  /// The neighbour's MAC address. If it is unknown a question becomes due at once: see poll().
  [[nodiscard]] std::expected<mac_address, send_error> find(ipv4_address address, time now) noexcept {
    entry *const at = lookup(address);
    if (at == nullptr) {
      *replaceable() = {address, {}, state::resolving, 0, now};
      return std::unexpected(send_error::resolving);
    }
    if (at->is == state::known) return at->mac;
    return std::unexpected(at->is == state::resolving ? send_error::resolving : send_error::unreachable);
  }

  /// Notes what a neighbour said of itself, if it is in the table, or if `add` says that it wants to talk to us.
  void learn(ipv4_address address, mac_address const &mac, bool add, time now) noexcept {
    entry *at = lookup(address);
    if (at == nullptr && add) at = replaceable();
    if (at != nullptr) *at = {address, mac, state::known, 0, now + known_for};
  }

  /// Calls ask(address) for each question that is due, and forgets what is old.
  template <std::invocable<ipv4_address> Ask>
  void poll(time now, Ask &&ask) {
    for (entry &each : entries_) {
      if (each.is == state::free || now < each.due) continue;
      if (each.is != state::resolving) {
        each = {};
      } else if (each.requests == request_limit) {
        each.is = state::unreachable;
        each.due = now + unreachable_for;
      } else {
        ++each.requests;
        each.due = now + request_every;
        ask(each.address);
      }
    }
  }

  /// When poll() has a question to repeat; time::max() if there is none.
  [[nodiscard]] time deadline() const noexcept {
    time first = time::max();
    for (entry const &each : entries_)
      if (each.is == state::resolving) first = std::min(first, each.due);
    return first;
  }

 private:
  enum class state : u8 { free, resolving, known, unreachable };

  struct entry {
    ipv4_address address;
    mac_address mac;
    state is = state::free;
    u8 requests = 0;
    time due{};  // of the next question, or of forgetting
  };

  entry *lookup(ipv4_address address) noexcept {
    for (entry &each : entries_)
      if (each.is != state::free && each.address == address) return &each;
    return nullptr;
  }

  entry *replaceable() noexcept { return &*std::ranges::min_element(entries_, {}, &entry::due); }

  std::array<entry, entry_count> entries_{};
};

}  // namespace exo::net
