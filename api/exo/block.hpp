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

/// A block device that can be told which blocks are needed no longer, and to make blocks zeros; both answer unsupported
/// where the device cannot.
///
/// discard  the blocks may read as anything until they are written again; their neighbours stay
/// zero     the blocks read as zeros; it lasts after flush()
template <typename Device>
concept clearing_block_device = block_device<Device> && requires(Device &device, lba first, u64 blocks) {
  { device.discard(first, blocks) } -> std::same_as<result<void>>;
  { device.zero(first, blocks) } -> std::same_as<result<void>>;
};

/// Whether a device begins with a boot sector: a machine may boot from it, or it has partitions. So it holds somebody's
/// data, perhaps the program that runs: ask before writing to it.
///
/// @param block  room for one block
/// @error        what read() says
template <block_device Device>
[[nodiscard]] result<bool> has_boot_sector(Device &device, std::span<std::byte> block) noexcept {
  result<void> const got = device.read(lba{0}, block.first(device.block_bytes()));
  if (!got) return std::unexpected(got.error());
  return block[510] == std::byte{0x55} && block[511] == std::byte{0xAA};
}

}  // namespace exo
