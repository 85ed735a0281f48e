#include <exo/canvas.hpp>

#include <catch2/catch.hpp>
#include <cstdint>
#include <limits>
#include <random>
#include <string>
#include <vector>

using exo::canvas;
using exo::colour;
using exo::i32;
using exo::u32;

namespace {

constexpr colour ink{1, 2, 3};
constexpr colour paper{4, 5, 6};
constexpr i32 low = std::numeric_limits<i32>::min();
constexpr i32 high = std::numeric_limits<i32>::max();
constexpr u32 most = std::numeric_limits<u32>::max();

/// Pixels in memory that ends where they end, so that the sanitizer sees every byte beside them.
struct picture {
  std::vector<colour> pixels;
  u32 width;
  canvas drawn;

  picture(u32 across, u32 down) : pixels(std::size_t{across} * down), width(across), drawn(pixels, across) {}

  colour at(i32 x, i32 y) const { return pixels[static_cast<std::size_t>(y) * width + static_cast<std::size_t>(x)]; }

  /// Rows of # for pixels that are not black.
  std::string art() const {
    std::string text;
    for (std::size_t at = 0; at < pixels.size(); ++at) {
      text += pixels[at] == exo::black ? '.' : '#';
      if (at % width == width - 1) text += '\n';
    }
    return text;
  }
};

}  // namespace

TEST_CASE("canvas: colours") {
  colour const c(0x11, 0x22, 0x33);
  CHECK(c.red() == 0x11);
  CHECK(c.green() == 0x22);
  CHECK(c.blue() == 0x33);
  CHECK(colour() == exo::black);
  CHECK(exo::white == colour(255, 255, 255));
}

TEST_CASE("canvas: sizes") {
  std::vector<colour> pixels(10);
  CHECK(canvas(pixels, 3).height() == 3);
  CHECK(canvas(pixels, 0).height() == 0);
  CHECK(canvas(pixels, 11).height() == 0);
  CHECK(canvas(pixels, 3).row(2).size() == 3);
  CHECK(canvas(pixels, 3).row(3).empty());
  canvas none;
  none.fill(ink);
  none.pixel(0, 0, ink);
  none.text(0, 0, "text", ink);
  CHECK(none.width() == 0);
}

TEST_CASE("canvas: a pixel, and none outside") {
  picture p(3, 2);
  p.drawn.pixel(2, 1, ink);
  CHECK(p.art() == "...\n..#\n");
  for (auto const &[x, y] : std::vector<std::pair<i32, i32>>{
           {-1, 0}, {3, 0}, {0, -1}, {0, 2}, {low, low}, {high, high}, {low, 0}, {0, high}}) {
    p.drawn.pixel(x, y, ink);
  }
  CHECK(p.art() == "...\n..#\n");
}

TEST_CASE("canvas: rectangles are cut at all sides") {
  struct example {
    exo::rectangle part;
    char const *art;
  };
  for (example const &each : {example{{1, 1, 2, 1}, "....\n.##.\n....\n"},
                              {{-1, -1, 2, 2}, "#...\n....\n....\n"},
                              {{3, 2, 5, 5}, "....\n....\n...#\n"},
                              {{-5, 1, most, 1}, "....\n####\n....\n"},
                              {{1, -5, 1, most}, ".#..\n.#..\n.#..\n"},
                              {{low, low, most, most}, "####\n####\n####\n"},
                              {{low, low, 1u << 31, 1u << 31}, "....\n....\n....\n"},
                              {{high, high, most, most}, "....\n....\n....\n"},
                              {{4, 0, 1, 1}, "....\n....\n....\n"},
                              {{0, 3, 1, 1}, "....\n....\n....\n"},
                              {{1, 1, 0, 5}, "....\n....\n....\n"},
                              {{1, 1, 5, 0}, "....\n....\n....\n"}}) {
    picture p(4, 3);
    p.drawn.fill(each.part, ink);
    CHECK(p.art() == each.art);
  }
  picture p(4, 1);
  p.drawn.span(-1, 0, 3, ink);
  p.drawn.span(0, 1, 3, ink);
  CHECK(p.art() == "##..\n");
  p.drawn.fill(paper);
  CHECK(p.at(3, 0) == paper);
}

TEST_CASE("canvas: pictures are cut at all sides") {
  picture small(3, 2);
  for (u32 at = 0; at < 6; ++at) small.pixels[at] = colour(0, 0, static_cast<exo::u8>(at + 1));
  for (i32 x = -5; x <= 6; ++x) {
    for (i32 y = -5; y <= 6; ++y) {
      picture p(4, 3);
      p.drawn.blit(x, y, small.drawn);
      for (i32 column = 0; column < 4; ++column) {
        for (i32 row = 0; row < 3; ++row) {
          bool const inside = column >= x && column < x + 3 && row >= y && row < y + 2;
          CHECK(p.at(column, row) == (inside ? small.at(column - x, row - y) : exo::black));
        }
      }
    }
  }
  picture p(4, 3);
  p.drawn.blit(low, low, small.pixels, 3);
  p.drawn.blit(high, high, small.pixels, 3);
  p.drawn.blit(0, 0, small.pixels, 0);
  p.drawn.blit(0, 0, small.pixels, 7);  // not one whole row
  p.drawn.blit(0, 0, std::span<colour const>(), 3);
  CHECK(p.art() == "....\n....\n....\n");
  p.drawn.blit(0, 0, small.pixels, 4);  // a row, and two pixels too few for another
  CHECK(p.art() == "####\n....\n....\n");
}

