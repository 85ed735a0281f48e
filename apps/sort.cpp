// sort: sorts the lines of the text on a disk, in place and on all cores, as `LC_ALL=C sort` does, and reads them back.
//
//   ./run_x86-64.sh sort --cores 4 --disk text.txt --args disk=0
//
//   disk=N     the disk; it has to be said, because its text is replaced
//   bytes=N    how long the text is. Without it, the whole disk is text, but for zeros that fill up its last block
//   force      sorts a disk that begins with a boot sector too
//
// The machine holds the text twice, and 24 bytes for each line. The sorted text is as long as it was; a last line without
// a newline gets one. Until the end is printed, the disk has a part of the old text and a part of the new.
#include <exo/exo.hpp>
#include <exo/parallel.hpp>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstring>
#include <functional>
#include <iterator>
#include <memory>
#include <optional>
#include <ranges>
#include <span>
#include <string_view>

#include "data_disk.hpp"
#include "options.hpp"

using exo::u64;
namespace parallel = exo::parallel;

namespace {

using line = std::string_view;  // without its newline

struct options {
  std::optional<u64> disk;
  std::optional<u64> bytes;
  bool force = false;
};

std::optional<options> read_options(std::span<char *const> arguments) {
  options chosen;
  for (std::string_view const argument : arguments) {
    auto const disk = value_of(argument, "disk="), bytes = value_of(argument, "bytes=");
    if (disk) chosen.disk = number_of(*disk);
    if (bytes) chosen.bytes = number_of(*bytes);
    if (argument == "force") chosen.force = true;
    if ((disk && !chosen.disk) || (bytes && !chosen.bytes) || (!disk && !bytes && argument != "force")) {
      exo::print("sort: {} is no argument, or has no number; there are disk=N, bytes=N, force.\n", argument);
      return std::nullopt;
    }
  }
  if (!chosen.disk) {
    exo::print("sort: which disk? Say disk=N; its text is replaced by the sorted one.\n");
    return std::nullopt;
  }
  return chosen;
}

int fail(char const *what, exo::error why) {
  exo::print("sort: {}: {}\n", what, why);
  return 1;
}

/// An array in pages of its own.
template <typename T>
class table {
 public:
  static exo::result<table> make(u64 count) noexcept {
    table made;
    if (count == 0) return made;
    auto memory = exo::pages::take(count * sizeof(T));
    if (!memory) return std::unexpected(memory.error());
    made.memory_ = *std::move(memory);
    made.all_ = {reinterpret_cast<T *>(made.memory_.data()), count};
    std::ranges::uninitialized_default_construct(made.all_);
    return made;
  }
  [[nodiscard]] std::span<T> span() const noexcept { return all_; }

