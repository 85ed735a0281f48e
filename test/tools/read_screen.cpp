// Reads what is on a screen of pixels, from a picture that QEMU's screendump made.
//
//   read_screen size FILE               width and height
//   read_screen pixel FILE X Y          a pixel as six hexadecimal digits, red green blue
//   read_screen console FILE            the console's text, without the blanks at ends of rows; DEL: no character
//   read_screen text FILE X Y SCALE RRGGBB COUNT
//                                       characters in a row that a program wrote in a colour, on any other
//
// Exit status 2: the picture is not whole (yet), or wrong use.

#include <exo/font.hpp>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <sstream>
#include <string>
#include <vector>

namespace font = exo::font;

namespace {

constexpr unsigned GREY = 0xaaaaaa, NARROW = 480, ROWS_MAX = 50;
constexpr char UNREADABLE = 127;

[[noreturn]] void refuse(char const *why) {
  std::fprintf(stderr, "read_screen: %s\n", why);
  std::exit(2);
}

struct picture {
  unsigned width = 0, height = 0;
  std::string bytes;

  explicit picture(char const *path) {
    std::ifstream file(path, std::ios::binary);
    std::string kind;
    unsigned most = 0;
    if (!(file >> kind >> width >> height >> most) || kind != "P6" || most != 255) refuse("not a whole picture");
    file.get();
    bytes.assign(std::istreambuf_iterator<char>(file), {});
    if (bytes.size() != std::size_t{width} * height * 3) refuse("not a whole picture");
  }

  unsigned at(unsigned x, unsigned y) const {
    if (x >= width || y >= height) refuse("outside the picture");
    auto const *pixel = reinterpret_cast<unsigned char const *>(&bytes[(std::size_t{y} * width + x) * 3]);
    return pixel[0] * 65536u + pixel[1] * 256u + pixel[2];
  }
};

/// The character whose dots, all pixels of them, have a colour, and all other pixels of the cell have not.
template <typename Inside, typename Outside>
char letter_at(picture const &from, unsigned left, unsigned top, unsigned scale, Inside is_ink, Outside is_paper) {
  for (char letter = font::first; letter <= font::last; ++letter) {
    font::glyph const &dots = font::of(letter);
    bool fits = true;
    for (unsigned y = 0; fits && y < font::cell_rows * scale; ++y) {
      for (unsigned x = 0; fits && x < font::cell_columns * scale; ++x) {
        unsigned const row = y / scale, column = x / scale;
        bool const dot = row < font::rows && column < font::columns && (dots[row] >> column & 1) != 0;
        unsigned const pixel = from.at(left + x, top + y);
        fits = dot ? is_ink(pixel) : is_paper(pixel);
      }
    }
    if (fits) return letter;
  }
  return UNREADABLE;
}

void print_console(picture const &from) {
  unsigned const scale = std::max(1u, from.width / NARROW);
  unsigned const columns = from.width / (font::cell_columns * scale);
  unsigned const rows = std::min(ROWS_MAX, from.height / (font::cell_rows * scale));
  for (unsigned row = 0; row < rows; ++row) {
    std::string line;
    for (unsigned column = 0; column < columns; ++column) {
      line += letter_at(
          from, column * font::cell_columns * scale, row * font::cell_rows * scale, scale,
          [](unsigned pixel) { return pixel == GREY; }, [](unsigned pixel) { return pixel == 0; });
    }
    line.erase(line.find_last_not_of(' ') + 1);
    std::printf("%s\n", line.c_str());
  }
  // Where no cell is there is nothing either.
  for (unsigned y = 0; y < from.height; ++y) {
    for (unsigned x = 0; x < from.width; ++x) {
      bool const cell = x < columns * font::cell_columns * scale && y < rows * font::cell_rows * scale;
      if (!cell && from.at(x, y) != 0) {
        std::printf("pixel %u %u beside the text is not black\n", x, y);
        return;
      }
    }
  }
}

unsigned number(char const *text, int base = 10) { return static_cast<unsigned>(std::strtoul(text, nullptr, base)); }

}  // namespace

int main(int count, char **words) {
  std::string const what = count > 2 ? words[1] : "";
  if (what == "size" && count == 3) {
    picture const from(words[2]);
    std::printf("%u %u\n", from.width, from.height);
  } else if (what == "pixel" && count == 5) {
    std::printf("%06x\n", picture(words[2]).at(number(words[3]), number(words[4])));
  } else if (what == "console" && count == 3) {
    print_console(picture(words[2]));
  } else if (what == "text" && count == 8) {
    picture const from(words[2]);
    unsigned const scale = number(words[5]), ink = number(words[6], 16);
    std::string line;
    for (unsigned column = 0; column < number(words[7]); ++column) {
      line += letter_at(
          from, number(words[3]) + column * font::cell_columns * scale, number(words[4]), scale,
          [=](unsigned pixel) { return pixel == ink; }, [=](unsigned pixel) { return pixel != ink; });
    }
    std::printf("%s\n", line.c_str());
  } else {
    refuse("wrong use; see its first lines");
  }
}
