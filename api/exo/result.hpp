// The result of a call that returns nothing but success.
#pragma once

#include <expected>

#include "core.hpp"

namespace exo {

/// Success where the value is not negative, else the error.
[[nodiscard]] constexpr result<void> done(i64 value) noexcept {
  if (value < 0) return std::unexpected(static_cast<error>(-value));
  return {};
}

}  // namespace exo
