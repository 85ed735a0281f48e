// The console: printing, reading, and the last words of a program.
#pragma once

#include <cstddef>
#include <span>

#include "core.hpp"
#include "format.hpp"

namespace exo {

/// What a program that panicked exits with: apart from its own statuses, boot errors (120) and faults (128 + vector).
inline constexpr u32 panic_status = 121;

namespace detail {

inline constexpr std::size_t console_bytes = 512;

/// Who has the serial port for something else than text, a debugger: what is printed goes there, and the end is told.
struct console_watcher {
  void (*print)(std::string_view text) noexcept;
  void (*end)(u32 status) noexcept;
};
inline constinit console_watcher const *watcher = nullptr;

inline void console_flush(text_sink &out) noexcept {
  if (watcher != nullptr) {
    watcher->print(out.text());
  } else {
    core().console_write(out.text().data(), out.text().size());
  }
  out.clear();
}

[[noreturn]] inline void end_machine(u32 status) {
  if (watcher != nullptr) watcher->end(status);
  core().sys_exit(status);
  __builtin_unreachable();
}

inline void print_list(std::string_view format, argument const *list) noexcept {
  char buffer[console_bytes];
  text_sink out(buffer, console_flush);
  write_format(out, format, list);
  console_flush(out);
}

[[noreturn]] inline void panic_list(std::string_view format, argument const *list) {
  char buffer[console_bytes];
  text_sink out(buffer, console_flush);
  core().console_screen(1);
  out.put("exo16: panic: ");
  write_format(out, format, list);
  argument const number[] = {make_argument(this_core())};
  write_format(out, " (core {})\n", number);
  console_flush(out);
  end_machine(panic_status);
}

}  // namespace detail

/// Prints on the console. Text of up to 512 bytes is never mixed with another core's.
///
/// @param format  a literal; see format.hpp. A placeholder that does not fit its argument does not compile
/// @core any      @heap none
template <typename... Args>
void print(format_text<std::type_identity_t<Args>...> format, Args const &...args) noexcept {
  std::array<detail::argument, sizeof...(Args)> const list{detail::make_argument(args)...};
  detail::print_list(format.text, list.data());
}

/// Prints why the program cannot go on, on the screen too whoever has it, and ends the machine with panic_status.
/// @core any      @heap none
template <typename... Args>
[[noreturn]] void panic(format_text<std::type_identity_t<Args>...> format, Args const &...args) {
  std::array<detail::argument, sizeof...(Args)> const list{detail::make_argument(args)...};
  detail::panic_list(format.text, list.data());
}

/// Takes the serial input that is there; never waits.
///
/// @return  the front part of buffer that was filled; empty when nothing was there
/// @core    any        @heap  none
[[nodiscard]] inline std::span<char> try_read(std::span<char> buffer) noexcept {
  return buffer.first(checked(core().console_read(buffer.data(), buffer.size())).value_or(0));
}

/// Waits for serial input, looking every millisecond; returns the front part of buffer that was filled.
[[nodiscard]] inline std::span<char> read(std::span<char> buffer) noexcept {
  if (buffer.empty()) return buffer;
  for (;;) {
    std::span<char> const taken = try_read(buffer);
    if (!taken.empty()) return taken;
    core().core_idle(ticks() + info().tsc_hz / 1000);
  }
}

}  // namespace exo
