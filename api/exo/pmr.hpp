// Memory resources in the shape of the standard library, for std::pmr containers.
//
//   exo::arena_resource words(memory);               // a bump pointer: all goes at once, with release()
//   exo::pool_resource nodes;                        // free lists of one core, over pages of its own
//   std::pmr::vector<int> numbers(&words);
//
// A container cannot be told that there is no memory: then a resource panics. Where that may happen, ask the arena itself,
// whose take() gives an error value.
//
// The library's own resources (monotonic_buffer_resource, unsynchronized_pool_resource) take its exceptions and locks with
// them and do not link on the machine; these two are in their place. What the base class needs of the library is here.
#pragma once

#include <algorithm>
#include <cstddef>
#include <memory_resource>
#include <new>
#include <span>

#include "console.hpp"
#include "frame_pool.hpp"
#include "heap.hpp"
#include "memory.hpp"

namespace exo {

/// An arena, which never gives back a single piece.
/// @core one at a time
class arena_resource final : public std::pmr::memory_resource {
 public:
  explicit arena_resource(std::span<std::byte> memory) noexcept : arena_(memory) {}

  /// Takes all pieces back; nothing may use them any more.
  void release() noexcept { arena_.reset(); }
  [[nodiscard]] exo::arena &arena() noexcept { return arena_; }

 private:
  void *do_allocate(std::size_t bytes, std::size_t alignment) override {
    result<std::span<std::byte>> const piece = arena_.take(bytes, alignment);
    if (!piece) panic("arena_resource: {} bytes are left, not {}. Give it more memory", arena_.left(), bytes);
    return piece->data();
  }
  void do_deallocate(void *, std::size_t, std::size_t) override {}
  [[nodiscard]] bool do_is_equal(memory_resource const &other) const noexcept override { return this == &other; }

  exo::arena arena_;
};

/// Pieces by size, which are used again; the pages go back to the machine with the resource.
/// @core one at a time
class pool_resource final : public std::pmr::memory_resource {
 private:
  void *do_allocate(std::size_t bytes, std::size_t alignment) override {
    if (alignment > page_bytes) panic("pool_resource: the alignment {} is more than a page", alignment);
    void *const piece = pool_.take(room(bytes, alignment));
    if (piece == nullptr) panic("pool_resource: no {} bytes of memory are left in one piece", bytes);
    return piece;
  }
  void do_deallocate(void *piece, std::size_t bytes, std::size_t alignment) override { pool_.give(piece, room(bytes, alignment)); }
  [[nodiscard]] bool do_is_equal(memory_resource const &other) const noexcept override { return this == &other; }

  /// What the lists do not align gets pages of its own, which are; nothing gets a place as well.
  static std::size_t room(std::size_t bytes, std::size_t alignment) noexcept {
    return std::max(bytes, alignment <= detail::frame_pool::unit ? 1 : detail::frame_pool::listed_max + 1);
  }

  detail::frame_pool pool_;
};

#ifndef EXO_HOST

namespace detail {

/// operator new's memory, which containers take that are given no resource.
class heap_resource final : public std::pmr::memory_resource {
  void *do_allocate(std::size_t bytes, std::size_t alignment) override {
    return ::operator new(bytes, std::align_val_t(alignment));
  }
  void do_deallocate(void *piece, std::size_t, std::size_t alignment) override {
    ::operator delete(piece, std::align_val_t(alignment));
  }
  [[nodiscard]] bool do_is_equal(memory_resource const &other) const noexcept override { return this == &other; }
};

// In the library these are in one file with its pools. The table is used only by code that is not optimized.
[[gnu::used]] inline void end_resource(void *) noexcept __asm__("_ZNSt3pmr15memory_resourceD2Ev");
[[gnu::used]] inline void end_resource(void *) noexcept {}
[[gnu::used]] inline void *const resource_table[7] __asm__("_ZTVNSt3pmr15memory_resourceE") = {};
[[gnu::used]] inline std::pmr::memory_resource *default_resource() noexcept __asm__("_ZNSt3pmr20get_default_resourceEv");
[[gnu::used]] inline std::pmr::memory_resource *default_resource() noexcept {
  static heap_resource heap;
  return &heap;
}

}  // namespace detail

#endif

}  // namespace exo
