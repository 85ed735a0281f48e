// Answers every UDP message to a port with the same report.
#pragma once

#include <exo/frame_port.hpp>
#include <exo/net/host.hpp>
#include <exo/net/print.hpp>

#include "options.hpp"

namespace wordcount {

/// Whether a message is the word quit, with or without a newline.
[[nodiscard]] inline bool says_quit(std::span<std::byte const> payload) noexcept {
  std::string_view text(reinterpret_cast<char const *>(payload.data()), payload.size());
  if (text.ends_with('\n')) text.remove_suffix(1);
  return text == "quit";
}

/// Answers until a message says quit, if that is an option; halts while nothing comes.
///
/// Runs of messages between two reporters would never end, so what comes from the port itself gets no answer.
template <exo::net::frame_device Device>
void answer(Device &port, options const &chosen, std::string_view report) {
  constexpr int polls_before_halt = 1000;
  exo::net::ipv4_host host(port, chosen.network);
  bool done = false;
  auto const reply = [&](exo::net::udp_datagram const &message) {
    if (message.destination_port != chosen.port || message.source.port == chosen.port) return false;
    done = done || (chosen.quit && says_quit(message.payload));
    // A reply that finds no room is lost, as any UDP message may be.
    (void)host.try_reply(message, std::as_bytes(std::span(report)));
    return true;
  };
  for (int quiet = 0; !done;) {
    quiet = host.poll(exo::clock::now().time_since_epoch(), reply) == 0 ? quiet + 1 : 0;
    if (quiet < polls_before_halt) continue;
    port.wait(exo::clock::time_point(host.deadline()));
    quiet = 0;
  }
  port.drain(exo::clock::now() + std::chrono::milliseconds(100));
}

}  // namespace wordcount
