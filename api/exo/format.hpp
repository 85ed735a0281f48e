// Typed text formatting without allocation. The format is checked while compiling; what runs is one small loop over
// arguments that each know how to write themselves, so a program holds no routine for types that it never prints.
#pragma once

#include <array>
#include <concepts>
#include <cstddef>
#include <span>
#include <string_view>
#include <type_traits>
#include <utility>

#include "core.hpp"
#include "format_spec.hpp"

namespace exo {

/// Where formatted text goes: a buffer, and what is done when it is full.
class text_sink {
 public:
  using full_fn = void (*)(text_sink &sink);

  /// @param full  empties the sink; null cuts the text off where the buffer ends
  explicit text_sink(std::span<char> buffer, full_fn full = nullptr) noexcept : buffer_(buffer), full_(full) {}

  [[gnu::noinline]] void put(char letter) noexcept {
    if (used_ == buffer_.size() && full_ != nullptr) full_(*this);
    if (used_ < buffer_.size()) buffer_[used_++] = letter;
  }
  [[gnu::noinline]] void put(std::string_view text) noexcept {
    for (char const letter : text) put(letter);
  }
  [[gnu::noinline]] void fill(char letter, std::size_t count) noexcept {
    while (count-- > 0) put(letter);
  }

  [[nodiscard]] std::string_view text() const noexcept { return {buffer_.data(), used_}; }
  void clear() noexcept { used_ = 0; }

