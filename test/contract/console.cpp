// console_write and console_read: what they return, what they refuse, and text that comes out whole.
// prints: exact text|
// prints: 1 of 3 bytes|
// limit: 400
// boot:
// boot: --bochs
// boot: --native
// boot: --sim
#include "../boot/check.hpp"

using namespace check;

namespace {

void good() {
  calling(core().console_write).gives(12, "exact text|\n", 12);
  calling(core().console_write).gives(1, "1 of 3 bytes|\n", 1);
  calling(core().console_write).gives(13, " of 3 bytes|\n", 13);
  calling(core().console_write).gives(0, "unseen", 0);
  char text[4] = {1, 2, 3, 4};
  calling(core().console_read).gives(0, text, 4);  // nobody types
  calling(core().console_read).gives(0, text, 0);
  calling(core().console_read).gives(0, text, ~u64{0});
  that(text[0] == 1 && text[3] == 4, "console_read wrote without input");
}

void bad() {
  calling(core().console_write).refuses(error::pointer, nullptr, 0);
  calling(core().console_write).refuses(error::pointer, nullptr, 5);
  calling(core().console_write).refuses(error::range, "wraps", ~u64{0});
  calling(core().console_write).refuses(error::range, "wraps", u64{1} << 63);
  calling(core().console_read).refuses(error::pointer, nullptr, 0);
  calling(core().console_read).refuses(error::pointer, nullptr, 5);
}

}  // namespace

int main() {
  with_and_without_interrupts([] {
    good();
    bad();
  });
  return verdict();
}
