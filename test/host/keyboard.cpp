#include <exo/keyboard.hpp>

#include <catch2/catch.hpp>
#include <chrono>
#include <deque>
#include <initializer_list>
#include <random>
#include <string>
#include <thread>
#include <type_traits>
#include <vector>

#include "fake.hpp"

using exo::error;
using exo::key;
using exo::scan_decoder;
using exo::u16;
using exo::u32;
using exo::u8;

namespace {

/// A controller with a keyboard behind it, and what is wrong with them.
struct controller {
  bool absent = false;
  bool keyboard_absent = false;
  bool translates = true;
  bool never_ready = false;
  bool vanishes = false;   // after the first look
  bool babbles = false;    // a key is held for ever
  u32 resends = 0;
  u8 mode = 0x03;
  std::deque<std::pair<u8, bool>> output;  // bytes, and whether they are the mouse's
  std::vector<u8> sent_to_keyboard;
  std::vector<u8> commands;
  u32 looks = 0;
  u8 awaited = 0;

  bool keyboard_on() const { return (mode & 0x10) == 0; }

  u8 in(u16 port) {
    if (absent || (vanishes && looks > 0)) return 0xFF;
    ++looks;
    if (babbles && keyboard_on() && output.empty()) output.emplace_back(0x1E, false);
    if (port == 0x64) {
      u8 status = never_ready ? 0x02 : 0;
      if (!output.empty()) status = static_cast<u8>(status | 1 | (output.front().second ? 0x20 : 0));
      return status;
    }
    REQUIRE(port == 0x60);
    REQUIRE_FALSE(output.empty());
    u8 const byte = output.front().first;
    output.pop_front();
    return byte;
  }

  void out(u16 port, u8 value) {
    if (port == 0x64) {
      commands.push_back(value);
      awaited = value == 0x60 ? value : u8{0};
      if (value == 0x20) output.emplace_back(mode, false);
      if (value == 0xAD) mode = static_cast<u8>(mode | 0x10);
      if (value == 0xAE) mode = static_cast<u8>(mode & ~0x10);
      return;
    }
    REQUIRE(port == 0x60);
    if (awaited == 0x60) {
      mode = translates ? value : static_cast<u8>(value & ~0x40);
      awaited = 0;
      return;
    }
    CHECK(keyboard_on());
    if (keyboard_absent) return;
    if (resends > 0) {
      --resends;
      output.emplace_back(0xFE, false);
      return;
    }
    sent_to_keyboard.push_back(value);
    output.emplace_back(0xFA, false);
  }

  void type(std::initializer_list<int> bytes) {
    for (int const each : bytes) output.emplace_back(static_cast<u8>(each), false);
  }
};

struct fake_ports {
  controller *behind = nullptr;
  u8 in(u16 port) noexcept { return behind->in(port); }
  void out(u16 port, u8 value) noexcept { behind->out(port, value); }
};
using keyboard = exo::keyboard<fake_ports>;

/// Events as a text: +1e pressed, *1e again, -1e released.
std::string events(scan_decoder &decoder, std::initializer_list<int> bytes) {
  std::string text;
  for (int const each : bytes) {
    auto const event = decoder.take(static_cast<u8>(each));
    if (!event) continue;
    char buffer[8];
    text += exo::format_to(std::span<char>(buffer), "{}{:02x} ", event->repeated ? '*' : event->pressed ? '+' : '-',
                           static_cast<u32>(event->key));
  }
  return text;
}
std::string events(u32 set, std::initializer_list<int> bytes) {
  scan_decoder decoder(set);
  return events(decoder, bytes);
}

std::string letters(scan_decoder &decoder, std::initializer_list<int> bytes) {
  std::string text;
  for (int const each : bytes) {
    auto const event = decoder.take(static_cast<u8>(each));
    if (event && event->letter != 0) text += event->letter;
  }
  return text;
}
std::string letters(std::initializer_list<int> bytes) {
  scan_decoder decoder;
  return letters(decoder, bytes);
}

}  // namespace

