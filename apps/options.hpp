// What the programs here share about their arguments.
#pragma once

#include <exo/core.hpp>

#include <charconv>
#include <optional>
#include <string_view>
#include <system_error>

/// The number that a text is, if it is one, and from least to most.
inline std::optional<exo::u64> number_of(std::string_view text, exo::u64 least = 0, exo::u64 most = ~exo::u64{0}) {
  exo::u64 value = 0;
  auto const [end, failure] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (failure != std::errc{} || end != text.data() + text.size() || value < least || value > most) return std::nullopt;
  return value;
}

/// What stands behind `key` in an argument, as in "disk=0"; nothing if the argument begins otherwise.
inline std::optional<std::string_view> value_of(std::string_view argument, std::string_view key) {
  if (!argument.starts_with(key)) return std::nullopt;
  return argument.substr(key.size());
}
