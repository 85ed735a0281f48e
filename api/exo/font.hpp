// The font: 95 characters of eight rows of five dots, from the same list as the console's (api/abi/font.inc).
#pragma once

#include <array>
#include <cstddef>

#include "core.hpp"

namespace exo::font {

inline constexpr u32 columns = 5;           // dots of a character
inline constexpr u32 rows = 8;
inline constexpr u32 cell_columns = 6;      // dots from a character to the next
inline constexpr u32 cell_rows = 9;
inline constexpr char first = ' ';
inline constexpr char last = '~';

/// A character's rows from the top; bit 0 is the left dot.
using glyph = std::array<u8, rows>;

namespace detail {

struct entry {
  u32 code;
  char const *art[rows];
};

inline constexpr entry list[] = {
#define EXO_NOTE(text)
#define EXO_GLYPH(code, a, b, c, d, e, f, g, h, name) {code, {a, b, c, d, e, f, g, h}},
#include "../abi/font.inc"
#undef EXO_GLYPH
#undef EXO_NOTE
};
inline constexpr std::size_t count = sizeof list / sizeof *list;
static_assert(count == last - first + 1, "font.inc: a character is missing");

inline void font_list_is_wrong() noexcept {}  // not constant: what calls it does not compile

consteval std::array<glyph, count> make_glyphs() {
  std::array<glyph, count> all{};
  for (std::size_t index = 0; index < count; ++index) {
    if (list[index].code != first + index) font_list_is_wrong();
    for (u32 row = 0; row < rows; ++row) {
      for (u32 column = 0; column < columns; ++column) {
        char const dot = list[index].art[row][column];
        if (dot != '#' && dot != '.') font_list_is_wrong();
        if (dot == '#') all[index][row] = static_cast<u8>(all[index][row] | 1u << column);
      }
      if (list[index].art[row][columns] != 0) font_list_is_wrong();
    }
  }
  return all;
}

inline constexpr std::array<glyph, count> glyphs = make_glyphs();

}  // namespace detail

/// The dots of a character; those of a question mark for one that the font lacks.
[[nodiscard]] constexpr glyph const &of(char letter) noexcept {
  bool const known = letter >= first && letter <= last;
  return detail::glyphs[static_cast<std::size_t>((known ? letter : '?') - first)];
}

}  // namespace exo::font
