#include <exo/screen.hpp>

#include <catch2/catch.hpp>
#include <cstring>
#include <exo/smp.hpp>
#include <initializer_list>
#include <random>
#include <type_traits>
#include <vector>

#include "fake.hpp"

using exo::colour;
using exo::error;
using exo::screen;
using exo::u16;
using exo::u32;
using exo::u64;
using exo::u8;

EXO_SCREEN(640, 480);

namespace {

constexpr colour ink{0x11, 0x22, 0x33};
constexpr u8 untouched = 0xA5;

/// A machine with a screen whose memory begins and ends with it, full of marks.
struct with_screen {
  fake::machine machine{{.cores = 4}};
  u16 width;
  u16 height;
  u32 pitch;
  std::vector<u8> memory;

  with_screen(u16 across, u16 down, u32 bytes_of_row, u64 format = exo::screen_bgrx)
      : width(across), height(down), pitch(bytes_of_row), memory(std::size_t{pitch} * down, untouched) {
    machine.show_screen(memory.data(), across, down, pitch, format);
    exo::system_pages.start(exo::info().memory);
  }

  u32 shown(u32 x, u32 y) const {
    u32 pixel = 0;
    std::memcpy(&pixel, &memory[std::size_t{y} * pitch + x * 4], 4);
    return pixel;
  }
  void scrub() { std::fill(memory.begin(), memory.end(), untouched); }
  bool is_scrubbed(u32 x, u32 y) const { return shown(x, y) == 0xA5A5A5A5; }
  bool gaps_untouched() const {
    for (u32 y = 0; y < height; ++y) {
      for (u32 at = width * 4u; at < pitch; ++at) {
        if (memory[std::size_t{y} * pitch + at] != untouched) return false;
      }
    }
    return true;
  }
};

}  // namespace

TEST_CASE("screen: there is none") {
  fake::machine machine({.cores = 1});
  CHECK(screen::bytes().error() == error::no_such);
  CHECK(screen::open().error() == error::no_such);
  CHECK(screen::open(std::span<std::byte>()).error() == error::no_such);
  CHECK(machine.console_has_screen);
}

TEST_CASE("screen: one of text, and formats that nobody knows") {
  std::vector<u8> memory(4096);
  fake::machine machine({.cores = 1});
  machine.show_screen(memory.data(), 80, 25, 160, exo::screen_text);
  CHECK(screen::open().error() == error::unsupported);
  machine.show_screen(memory.data(), 8, 8, 32, 3);
  CHECK(screen::open().error() == error::unsupported);
  machine.show_screen(memory.data(), 8, 8, 31, exo::screen_bgrx);
  CHECK(screen::open().error() == error::unsupported);
  machine.show_screen(memory.data(), 8, 8, 28, exo::screen_bgrx);
  CHECK(screen::open().error() == error::unsupported);
  machine.show_screen(memory.data(), 0, 8, 32, exo::screen_bgrx);
  CHECK(screen::open().error() == error::no_such);
  machine.show_screen(memory.data(), 8, 0, 32, exo::screen_bgrx);
  CHECK(screen::open().error() == error::no_such);
  CHECK(machine.console_has_screen);
}

TEST_CASE("screen: taken from the console, and given back") {
  with_screen test(20, 10, 80);
  u64 const free = exo::system_pages.free().bytes;
  {
    auto first = screen::open();
    REQUIRE(first);
    CHECK_FALSE(test.machine.console_has_screen);
    CHECK(first->width() == 20);
    CHECK(first->height() == 10);
    CHECK(screen::open().error() == error::busy);
    CHECK_FALSE(test.machine.console_has_screen);

    screen moved(std::move(*first));
    CHECK(moved.width() == 20);
    CHECK(first->width() == 0);
    first->fill(ink);
    CHECK(first->present() == 0);
    CHECK(test.is_scrubbed(0, 0));
    *first = std::move(moved);
    CHECK_FALSE(test.machine.console_has_screen);
    first->fill(ink);
    CHECK(first->present() == 200);
  }
  CHECK(test.machine.console_has_screen);
  CHECK(exo::system_pages.free().bytes == free);
  CHECK(screen::open());
  CHECK(test.machine.console_has_screen);
}

TEST_CASE("screen: memory of the caller") {
  with_screen test(20, 10, 80);
  std::size_t const bytes = *screen::bytes();
  CHECK(bytes == 20 * 10 * 4 + 10 * 4);
  std::vector<std::byte> memory(bytes + 4);
  CHECK(screen::open(std::span(memory).first(bytes - 1)).error() == error::memory);
  CHECK(screen::open(std::span(memory).subspan(1)).error() == error::pointer);
  CHECK(test.machine.console_has_screen);
  auto shown = screen::open(std::span(memory).first(bytes));
  REQUIRE(shown);
  CHECK(shown->row(9).data() == reinterpret_cast<colour *>(memory.data()) + 180);
}

TEST_CASE("screen: no memory") {
  with_screen test(20, 10, 80);
  u64 const longest = exo::system_pages.free().longest;
  auto const all = exo::pages::take(longest);
  REQUIRE(all);
  CHECK(screen::open().error() == error::memory);
  CHECK(test.machine.console_has_screen);
}

