// A disk that a program writes to from block 0 on, unless what is on it looks precious.
#pragma once

#include <exo/exo.hpp>

#include <optional>
#include <utility>

struct data_disk {
  exo::disk disk;  // outlives its queue
  exo::disk_blocks blocks;
};

/// Opens a disk to be written. If it cannot be, or has a boot sector and force is not set, a sentence says so.
/// @param program  whose sentence that is
inline std::optional<data_disk> open_data_disk(char const *program, exo::u64 number, bool force) {
  if (number >= exo::info().disks.size()) {
    exo::print("{}: there is no disk {}: this machine has {} that the core can drive. Give it one with --disk FILE.\n",
               program, number, exo::info().disks.size());
    return std::nullopt;
  }
  auto const fail = [&](char const *what, exo::error why) {
    exo::print("{}: disk {} {}: {}\n", program, number, what, why);
    return std::nullopt;
  };
  auto opened = exo::disk::open(exo::disk_id{static_cast<exo::u32>(number)});
  if (!opened) return fail("does not open", opened.error());
  if (opened->read_only()) {
    exo::print("{}: disk {} is read-only. Name another one with disk=N.\n", program, number);
    return std::nullopt;
  }
  auto queue = opened->take_queue();
  if (!queue) return fail("gives no queue", queue.error());
  exo::disk_blocks blocks(*std::move(queue));
  auto const block = exo::pages::take(blocks.block_bytes());
  if (!block) return fail("cannot be read", block.error());
  auto const precious = exo::has_boot_sector(blocks, block->span());
  if (!precious) return fail("cannot be read", precious.error());
  if (*precious && !force) {
    exo::print("{}: disk {} begins with a boot sector: it has partitions, or this machine boots from it. Nothing was "
               "written. To overwrite it, add the word force.\n", program, number);
    return std::nullopt;
  }
  return data_disk{*std::move(opened), std::move(blocks)};
}
