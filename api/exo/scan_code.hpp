// From the bytes of a PS/2 keyboard to keys and characters. Knows no hardware; keyboard.hpp reads the bytes.
//
// Sources: "PS/2 Keyboard Interface" and appendix C of the IBM PS/2 technical reference; set 1 is what the controller
// makes of set 2 when it translates.
#pragma once

#include <array>
#include <optional>
#include <string_view>

#include "core.hpp"

namespace exo {

/// A key, by its set 1 scan code; 0x80 more where E0 stands before it. Letters are named by the US layout.
enum class key : u8 {
  none,
  escape = 0x01,
  backspace = 0x0E,
  tab = 0x0F,
  enter = 0x1C,
  left_control = 0x1D,
  left_shift = 0x2A,
  right_shift = 0x36,
  left_alt = 0x38,
  space = 0x39,
  caps_lock = 0x3A,
  f1 = 0x3B, f2, f3, f4, f5, f6, f7, f8, f9, f10,
  num_lock = 0x45,
  scroll_lock = 0x46,
  f11 = 0x57,
  f12 = 0x58,
  keypad_enter = 0x9C,
  right_control = 0x9D,
  print_screen = 0xB7,
  right_alt = 0xB8,
  pause = 0xC5,
  home = 0xC7,
  up = 0xC8,
  page_up = 0xC9,
  left = 0xCB,
  right = 0xCD,
  end = 0xCF,
  down = 0xD0,
  page_down = 0xD1,
  insert = 0xD2,
  remove = 0xD3,
  left_system = 0xDB,
  right_system = 0xDC,
  menu = 0xDD,
};

/// A key went down, again as long as it is held, or up.
struct key_event {
  exo::key key = key::none;
  bool pressed = false;
  bool repeated = false;  // it was down already
  char letter = 0;        // what it types now, 0 if nothing; Enter is a newline, Backspace 8, Ctrl with A 1
};

/// What a keyboard's controller does when it translates: the set 1 code of a set 2 code, 0 if it has none.
[[nodiscard]] constexpr u8 set_1_code(u8 set_2_code) noexcept {
  constexpr std::array<u8, 0x85> codes{
      0,    0x43, 0,    0x3F, 0x3D, 0x3B, 0x3C, 0x58, 0,    0x44, 0x42, 0x40, 0x3E, 0x0F, 0x29, 0,     // 00
      0,    0x38, 0x2A, 0,    0x1D, 0x10, 0x02, 0,    0,    0,    0x2C, 0x1F, 0x1E, 0x11, 0x03, 0x5B,  // 10
      0,    0x2E, 0x2D, 0x20, 0x12, 0x05, 0x04, 0x5C, 0,    0x39, 0x2F, 0x21, 0x14, 0x13, 0x06, 0x5D,  // 20
      0,    0x31, 0x30, 0x23, 0x22, 0x15, 0x07, 0,    0,    0,    0x32, 0x24, 0x16, 0x08, 0x09, 0,     // 30
      0,    0x33, 0x25, 0x17, 0x18, 0x0B, 0x0A, 0,    0,    0x34, 0x35, 0x26, 0x27, 0x19, 0x0C, 0,     // 40
      0,    0,    0x28, 0,    0x1A, 0x0D, 0,    0,    0x3A, 0x36, 0x1C, 0x1B, 0,    0x2B, 0,    0,     // 50
      0,    0x56, 0,    0,    0,    0,    0x0E, 0,    0,    0x4F, 0,    0x4B, 0x47, 0,    0,    0,     // 60
      0x52, 0x53, 0x50, 0x4C, 0x4D, 0x48, 0x01, 0x45, 0x57, 0x4E, 0x51, 0x4A, 0x37, 0x49, 0x46, 0,     // 70
      0,    0,    0,    0x41, 0x54};
  return set_2_code < codes.size() ? codes[set_2_code] : u8{0};
}

/// Reads the bytes of a keyboard one by one. Whatever comes, torn or senseless, the next whole sequence is understood.
class scan_decoder {
 public:
  /// @param set  1, or 2 where the controller does not translate
  constexpr explicit scan_decoder(u32 set = 1) noexcept : set_2_(set == 2) {}

