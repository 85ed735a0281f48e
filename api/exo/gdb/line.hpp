// gdb's serial line: bytes of the first serial port, packets of gdb's remote protocol, and the interrupt of a byte.
//
// Sources: GDB manual, appendix E (remote protocol); National PC16550D data sheet §8
#pragma once

#include <array>
#include <cstddef>
#include <cstring>
#include <mutex>
#include <optional>
#include <span>
#include <string_view>

#include "../core.hpp"
#include "../format.hpp"
#include "../lock.hpp"
#include "../port.hpp"
#include "../result.hpp"

namespace exo::gdb {

inline constexpr char hex_digits[] = "0123456789abcdef";

/// The value of a hexadecimal digit; nothing for other letters.
constexpr std::optional<u8> hex_digit(char letter) noexcept {
  if (letter >= '0' && letter <= '9') return static_cast<u8>(letter - '0');
  if (letter >= 'a' && letter <= 'f') return static_cast<u8>(letter - 'a' + 10);
  if (letter >= 'A' && letter <= 'F') return static_cast<u8>(letter - 'A' + 10);
  return std::nullopt;
}

/// What is left of a packet while it is read.
class packet_reader {
 public:
  constexpr explicit packet_reader(std::string_view text) noexcept : rest_(text) {}

  /// Takes a word if it is next.
  constexpr bool take(std::string_view word) noexcept {
    if (!rest_.starts_with(word)) return false;
    rest_.remove_prefix(word.size());
    return true;
  }

  /// Takes a hexadecimal number of up to 16 digits, however many there are.
  constexpr std::optional<u64> number() noexcept {
    u64 value = 0;
    std::size_t digits = 0;
    for (; digits < 16 && !rest_.empty(); ++digits) {
      auto const digit = hex_digit(rest_.front());
      if (!digit) break;
      value = value << 4 | *digit;
      rest_.remove_prefix(1);
    }
    if (digits == 0) return std::nullopt;
    return value;
  }

  /// Takes bytes, two digits each; false if there are too few or others.
  constexpr bool bytes(std::span<u8> out) noexcept {
    for (u8 &each : out) {
      if (rest_.size() < 2) return false;
      auto const high = hex_digit(rest_[0]), low = hex_digit(rest_[1]);
      if (!high || !low) return false;
      each = static_cast<u8>(*high << 4 | *low);
      rest_.remove_prefix(2);
    }
    return true;
  }

  [[nodiscard]] constexpr std::string_view rest() const noexcept { return rest_; }

 private:
  std::string_view rest_;
};

inline void put_hex(text_sink &out, std::span<u8 const> bytes) noexcept {
  for (u8 const each : bytes) {
    out.put(hex_digits[each >> 4]);
    out.put(hex_digits[each & 15]);
  }
}

inline constexpr std::size_t packet_most = 4096;

/// Packets over byte ports: `$TEXT#SUM`, each answered with + or -, until gdb turns that off.
template <byte_ports Ports>
class packet_line {
 public:
  static constexpr u16 data = 0x3F8, interrupts = 0x3F9, modem = 0x3FC, status = 0x3FD;
  static constexpr u8 received = 1, send_empty = 0x20, out_2 = 8, ready = 3;
  static constexpr u32 send_polls = 1 << 16;
  static constexpr char interrupt = 3;  // Ctrl-C

  constexpr explicit packet_line(Ports ports = {}) noexcept : ports_(ports) {}

  [[nodiscard]] std::optional<char> try_get() noexcept {
    if ((ports_.in(status) & received) == 0) return std::nullopt;
    return static_cast<char>(ports_.in(data));
  }

  void put(char byte) noexcept {
    for (u32 poll = 0; poll < send_polls && (ports_.in(status) & send_empty) == 0; ++poll) pause();
    ports_.out(data, static_cast<u8>(byte));
  }

  /// Waits for a packet: a person sits at the other end. One with a wrong sum is asked for again.
  ///
  /// @param begun  the $ was read already
  /// @return       its text, until the next is read; a text that does not fit is cut off
  std::string_view receive(bool begun) noexcept {
    for (;; begun = false) {
      while (!begun) begun = get() == '$';
      std::size_t count = 0;
      u8 sum = 0;
      char byte;
      while ((byte = get()) != '#') {
        if (byte == '$') {  // the one before was cut off
          count = sum = 0;
          continue;
        }
        sum = static_cast<u8>(sum + static_cast<u8>(byte));
        if (count < in_.size()) in_[count++] = byte;
      }
      char const high = get(), low = get();
      bool const good = hex_digit(high) == (sum >> 4) && hex_digit(low) == (sum & 15);
      if (!acknowledged_) return {in_.data(), count};
      put(good ? '+' : '-');
      if (good) return {in_.data(), count};
    }
  }

  /// Sends a packet, again if gdb did not get it. While the program runs, nobody waits for gdb's answer.
  void send(std::string_view text, bool wait = true) noexcept {
    for (u32 turn = 0; turn < 3; ++turn) {
      u8 sum = 0;
      put('$');
      for (char const each : text) {
        put(each);
        sum = static_cast<u8>(sum + static_cast<u8>(each));
      }
      put('#');
      put(hex_digits[sum >> 4]);
      put(hex_digits[sum & 15]);
      if (!acknowledged_ || !wait) return;
      for (;;) {
        char const answer = get();
        if (answer == '+') return;
        if (answer == '-') break;
      }
    }
  }

  void acknowledge(bool on) noexcept { acknowledged_ = on; }

 private:
  char get() noexcept {
    for (;;) {
      if (auto const byte = try_get()) return *byte;
      pause();
    }
  }

  [[no_unique_address]] Ports ports_;
  bool acknowledged_ = true;
  std::array<char, packet_most> in_{};
};

/// Makes bytes that arrive raise an event of core 0, once: the line is masked then, and this unmasks it. Bytes that wait
/// already raise it at once.
///
/// @error unsupported  the machine has no IOAPIC
inline result<void> route_line_interrupt(u32 event) noexcept {
  constexpr u32 no_function = ~u32{0}, serial_irq = 4;
  return done(core().irq_route(no_function, serial_irq, 0, event));
}

/// Turns the serial port's interrupt on.
inline void enable_line_interrupt() noexcept {
  using line = packet_line<machine_ports>;
  port_out<u8>(line::interrupts, line::received);
  port_out<u8>(line::modem, line::out_2 | line::ready);
}

}  // namespace exo::gdb