TEST_CASE("canvas: a picture wider than the canvas") {
  std::vector<colour> const wide(1000, ink);
  picture p(2, 2);
  p.drawn.blit(-400, 1, wide, 1000);
  CHECK(p.art() == "..\n##\n");
}

TEST_CASE("canvas: text") {
  picture p(12, 10);
  p.drawn.text(0, 1, "A!", ink);
  CHECK(p.art() == "............\n"
                   ".###....#...\n"
                   "#...#...#...\n"
                   "#...#...#...\n"
                   "#...#...#...\n"
                   "#####...#...\n"
                   "#...#.......\n"
                   "#...#...#...\n"
                   "............\n"
                   "............\n");
}

TEST_CASE("canvas: text at a scale is the text with bigger dots") {
  picture small(30, 30);
  picture big(90, 90);
  small.drawn.text(2, 3, "gX\n|", ink);
  big.drawn.text(6, 9, "gX\n|", ink, 3);
  for (i32 x = 0; x < 90; ++x) {
    for (i32 y = 0; y < 90; ++y) REQUIRE(big.at(x, y) == small.at(x / 3, y / 3));
  }
}

TEST_CASE("canvas: text on paper, and characters that the font lacks") {
  picture p(12, 9);
  p.drawn.text(0, 0, "? ", ink, paper, 1);
  picture q(12, 9);
  q.drawn.text(0, 0, "\x80\t", ink, paper, 1);
  for (i32 y = 0; y < 9; ++y) {
    for (i32 x = 0; x < 6; ++x) CHECK(p.at(x, y) == q.at(x, y));
    for (i32 x = 6; x < 12; ++x) CHECK(p.at(x, y) == paper);
  }
  CHECK(p.at(0, 0) == paper);
  CHECK(p.at(1, 0) == ink);
}

TEST_CASE("canvas: text is cut at all sides, at any place and scale") {
  std::string const text = "Exo16 \n\n fits\nin 16 KiB";
  picture whole(400, 200);
  whole.drawn.text(100, 100, text, ink);
  for (i32 x = -140; x <= 20; x += 3) {
    for (i32 y = -40; y <= 12; y += 3) {
      picture p(10, 7);
      p.drawn.text(x, y, text, ink);
      for (i32 column = 0; column < 10; ++column) {
        for (i32 row = 0; row < 7; ++row) {
          REQUIRE(p.at(column, row) == whole.at(column - x + 100, row - y + 100));
        }
      }
    }
  }
  std::mt19937 random(1);
  for (int turn = 0; turn < 3000; ++turn) {
    picture p(5, 5);
    auto const number = [&] { return static_cast<i32>(random()) >> random() % 31; };
    auto const scale = static_cast<u32>(random()) >> random() % 32;
    p.drawn.text(number(), number(), text, ink, scale);
    p.drawn.text(number(), number(), text, ink, paper, scale);
  }
  picture p(5, 5);
  p.drawn.text(low, low, std::string(1000, '\n') + std::string(1000, 'x'), ink, most);
  p.drawn.text(high, high, text, ink, most);
  p.drawn.text(0, 0, text, ink, 0);
  CHECK(p.art() == ".....\n.....\n.....\n.....\n.....\n");
}

TEST_CASE("canvas: drawing while compiling") {
  constexpr bool right = [] {
    colour pixels[4];
    canvas drawn(pixels, 2);
    drawn.fill({1, 0, 5, 5}, ink);
    return pixels[0] == exo::black && pixels[1] == ink && pixels[3] == ink;
  }();
  STATIC_REQUIRE(right);
}

TEST_CASE("canvas: the font") {
  CHECK(exo::font::of('A')[0] == 0b01110);
  CHECK(exo::font::of(' ') == exo::font::glyph{});
  CHECK(exo::font::of('L')[1] == 0b00001);
  CHECK(exo::font::of('\x7F') == exo::font::of('?'));
  CHECK(exo::font::of('\xFF') == exo::font::of('?'));
  // A test reads text back by its dots: no two characters may look the same.
  for (char a = exo::font::first; a <= exo::font::last; ++a) {
    for (char b = exo::font::first; b < a; ++b) CHECK(exo::font::of(a) != exo::font::of(b));
  }
}
