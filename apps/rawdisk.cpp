// Raw disks: lists them; with arguments reads, writes or tests disk 0.
//
//   rawdisk                      every disk and its size
//   rawdisk read BLOCK           a block in hexadecimal
//   rawdisk write BLOCK TEXT     text and zeros to the block's end, flushed and read back
//   rawdisk test BLOCKS SEED     a pattern to the first BLOCKS blocks, many in flight, read back and compared
//
// A disk that begins with a boot sector, as the one that the machine booted from does, is written only with the word
// `force` behind the arguments.
#include <exo/exo.hpp>

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <optional>
#include <span>
#include <string_view>

#include "options.hpp"

using exo::u64;

namespace {

/// A model or a serial number, without the blanks behind it.
std::string_view text(std::span<exo::u8 const> letters) {
  std::string_view const all(reinterpret_cast<char const *>(letters.data()), letters.size());
  return all.substr(0, all.find_last_not_of(std::string_view(" \0", 2)) + 1);
}

void list_disks() {
  exo::u32 number = 0;
  for (exo::disk_record const &disk : exo::info().disks) {
    exo::print("disk {}: {} blocks of {} bytes, {} MiB, {} queues; {} {}\n", number++, disk.blocks, disk.block_bytes,
               disk.blocks * disk.block_bytes >> 20, disk.queue_max, text(disk.model), text(disk.serial));
  }
}

void dump(std::span<std::byte const> block) {
  for (std::size_t at = 0; at < block.size(); at += 16) {
    char line[80];
    exo::text_sink out(line);
    exo::format_to(out, "{:04x} ", at);
    for (std::byte const each : block.subspan(at, 16)) exo::format_to(out, " {:02x}", each);
    out.put("  ");
    for (std::byte const each : block.subspan(at, 16)) {
      char const letter = static_cast<char>(each);
      out.put(letter >= ' ' && letter <= '~' ? letter : '.');
    }
    exo::print("{}\n", out.text());
  }
}

int fail(char const *what, exo::error why) {
  exo::print("{}: {}\n", what, why);
  return 1;
}

int read_block(exo::disk_blocks &disk, u64 block, std::span<std::byte> buffer) {
  if (auto const got = disk.read(exo::lba{block}, buffer); !got) return fail("read", got.error());
  dump(buffer);
  return 0;
}

int write_block(exo::disk_blocks &disk, u64 block, std::string_view text, std::span<std::byte> buffer) {
  if (text.size() > buffer.size()) {
    exo::print("the text has {} bytes, a block {}\n", text.size(), buffer.size());
    return 1;
  }
  std::ranges::fill(buffer, std::byte{0});
  std::memcpy(buffer.data(), text.data(), text.size());
  if (auto const put = disk.write(exo::lba{block}, buffer); !put) return fail("write", put.error());
  if (auto const kept = disk.flush(); !kept) return fail("flush", kept.error());
  return read_block(disk, block, buffer);
}

/// The word at a place of a pattern: another for each block, place and seed.
u64 pattern(u64 word, u64 seed) {
  u64 mixed = (word + seed) * 0x9E3779B97F4A7C15;
  mixed ^= mixed >> 32;
  return mixed * 0xD6E8FEB86659FD93;
}

int test(exo::disk_blocks &disk, u64 blocks, u64 seed) {
  if (blocks == 0 || blocks > disk.blocks()) {
    exo::print("the disk has {} blocks\n", disk.blocks());
    return 1;
  }
  u64 const chunk_blocks = std::min<u64>(blocks, (u64{4} << 20) / disk.block_bytes());
  auto const memory = exo::pages::take(chunk_blocks * disk.block_bytes());
  if (!memory) return fail("buffer", memory.error());

  auto const each_chunk = [&](auto &&step) -> int {
    for (u64 first = 0; first < blocks; first += chunk_blocks) {
      std::span const bytes = memory->span().first(std::min(chunk_blocks, blocks - first) * disk.block_bytes());
      std::span const words(reinterpret_cast<u64 *>(bytes.data()), bytes.size() / sizeof(u64));
      if (int const status = step(first, bytes, words, first * disk.block_bytes() / sizeof(u64))) return status;
    }
    return 0;
  };
  int status = each_chunk([&](u64 first, std::span<std::byte> bytes, std::span<u64> words, u64 base) {
    for (u64 at = 0; at < words.size(); ++at) words[at] = pattern(base + at, seed);
    auto const put = disk.write(exo::lba{first}, bytes);
    return put ? 0 : fail("write", put.error());
  });
  if (status != 0) return status;
  if (auto const kept = disk.flush(); !kept) return fail("flush", kept.error());
  status = each_chunk([&](u64 first, std::span<std::byte> bytes, std::span<u64> words, u64 base) {
    std::ranges::fill(bytes, std::byte{0});
    if (auto const got = disk.read(exo::lba{first}, bytes); !got) return fail("read", got.error());
    for (u64 at = 0; at < words.size(); ++at) {
      if (words[at] == pattern(base + at, seed)) continue;
      exo::print("block {} differs\n", (base + at) * sizeof(u64) / disk.block_bytes());
      return 1;
    }
    return 0;
  });
  if (status == 0) exo::print("{} blocks written, flushed, read back: equal\n", blocks);
  return status;
}

int usage() {
  exo::print("arguments: read BLOCK | write BLOCK TEXT [force] | test BLOCKS SEED [force]\n");
  return 2;
}

}  // namespace

int main(int argc, char **argv) {
  if (exo::info().disks.empty()) {
    exo::print("This machine has no disk that the core can drive.\n");
    return 1;
  }
  list_disks();
  if (argc == 1) return 0;

  std::span const arguments(argv + 1, static_cast<std::size_t>(argc - 1));
  std::string_view const verb = arguments[0];
  std::size_t const wanted = verb == "read" ? 2 : verb == "write" || verb == "test" ? 3 : 0;
  bool const forced = wanted == 3 && arguments.size() == 4 && std::string_view(arguments[3]) == "force";
  if (wanted == 0 || (arguments.size() != wanted && !forced)) return usage();
  std::optional<u64> const number = number_of(arguments[1]);
  if (!number) return usage();

  auto opened = exo::disk::open(exo::disk_id{0});
  if (!opened) return fail("open", opened.error());
  auto queue = opened->take_queue();
  if (!queue) return fail("queue", queue.error());
  exo::disk_blocks disk(std::move(*queue));
  auto const buffer = exo::pages::take(disk.block_bytes());
  if (!buffer) return fail("buffer", buffer.error());
  std::span const block = buffer->span().first(disk.block_bytes());

  if (verb == "read") return read_block(disk, *number, block);
  auto const precious = exo::has_boot_sector(disk, block);
  if (!precious) return fail("read", precious.error());
  if (*precious && !forced) {
    exo::print("Disk 0 begins with a boot sector: it has partitions, or this machine boots from it. Nothing was written. "
               "To overwrite it, add the word force.\n");
    return 1;
  }
  if (verb == "write") return write_block(disk, *number, arguments[2], block);
  std::optional<u64> const seed = number_of(arguments[2]);
  return seed ? test(disk, *number, *seed) : usage();
}
