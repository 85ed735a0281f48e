// I/O ports: one byte, two or four at a time. A program runs at the privilege that the instructions ask for.
#pragma once

#include <concepts>
#include <cstddef>
#include <cstring>
#include <span>

#include "core.hpp"

namespace exo {

template <typename T>
concept port_value = std::same_as<T, u8> || std::same_as<T, u16> || std::same_as<T, u32>;

/// Reads a port. A port that nothing answers at gives all ones.
template <port_value T = u8>
[[nodiscard]] inline T port_in(u16 port) noexcept {
#ifdef EXO_HOST
  if (host_read != nullptr) return static_cast<T>(host_read(port, sizeof(T)));
#endif
  T value;
  asm volatile("in %1, %0" : "=a"(value) : "Nd"(port));
  return value;
}

/// Writes a port.
template <port_value T>
inline void port_out(u16 port, T value) noexcept {
#ifdef EXO_HOST
  if (host_write != nullptr) return host_write(port, value, sizeof(T));
#endif
  asm volatile("out %0, %1" : : "a"(value), "Nd"(port));
}

/// Reads a port of 16 bits until memory is full; an odd last byte is left out.
inline void port_in_words(u16 port, std::span<std::byte> into) noexcept {
  std::byte *to = into.data();
  std::size_t count = into.size() / 2;
#ifdef EXO_HOST
  if (host_read != nullptr) {
    for (; count != 0; --count, to += 2) {
      u16 const word = port_in<u16>(port);
      std::memcpy(to, &word, sizeof(word));
    }
    return;
  }
#endif
  asm volatile("rep insw" : "+D"(to), "+c"(count) : "d"(port) : "memory");
}
inline void port_in_words(u16 port, std::span<u16> words) noexcept { port_in_words(port, std::as_writable_bytes(words)); }

/// Writes memory to a port of 16 bits; an odd last byte is left out.
inline void port_out_words(u16 port, std::span<std::byte const> from) noexcept {
  std::byte const *at = from.data();
  std::size_t count = from.size() / 2;
#ifdef EXO_HOST
  if (host_write != nullptr) {
    for (; count != 0; --count, at += 2) {
      u16 word;
      std::memcpy(&word, at, sizeof(word));
      port_out<u16>(port, word);
    }
    return;
  }
#endif
  asm volatile("rep outsw" : "+S"(at), "+c"(count) : "d"(port) : "memory");
}
inline void port_out_words(u16 port, std::span<u16 const> words) noexcept { port_out_words(port, std::as_bytes(words)); }

/// What drivers of devices behind byte-wide ports take, so that a test can stand behind them.
template <typename Ports>
concept byte_ports = requires(Ports &ports, u16 port, u8 value) {
  { ports.in(port) } noexcept -> std::same_as<u8>;
  { ports.out(port, value) } noexcept;
};

/// The machine's own ports.
struct machine_ports {
  static u8 in(u16 port) noexcept { return port_in<u8>(port); }
  static void out(u16 port, u8 value) noexcept { port_out<u8>(port, value); }
};
static_assert(byte_ports<machine_ports>);

}  // namespace exo