TEST_CASE("scan codes: set 1") {
  CHECK(events(1, {0x1E, 0x9E}) == "+1e -1e ");
  CHECK(events(1, {0x1E, 0x1E, 0x9E, 0x1E}) == "+1e *1e -1e +1e ");
  CHECK(events(1, {0xE0, 0x48, 0xE0, 0xC8}) == "+c8 -c8 ");
  CHECK(events(1, {0x48, 0xC8}) == "+48 -48 ");
  CHECK(events(1, {0xE1, 0x1D, 0x45, 0xE1, 0x9D, 0xC5}) == "+c5 -c5 ");
  CHECK(events(1, {0xE0, 0x46, 0xE0, 0xC6}) == "+c5 -c5 ");                                    // Ctrl with Pause
  CHECK(events(1, {0xE0, 0x2A, 0xE0, 0x37, 0xE0, 0xB7, 0xE0, 0xAA}) == "+b7 -b7 ");            // Print Screen
  CHECK(events(1, {0x54, 0xD4}) == "+b7 -b7 ");                                                // with Alt
  CHECK(events(1, {0x36, 0xE0, 0xB6, 0xE0, 0x4B, 0xE0, 0xCB, 0xE0, 0x36}) == "+36 +cb -cb ");  // Shift with Left
  CHECK(events(1, {0x57, 0x58}) == "+57 +58 ");
}

TEST_CASE("scan codes: set 2") {
  CHECK(events(2, {0x1C, 0xF0, 0x1C}) == "+1e -1e ");
  CHECK(events(2, {0x1C, 0x1C, 0xF0, 0x1C}) == "+1e *1e -1e ");
  CHECK(events(2, {0xE0, 0x75, 0xE0, 0xF0, 0x75}) == "+c8 -c8 ");
  CHECK(events(2, {0xE1, 0x14, 0x77, 0xE1, 0xF0, 0x14, 0xF0, 0x77}) == "+c5 -c5 ");
  CHECK(events(2, {0xE0, 0x12, 0xE0, 0x7C, 0xE0, 0xF0, 0x7C, 0xE0, 0xF0, 0x12}) == "+b7 -b7 ");
  CHECK(events(2, {0x83, 0xF0, 0x83}) == "+41 -41 ");  // F7
  CHECK(events(2, {0x05, 0x78, 0x07, 0x76, 0x5A}) == "+3b +57 +58 +01 +1c ");
  CHECK(events(2, {0xE0, 0x71, 0xE0, 0x11, 0xE0, 0x5A}) == "+d3 +b8 +9c ");
  scan_decoder decoder(2);
  CHECK(letters(decoder, {0x12, 0x33, 0xF0, 0x33, 0xF0, 0x12, 0x43, 0x16, 0x66}) == "Hi1\b");
}

TEST_CASE("scan codes: every key of set 2 is one of set 1, and no two the same") {
  std::vector<int> from(0x80, -1);
  u32 known = 0;
  for (int code = 0; code < 256; ++code) {
    u8 const one = exo::set_1_code(static_cast<u8>(code));
    CHECK(one < 0x80);
    if (one == 0) continue;
    ++known;
    CHECK(from[one] == -1);
    from[one] = code;
  }
  for (int code = 1; code <= 0x58; ++code) {
    if (code != 0x54 && code != 0x55) CHECK(from[static_cast<std::size_t>(code)] != -1);
  }
  CHECK(known == 0x58 - 1 + 3);  // 55 is no key; 5B to 5D come behind E0
}

