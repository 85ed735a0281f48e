// The command line of wordcount.
#pragma once

#include <charconv>
#include <cstdint>
#include <exo/net/ipv4.hpp>
#include <optional>
#include <span>
#include <string_view>

namespace wordcount {

struct options {
  std::optional<std::uint64_t> bytes;  // of the text; without it the disk tells
  exo::net::ipv4_config network;
  std::uint16_t port = 7777;
  bool once = false;
  bool quit = false;
};

/// A whole number and nothing else.
template <std::unsigned_integral Number>
[[nodiscard]] std::optional<Number> number_from(std::string_view text) noexcept {
  Number value = 0;
  auto const [end, problem] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (problem != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

/// Reads the arguments; complain(argument) is called for the first that is wrong.
template <typename Complain>
[[nodiscard]] std::optional<options> read_options(std::span<char *const> arguments, Complain &&complain) noexcept {
  std::string_view ip = "10.0.2.15/24";
  std::string_view gateway = "10.0.2.2";
  options chosen;
  for (std::string_view const argument : arguments) {
    std::size_t const equals = std::min(argument.find('='), argument.size());
    std::string_view const key = argument.substr(0, equals);
    std::string_view const value = argument.substr(std::min(equals + 1, argument.size()));
    bool good = true;
    if (key == "bytes") {
      good = (chosen.bytes = number_from<std::uint64_t>(value)).has_value();
    } else if (key == "port") {
      chosen.port = number_from<std::uint16_t>(value).value_or(0);
      good = chosen.port != 0;
    } else if (key == "ip") {
      ip = value;
    } else if (key == "gateway") {
      gateway = value;
    } else if (argument == "once") {
      chosen.once = true;
    } else if (argument == "quit") {
      chosen.quit = true;
    } else {
      good = false;
    }
    if (!good) {
      complain(argument);
      return std::nullopt;
    }
  }
  auto const router = exo::net::ipv4_address::from_text(gateway);
  auto const network = router ? exo::net::ipv4_config::from_text(ip, *router) : std::nullopt;
  if (!network) {
    complain(ip);
    return std::nullopt;
  }
  chosen.network = *network;
  return chosen;
}

}  // namespace wordcount
