// The screen of pixels: drawing into RAM, and showing what changed.
//
//   EXO_SCREEN(1024, 768)                          at namespace scope: what to ask a BIOS for
//   auto screen = exo::screen::open();             takes the screen from the console
//   screen->text(10, 10, "hello", exo::white, 2);  into RAM; canvas.hpp has what can be drawn
//   screen->present();                             onto the screen
//
// Under UEFI the screen has the firmware's own size, and under a BIOS that lacks the size asked for it shows text: look
// at width() and height(). A report of a fault is shown whoever has the screen.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <memory>
#include <span>
#include <utility>

#include "canvas.hpp"
#include "core.hpp"
#include "memory.hpp"
#include "result.hpp"

namespace exo {

namespace detail {

inline void exo_screen_takes_1_to_65535_pixels() noexcept {}  // not constant: what calls it does not compile

/// An ELF note that the image maker reads: name "Exo16", type 1, width and height.
struct screen_note {
  u32 name_bytes = 6;
  u32 value_bytes = 4;
  u32 type = 1;
  char name[8] = "Exo16";
  u16 width;
  u16 height;

  consteval screen_note(u32 across, u32 down) : width(static_cast<u16>(across)), height(static_cast<u16>(down)) {
    if (across == 0 || across > 0xFFFF || down == 0 || down > 0xFFFF) exo_screen_takes_1_to_65535_pixels();
  }
};

inline constinit std::atomic<bool> screen_taken = false;

/// Four pixels at a time; rows of a screen need not be aligned.
using pixels4 [[gnu::vector_size(16), gnu::aligned(4), gnu::may_alias]] = u32;

/// A pixel with its lowest and third byte exchanged: from screen_bgrx to screen_rgbx.
template <typename Pixels>
constexpr Pixels exchanged(Pixels pixels) noexcept {
  return (pixels & 0xFF00FF00) | (pixels >> 16 & 0xFF) | (pixels & 0xFF) << 16;
}

template <bool Exchange>
inline void copy_pixels(u32 *to, u32 const *from, std::size_t count) noexcept {
  for (; count >= 4; count -= 4, from += 4, to += 4) {
    auto const four = *reinterpret_cast<pixels4 const *>(from);
    *reinterpret_cast<pixels4 *>(to) = Exchange ? exchanged(four) : four;
  }
  for (; count > 0; --count, ++from, ++to) *to = Exchange ? exchanged(*from) : *from;
}

}  // namespace detail

/// Asks for a screen of pixels under a BIOS, which else has a screen of text. Once in a program, at namespace scope.
/// This macro is for programs, so it stays defined.
#define EXO_SCREEN(width, height)                                        \
  extern exo::detail::screen_note const exo_wanted_screen;               \
  [[gnu::section(".note.exo16"), gnu::aligned(4), gnu::used]] constinit  \
  exo::detail::screen_note const exo_wanted_screen(width, height)

/// The screen, taken from the console: a canvas in RAM whose changes present() shows. The console has it again when
/// this goes, and shows its text with the next that is printed.
class screen : public canvas {
 public:
  screen(screen &&other) noexcept
      : canvas(std::exchange(static_cast<canvas &>(other), {})), memory_(std::move(other.memory_)) {}
  screen &operator=(screen &&other) noexcept {
    screen moved(std::move(other));
    std::swap(static_cast<canvas &>(*this), static_cast<canvas &>(moved));
    memory_.swap(moved.memory_);
    return *this;
  }
  ~screen() {
    if (width() == 0) return;
    core().console_screen(1);
    detail::screen_taken.store(false, std::memory_order_release);
  }

  /// How much memory open() takes: four bytes for each pixel, and four for each row.
  /// @error no_such      the machine has no screen
  /// @error unsupported  it shows text only, or has a format that this header does not know
  [[nodiscard]] static result<std::size_t> bytes() noexcept {
    machine_info const &machine = info();
    if (machine.screen == 0 || machine.screen_width == 0 || machine.screen_height == 0) {
      return std::unexpected(error::no_such);
    }
    if (machine.screen_format != screen_bgrx && machine.screen_format != screen_rgbx) {
      return std::unexpected(error::unsupported);
    }
    if (machine.screen_pitch % sizeof(u32) != 0 || machine.screen_pitch / sizeof(u32) < machine.screen_width) {
      return std::unexpected(error::unsupported);
    }
    return (std::size_t{machine.screen_width} + 1) * machine.screen_height * sizeof(u32);
  }

