// What a block device is, for file systems and caches: they take this concept and know no driver.
#pragma once

#include <concepts>
#include <cstddef>
#include <span>

#include "core.hpp"

namespace exo {

/// A block's number on its device, from 0.
enum class lba : u64 {};

constexpr u64 number(lba block) noexcept { return static_cast<u64>(block); }
constexpr lba operator+(lba block, u64 blocks) noexcept { return lba{number(block) + blocks}; }

/// Blocks of one size that can be read and written; every function may wait.
///
/// Spans hold whole blocks. What flush() has confirmed survives a power cut.
template <typename Device>
concept block_device =
    requires(Device &device, Device const &idle, lba first, std::span<std::byte> in, std::span<std::byte const> out) {
      { idle.block_bytes() } -> std::same_as<u32>;
      { idle.blocks() } -> std::same_as<u64>;
      { device.read(first, in) } -> std::same_as<result<void>>;
      { device.write(first, out) } -> std::same_as<result<void>>;
      { device.flush() } -> std::same_as<result<void>>;
    };

}  // namespace exo