TEST_CASE("scan codes: broken sequences") {
  CHECK(events(1, {0xE0, 0xE0, 0x48}) == "+c8 ");
  CHECK(events(1, {0xE1, 0x1E, 0x1E}) == "+1e ");
  CHECK(events(1, {0xE1, 0x1D, 0x1D, 0x1E}) == "+1e ");
  CHECK(events(1, {0xE1, 0x1D, 0xE0, 0x48}) == "+c8 ");
  CHECK(events(1, {0xE1, 0x45, 0x45}) == "+45 ");
  CHECK(events(1, {0xE0, 0x00, 0x48}) == "+48 ");
  CHECK(events(1, {0xE0, 0x80, 0x48, 0x80}) == "+48 ");
  CHECK(events(1, {0xFA, 0xFE, 0xEE, 0x7F, 0x59}).empty());
  CHECK(events(2, {0xF0, 0xE0, 0x75}) == "-c8 ");
  CHECK(events(2, {0xF0, 0xF0, 0x1C, 0x1C}) == "-1e +1e ");
  CHECK(events(2, {0xF0, 0xAA, 0x1C}) == "+1e ");
  CHECK(events(2, {0xE0, 0xAA, 0x75}) == "+48 ");
  CHECK(events(2, {0xF0, 0xFF, 0x1C}) == "+1e ");
  CHECK(events(2, {0xAA, 0xFA, 0xFC, 0x84, 0x85}) == "+b7 ");
}

TEST_CASE("scan codes: what is lost lets go of all keys") {
  for (int const code : {0x00, 0xFF}) {
    scan_decoder decoder;
    CHECK(letters(decoder, {0x2A, 0x1E, code, 0x1E}) == "Aa");
    CHECK(events(decoder, {0x1E, code, 0x1E}) == "*1e +1e ");
    CHECK_FALSE(decoder.is_down(key::left_shift));
  }
}

TEST_CASE("scan codes: anything at all leaves it able to read the next") {
  std::mt19937 random(3);
  for (u32 const set : {1u, 2u}) {
    for (int turn = 0; turn < 20000; ++turn) {
      scan_decoder decoder(set);
      for (int count = 0; count < 6; ++count) static_cast<void>(decoder.take(static_cast<u8>(random())));
      static_cast<void>(decoder.take(0xFF));
      REQUIRE(events(decoder, {0xE0, set == 1 ? 0x48 : 0x75}) == "+c8 ");
    }
  }
}

TEST_CASE("scan codes: keys that are down") {
  scan_decoder decoder;
  events(decoder, {0xE0, 0x4B, 0x39, 0xE0, 0x4D, 0xE0, 0xCB});
  CHECK(decoder.is_down(key::space));
  CHECK(decoder.is_down(key::right));
  CHECK_FALSE(decoder.is_down(key::left));
  CHECK_FALSE(decoder.is_down(key::none));
}

TEST_CASE("scan codes: characters") {
  // Every key that types, in the order of the codes.
  std::string plain;
  std::string shifted;
  for (int code = 1; code < 0x59; ++code) {
    if (code == 0x1D || code == 0x2A || code == 0x36 || code == 0x38 || code == 0x3A) continue;
    plain += letters({code});
    shifted += letters({0x2A, code});
    CHECK(letters({0x36, code}) == letters({0x2A, code}));
    CHECK(letters({code + 0x80}).empty());
  }
  CHECK(plain == "\x1b" "1234567890-=\b\tqwertyuiop[]\nasdfghjkl;'`\\zxcvbnm,./* 789-456+1230.\\");
  CHECK(shifted == "\x1b" "!@#$%^&*()_+\b\tQWERTYUIOP{}\nASDFGHJKL:\"~|ZXCVBNM<>?* 789-456+1230.|");
  CHECK(letters({0xE0, 0x1C, 0xE0, 0x35, 0xE0, 0x48, 0xE0, 0x53}) == "\n/");
}

