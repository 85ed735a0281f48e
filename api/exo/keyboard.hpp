// The keyboard at the PS/2 controller, or what firmware shows as one: polled, on a US layout. And input, which reads
// the serial port and the keyboard as one.
//
// The controller is one for the machine: open one keyboard, and let one core at a time use it.
#pragma once

#include <chrono>
#include <cstddef>
#include <optional>
#include <span>
#include <utility>

#include "console.hpp"
#include "core.hpp"
#include "port.hpp"
#include "scan_code.hpp"
#include "time.hpp"

namespace exo {

/// A keyboard. Ports is machine_ports, or what a test puts in their place.
template <byte_ports Ports = machine_ports>
class keyboard {
 public:
  keyboard(keyboard &&) noexcept = default;
  keyboard &operator=(keyboard &&) noexcept = default;

  /// Sets up the controller and the keyboard: no interrupts, scan codes of set 1 if the controller translates, else of
  /// set 2. Keys that were pressed before are lost.
  ///
  /// @error no_such  there is no controller
  /// @error timeout  the controller or the keyboard did not answer: most likely no keyboard is plugged in
  /// @core  one at a time    @heap none    @source IBM PS/2 technical reference, keyboard controller
  [[nodiscard]] static result<keyboard> open(Ports ports = {}) noexcept {
    if (ports.in(status_port) == nothing) return std::unexpected(error::no_such);
    keyboard opened(ports);
    result<u32> const set = opened.set_up();
    if (!set) return std::unexpected(set.error());
    opened.decoder_ = scan_decoder(*set);
    return opened;
  }

  /// The next event, if one has come; never waits.
  [[nodiscard]] std::optional<key_event> try_event() noexcept {
    for (u32 turn = 0; turn < bytes_at_once; ++turn) {
      std::optional<u8> const byte = try_byte();
      if (!byte) return std::nullopt;
      if (std::optional<key_event> const event = decoder_.take(*byte)) return event;
    }
    return std::nullopt;
  }

  /// The next character typed, if one has come; never waits. Events that type nothing are dropped.
  [[nodiscard]] std::optional<char> try_letter() noexcept {
    for (u32 turn = 0; turn < bytes_at_once; ++turn) {
      std::optional<key_event> const event = try_event();
      if (!event) return std::nullopt;
      if (event->letter != 0) return event->letter;
    }
    return std::nullopt;
  }

  /// Whether a key is down, by the events taken so far.
  [[nodiscard]] bool is_down(key which) const noexcept { return decoder_.is_down(which); }

 private:
  static constexpr u16 data_port = 0x60;
  static constexpr u16 status_port = 0x64;  // and commands
  static constexpr u8 status_output = 0x01;
  static constexpr u8 status_input = 0x02;
  static constexpr u8 status_mouse = 0x20;
  static constexpr u8 nothing = 0xFF;

  static constexpr u8 read_mode = 0x20;
  static constexpr u8 write_mode = 0x60;
  static constexpr u8 disable_mouse = 0xA7;
  static constexpr u8 disable_keyboard = 0xAD;
  static constexpr u8 enable_keyboard = 0xAE;
  static constexpr u8 mode_interrupts = 0x03;
  static constexpr u8 mode_keyboard_off = 0x10;
  static constexpr u8 mode_mouse_off = 0x20;
  static constexpr u8 mode_translate = 0x40;

  static constexpr u8 set_defaults = 0xF6;
  static constexpr u8 choose_set = 0xF0;
  static constexpr u8 start_scanning = 0xF4;
  static constexpr u8 acknowledged = 0xFA;
  static constexpr u8 resend = 0xFE;

  static constexpr u32 bytes_at_once = 64;  // more than controller and keyboard keep
  static constexpr u32 tries = 3;
  static constexpr std::chrono::milliseconds answer_time{50};  // a keyboard has 20

  explicit keyboard(Ports ports) noexcept : ports_(ports) {}

  /// A byte of the keyboard, if one has come; the mouse's are dropped.
  std::optional<u8> try_byte() noexcept {
    for (u32 turn = 0; turn < bytes_at_once; ++turn) {
      u8 const status = ports_.in(status_port);
      if (status == nothing || (status & status_output) == 0) return std::nullopt;
      u8 const byte = ports_.in(data_port);
      if ((status & status_mouse) == 0) return byte;
    }
    return std::nullopt;
  }

  result<void> send(u16 port, u8 byte) noexcept {
    u64 const deadline = deadline_in(answer_time);
    while ((ports_.in(status_port) & status_input) != 0) {
      if (ticks() >= deadline) return std::unexpected(error::timeout);
    }
    ports_.out(port, byte);
    return {};
  }