  /// Takes a byte; gives the event that it completes, if it does.
  constexpr std::optional<key_event> take(u8 byte) noexcept {
    if (byte == 0x00 || byte == 0xFF) return lost();  // it had more to tell than room for it
    if (byte == 0xE0 || byte == 0xE1) {
      prefix_ = byte;
      skipped_ = 0;
      return std::nullopt;
    }
    if (!set_2_) return take_code(byte & 0x7F, byte < 0x80);
    if (byte == 0xF0) {
      released_ = true;
      return std::nullopt;
    }
    bool const pressed = !released_;
    released_ = false;
    return take_code(set_1_code(byte), pressed);
  }

  /// Whether a key is down, as far as is known.
  [[nodiscard]] constexpr bool is_down(key which) const noexcept {
    u32 const code = static_cast<u32>(which);
    return (down_[code / 64] >> code % 64 & 1) != 0;
  }

 private:
  /// Events are missing, so nothing is known to be down.
  constexpr std::optional<key_event> lost() noexcept {
    prefix_ = 0;
    released_ = false;
    down_ = {};
    return std::nullopt;
  }

  constexpr std::optional<key_event> take_code(u8 code, bool pressed) noexcept {
    u8 const before = prefix_;
    if (code == 0) {
      prefix_ = 0;
      return std::nullopt;
    }
    if (before == 0xE1) {  // E1 1D 45: Pause, the only key of three bytes
      if (code == 0x1D && skipped_ == 0) {
        skipped_ = 1;
        return std::nullopt;
      }
      prefix_ = 0;
      if (code == 0x45 && skipped_ == 1) return event(key::pause, pressed);
      return std::nullopt;
    }
    prefix_ = 0;
    if (before == 0xE0) {
      if (code == 0x2A || code == 0x36) return std::nullopt;  // a shift that nobody pressed, around other keys
      if (code == 0x46) return event(key::pause, pressed);    // with Ctrl
      return event(static_cast<key>(code | 0x80), pressed);
    }
    if (code == 0x54) return event(key::print_screen, pressed);  // with Alt
    if (code > 0x58) return std::nullopt;                        // answers to commands among them
    return event(static_cast<key>(code), pressed);
  }

  constexpr std::optional<key_event> event(key which, bool pressed) noexcept {
    u32 const code = static_cast<u32>(which);
    u64 const bit = u64{1} << code % 64;
    bool const was_down = (down_[code / 64] & bit) != 0;
    down_[code / 64] = pressed ? down_[code / 64] | bit : down_[code / 64] & ~bit;
    if (which == key::caps_lock && pressed && !was_down) capitals_ = !capitals_;
    return key_event{which, pressed, pressed && was_down, pressed ? letter(which) : '\0'};
  }

  /// What a key types on a US keyboard. The keypad types digits, whatever its lights say.
  [[nodiscard]] constexpr char letter(key which) const noexcept {
    constexpr std::string_view plain("\0\x1b" "1234567890-=\b\tqwertyuiop[]\n\0asdfghjkl;'`\0\\zxcvbnm,./\0*\0 "
                                     "\0\0\0\0\0\0\0\0\0\0\0\0\0" "789-456+1230.\0\0\\", 0x57);
    constexpr std::string_view shifted("\0\x1b" "!@#$%^&*()_+\b\tQWERTYUIOP{}\n\0ASDFGHJKL:\"~\0|ZXCVBNM<>?\0*\0 "
                                       "\0\0\0\0\0\0\0\0\0\0\0\0\0" "789-456+1230.\0\0|", 0x57);
    if (which == key::keypad_enter) return '\n';
    if (static_cast<u32>(which) == 0xB5) return '/';
    u32 const code = static_cast<u32>(which);
    if (code >= plain.size()) return 0;
    bool const shift = is_down(key::left_shift) || is_down(key::right_shift);
    bool const is_letter = plain[code] >= 'a' && plain[code] <= 'z';
    char const typed = shift != (capitals_ && is_letter) ? shifted[code] : plain[code];
    if (!is_down(key::left_control) && !is_down(key::right_control)) return typed;
    char const upper = is_letter ? shifted[code] : typed;
    if (upper >= '@' && upper <= '_') return static_cast<char>(upper & 0x1F);
    return typed;
  }

  bool set_2_;
  bool released_ = false;  // F0 came
  u8 prefix_ = 0;          // E0 or E1 came
  u8 skipped_ = 0;         // bytes behind E1
  bool capitals_ = false;
  std::array<u64, 4> down_{};
};

}  // namespace exo
