// The page allocator: whole pages out of the machine's free RAM, at any alignment, first fit by address.
//
// Runs of free pages are a tree by address that is a heap by a hash of it (R. Seidel, C. Aragon, "Randomized Search
// Trees", 1996), in which each node knows the longest run below it: taking and giving look at some 2 log n runs. A node
// lies in the first bytes of its run, so RAM that is not used is not touched, and nothing is allocated.
#pragma once

#include <algorithm>
#include <cstddef>
#include <memory>
#include <mutex>

#include "console.hpp"
#include "core.hpp"
#include "lock.hpp"

namespace exo {

constexpr bool is_power_of_two(u64 value) noexcept { return value != 0 && (value & (value - 1)) == 0; }
constexpr u64 align_up(u64 value, u64 alignment) noexcept { return (value + alignment - 1) & ~(alignment - 1); }

/// What a large page is, and has to be aligned to. RAM is mapped with such pages where mem_protect has not split them.
inline constexpr u64 large_page_bytes = u64{2} << 20;

class page_pool {
 public:
  page_pool() = default;
  page_pool(page_pool const &) = delete;
  page_pool &operator=(page_pool const &) = delete;

  /// Forgets what it had and takes over ranges of RAM.
  void start(list<memory_range> const &ranges) {
    {
      std::lock_guard const guard(lock_);
      root_ = nullptr;
      bytes_ = 0;
    }
    for (memory_range const &range : ranges) give(range.first, range.bytes);
  }

  /// Takes pages; their contents are what was there.
  ///
  /// @param bytes      rounded up to whole pages
  /// @param alignment  a power of two, a page at least; large_page_bytes for large pages
  /// @error range      bytes is 0, or alignment is none
  /// @error memory     no run is long enough
  /// @core any
  [[nodiscard]] result<std::byte *> take(u64 bytes, u64 alignment = page_bytes) noexcept {
    if (bytes == 0 || !is_power_of_two(alignment) || alignment < page_bytes) return std::unexpected(error::range);
    if (bytes > ~u64{0} - page_bytes) return std::unexpected(error::memory);
    bytes = align_up(bytes, page_bytes);

    std::lock_guard const guard(lock_);
    run const *const found = find(root_, bytes, alignment);
    if (found == nullptr) return std::unexpected(error::memory);
    u64 const begin = address_of(found);
    u64 const end = end_of(found);
    u64 const first = align_up(begin, alignment);
    auto [low, high] = split(root_, begin);
    high = without_first(high);
    if (first != begin) low = join(low, make(begin, first - begin));
    if (first + bytes != end) high = join(make(first + bytes, end - first - bytes), high);
    root_ = join(low, high);
    bytes_ -= bytes;
    return reinterpret_cast<std::byte *>(first);
  }

  /// Gives pages back, or adds RAM: whole pages, which join with their neighbours. Giving twice panics.
  /// @core any
  void give(u64 address, u64 bytes) {
    bytes = align_up(bytes, page_bytes);
    if (bytes == 0) return;
    std::lock_guard const guard(lock_);
    auto [low, high] = split(root_, address);
    run const *const before = last(low);
    run const *const after = first(high);
    if ((before != nullptr && end_of(before) > address) || (after != nullptr && address + bytes > address_of(after))) {
      root_ = join(low, high);
      panic("pages at {:#x} were given back twice", address);
    }
    bytes_ += bytes;
    if (after != nullptr && address + bytes == address_of(after)) {
      bytes += after->bytes;
      high = without_first(high);
    }
    if (before != nullptr && end_of(before) == address) {
      address = address_of(before);
      bytes += before->bytes;
      low = without_last(low);
    }
    root_ = join(join(low, make(address, bytes)), high);
  }

  /// What is free now, in bytes, and the longest run of it.
  struct amounts {
    u64 bytes = 0;
    u64 longest = 0;
  };
  [[nodiscard]] amounts free() noexcept {
    std::lock_guard const guard(lock_);
    return {bytes_, longest(root_)};
  }

 private:
  struct run {
    u64 bytes;
    u64 longest;  // of this one and all below it
    run *left = nullptr;   // lower addresses
    run *right = nullptr;  // higher ones
  };
  struct halves {
    run *low;
    run *high;
  };

  static u64 address_of(run const *each) noexcept { return reinterpret_cast<u64>(each); }
  static u64 end_of(run const *each) noexcept { return address_of(each) + each->bytes; }
  static u64 longest(run const *tree) noexcept { return tree == nullptr ? 0 : tree->longest; }
  static u64 rank(run const *each) noexcept {
    u64 const mixed = address_of(each) / page_bytes * 0x9E3779B97F4A7C15;
    return (mixed ^ mixed >> 32) * 0x9E3779B97F4A7C15;  // once alone, some strides would come out in order
  }
  static run *make(u64 address, u64 bytes) noexcept {
    return std::construct_at(reinterpret_cast<run *>(address), bytes, bytes);
  }
  static run *updated(run *tree) noexcept {
    tree->longest = std::max({tree->bytes, longest(tree->left), longest(tree->right)});
    return tree;
  }

  /// The first run that holds so many bytes at the alignment. With pages of alignment it never turns back.
  static run const *find(run const *tree, u64 bytes, u64 alignment) noexcept {
    if (longest(tree) < bytes) return nullptr;
    if (run const *const found = find(tree->left, bytes, alignment)) return found;
    u64 const front = align_up(address_of(tree), alignment) - address_of(tree);
    if (front <= tree->bytes && tree->bytes - front >= bytes) return tree;
    return find(tree->right, bytes, alignment);
  }

  /// The runs below an address, and the others.
  static halves split(run *tree, u64 address) noexcept {
    if (tree == nullptr) return {nullptr, nullptr};
    if (address_of(tree) < address) {
      auto const [low, high] = split(tree->right, address);
      tree->right = low;
      return {updated(tree), high};
    }
    auto const [low, high] = split(tree->left, address);
    tree->left = high;
    return {low, updated(tree)};
  }
  static run *join(run *low, run *high) noexcept {
    if (low == nullptr) return high;
    if (high == nullptr) return low;
    if (rank(low) > rank(high)) {
      low->right = join(low->right, high);
      return updated(low);
    }
    high->left = join(low, high->left);
    return updated(high);
  }

  static run const *first(run const *tree) noexcept {
    while (tree != nullptr && tree->left != nullptr) tree = tree->left;
    return tree;
  }
  static run const *last(run const *tree) noexcept {
    while (tree != nullptr && tree->right != nullptr) tree = tree->right;
    return tree;
  }
  static run *without_first(run *tree) noexcept {
    if (tree->left == nullptr) return tree->right;
    tree->left = without_first(tree->left);
    return updated(tree);
  }
  static run *without_last(run *tree) noexcept {
    if (tree->right == nullptr) return tree->left;
    tree->right = without_last(tree->right);
    return updated(tree);
  }

  spin_lock lock_;
  run *root_ = nullptr;  // no two runs touch
  u64 bytes_ = 0;
};

}  // namespace exo
