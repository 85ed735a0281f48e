// The grammar of formats: what stands between braces. Used twice: while compiling, to check, and at run time, to write.
//
//   {}              any value            {:08x} {:#x} {:>12} {:*^9} {:b} {:X}    integers
//   {:.3f}          fixed point          {:<10} {:.5}                            text: padded, cut
//   {{ }}           the braces themselves
#pragma once

#include <cstddef>
#include <string_view>

#include "core.hpp"

namespace exo::detail {

enum class argument_kind : u8 { end, signed_integer, unsigned_integer, boolean, letter, text, pointer, real, custom };

// Each stands for a mistake in a format: being no constant, it stops the compiler, which then shows its name.
inline void format_has_more_placeholders_than_arguments() noexcept {}
inline void format_has_fewer_placeholders_than_arguments() noexcept {}
inline void format_has_a_brace_without_partner() noexcept {}
inline void format_placeholder_does_not_fit_the_type() noexcept {}
inline void format_width_or_precision_is_too_large() noexcept {}

inline constexpr u8 no_precision = 0xFF;
inline constexpr unsigned width_max = 200;
inline constexpr unsigned digits_max = 15;  // what a double holds

/// The part of a placeholder after the colon: [[fill]<>^][#][0][width][.precision][letter]
struct format_spec {
  char fill = ' ';
  char align = 0;
  bool prefix = false;
  bool zeros = false;
  u8 width = 0;
  u8 precision = no_precision;
  char type = 0;
};

/// Walks along a format: text, then placeholder, then text …
class format_reader {
 public:
  constexpr explicit format_reader(std::string_view format) noexcept : rest_(format) {}

  /// The text up to the next placeholder or brace, or to the end.
  constexpr std::string_view text() noexcept {
    std::size_t length = 0;
    while (length < rest_.size() && rest_[length] != '{' && rest_[length] != '}') ++length;
    std::string_view const found = rest_.substr(0, length);
    rest_.remove_prefix(length);
    return found;
  }

  [[nodiscard]] constexpr bool at_end() const noexcept { return rest_.empty(); }

  /// Takes a doubled brace, which stands for itself; 0 if none is here.
  constexpr char brace() noexcept {
    char const letter = peek(0);
    if (letter != peek(1)) return 0;
    rest_.remove_prefix(2);
    return letter;
  }

  constexpr format_spec placeholder() noexcept {
    format_spec spec;
    if (!take('{')) format_has_a_brace_without_partner();
    if (take(':')) {
      if (is_align(peek(1))) {
        spec.fill = next();
        spec.align = next();
      } else if (is_align(peek(0))) {
        spec.align = next();
      }
      spec.prefix = take('#');
      spec.zeros = take('0');
      spec.width = number();
      if (take('.')) spec.precision = number();
      if (peek(0) != '}' && peek(0) != 0) spec.type = next();
    }
    if (!take('}')) format_has_a_brace_without_partner();
    return spec;
  }

 private:
  static constexpr bool is_align(char letter) noexcept { return letter == '<' || letter == '>' || letter == '^'; }

  [[nodiscard]] constexpr char peek(std::size_t ahead) const noexcept {
    return ahead < rest_.size() ? rest_[ahead] : '\0';
  }
  constexpr char next() noexcept {
    char const letter = rest_.front();
    rest_.remove_prefix(1);
    return letter;
  }
  constexpr bool take(char letter) noexcept {
    if (peek(0) != letter) return false;
    rest_.remove_prefix(1);
    return true;
  }
  constexpr u8 number() noexcept {
    unsigned value = 0;
    while (peek(0) >= '0' && peek(0) <= '9') {
      value = value * 10 + static_cast<unsigned>(next() - '0');
      if (value > width_max) format_width_or_precision_is_too_large();
    }
    return static_cast<u8>(value);
  }

  std::string_view rest_;
};

constexpr bool fits(format_spec const &spec, argument_kind kind) noexcept {
  auto const type_in = [&](std::string_view letters) { return spec.type == 0 || letters.contains(spec.type); };
  bool const numeric = !spec.prefix && !spec.zeros;
  bool const whole = spec.precision == no_precision;
  switch (kind) {
    case argument_kind::signed_integer:
    case argument_kind::unsigned_integer:
      return type_in("dxXb") && whole;
    case argument_kind::boolean:
      return spec.type == 0 && numeric && whole;
    case argument_kind::letter:
      return type_in("c") && numeric && whole;
    case argument_kind::text:
      return type_in("s") && numeric;
    case argument_kind::pointer:
      return type_in("p") && numeric && whole;
    case argument_kind::real:
      return type_in("f") && !spec.prefix && (whole || spec.precision <= digits_max);
    case argument_kind::custom:
      return spec.type == 0 && numeric && whole && spec.width == 0 && spec.align == 0;
    case argument_kind::end:
      break;
  }
  return false;
}

consteval void check_format(std::string_view format, argument_kind const *kinds) {
  format_reader reader(format);
  for (;;) {
    reader.text();
    if (reader.at_end()) break;
    if (reader.brace() != 0) continue;
    format_spec const spec = reader.placeholder();
    if (*kinds == argument_kind::end) {
      format_has_more_placeholders_than_arguments();
    } else if (!fits(spec, *kinds)) {
      format_placeholder_does_not_fit_the_type();
    }
    ++kinds;
  }
  if (*kinds != argument_kind::end) format_has_fewer_placeholders_than_arguments();
}

}  // namespace exo::detail