 private:
  exo::pages memory_;
  std::span<T> all_;
};

/// The lines of a text that ends with a newline: all cores count them, part by part, then each part knows its place.
exo::result<table<line>> lines_of(std::span<char const> text) {
  constexpr u64 part_bytes = 64 << 10;
  u64 const parts = (text.size() + part_bytes - 1) / part_bytes;
  auto const part = [&](u64 number) {
    return text.subspan(number * part_bytes, std::min(part_bytes, text.size() - number * part_bytes));
  };
  auto counts = table<u64>::make(parts);
  if (!counts) return std::unexpected(counts.error());
  std::span<u64> const ends = counts->span();
  auto const numbers = std::views::iota(u64{0}, parts);
  parallel::transform(numbers, ends.begin(), [&](u64 number) { return static_cast<u64>(std::ranges::count(part(number), '\n')); });
  parallel::inclusive_scan(ends, ends.begin());

  auto lines = table<line>::make(parts == 0 ? 0 : ends.back());
  if (!lines) return std::unexpected(lines.error());
  parallel::for_each(numbers, [&](u64 number) {
    char const *const first = part(number).data(), *const end = first + part(number).size();
    char const *begin = std::find(std::reverse_iterator(first), std::reverse_iterator(text.data()), '\n').base();
    line *out = lines->span().data() + (number == 0 ? 0 : ends[number - 1]);
    for (char const *at = first; (at = std::find(at, end, '\n')) != end; begin = ++at) *out++ = {begin, at};
  });
  return lines;
}

/// The same for the same lines in any order: the sum of their hashes (FNV-1a).
u64 sum_of(std::span<line const> lines) {
  return parallel::transform_reduce(lines, u64{0}, std::plus<>(), [](line const &each) {
    u64 hash = 0xCBF29CE484222325;
    for (char const letter : each) hash = (hash ^ static_cast<unsigned char>(letter)) * 0x100000001B3;
    return hash;
  });
}

/// Copies lines behind each other, each with a newline.
exo::result<void> join(std::span<line const> lines, std::span<char> out) {
  auto places = table<u64>::make(lines.size());
  if (!places) return std::unexpected(places.error());
  std::span<u64> const ends = places->span();
  parallel::transform(lines, ends.begin(), [](line const &each) { return each.size() + 1; }, 1024);
  parallel::inclusive_scan(ends, ends.begin());
  parallel::for_each(std::views::iota(u64{0}, u64{lines.size()}), [&](u64 number) {
    char *const end = out.data() + ends[number] - 1;
    std::memcpy(end - lines[number].size(), lines[number].data(), lines[number].size());
    *end = '\n';
  }, 1024);
  return {};
}

/// The length of a text that fills a disk, but for zeros at the end of its last block.
u64 length_of(std::span<char const> disk, u64 block_bytes) {
  auto const last = disk.last(std::min<u64>(block_bytes, disk.size()));
  auto const end = std::find_if(last.rbegin(), last.rend(), [](char each) { return each != 0; });
  return end == last.rend() ? disk.size() : disk.size() - static_cast<u64>(end - last.rbegin());
}

int sort(exo::disk_blocks &disk, options const &chosen) {
  u64 const block = disk.block_bytes(), disk_bytes = disk.blocks() * block;
  if (chosen.bytes.value_or(0) > disk_bytes) {
    exo::print("sort: bytes={}: disk {} has {}. Say how long its text is.\n", *chosen.bytes, *chosen.disk, disk_bytes);
    return 2;
  }
  auto const begin = exo::clock::now();
  // A newline may have to be added, which may begin another block.
  u64 const stored = std::min(exo::align_up(chosen.bytes.value_or(disk_bytes) + 1, block), disk_bytes);
  auto const old_memory = table<char>::make(stored), new_memory = table<char>::make(stored);
  if (!old_memory || !new_memory) return fail("the text does not fit into the memory twice", exo::error::memory);
  std::span<char> const all = old_memory->span(), sorted = new_memory->span();
  if (auto const got = disk.read(exo::lba{0}, std::as_writable_bytes(all)); !got) return fail("read", got.error());

  u64 length = chosen.bytes ? *chosen.bytes : length_of(all, block);
  if (length != 0 && all[length - 1] != '\n') {
    if (length == disk_bytes) {
      exo::print("sort: the last line has no newline, and disk {} has no room for one. Give it a larger disk.\n", *chosen.disk);
      return 1;
    }
    all[length++] = '\n';
  }
  auto lines = lines_of(all.first(length));
  if (!lines) return fail("the list of lines does not fit into the memory", lines.error());
  u64 const sum = sum_of(lines->span());
  parallel::sort(lines->span());
  if (auto const joined = join(lines->span(), sorted); !joined) return fail("the list of places does not fit into the memory", joined.error());
  std::ranges::copy(all.subspan(length), sorted.begin() + static_cast<std::ptrdiff_t>(length));  // what is behind the text
  if (auto const put = disk.write(exo::lba{0}, std::as_bytes(sorted)); !put) return fail("write", put.error());
  if (auto const kept = disk.flush(); !kept) return fail("flush", kept.error());

  // What the disk has now, looked at anew.
  u64 const count = lines->span().size();
  if (auto const got = disk.read(exo::lba{0}, std::as_writable_bytes(all)); !got) return fail("read back", got.error());
  lines = table<line>();
  lines = lines_of(all.first(length));
  if (!lines) return fail("the list of lines does not fit into the memory", lines.error());
  if (lines->span().size() != count || sum_of(lines->span()) != sum || !parallel::is_sorted(lines->span())) {
    exo::print("sort: disk {} has something else than what was written to it.\n", *chosen.disk);
    return 1;
  }
  exo::print("sort: {} lines, {} bytes in order on disk {}; {} cores, {}\n", count, length, *chosen.disk, exo::core_count(),
             std::chrono::duration_cast<std::chrono::milliseconds>(exo::clock::now() - begin));
  return 0;
}

}  // namespace

int main(int argc, char **argv) {
  auto const chosen = read_options(std::span(argv + 1, static_cast<std::size_t>(argc - 1)));
  if (!chosen) return 2;
  auto disk = open_data_disk("sort", *chosen->disk, chosen->force);
  if (!disk) return 1;
  exo::workers const pool;  // the cores that parallel:: uses, for as long as this lives
  return sort(disk->blocks, *chosen);
}