TEST_CASE("scan codes: shift, caps lock, control") {
  CHECK(letters({0x2A, 0x1E, 0xAA, 0x1E}) == "Aa");
  CHECK(letters({0x2A, 0x36, 0xAA, 0x1E, 0xB6, 0x1E}) == "Aa");
  CHECK(letters({0x3A, 0xBA, 0x1E, 0x02, 0x2A, 0x1E, 0x02}) == "A1a!");
  CHECK(letters({0x3A, 0x3A, 0xBA, 0x1E, 0x3A, 0xBA, 0x1E}) == "Aa");
  CHECK(letters({0x1D, 0x1E, 0x2C, 0x1A, 0x1C, 0x02, 0x9D, 0x1E}) == "\x01\x1a\x1b\n1a");
  CHECK(letters({0xE0, 0x1D, 0x2E, 0xE0, 0x9D, 0x2E}) == "\x03" "c");
  CHECK(letters({0x2A, 0x1D, 0x2E}) == "\x03");
  CHECK(letters({0x1D, 0x3A, 0xBA, 0x2E}) == "\x03");
}

TEST_CASE("keyboard: there is none") {
  fake::machine machine({.cores = 1});
  controller nothing{.absent = true};
  CHECK(keyboard::open({&nothing}).error() == error::no_such);
  controller alone{.keyboard_absent = true};
  CHECK(keyboard::open({&alone}).error() == error::timeout);
  controller stuck{.never_ready = true};
  CHECK(keyboard::open({&stuck}).error() == error::timeout);
  CHECK(stuck.commands.empty());
  controller gone{.vanishes = true};
  CHECK(keyboard::open({&gone}).error() == error::timeout);
}

TEST_CASE("keyboard: a key that is held meanwhile") {
  fake::machine machine({.cores = 1});
  controller babbling{.babbles = true};
  auto opened = keyboard::open({&babbling});
  REQUIRE(opened);
  CHECK(opened->try_letter() == 'a');
}

TEST_CASE("keyboard: waits end in time") {
  fake::machine machine({.cores = 1});
  for (auto const &broken : {controller{.keyboard_absent = true}, controller{.never_ready = true}}) {
    controller behind = broken;
    auto const begin = std::chrono::steady_clock::now();
    CHECK_FALSE(keyboard::open({&behind}));
    auto const time = std::chrono::steady_clock::now() - begin;
    CHECK(time >= std::chrono::milliseconds(20));
    CHECK(time < std::chrono::seconds(5));
  }
}

TEST_CASE("keyboard: set up") {
  fake::machine machine({.cores = 1});
  controller behind;
  behind.type({0x1E, 0x9E});  // before it was opened
  behind.output.emplace_back(0x55, true);
  auto const opened = keyboard::open({&behind});
  REQUIRE(opened);
  CHECK(behind.mode == (0x40 | 0x20));  // translates, no interrupts, keyboard on, mouse off
  CHECK(behind.sent_to_keyboard == std::vector<u8>{0xF6, 0xF0, 0x02, 0xF4});
  CHECK(behind.output.empty());
}

TEST_CASE("keyboard: asks to have it sent again") {
  fake::machine machine({.cores = 1});
  controller once{.resends = 2};
  CHECK(keyboard::open({&once}));
  CHECK(once.sent_to_keyboard == std::vector<u8>{0xF6, 0xF0, 0x02, 0xF4});
  controller ever{.resends = 1000};
  CHECK(keyboard::open({&ever}).error() == error::timeout);
}

TEST_CASE("keyboard: events and letters") {
  fake::machine machine({.cores = 1});
  for (bool const translates : {true, false}) {
    controller behind{.translates = translates};
    auto opened = keyboard::open({&behind});
    REQUIRE(opened);
    CHECK_FALSE(opened->try_event());
    CHECK_FALSE(opened->try_letter());
    if (translates) {
      behind.type({0xE0, 0x48, 0x2A, 0x23, 0xA3, 0xAA, 0x17});
    } else {
      behind.type({0xE0, 0x75, 0x12, 0x33, 0xF0, 0x33, 0xF0, 0x12, 0x43});
    }
    auto const up = opened->try_event();
    REQUIRE(up);
    CHECK(up->key == key::up);
    CHECK(up->pressed);
    CHECK(up->letter == 0);
    CHECK(opened->is_down(key::up));
    CHECK(opened->try_letter() == 'H');
    CHECK(opened->try_letter() == 'i');
    CHECK_FALSE(opened->try_letter());
  }
}

