// The sizes of the heap's blocks, and of the slabs that are cut into them.
#pragma once

#include <algorithm>
#include <bit>
#include <cstddef>

#include "core.hpp"
#include "page_pool.hpp"

namespace exo::detail {

/// The sizes of blocks: by 16 up to 256 bytes, then eight from each power of two to the next.
struct size_classes {
  static constexpr std::size_t unit = 16;  // of sizes and addresses
  static constexpr std::size_t by_unit_max = 256;
  static constexpr std::size_t steps = 8;
  static constexpr std::size_t block_max = 32 << 10;
  static constexpr std::size_t slab_min = 16 << 10;
  static constexpr std::size_t slab_max = 64 << 10;

  /// The class of the smallest blocks that hold so many bytes, block_max at most.
  static constexpr std::size_t of(std::size_t bytes) noexcept {
    if (bytes <= by_unit_max) return bytes <= unit ? 0 : (bytes - 1) / unit;
    auto const power = static_cast<std::size_t>(std::bit_width(bytes - 1)) - 1;
    return by_unit_max / unit + (power - 8) * steps + ((bytes - 1) >> (power - 3)) - steps;
  }
  static constexpr std::size_t block_bytes(std::size_t number) noexcept {
    if (number < by_unit_max / unit) return (number + 1) * unit;
    std::size_t const above = number - by_unit_max / unit;
    return (above % steps + steps + 1) << (above / steps + 5);
  }
  static constexpr std::size_t count = 72;

  /// Of a new slab, where the others of its core and size have so many bytes: it may be an eighth more, so that what is
  /// free in slabs stays in proportion. Whole pages, of which a 16th at most fits no block.
  static constexpr std::size_t slab_bytes(std::size_t number, std::size_t others) noexcept {
    std::size_t const block = block_bytes(number);
    std::size_t bytes = align_up(std::max({2 * block, slab_min, std::min(others / 8, slab_max)}), page_bytes);
    while (bytes % block > bytes / 16) bytes += page_bytes;
    return bytes;
  }
};
static_assert(size_classes::of(size_classes::block_max) == size_classes::count - 1);
static_assert(size_classes::block_bytes(size_classes::count - 1) == size_classes::block_max);
static_assert(size_classes::by_unit_max == 1 << 8 && size_classes::steps == 1 << 3);

}  // namespace exo::detail
