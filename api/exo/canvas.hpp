// Drawing on pixels in memory: points, rectangles, pictures, text. Knows no screen; screen.hpp is a canvas that shows.
//
// x counts from the left, y from the top, both from 0. What lies outside is cut off, whatever the numbers are: nothing
// is ever written beside the canvas, and nothing here fails. Cores may draw at the same time in different rows.
#pragma once

#include <algorithm>
#include <cstddef>
#include <span>
#include <string_view>

#include "core.hpp"
#include "font.hpp"

namespace exo {

/// A colour as a pixel in memory; what order a screen wants its bytes in is the screen's affair.
class colour {
 public:
  constexpr colour() noexcept = default;  // black
  constexpr colour(u8 red, u8 green, u8 blue) noexcept : bits_(u32{red} << 16 | u32{green} << 8 | blue) {}

  [[nodiscard]] constexpr u8 red() const noexcept { return static_cast<u8>(bits_ >> 16); }
  [[nodiscard]] constexpr u8 green() const noexcept { return static_cast<u8>(bits_ >> 8); }
  [[nodiscard]] constexpr u8 blue() const noexcept { return static_cast<u8>(bits_); }
  constexpr bool operator==(colour const &) const noexcept = default;

 private:
  u32 bits_ = 0;  // as screen_bgrx
};
static_assert(sizeof(colour) == 4);

inline constexpr colour black{0, 0, 0};
inline constexpr colour white{255, 255, 255};

/// A part of a canvas: its upper left pixel, and how far it reaches.
struct rectangle {
  i32 x = 0;
  i32 y = 0;
  u32 width = 0;
  u32 height = 0;
};

/// Rows of pixels in memory that it does not own; copies draw on the same pixels.
class canvas {
 public:
  /// Where pixels of a row have changed: first up to end.
  struct extent {
    u16 first = 0;
    u16 end = 0;
  };

  constexpr canvas() noexcept = default;

  /// @param pixels  rows from the top without gaps; what is left over at the end is not used
  /// @param width   pixels of a row
  constexpr canvas(std::span<colour> pixels, u32 width) noexcept
      : pixels_(pixels.data()),
        width_(width),
        height_(width == 0 ? 0 : static_cast<u32>(std::min<std::size_t>(pixels.size() / width, ~u32{0}))) {}

  [[nodiscard]] constexpr u32 width() const noexcept { return width_; }
  [[nodiscard]] constexpr u32 height() const noexcept { return height_; }

  /// A row's pixels, for reading.
  /// @param y  if there is no such row it has no pixels
  [[nodiscard]] constexpr std::span<colour const> row(u32 y) const noexcept {
    if (y >= height_) return {};
    return {pixels_ + std::size_t{y} * width_, width_};
  }

  /// Sets a pixel.
  constexpr void pixel(i32 x, i32 y, colour ink) noexcept {
    if (x < 0 || y < 0 || static_cast<u32>(x) >= width_ || static_cast<u32>(y) >= height_) return;
    auto const column = static_cast<u32>(x);
    *changing(static_cast<u32>(y), column, column + 1) = ink;
  }

  /// Fills a part.
  constexpr void fill(rectangle const &part, colour ink) noexcept { fill_clipped(across(part), down(part), ink); }

  /// Fills all of it.
  constexpr void fill(colour ink) noexcept { fill_clipped({0, width_}, {0, height_}, ink); }

  /// Sets a row's pixels from x on.
  constexpr void span(i32 x, i32 y, u32 count, colour ink) noexcept { fill({x, y, count, 1}, ink); }

  /// Copies a picture's pixels in. Copying from the canvas to itself gives whole rows, in no promised order.
  ///
  /// @param x, y    where its upper left pixel goes
  /// @param pixels  rows from the top without gaps; what is left over at the end is not used
  /// @param width   pixels of a row
  constexpr void blit(i32 x, i32 y, std::span<colour const> pixels, u32 width) noexcept {
    if (width == 0) return;
    std::size_t const rows = std::min<std::size_t>(pixels.size() / width, ~u32{0});
    rectangle const whole{x, y, width, static_cast<u32>(rows)};
    range const columns = across(whole);
    range const lines = down(whole);
    if (columns.empty()) return;
    for (u32 line = lines.first; line < lines.end; ++line) {
      colour const *from = pixels.data() + static_cast<std::size_t>(i64{line} - y) * width + (i64{columns.first} - x);
      std::copy_n(from, columns.end - columns.first, changing(line, columns.first, columns.end));
    }
  }

  /// Copies another canvas in.
  constexpr void blit(i32 x, i32 y, canvas const &picture) noexcept {
    blit(x, y, {picture.pixels_, std::size_t{picture.width_} * picture.height_}, picture.width_);
  }

