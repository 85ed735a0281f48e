// Memory for the frames of coroutines: free lists of one core, by size, over pages that are taken as they are needed. A
// frame too large for the lists, with an array in it for example, takes pages of its own.
//
// A frame may be given back on another core than it came from: it goes to that core's list.
#pragma once

#include <array>
#include <cstddef>
#include <memory>
#include <utility>

#include "core.hpp"
#include "memory.hpp"

// With the address sanitizer, using a frame that was given back is an error at once.
#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/asan_interface.h>
#define EXO_POISON(first, bytes) __asan_poison_memory_region(first, bytes)
#define EXO_UNPOISON(first, bytes) __asan_unpoison_memory_region(first, bytes)
#else
#define EXO_POISON(first, bytes) static_cast<void>(0)
#define EXO_UNPOISON(first, bytes) static_cast<void>(0)
#endif

namespace exo::detail {

class frame_pool {
 public:
  static constexpr std::size_t unit = 64;  // sizes and addresses are multiples of it: frames may hold cache lines
  static constexpr std::size_t listed_max = 4096;  // larger frames have their own pages

  frame_pool() = default;
  frame_pool(frame_pool const &) = delete;
  frame_pool &operator=(frame_pool const &) = delete;
  ~frame_pool() {
    for (chunk *each = chunks_; each != nullptr;) {
      chunk *const next = each->next;
      EXO_UNPOISON(each, each->bytes);
      system_pages.give(reinterpret_cast<u64>(each), each->bytes);
      each = next;
    }
  }

  /// @return null when no memory is left
  [[nodiscard]] void *take(std::size_t bytes) noexcept {
    if (bytes > listed_max) return system_pages.take(bytes).value_or(nullptr);
    std::size_t const size_class = (bytes + unit - 1) / unit;
    free_frame *&first = free_[size_class];
    if (first == nullptr) return carve(size_class * unit);
    EXO_UNPOISON(first + 1, size_class * unit - sizeof(free_frame));
    return std::exchange(first, first->next);
  }

  void give(void *frame, std::size_t bytes) noexcept {
    if (bytes > listed_max) return system_pages.give(reinterpret_cast<u64>(frame), bytes);
    std::size_t const size_class = (bytes + unit - 1) / unit;
    free_frame *&first = free_[size_class];
    first = std::construct_at(static_cast<free_frame *>(frame), first);
    EXO_POISON(first + 1, size_class * unit - sizeof(free_frame));
  }

 private:
  static constexpr std::size_t chunk_bytes = 128 << 10;

  struct free_frame {
    free_frame *next;
  };
  struct alignas(unit) chunk {
    chunk *next;
    std::size_t bytes;
  };

  /// Cuts a frame off the newest chunk; what is left of the chunk before goes unused.
  [[gnu::noinline, gnu::cold]] void *carve(std::size_t bytes) noexcept {
    if (left_ < bytes) {
      result<std::byte *> memory = system_pages.take(chunk_bytes);
      std::size_t got = chunk_bytes;
      if (!memory) memory = system_pages.take(got = 2 * listed_max);
      if (!memory) return nullptr;
      chunks_ = std::construct_at(reinterpret_cast<chunk *>(*memory), chunks_, got);
      next_ = *memory + sizeof(chunk);
      left_ = got - sizeof(chunk);
    }
    left_ -= bytes;
    return std::exchange(next_, next_ + bytes);
  }

  std::array<free_frame *, listed_max / unit + 1> free_{};
  std::byte *next_ = nullptr;  // of the newest chunk: what was never handed out
  std::size_t left_ = 0;
  chunk *chunks_ = nullptr;
};

}  // namespace exo::detail

#undef EXO_POISON
#undef EXO_UNPOISON
