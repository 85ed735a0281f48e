// Everything that chance decides, out of one seed.
//
// An occasion has a kind, an object (a core, a link's direction, a disk) and an ordinal, its number among those. What
// happens on it depends on these and on the seed alone, not on what was drawn before: so one fault can be left out and
// the others stay where they were, as far as the run still comes by there. That is what shrinking needs.
#pragma once

#include <algorithm>
#include <array>
#include <charconv>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "scenario.hpp"

namespace sim {

using u8 = std::uint8_t;
using u32 = std::uint32_t;
using u64 = std::uint64_t;

/// What is drawn. Those with a name are faults: without them the run would be a calm one.
enum class kind : u8 { stall, lose, duplicate, reorder, corrupt, partition, cut, forget, tear, fail, slow, stuck, faults_end,
                       delay, choice, kinds_end };
inline constexpr std::string_view kind_names[] = {"stall", "lose", "duplicate", "reorder", "corrupt", "partition",
                                                  "cut", "forget", "tear", "fail", "slow", "stuck"};
static_assert(std::size(kind_names) == static_cast<std::size_t>(kind::faults_end));

inline constexpr u32 objects_most = 64;

/// One occasion on which something happened; its text is KIND.OBJECT.ORDINAL.
struct fault {
  kind what;
  u8 object;
  u32 ordinal;
  auto operator<=>(fault const &) const = default;

  [[nodiscard]] std::string text() const {
    return std::string(kind_names[static_cast<u8>(what)]) + '.' + std::to_string(object) + '.' + std::to_string(ordinal);
  }

  static std::optional<fault> from_text(std::string_view text) {
    auto const first = text.find('.');
    auto const *const name = std::ranges::find(kind_names, text.substr(0, first));
    if (first == text.npos || name == std::end(kind_names)) return std::nullopt;
    fault made{static_cast<kind>(name - kind_names), 0, 0};
    char const *const end = text.data() + text.size();
    auto const object = std::from_chars(text.data() + first + 1, end, made.object);
    if (object.ec != std::errc() || object.ptr == end || *object.ptr != '.' || made.object >= objects_most) return std::nullopt;
    auto const ordinal = std::from_chars(object.ptr + 1, end, made.ordinal);
    if (ordinal.ec != std::errc() || ordinal.ptr != end) return std::nullopt;
    return made;
  }
};


class chance {
 public:
  /// @param only  faults that may happen, sorted; null: all
  void start(u64 seed, std::vector<fault> const *only) {
    seed_ = seed;
    only_ = only;
    ordinals_ = {};
    happened.clear();
  }

  /// Whether a fault happens on this occasion; *amount gets a number for how much.
  bool happens(kind what, u32 object, rate often, u64 *amount = nullptr) {
    u32 const ordinal = ordinals_[static_cast<u8>(what)][object]++;
    if (often.of_2_32() == 0) return false;
    u64 const drawn = mix(what, object, ordinal);
    if ((drawn & 0xFFFFFFFF) >= often.of_2_32()) return false;
    fault const it{what, static_cast<u8>(object), ordinal};
    if (only_ != nullptr && !std::ranges::binary_search(*only_, it)) return false;
    happened.push_back(it);
    if (amount != nullptr) *amount = scramble(drawn);
    return true;
  }

  /// A number of 0 to below - 1 that is no fault.
  u64 number(kind what, u32 object, u64 below) {
    return below == 0 ? 0 : mix(what, object, ordinals_[static_cast<u8>(what)][object]++) % below;
  }

  std::vector<fault> happened;

 private:
  /// The finalizer of SplitMix64: every bit of the result depends on every bit of the number.
  static constexpr u64 scramble(u64 number) {
    number += 0x9E3779B97F4A7C15;
    number = (number ^ number >> 30) * 0xBF58476D1CE4E5B9;
    number = (number ^ number >> 27) * 0x94D049BB133111EB;
    return number ^ number >> 31;
  }
  [[nodiscard]] u64 mix(kind what, u32 object, u32 ordinal) const {
    return scramble(scramble(seed_) ^ (u64{static_cast<u8>(what)} << 56 | u64{object} << 40 | ordinal));
  }

  u64 seed_ = 0;
  std::vector<fault> const *only_ = nullptr;
  std::array<std::array<u32, objects_most>, static_cast<u8>(kind::kinds_end)> ordinals_{};
};

}  // namespace sim
