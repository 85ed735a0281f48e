#include <exo/console.hpp>

#include <array>
#include <catch2/catch.hpp>
#include <cmath>
#include <cstdint>
#include <limits>
#include <string>
#include <thread>

#include "fake.hpp"

namespace {

enum class colour : std::uint8_t { red = 3 };
struct point {
  int x, y;
};

/// A format and its arguments as a string.
#define TEXT(...)                                                      \
  ([&] {                                                               \
    static char buffer[1024];                                          \
    return std::string(exo::format_to(std::span<char>(buffer), __VA_ARGS__)); \
  }())

}  // namespace

template <>
struct exo::formatter<point> {
  static void write(text_sink &out, point const &at) { format_to(out, "({}, {})", at.x, at.y); }
};

TEST_CASE("format: integers") {
  CHECK(TEXT("{} {} {}", 0, -1, 42u) == "0 -1 42");
  CHECK(TEXT("{}", std::numeric_limits<std::int64_t>::min()) == "-9223372036854775808");
  CHECK(TEXT("{}", std::numeric_limits<std::uint64_t>::max()) == "18446744073709551615");
  CHECK(TEXT("{:x} {:X} {:#x} {:b} {:#b}", 255, 255, 255, 5, 5) == "ff FF 0xff 101 0b101");
  CHECK(TEXT("{:08x}|{:5}|{:<5}|{:^5}|{:*>5}", 0xBEEF, 42, 42, 42, 42) == "0000beef|   42|42   | 42  |***42");
  CHECK(TEXT("{:06}|{:#08x}|{:x}", -42, 255, -255) == "-00042|0x0000ff|-ff");
  CHECK(TEXT("{} {}", std::uint8_t{65}, std::int8_t{-5}) == "65 -5");
  CHECK(TEXT("{:064b}", 1) == std::string(63, '0') + "1");
  CHECK(TEXT("{}", colour::red) == "3");
  CHECK(TEXT("{:02x}", std::byte{10}) == "0a");
}

TEST_CASE("format: text, letters, booleans, pointers") {
  std::string const owned = "owned";
  char const *null = nullptr;
  char local[] = "array";
  CHECK(TEXT("{} {} {} {}", "literal", std::string_view("view"), owned, local) == "literal view owned array");
  CHECK(TEXT("{}", null) == "(null)");
  CHECK(TEXT("{:8}|{:>8}|{:.3}|{:-^9.2s}", "left", "right", "cut short", "ab!") == "left    |   right|cut|---ab----");
  CHECK(TEXT("{}{:3}|", 'a', 'b') == "ab  |");
  CHECK(TEXT("{} {:>6}", true, false) == "true  false");
  CHECK(TEXT("{} {}", reinterpret_cast<void *>(0x1000), nullptr) == "0x1000 0x0");
  CHECK(TEXT("{{}} {{{}}}", 1) == "{} {1}");
}

TEST_CASE("format: real numbers") {
  CHECK(TEXT("{}", 1.5) == "1.500000");
  CHECK(TEXT("{:.2f} {:.0f} {:.3f}", 3.14159, 2.5, -0.0005) == "3.14 3 -0.001");
  CHECK(TEXT("{:.2f}", 0.999) == "1.00");
  CHECK(TEXT("{:.3f} {:.3f}", 0.001, 12.05) == "0.001 12.050");
  CHECK(TEXT("{:8.2f}|{:08.2f}|{:<8.1f}|", -1.25, -1.25, 1.25f) == "   -1.25|-0001.25|1.3     |");
  CHECK(TEXT("{} {} {:6}", std::nan(""), -INFINITY, INFINITY) == "nan -inf    inf");
  CHECK(TEXT("{:.3f}", 1e21) == "1.000e+21");
  CHECK(TEXT("{:.1f}", 999999999999999999.0) == "1.0e+18");
  CHECK(TEXT("{:.15f}", 0.5) == "0.500000000000000");
}

TEST_CASE("format: errors and the program's own types") {
  CHECK(TEXT("{}", exo::error::io) == "The device reported an error.");
  CHECK(TEXT("{}!", point{1, -2}) == "(1, -2)!");
}

TEST_CASE("format: a full buffer cuts") {
  char small[4];
  CHECK(exo::format_to(std::span<char>(small), "{}", 123456) == "1234");
  CHECK(exo::format_to(std::span<char>(), "{}", 1).empty());
}

TEST_CASE("console: one write per line, and long text whole") {
  fake::machine machine({.cores = 1});
  exo::print("{} cores\n", 3);
  exo::print("no arguments\n");
  CHECK(machine.writes == std::vector<std::size_t>{8, 13});
  CHECK(machine.take_output() == "3 cores\nno arguments\n");
  std::string const text(2000, 'x');
  exo::print("{}", text);
  CHECK(machine.take_output() == text);
}

TEST_CASE("console: reading") {
  fake::machine machine({.cores = 1});
  std::array<char, 4> buffer;
  CHECK(exo::try_read(buffer).empty());
  CHECK(exo::read(std::span<char>()).empty());
  std::thread typist([&] {
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
    std::lock_guard const guard(machine.console_mutex);
    machine.input = "hello";
  });
  auto const first = exo::read(buffer);
  typist.join();
  CHECK(std::string(first.begin(), first.end()) == "hell");
  CHECK(exo::read(buffer).size() == 1);
}

TEST_CASE("console: panic names the core and ends with its status") {
  fake::machine machine({.cores = 1});
  try {
    exo::panic("lost {} frames", 7);
  } catch (fake::exited const &end) {
    CHECK(end.status == exo::panic_status);
  }
  CHECK(machine.take_output() == "exo16: panic: lost 7 frames (core 0)\n");
}