TEST_CASE("keyboard: the mouse's bytes are no keys") {
  fake::machine machine({.cores = 1});
  controller behind;
  auto opened = keyboard::open({&behind});
  REQUIRE(opened);
  behind.output.emplace_back(0x1E, true);
  behind.output.emplace_back(0x30, false);
  behind.output.emplace_back(0x1E, true);
  CHECK(opened->try_letter() == 'b');
  CHECK_FALSE(opened->try_letter());
}

TEST_CASE("keyboard: a part of a sequence waits for the rest") {
  fake::machine machine({.cores = 1});
  controller behind;
  auto opened = keyboard::open({&behind});
  REQUIRE(opened);
  behind.type({0xE0});
  CHECK_FALSE(opened->try_event());
  behind.type({0x50});
  CHECK(opened->try_event()->key == key::down);
}

TEST_CASE("keyboard: one that never ends, or goes, does not hold the program") {
  fake::machine machine({.cores = 1});
  controller behind;
  auto opened = keyboard::open({&behind});
  REQUIRE(opened);
  for (int count = 0; count < 1000; ++count) behind.type({0xFA});
  CHECK_FALSE(opened->try_letter());
  CHECK_FALSE(behind.output.empty());
  for (int count = 0; count < 1000; ++count) behind.output.emplace_back(1, true);
  CHECK_FALSE(opened->try_event());
  behind.absent = true;
  CHECK_FALSE(opened->try_event());
  CHECK_FALSE(opened->try_letter());
}

TEST_CASE("input: serial and keyboard as one") {
  fake::machine machine({.cores = 1});
  controller behind;
  exo::input<fake_ports> input({&behind});
  CHECK(input.has_keyboard());
  char buffer[8];
  auto const read = [&] {
    auto const taken = input.try_read(buffer);
    return std::string(taken.begin(), taken.end());
  };
  CHECK(read().empty());
  behind.type({0x1E, 0x9E, 0x1C, 0x9C, 0x0E});
  machine.input = "xy";
  CHECK(read() == "xya\n\b");
  machine.input = "\r1\r\n2\n3\r";
  CHECK(read() == "\n1\n2\n3\n");
  machine.input = "\n\x7F\n";
  CHECK(read() == "\b\n");
  for (int count = 0; count < 6; ++count) behind.type({0x1E, 0x9E});
  machine.input = "123456789";
  CHECK(read() == "12345678");
  CHECK(read() == "9aaaaaa");
  CHECK(input.try_read({}).empty());
}

TEST_CASE("input: without a keyboard") {
  fake::machine machine({.cores = 1});
  controller behind{.absent = true};
  exo::input<fake_ports> input({&behind});
  CHECK_FALSE(input.has_keyboard());
  machine.input = "a";
  char buffer[2];
  CHECK(input.read(buffer).size() == 1);
}

TEST_CASE("input: waiting, and a deadline") {
  fake::machine machine({.cores = 1});
  controller behind;
  exo::input<fake_ports> input({&behind});
  char buffer[2];
  auto const begin = exo::ticks();
  CHECK(input.read(buffer, exo::deadline_in(std::chrono::milliseconds(3))).empty());
  CHECK(exo::ticks() - begin >= exo::clock::ticks_in(std::chrono::milliseconds(3)));
  CHECK(input.read(std::span<char>()).empty());
  std::thread typist([&] {
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
    std::lock_guard const guard(machine.console_mutex);
    machine.input = "h";
  });
  CHECK(input.read(buffer).size() == 1);
  typist.join();
}

TEST_CASE("keyboard: owned by one") {
  STATIC_REQUIRE_FALSE(std::is_copy_constructible_v<keyboard>);
  STATIC_REQUIRE(std::is_nothrow_move_constructible_v<keyboard>);
  STATIC_REQUIRE_FALSE(std::is_copy_constructible_v<exo::input<fake_ports>>);
}
