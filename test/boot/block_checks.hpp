// What every block device has to do, for tests of drivers: whole blocks of any count anywhere, any memory, the last block,
// and refusals that change nothing. The device's content is lost.
#pragma once

#include <exo/block.hpp>

#include <algorithm>
#include <array>
#include <cstring>

#include "check.hpp"

namespace check {

/// Another word for each place and round.
inline u64 block_pattern(u64 place, u64 round) noexcept { return (place + round) * 0x9E3779B97F4A7C15 ^ round << 40; }

inline void fill_blocks(std::span<std::byte> memory, u64 first_byte, u64 round) noexcept {
  for (u64 at = 0; at < memory.size(); at += 8) {
    u64 const word = block_pattern(first_byte + at, round);
    std::memcpy(memory.data() + at, &word, 8);
  }
}

inline bool holds_blocks(std::span<std::byte const> memory, u64 first_byte, u64 round) noexcept {
  for (u64 at = 0; at < memory.size(); at += 8) {
    u64 const word = block_pattern(first_byte + at, round);
    if (std::memcmp(memory.data() + at, &word, 8) != 0) return false;
  }
  return true;
}

template <typename T>
i64 status_of(result<T> const &outcome) noexcept {
  return outcome ? 0 : -static_cast<i64>(outcome.error());
}

/// Writes and reads back `count` blocks at `first`, in memory that begins `shift` bytes behind a page.
template <block_device Device>
void blocks_come_back(Device &device, std::byte *memory, u64 first, u64 count, u64 shift, u64 round,
                      where at = where::current()) {
  u64 const bytes = count * device.block_bytes();
  std::span const part(memory + shift, bytes);
  fill_blocks(part, first * device.block_bytes(), round);
  same(status_of(device.write(lba{first}, part)), 0, at);
  std::ranges::fill(part, std::byte{0x5A});
  std::byte const behind = memory[shift + bytes];
  same(status_of(device.read(lba{first}, part)), 0, at);
  that(memory[shift + bytes] == behind, "a read went on behind its memory", at);
  if (!holds_blocks(part, first * device.block_bytes(), round)) fail(at, "other data; block, count", first, count);
}

/// @param alignment  of the memory that it takes, a power of two
template <block_device Device>
void a_block_device_works(Device &device, u64 alignment = 1) {
  constexpr u64 most_bytes = u64{1} << 20;
  u64 const unit = device.block_bytes(), blocks = device.blocks();
  std::byte *const memory = take_pages(most_bytes + 2 * page_bytes);
  u64 round = 0;
  for (u64 count = 1; count * unit <= most_bytes && count <= blocks; count = count * 3 + 1) {
    for (u64 const first : {u64{0}, u64{1}, blocks / 2, blocks - count}) {
      if (first + count > blocks) continue;
      for (u64 const shift : {0, 4, 2, 1, 511}) {
        if (shift % alignment == 0) blocks_come_back(device, memory, first, count, shift, ++round);
      }
    }
  }
  same(status_of(device.flush()), 0);

  // What lies beside a write stays.
  blocks_come_back(device, memory, 0, 8, 0, ++round);
  u64 const before = round;
  blocks_come_back(device, memory, 3, 2, 0, ++round);
  same(status_of(device.read(lba{0}, {memory, 8 * unit})), 0);
  that(holds_blocks({memory, 3 * unit}, 0, before) && holds_blocks({memory + 5 * unit, 3 * unit}, 5 * unit, before),
       "a write changed its neighbours");
  that(holds_blocks({memory + 3 * unit, 2 * unit}, 3 * unit, round), "a write was lost");

  // Refused, and nothing is changed.
  i64 const range = -static_cast<i64>(error::range);
  for (u64 const first : {blocks, blocks + 1, u64{1} << 48, ~u64{0}}) {
    same(status_of(device.read(lba{first}, {memory, unit})), range);
    same(status_of(device.write(lba{first}, {memory, unit})), range);
  }
  same(status_of(device.write(lba{blocks - 1}, {memory, 2 * unit})), range);
  same(status_of(device.read(lba{0}, {memory, unit - 1})), range);
  same(status_of(device.write(lba{0}, {memory, unit + 8})), range);
  same(status_of(device.read(lba{blocks}, {memory, 0})), 0);
  same(status_of(device.read(lba{0}, {memory, 8 * unit})), 0);
  that(holds_blocks({memory, 3 * unit}, 0, before), "a refused write changed the disk");
  same(status_of(device.flush()), 0);
}

/// Gives blocks up and makes blocks zeros, if the device can, and else is refused; those beside them stay. What is behind a
/// device that discards has to make holes of that, so that they read as zeros: `discard=unmap` of QEMU's drives does.
template <clearing_block_device Device>
void a_block_device_clears(Device &device, bool discards, bool zeros) {
  constexpr u64 few = 8;
  u64 const unit = device.block_bytes(), blocks = device.blocks();
  std::span const memory(take_pages(few * unit), few * unit);
  u64 round = 1000;
  for (bool const to_zero : {false, true}) {
    auto const clear = [&](u64 first, u64 count) {
      return status_of(to_zero ? device.zero(lba{first}, count) : device.discard(lba{first}, count));
    };
    if (!(to_zero ? zeros : discards)) {
      same(clear(0, 1), -static_cast<i64>(error::unsupported));
      continue;
    }
    struct part {
      u64 first, end;
    };
    for (part const cleared : {part{few + 1, few + 2}, part{3, 2 * few}, part{blocks - 1, blocks}, part{few, blocks - few}}) {
      ++round;
      std::array const places{u64{0}, few, 2 * few, blocks / 2, blocks - 2 * few, blocks - few};
      for (u64 const place : places) {
        fill_blocks(memory, place * unit, round);
        same(status_of(device.write(lba{place}, memory)), 0);
      }
      same(clear(cleared.first, cleared.end - cleared.first), 0);
      for (u64 const place : places) {
        same(status_of(device.read(lba{place}, memory)), 0);
        for (u64 at = place; at < place + few; ++at) {
          std::span const block = memory.subspan((at - place) * unit, unit);
          bool const inside = at >= cleared.first && at < cleared.end;
          bool const right = inside ? std::ranges::count(block, std::byte{}) == static_cast<i64>(unit) : holds_blocks(block, at * unit, round);
          if (!right) fail(where::current(), inside ? "a block is not cleared:" : "a block beside those cleared is lost:", at);
        }
      }
    }
    i64 const range = -static_cast<i64>(error::range);
    for (u64 const count : {blocks + 1, u64{1} << 55, ~u64{0}}) same(clear(0, count), range);
    for (u64 const first : {blocks, ~u64{0}}) same(clear(first, 1), range);
    same(clear(blocks - 1, 2), range);
    same(clear(blocks, 0), 0);
    same(status_of(device.read(lba{0}, memory)), 0);
    that(holds_blocks(memory, 0, round), "a refused clear changed the disk");
  }
}

/// Fills the whole device with the pattern of a round, for a comparison on the host, and reads all of it back.
template <block_device Device>
void a_block_device_is_filled(Device &device, u64 round) {
  constexpr u64 chunk_bytes = u64{1} << 18;
  static std::byte *const memory = take_pages(chunk_bytes);
  u64 const unit = device.block_bytes(), step = chunk_bytes / unit;
  for (u32 pass = 0; pass < 2; ++pass) {
    for (u64 first = 0; first < device.blocks(); first += step) {
      std::span const part(memory, std::min(step, device.blocks() - first) * unit);
      if (pass == 0) {
        fill_blocks(part, first * unit, round);
        same(status_of(device.write(lba{first}, part)), 0);
      } else {
        same(status_of(device.read(lba{first}, part)), 0);
        that(holds_blocks(part, first * unit, round), "the device reads as something else");
      }
    }
    same(status_of(device.flush()), 0);
  }
}

}  // namespace check