  result<u8> receive() noexcept {
    u64 const deadline = deadline_in(answer_time);
    do {
      if (std::optional<u8> const byte = try_byte()) return *byte;
    } while (ticks() < deadline);
    return std::unexpected(error::timeout);
  }

  /// Sends a byte to the keyboard itself, again if it asks for that. Keys still on their way are passed over.
  result<void> command(u8 byte) noexcept {
    for (u32 each = 0; each < tries; ++each) {
      if (result<void> const sent = send(data_port, byte); !sent) return sent;
      for (u32 turn = 0; turn < bytes_at_once; ++turn) {
        result<u8> const answer = receive();
        if (!answer) return std::unexpected(answer.error());
        if (*answer == acknowledged) return {};
        if (*answer == resend) break;
      }
    }
    return std::unexpected(error::timeout);
  }

  /// What is said to the controller and to the keyboard, in order; returns the set of the codes to come.
  result<u32> set_up() noexcept {
    for (u8 const byte : {disable_keyboard, disable_mouse}) {
      if (result<void> const sent = send(status_port, byte); !sent) return std::unexpected(sent.error());
    }
    for (u32 turn = 0; turn < bytes_at_once && try_byte(); ++turn) {
    }
    result<u8> mode = read_back();
    if (!mode) return std::unexpected(mode.error());
    // The keyboard stays off until the mode is read back, or a key could be taken for it.
    auto const kept = static_cast<u8>(*mode & ~mode_interrupts);
    auto const wanted = static_cast<u8>(kept | mode_keyboard_off | mode_mouse_off | mode_translate);
    if (result<void> const sent = send(status_port, write_mode); !sent) return std::unexpected(sent.error());
    if (result<void> const sent = send(data_port, wanted); !sent) return std::unexpected(sent.error());
    mode = read_back();
    if (!mode) return std::unexpected(mode.error());
    if (result<void> const sent = send(status_port, enable_keyboard); !sent) return std::unexpected(sent.error());
    for (u8 const byte : {set_defaults, choose_set, u8{2}, start_scanning}) {
      if (result<void> const sent = command(byte); !sent) return std::unexpected(sent.error());
    }
    return (*mode & mode_translate) != 0 ? 1 : 2;
  }

  result<u8> read_back() noexcept {
    if (result<void> const sent = send(status_port, read_mode); !sent) return std::unexpected(sent.error());
    return receive();
  }

  [[no_unique_address]] Ports ports_;
  scan_decoder decoder_;
};

/// Characters from the serial port and the keyboard, whichever has some. Enter is a newline and Backspace 8 on both.
template <byte_ports Ports = machine_ports>
class input {
 public:
  /// Takes the keyboard, if there is one; else there is the serial port.
  explicit input(Ports ports = {}) noexcept {
    if (result<keyboard<Ports>> opened = keyboard<Ports>::open(ports)) {
      keyboard_.emplace(std::move(*opened));
    }
  }

  [[nodiscard]] bool has_keyboard() const noexcept { return keyboard_.has_value(); }

  /// Takes the characters that have come; never waits.
  ///
  /// @return  the front part of buffer that was filled; empty when nothing has come
  /// @core    one at a time        @heap  none
  [[nodiscard]] std::span<char> try_read(std::span<char> buffer) noexcept {
    std::size_t used = 0;
    for (char const letter : exo::try_read(buffer)) {
      bool const second = letter == '\n' && after_return_;  // some terminals send both
      after_return_ = letter == '\r';
      if (!second) buffer[used++] = letter == '\r' ? '\n' : letter == delete_letter ? '\b' : letter;
    }
    while (keyboard_ && used < buffer.size()) {
      std::optional<char> const letter = keyboard_->try_letter();
      if (!letter) break;
      buffer[used++] = *letter;
    }
    return buffer.first(used);
  }

  /// Waits until characters come, looking every millisecond, or until a TSC deadline.
  ///
  /// @return  the front part of buffer that was filled; empty when the deadline came first
  /// @core    one at a time        @heap  none
  [[nodiscard]] std::span<char> read(std::span<char> buffer, u64 deadline = no_deadline) noexcept {
    if (buffer.empty()) return buffer;
    for (;;) {
      std::span<char> const taken = try_read(buffer);
      u64 const now = ticks();
      if (!taken.empty() || now >= deadline) return taken;
      u64 const soon = now + info().tsc_hz / 1000;
      detail::idle(soon < deadline ? soon : deadline);
    }
  }

 private:
  static constexpr char delete_letter = 127;  // what terminals send for Backspace

  std::optional<keyboard<Ports>> keyboard_;
  bool after_return_ = false;
};

}  // namespace exo
