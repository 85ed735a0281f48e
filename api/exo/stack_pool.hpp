// Stacks for fibers: whole pages of which the lowest may not be touched, so that a stack that overflows faults.
//
// Changing a page's access costs an interrupt of all cores, so stacks that are given back are kept for the next fiber,
// until their pool goes or memory is short.
#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <utility>

#include "core.hpp"
#include "memory.hpp"
#include "result.hpp"

#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/asan_interface.h>
#endif

namespace exo::detail {

class stack_pool {
 public:
  static constexpr std::size_t guard_bytes = page_bytes;
  static constexpr std::size_t least_bytes = 2 * page_bytes;
  static constexpr std::size_t most_bytes = std::size_t{1} << 30;

  stack_pool() = default;
  stack_pool(stack_pool const &) = delete;
  stack_pool &operator=(stack_pool const &) = delete;
  ~stack_pool() { give_all_back(); }

  /// @param bytes   rounded up to whole pages; the guard page below them is not counted
  /// @error range   less than least_bytes or more than most_bytes
  /// @error memory  there are no pages for it, or none for a page table
  [[nodiscard]] result<std::span<std::byte>> take(std::size_t bytes) noexcept {
    if (bytes < least_bytes || bytes > most_bytes) return std::unexpected(error::range);
    bytes = align_up(bytes, page_bytes);
    for (free_stack **link = &free_; *link != nullptr; link = &(*link)->next) {
      if ((*link)->bytes != bytes) continue;
      std::byte *const end = reinterpret_cast<std::byte *>(std::exchange(*link, (*link)->next) + 1);
      return std::span(end - bytes, bytes);
    }
    result<pages> taken = pages::take(guard_bytes + bytes);
    if (!taken && free_ != nullptr) {
      give_all_back();
      taken = pages::take(guard_bytes + bytes);
    }
    if (!taken) return std::unexpected(taken.error());
    if (result<void> const kept = guard(taken->span().first(guard_bytes)); !kept) return std::unexpected(kept.error());
    return taken->release().subspan(guard_bytes);
  }

  /// Keeps a stack of take() for the next one.
  void give(std::span<std::byte> stack) noexcept {
#ifdef __SANITIZE_ADDRESS__
    __asan_unpoison_memory_region(stack.data(), stack.size());  // the last calls on it have not returned
#endif
    auto *const top = reinterpret_cast<free_stack *>(stack.data() + stack.size()) - 1;
    free_ = std::construct_at(top, free_, stack.size());
  }

 private:
  struct free_stack {  // at the end of the stack
    free_stack *next;
    std::size_t bytes;
  };
  void give_all_back() noexcept {
    while (free_ != nullptr) {
      free_stack const top = *free_;
      std::byte *const first = reinterpret_cast<std::byte *>(free_ + 1) - top.bytes - guard_bytes;
      free_ = top.next;
      // What cannot be used again is kept for good.
      if (!protect({first, guard_bytes}, access::read | access::write)) continue;
      system_pages.give(reinterpret_cast<u64>(first), guard_bytes + top.bytes);
    }
  }

  free_stack *free_ = nullptr;
};

}  // namespace exo::detail
