// I/O ports: one byte, two or four at a time. A program runs at the privilege that the instructions ask for.
#pragma once

#include <concepts>
#include <cstddef>
#include <span>

#include "core.hpp"

namespace exo {

template <typename T>
concept port_value = std::same_as<T, u8> || std::same_as<T, u16> || std::same_as<T, u32>;

/// Reads a port. A port that nothing answers at gives all ones.
template <port_value T = u8>
[[nodiscard]] inline T port_in(u16 port) noexcept {
  T value;
  asm volatile("in %1, %0" : "=a"(value) : "Nd"(port));
  return value;
}

/// Writes a port.
template <port_value T>
inline void port_out(u16 port, T value) noexcept {
  asm volatile("out %0, %1" : : "a"(value), "Nd"(port));
}

/// Reads a port of 16 bits as often as there is room for.
inline void port_in_words(u16 port, std::span<u16> words) noexcept {
  u16 *to = words.data();
  std::size_t count = words.size();
  asm volatile("rep insw" : "+D"(to), "+c"(count) : "d"(port) : "memory");
}

/// Writes words to a port of 16 bits, one after the other.
inline void port_out_words(u16 port, std::span<u16 const> words) noexcept {
  u16 const *from = words.data();
  std::size_t count = words.size();
  asm volatile("rep outsw" : "+S"(from), "+c"(count) : "d"(port) : "memory");
}

/// Reads a port of 16 bits until memory is full, and writes memory to one; an odd last byte is left out.
inline void port_in_words(u16 port, std::span<std::byte> into) noexcept {
  std::byte *to = into.data();
  std::size_t count = into.size() / 2;
  asm volatile("rep insw" : "+D"(to), "+c"(count) : "d"(port) : "memory");
}
inline void port_out_words(u16 port, std::span<std::byte const> from) noexcept {
  std::byte const *at = from.data();
  std::size_t count = from.size() / 2;
  asm volatile("rep outsw" : "+S"(at), "+c"(count) : "d"(port) : "memory");
}

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
