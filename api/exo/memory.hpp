// Memory: pages that have an owner, a bump arena, and what addresses are mapped to. The page allocator is page_pool.hpp.
#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <utility>

#include "core.hpp"
#include "page_pool.hpp"
#include "result.hpp"

namespace exo {

/// The free RAM of the machine; the runtime fills it before any constructor runs.
inline page_pool system_pages;

/// Pages that go back when their owner goes.
class pages {
 public:
  pages() = default;
  pages(pages &&other) noexcept : span_(std::exchange(other.span_, {})) {}
  pages &operator=(pages &&other) noexcept {
    pages(std::move(other)).swap(*this);
    return *this;
  }
  ~pages() {
    if (!span_.empty()) system_pages.give(reinterpret_cast<u64>(span_.data()), span_.size());
  }

  /// Takes pages from the machine's free RAM; the errors are those of page_pool::take.
  [[nodiscard]] static result<pages> take(u64 bytes, u64 alignment = page_bytes) noexcept {
    result<std::byte *> const first = system_pages.take(bytes, alignment);
    if (!first) return std::unexpected(first.error());
    pages taken;
    taken.span_ = {*first, align_up(bytes, page_bytes)};
    return taken;
  }

  [[nodiscard]] std::span<std::byte> span() const noexcept { return span_; }
  [[nodiscard]] std::byte *data() const noexcept { return span_.data(); }
  [[nodiscard]] std::size_t size() const noexcept { return span_.size(); }

  /// Keeps the pages taken for good; returns them.
  std::span<std::byte> release() noexcept { return std::exchange(span_, {}); }

  void swap(pages &other) noexcept { std::swap(span_, other.span_); }

 private:
  std::span<std::byte> span_;
};

/// Memory that is handed out piece by piece and given back all at once. Destructors do not run.
class arena {
 public:
  explicit arena(std::span<std::byte> memory) noexcept : memory_(memory) {}

  /// @param alignment  a power of two
  /// @error memory     what is left is too small
  [[nodiscard]] result<std::span<std::byte>> take(std::size_t bytes,
                                                  std::size_t alignment = alignof(std::max_align_t)) noexcept {
    u64 const at = reinterpret_cast<u64>(memory_.data()) + used_;
    std::size_t const front = align_up(at, alignment) - at;
    std::size_t const left = memory_.size() - used_;
    if (front > left || left - front < bytes) return std::unexpected(error::memory);
    std::span<std::byte> const piece = memory_.subspan(used_ + front, bytes);
    used_ += front + bytes;
    return piece;
  }

  /// Makes an object in the arena; null when what is left is too small.
  template <typename T, typename... Args>
  [[nodiscard]] T *make(Args &&...args) noexcept {
    result<std::span<std::byte>> const place = take(sizeof(T), alignof(T));
    return place ? std::construct_at(reinterpret_cast<T *>(place->data()), std::forward<Args>(args)...) : nullptr;
  }

  void reset() noexcept { used_ = 0; }
  [[nodiscard]] std::size_t used() const noexcept { return used_; }
  [[nodiscard]] std::size_t left() const noexcept { return memory_.size() - used_; }

 private:
  std::span<std::byte> memory_;
  std::size_t used_ = 0;
};

/// What a program may do with a page; combine with |. The core denies write with execute.
enum class access : u32 {
  none = 0,
  read = access_read,
  write = access_write,
  execute = access_execute,
  uncached = access_uncached,
  combine = access_combine,
};
constexpr access operator|(access left, access right) noexcept {
  return access{static_cast<u32>(left) | static_cast<u32>(right)};
}

/// Maps whole pages to physical memory on all cores; see mem_map.
[[nodiscard]] inline result<void> map(u64 virt, u64 phys, u64 bytes, access allowed) noexcept {
  return done(core().mem_map(virt, phys, bytes, static_cast<u32>(allowed)));
}

/// Changes what may be done with mapped pages, on all cores; access::none makes them fault.
[[nodiscard]] inline result<void> protect(std::span<std::byte> whole_pages, access allowed) noexcept {
  return done(core().mem_protect(reinterpret_cast<u64>(whole_pages.data()), whole_pages.size(),
                                 static_cast<u32>(allowed)));
}

/// Tells what an address is mapped to.
[[nodiscard]] inline result<mapping> query(void const *address) noexcept {
  mapping found{};
  result<void> const told = done(core().mem_query(reinterpret_cast<u64>(address), &found));
  if (!told) return std::unexpected(told.error());
  return found;
}

/// Gives pages to the core for its page tables, for good.
[[nodiscard]] inline result<void> give_to_core(pages memory) noexcept {
  result<void> const given = done(core().mem_give(memory.data(), memory.size()));
  if (given) memory.release();
  return given;
}

/// Takes all access to whole pages away, so that touching them faults; gives the core more page tables if it needs some.
/// @error memory  there are no pages for a page table
[[nodiscard]] inline result<void> guard(std::span<std::byte> whole_pages) noexcept {
  constexpr std::size_t tables_bytes = 16 * page_bytes;
  result<void> done = protect(whole_pages, access::none);
  if (done || done.error() != error::memory) return done;
  result<pages> tables = pages::take(tables_bytes);
  if (!tables) return std::unexpected(tables.error());
  if (result<void> const given = give_to_core(std::move(*tables)); !given) return given;
  return protect(whole_pages, access::none);
}

}  // namespace exo