TEST_CASE("screen: both formats, with rows longer than their pixels") {
  for (u32 const gap : {0u, 4u, 12u, 100u}) {
    for (u16 const width : std::initializer_list<u16>{1, 3, 4, 5, 17, 64, 67}) {
      for (auto const &[format, pixel] : {std::pair{exo::screen_bgrx, 0x00112233u}, {exo::screen_rgbx, 0x00332211u}}) {
        with_screen test(width, 5, width * 4u + gap, format);
        auto shown = screen::open();
        REQUIRE(shown);
        shown->fill(ink);
        CHECK(shown->present() == width * 5u);
        for (u32 y = 0; y < 5; ++y) {
          for (u32 x = 0; x < width; ++x) REQUIRE(test.shown(x, y) == pixel);
        }
        CHECK(test.gaps_untouched());
      }
    }
  }
}

TEST_CASE("screen: the first time shows all of it") {
  with_screen test(50, 4, 220);
  auto shown = screen::open();
  shown->pixel(1, 1, ink);
  CHECK(shown->present() == 200);
  CHECK(test.shown(1, 1) == 0x112233);
  CHECK(test.shown(49, 3) == 0);
  CHECK(test.gaps_untouched());
}

TEST_CASE("screen: later only what changed") {
  with_screen test(100, 20, 400);
  auto shown = screen::open();
  shown->present();
  test.scrub();
  CHECK(shown->present() == 0);

  // Lines of 16 pixels are shown whole.
  shown->pixel(17, 3, ink);
  CHECK(shown->present() == 16);
  CHECK(test.shown(17, 3) == 0x112233);
  CHECK(test.shown(16, 3) == 0);
  CHECK(test.shown(31, 3) == 0);
  CHECK(test.is_scrubbed(15, 3));
  CHECK(test.is_scrubbed(32, 3));
  CHECK(test.is_scrubbed(17, 2));
  CHECK(test.is_scrubbed(17, 4));

  // The last line is shorter, and the row ends there.
  shown->pixel(99, 19, ink);
  CHECK(shown->present() == 4);
  // What lies between two changes of a row goes along, what was cut off does not count.
  shown->pixel(0, 0, ink);
  shown->pixel(40, 0, ink);
  shown->pixel(100, 5, ink);
  shown->fill({-50, -50, 10, 10}, ink);
  shown->text(-100, 8, "x", ink);
  CHECK(shown->present() == 48);
  CHECK(shown->present() == 0);
}

TEST_CASE("screen: some rows only") {
  with_screen test(16, 8, 64);
  auto shown = screen::open();
  shown->present();
  shown->fill(ink);
  test.scrub();
  CHECK(shown->present(2, 4) == 32);
  CHECK(test.is_scrubbed(0, 1));
  CHECK(test.shown(0, 2) == 0x112233);
  CHECK(test.is_scrubbed(0, 4));
  CHECK(shown->present(4, 2) == 0);
  CHECK(shown->present(100, 200) == 0);
  CHECK(shown->present(6, ~0u) == 32);
  CHECK(shown->present() == 64);
}

TEST_CASE("screen: what is shown is what was drawn, whatever that was") {
  with_screen test(70, 40, 300, exo::screen_rgbx);
  auto shown = screen::open();
  std::mt19937 random(7);
  std::vector<colour> const stamp(12, colour(9, 8, 7));
  for (int turn = 0; turn < 2000; ++turn) {
    auto const place = [&](int limit) { return static_cast<exo::i32>(random() % static_cast<u32>(3 * limit)) - limit; };
    colour const any(static_cast<u8>(random()), static_cast<u8>(random()), static_cast<u8>(random()));
    auto const length = static_cast<u32>(random() % 80);
    switch (random() % 5) {
      case 0: shown->pixel(place(70), place(40), any); break;
      case 1: shown->fill({place(70), place(40), length, static_cast<u32>(random() % 30)}, any); break;
      case 2: shown->blit(place(70), place(40), stamp, 4); break;
      case 3: shown->text(place(70), place(40), "text\nof two", any, 1 + length % 3); break;
      case 4: shown->span(place(70), place(40), length, any); break;
    }
    if (turn % 3 != 0) continue;
    shown->present();
    for (u32 y = 0; y < 40; ++y) {
      for (u32 x = 0; x < 70; ++x) {
        colour const c = shown->row(y)[x];
        REQUIRE(test.shown(x, y) == (u32{c.blue()} << 16 | u32{c.green()} << 8 | c.red()));
      }
    }
    REQUIRE(test.gaps_untouched());
  }
}

TEST_CASE("screen: cores draw and show different rows") {
  with_screen test(64, 256, 256);
  auto shown = screen::open();
  exo::parallel_for(0u, 256u, [&](u32 first, u32 end) {
    for (u32 y = first; y < end; ++y) shown->span(0, static_cast<exo::i32>(y), 64, colour(0, 0, static_cast<u8>(y)));
    shown->present(first, end);
  });
  CHECK(shown->present() == 0);
  for (u32 y = 0; y < 256; ++y) {
    CHECK(test.shown(0, y) == y);
    CHECK(test.shown(63, y) == y);
  }
}

TEST_CASE("screen: owned by one, and the note for the image maker") {
  STATIC_REQUIRE_FALSE(std::is_copy_constructible_v<screen>);
  STATIC_REQUIRE_FALSE(std::is_copy_assignable_v<screen>);
  STATIC_REQUIRE(std::is_nothrow_move_constructible_v<screen>);
  STATIC_REQUIRE(std::is_nothrow_move_assignable_v<screen>);
  u32 words[6];
  STATIC_REQUIRE(sizeof exo_wanted_screen == sizeof words);
  std::memcpy(words, &exo_wanted_screen, sizeof words);
  CHECK(words[0] == 6);
  CHECK(words[1] == 4);
  CHECK(words[2] == 1);
  CHECK(std::memcmp(&words[3], "Exo16\0\0\0", 8) == 0);
  CHECK(words[5] == (480u << 16 | 640u));
}
