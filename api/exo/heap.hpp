// The allocator behind operator new: powers of two up to 1 KiB share pages, everything larger gets its own.
//
// Every page that holds small blocks begins with a head, and so does (or lies right behind one) every large block.
// No block starts on its head's page boundary, so the head of a block p is in the page that holds p - 1.
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>
#include <memory>
#include <mutex>

#include "core.hpp"
#include "lock.hpp"
#include "memory.hpp"

namespace exo {

class heap {
 public:
  explicit constexpr heap(page_pool &pool) noexcept : pool_(pool) {}
  heap(heap const &) = delete;
  heap &operator=(heap const &) = delete;

  /// @param alignment  a power of two
  /// @return           null when no memory is left
  /// @core any
  [[nodiscard]] void *take(std::size_t bytes, std::size_t alignment = block_min) noexcept {
    std::size_t const rounded = std::max({bytes, alignment, block_min});
    return rounded <= block_max ? take_small(std::bit_ceil(rounded)) : take_large(bytes, alignment);
  }

  /// Gives a block back; null is nothing.
  /// @core any
  void give(void *block) noexcept {
    if (block == nullptr) return;
    page_head *const page = head_of(block);
    if (page->block_bytes == 0) {
      pool_.give(reinterpret_cast<u64>(page->run), page->run_bytes);
    } else {
      give_small(*page, block);
    }
  }

 private:
  static constexpr std::size_t block_min = 16;
  static constexpr std::size_t block_max = 1024;
  static constexpr std::size_t class_count = std::bit_width(block_max / block_min);

  struct free_block {
    free_block *next;
  };
  struct page_head {
    u32 block_bytes = 0;  // 0: one large block
    u32 blocks_used = 0;
    free_block *free = nullptr;
    page_head *previous = nullptr;  // among the pages of this size with free blocks
    page_head *next = nullptr;
    std::byte *run = nullptr;  // of a large block: what goes back to the pool
    u64 run_bytes = 0;
  };
  static constexpr std::size_t head_bytes = 64;
  static_assert(sizeof(page_head) <= head_bytes);

  static page_head *head_of(void *block) noexcept {
    return reinterpret_cast<page_head *>((reinterpret_cast<u64>(block) - 1) & ~(page_bytes - 1));
  }
  static std::size_t class_of(std::size_t block_bytes) noexcept {
    return static_cast<std::size_t>(std::countr_zero(block_bytes / block_min));
  }

  void *take_small(std::size_t block_bytes) noexcept {
    std::lock_guard const guard(lock_);
    page_head *&first = partial_[class_of(block_bytes)];
    if (first == nullptr && !(first = new_page(block_bytes))) return nullptr;
    page_head &page = *first;
    free_block *const block = page.free;
    page.free = block->next;
    ++page.blocks_used;
    if (page.free == nullptr) unlink(page);
    return block;
  }

  void give_small(page_head &page, void *block) noexcept {
    std::lock_guard const guard(lock_);
    if (page.free == nullptr) link(page);
    page.free = std::construct_at(static_cast<free_block *>(block), page.free);
    --page.blocks_used;
    bool const only_one = page.previous == nullptr && page.next == nullptr;
    if (page.blocks_used == 0 && !only_one) {
      unlink(page);
      pool_.give(reinterpret_cast<u64>(&page), page_bytes);
    }
  }

  page_head *new_page(std::size_t block_bytes) noexcept {
    result<std::byte *> const memory = pool_.take(page_bytes);
    if (!memory) return nullptr;
    auto *const page = std::construct_at(reinterpret_cast<page_head *>(*memory));
    page->block_bytes = static_cast<u32>(block_bytes);
    for (std::size_t at = page_bytes - block_bytes; at >= head_bytes; at -= block_bytes) {
      page->free = std::construct_at(reinterpret_cast<free_block *>(*memory + at), page->free);
    }
    return page;
  }

  void *take_large(std::size_t bytes, std::size_t alignment) noexcept {
    std::size_t const front = std::max(head_bytes, alignment);
    if (bytes > ~u64{0} - front) return nullptr;
    result<std::byte *> const run = pool_.take(front + bytes, std::max<u64>(alignment, page_bytes));
    if (!run) return nullptr;
    std::byte *const block = *run + front;
    page_head *const page = std::construct_at(head_of(block));
    page->run = *run;
    page->run_bytes = front + bytes;
    return block;
  }

  void link(page_head &page) noexcept {
    page_head *&first = partial_[class_of(page.block_bytes)];
    page.previous = nullptr;
    page.next = first;
    if (first != nullptr) first->previous = &page;
    first = &page;
  }
  void unlink(page_head &page) noexcept {
    (page.previous != nullptr ? page.previous->next : partial_[class_of(page.block_bytes)]) = page.next;
    if (page.next != nullptr) page.next->previous = page.previous;
    page.previous = page.next = nullptr;
  }

  page_pool &pool_;
  spin_lock lock_;
  std::array<page_head *, class_count> partial_{};  // by size: pages with free blocks
};

/// What operator new takes from.
inline constinit heap system_heap(system_pages);

}  // namespace exo