 private:
  std::span<char> buffer_;
  std::size_t used_ = 0;
  full_fn full_;
};

/// How a type of the program prints: specialise with `static void write(text_sink &, T const &)`.
template <typename T>
struct formatter;

template <>
struct formatter<error> {
  static void write(text_sink &out, error const &why) noexcept { out.put(explain(why)); }
};

namespace detail {

template <typename T>
concept has_formatter = requires(text_sink &out, T const &value) { formatter<T>::write(out, value); };

template <typename T>
constexpr argument_kind kind_of() noexcept {
  if constexpr (has_formatter<T>) {
    return argument_kind::custom;
  } else if constexpr (std::same_as<T, bool>) {
    return argument_kind::boolean;
  } else if constexpr (std::same_as<T, char>) {
    return argument_kind::letter;
  } else if constexpr (std::integral<T>) {
    return std::signed_integral<T> ? argument_kind::signed_integer : argument_kind::unsigned_integer;
  } else if constexpr (std::is_enum_v<T>) {
    return kind_of<std::underlying_type_t<T>>();
  } else if constexpr (std::convertible_to<T const &, std::string_view>) {
    return argument_kind::text;
  } else if constexpr (std::same_as<T, float> || std::same_as<T, double>) {
    return argument_kind::real;
  } else if constexpr (std::is_pointer_v<T> || std::is_null_pointer_v<T>) {
    return argument_kind::pointer;
  } else {
    return argument_kind::end;
  }
}

/// Pads to the width: sign and prefix, zeros, body; default_align where the format names none.
inline void write_padded(text_sink &out, format_spec const &spec, char default_align, std::string_view head,
                         std::string_view body) noexcept {
  std::size_t const bytes = head.size() + body.size();
  std::size_t const padding = spec.width > bytes ? spec.width - bytes : 0;
  bool const zeros = spec.zeros && spec.align == 0;
  char const align = spec.align != 0 ? spec.align : default_align;
  std::size_t const before = zeros || align == '<' ? 0 : align == '^' ? padding / 2 : padding;
  out.fill(spec.fill, before);
  out.put(head);
  if (zeros) out.fill('0', padding);
  out.put(body);
  if (!zeros) out.fill(spec.fill, padding - before);
}

/// Writes digits so that they end at `end`; returns where they begin.
inline char *digits_before(char *end, u64 value, unsigned base, char letters_from) noexcept {
  do {
    unsigned const digit = static_cast<unsigned>(value % base);
    *--end = static_cast<char>(digit < 10 ? '0' + digit : static_cast<unsigned>(letters_from) + digit - 10);
    value /= base;
  } while (value != 0);
  return end;
}

inline void write_integer(text_sink &out, format_spec const &spec, u64 magnitude, bool negative) noexcept {
  char digits[64];
  char *const end = digits + sizeof digits;
  bool const hexadecimal = spec.type == 'x' || spec.type == 'X';
  unsigned const base = hexadecimal ? 16 : spec.type == 'b' ? 2 : 10;
  char *const first = digits_before(end, magnitude, base, spec.type == 'X' ? 'A' : 'a');

  char head[3];
  std::size_t head_bytes = 0;
  if (negative) head[head_bytes++] = '-';
  if (spec.prefix && base != 10) {
    head[head_bytes++] = '0';
    head[head_bytes++] = base == 2 ? 'b' : 'x';
  }
  write_padded(out, spec, '>', {head, head_bytes}, {first, end});
}

/// Fixed point; six places unless told. From 10^18 on the number is scaled and gets a power of ten.
inline void write_real(text_sink &out, format_spec const &spec, double value) noexcept {
  std::string_view const sign = __builtin_signbit(value) ? "-" : "";
  double magnitude = __builtin_fabs(value);
  if (!(magnitude <= __DBL_MAX__)) {
    format_spec plain = spec;
    plain.zeros = false;
    return write_padded(out, plain, '>', sign, magnitude != magnitude ? "nan" : "inf");
  }
  unsigned exponent = 0;
  if (magnitude >= 1e18) {
    for (; magnitude >= 10; magnitude /= 10) ++exponent;
  }
  unsigned const places = spec.precision == no_precision ? 6 : spec.precision;
  u64 scale = 1;
  for (unsigned place = 0; place < places; ++place) scale *= 10;

  auto whole = static_cast<u64>(magnitude);
  auto part = static_cast<u64>((magnitude - static_cast<double>(whole)) * static_cast<double>(scale) + 0.5);
  if (part >= scale) {
    part -= scale;
    ++whole;
  }
  char text[48];
  char *const end = text + sizeof text;
  char *first = end;
  if (exponent != 0) {
    first = digits_before(first, exponent, 10, 'a');
    *--first = '+';
    *--first = 'e';
  }
  if (places != 0) {
    char *const point = first - places;
    char *const shown = digits_before(first, part, 10, 'a');
    for (first = shown; first > point;) *--first = '0';
    *--first = '.';
  }
  first = digits_before(first, whole, 10, 'a');
  write_padded(out, spec, '>', sign, {first, end});
}

/// One argument, its type known only to its writer.
struct argument {
  using write_fn = void(text_sink &out, format_spec const &spec, argument const &value) noexcept;
  write_fn *write;
  union {
    u64 natural;
    double real;
    char const *letters;
    void const *object;
  };
  std::size_t bytes = 0;  // of letters
};

inline void write_natural(text_sink &out, format_spec const &spec, argument const &value) noexcept {
  write_integer(out, spec, value.natural, false);
}
inline void write_signed(text_sink &out, format_spec const &spec, argument const &value) noexcept {
  bool const negative = static_cast<i64>(value.natural) < 0;
  write_integer(out, spec, negative ? 0 - value.natural : value.natural, negative);
}
inline void write_boolean(text_sink &out, format_spec const &spec, argument const &value) noexcept {
  write_padded(out, spec, '<', "", value.natural != 0 ? "true" : "false");
}
inline void write_letter(text_sink &out, format_spec const &spec, argument const &value) noexcept {
  char const letter = static_cast<char>(value.natural);
  write_padded(out, spec, '<', "", {&letter, 1});
}
inline void write_text(text_sink &out, format_spec const &spec, argument const &value) noexcept {
  std::size_t const most = spec.precision == no_precision ? value.bytes : spec.precision;
  write_padded(out, spec, '<', "", {value.letters, most < value.bytes ? most : value.bytes});
}
inline void write_pointer(text_sink &out, format_spec const &spec, argument const &value) noexcept {
  format_spec hexadecimal = spec;
  hexadecimal.prefix = true;
  hexadecimal.type = 'x';
  write_integer(out, hexadecimal, value.natural, false);
}
inline void write_double(text_sink &out, format_spec const &spec, argument const &value) noexcept {
  write_real(out, spec, value.real);
}
template <typename T>
void write_custom(text_sink &out, format_spec const &, argument const &value) noexcept {
  formatter<T>::write(out, *static_cast<T const *>(value.object));
}

template <typename T>
argument make_argument(T const &value) noexcept {
  constexpr argument_kind kind = kind_of<T>();
  if constexpr (kind == argument_kind::custom) {
    return {.write = write_custom<T>, .object = &value};
  } else if constexpr (kind == argument_kind::text) {
    if constexpr (std::is_pointer_v<T>) {
      if (value == nullptr) return make_argument(std::string_view("(null)"));
    }
    std::string_view const text = value;
    return {.write = write_text, .letters = text.data(), .bytes = text.size()};
  } else if constexpr (kind == argument_kind::real) {
    return {.write = write_double, .real = static_cast<double>(value)};
  } else if constexpr (kind == argument_kind::pointer) {
    return {.write = write_pointer, .natural = reinterpret_cast<u64>(value)};
  } else {
    u64 const bits = static_cast<u64>(value);  // sign-extended where there is one
    return {.write = kind == argument_kind::boolean          ? write_boolean
                     : kind == argument_kind::letter         ? write_letter
                     : kind == argument_kind::signed_integer ? write_signed
                                                             : write_natural,
            .natural = bits};
  }
}

inline void write_format(text_sink &out, std::string_view format, argument const *arguments) noexcept {
  for (format_reader reader(format);;) {
    out.put(reader.text());
    if (reader.at_end()) return;
    char const brace = reader.brace();
    if (brace != 0) {
      out.put(brace);
    } else {
      format_spec const spec = reader.placeholder();
      arguments->write(out, spec, *arguments);
      ++arguments;
    }
  }
}

}  // namespace detail

/// A type that print takes.
template <typename T>
concept formattable = detail::kind_of<T>() != detail::argument_kind::end;

/// A format that was checked against its arguments while compiling.
template <typename... Args>
struct format_text {
  std::string_view text;

  template <std::size_t Bytes>
  consteval format_text(char const (&literal)[Bytes]) : text(literal, Bytes - 1) {
    static_assert((formattable<Args> && ...), "exo::print: a type has no exo::formatter<T>");
    detail::argument_kind const kinds[] = {detail::kind_of<Args>()..., detail::argument_kind::end};
    detail::check_format(text, kinds);
  }
};

/// Formats into a sink.
template <typename... Args>
void format_to(text_sink &out, format_text<std::type_identity_t<Args>...> format, Args const &...args) noexcept {
  std::array<detail::argument, sizeof...(Args)> const list{detail::make_argument(args)...};
  detail::write_format(out, format.text, list.data());
}

/// Formats into a buffer; returns what was written, cut off where the buffer ends.
template <typename... Args>
std::string_view format_to(std::span<char> buffer, format_text<std::type_identity_t<Args>...> format,
                           Args const &...args) noexcept {
  text_sink out(buffer);
  exo::format_to(out, format, args...);
  return out.text();
}

}  // namespace exo