  /// Writes text; a newline goes to x in the next row of text. Only the characters' dots are drawn.
  ///
  /// @param x, y   the first character's upper left pixel
  /// @param scale  pixels across for a dot; characters are 6 * scale apart, rows 9 * scale
  constexpr void text(i32 x, i32 y, std::string_view letters, colour ink, u32 scale = 1) noexcept {
    each_letter(x, y, letters, scale, [&](i64 left, i64 top, char letter) { draw(left, top, letter, ink, scale); });
  }

  /// Writes text on paper: the whole cell of each character is drawn.
  constexpr void text(i32 x, i32 y, std::string_view letters, colour ink, colour paper, u32 scale) noexcept {
    each_letter(x, y, letters, scale, [&](i64 left, i64 top, char letter) {
      fill_wide(left, top, i64{font::cell_columns} * scale, i64{font::cell_rows} * scale, paper);
      draw(left, top, letter, ink, scale);
    });
  }

 protected:
  /// @param changes  an entry for each row, in which drawing notes what it touched; rows of 65,535 pixels at most
  constexpr canvas(std::span<colour> pixels, u32 width, std::span<extent> changes) noexcept : canvas(pixels, width) {
    height_ = std::min(height_, static_cast<u32>(changes.size()));
    changes_ = changes.data();
  }

  [[nodiscard]] constexpr extent take_change(u32 y) noexcept {
    extent const change = changes_[y];
    changes_[y] = {};
    return change;
  }

 private:
  struct range {
    u32 first = 0;
    u32 end = 0;
    [[nodiscard]] constexpr bool empty() const noexcept { return first >= end; }
  };

  /// What of first up to end lies below a limit.
  static constexpr range clip(i64 first, i64 end, u32 limit) noexcept {
    range const cut{static_cast<u32>(std::clamp<i64>(first, 0, limit)),
                    static_cast<u32>(std::clamp<i64>(end, 0, limit))};
    return cut.empty() ? range{} : cut;
  }
  [[nodiscard]] constexpr range across(rectangle const &part) const noexcept {
    return clip(part.x, i64{part.x} + part.width, width_);
  }
  [[nodiscard]] constexpr range down(rectangle const &part) const noexcept {
    return clip(part.y, i64{part.y} + part.height, height_);
  }

  /// Notes that pixels of a row change; returns the first. They lie inside, and there is one at least.
  constexpr colour *changing(u32 y, u32 first, u32 end) noexcept {
    if (changes_ != nullptr) {
      extent &change = changes_[y];
      bool const none = change.first == change.end;
      if (none || first < change.first) change.first = static_cast<u16>(first);
      if (none || end > change.end) change.end = static_cast<u16>(end);
    }
    return pixels_ + std::size_t{y} * width_ + first;
  }

  constexpr void fill_clipped(range columns, range lines, colour ink) noexcept {
    if (columns.empty()) return;
    for (u32 line = lines.first; line < lines.end; ++line) {
      std::fill_n(changing(line, columns.first, columns.end), columns.end - columns.first, ink);
    }
  }
  constexpr void fill_wide(i64 left, i64 top, i64 across, i64 down, colour ink) noexcept {
    fill_clipped(clip(left, left + across, width_), clip(top, top + down, height_), ink);
  }

  /// Calls put(left, top, letter) for each that may be seen. Places stay far below 2^63: none goes on outside.
  template <typename Put>
  constexpr void each_letter(i32 x, i32 y, std::string_view letters, u32 scale, Put put) const noexcept {
    i64 const cell_width = i64{font::cell_columns} * scale;
    i64 left = x;
    i64 top = y;
    for (char const letter : letters) {
      if (letter == '\n') {
        left = x;
        top += i64{font::cell_rows} * scale;
        if (top >= height_) return;
      } else if (left < width_) {
        put(left, top, letter);
        left += cell_width;
      }
    }
  }

  constexpr void draw(i64 left, i64 top, char letter, colour ink, u32 scale) noexcept {
    font::glyph const &dots = font::of(letter);
    for (u32 row = 0; row < font::rows; ++row) {
      for (u32 column = 0; column < font::columns;) {
        if ((dots[row] >> column & 1) == 0) {
          ++column;
          continue;
        }
        u32 const first = column;
        while (column < font::columns && (dots[row] >> column & 1) != 0) ++column;
        fill_wide(left + i64{first} * scale, top + i64{row} * scale, i64{column - first} * scale, scale, ink);
      }
    }
  }

  colour *pixels_ = nullptr;
  extent *changes_ = nullptr;
  u32 width_ = 0;
  u32 height_ = 0;
};

}  // namespace exo