  /// Takes the screen, all black, with memory from the machine's free RAM.
  ///
  /// @error no_such, unsupported  as of bytes()
  /// @error busy                  the program has it open already
  /// @error memory                no run of free RAM is long enough
  /// @core  any
  [[nodiscard]] static result<screen> open() noexcept {
    result<std::size_t> const needed = bytes();
    if (!needed) return std::unexpected(needed.error());
    result<pages> memory = pages::take(*needed);
    if (!memory) return std::unexpected(memory.error());
    std::span<std::byte> const span = memory->span();
    return take(span, std::move(*memory));
  }

  /// Takes the screen, all black, with memory of the caller, which must outlive it.
  ///
  /// @param memory                bytes() at least
  /// @error no_such, unsupported  as of bytes()
  /// @error busy                  the program has it open already
  /// @error memory                that is too little
  /// @error pointer               it is not aligned to four bytes
  /// @core  any     @heap none
  [[nodiscard]] static result<screen> open(std::span<std::byte> memory) noexcept {
    result<std::size_t> const needed = bytes();
    if (!needed) return std::unexpected(needed.error());
    if (reinterpret_cast<u64>(memory.data()) % alignof(colour) != 0) return std::unexpected(error::pointer);
    if (memory.size() < *needed) return std::unexpected(error::memory);
    return take(memory, {});
  }

  /// Shows what changed in all rows since it was shown last; returns how many pixels were copied.
  u64 present() noexcept { return present(0, height()); }

  /// Shows what changed in the rows first up to end. Cores may show different rows at the same time.
  u64 present(u32 first, u32 end) noexcept {
    machine_info const &machine = info();
    u64 count = 0;
    for (u32 y = first; y < std::min(end, height()); ++y) {
      extent const change = take_change(y);
      if (change.first == change.end) continue;
      // Writes are combined into whole lines of 64 bytes, so more of the row is as fast and makes whole lines.
      u32 const left = change.first & ~(line_pixels - 1);
      u32 const right = std::min((change.end + line_pixels - 1) & ~(line_pixels - 1), width());
      auto const *const from = reinterpret_cast<u32 const *>(row(y).data()) + left;
      auto *const to = reinterpret_cast<u32 *>(machine.screen + u64{y} * machine.screen_pitch) + left;
      if (machine.screen_format == screen_rgbx) {
        detail::copy_pixels<true>(to, from, right - left);
      } else {
        detail::copy_pixels<false>(to, from, right - left);
      }
      count += right - left;
    }
    __builtin_ia32_sfence();  // SDM Vol. 3A §12.3.1: what is combined may wait in a buffer else
    return count;
  }

 private:
  static constexpr u32 line_pixels = 64 / sizeof(u32);

  screen(std::span<colour> pixels, u32 across, std::span<extent> changes, pages memory) noexcept
      : canvas(pixels, across, changes), memory_(std::move(memory)) {}

  static result<screen> take(std::span<std::byte> memory, pages owned) noexcept {
    if (detail::screen_taken.exchange(true, std::memory_order_acquire)) return std::unexpected(error::busy);
    u32 const across = info().screen_width;
    u32 const down = info().screen_height;
    std::size_t const count = std::size_t{across} * down;
    auto *const pixels = reinterpret_cast<colour *>(memory.data());
    auto *const changes = reinterpret_cast<extent *>(pixels + count);
    std::uninitialized_fill_n(pixels, count, black);
    std::uninitialized_fill_n(changes, down, extent{0, static_cast<u16>(across)});
    core().console_screen(0);
    return screen({pixels, count}, across, {changes, down}, std::move(owned));
  }

  pages memory_;
};

}  // namespace exo
