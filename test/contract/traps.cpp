// trap_set: every vector that takes a handler, and those that do not.
// limit: 400
// boot:
// boot: --bochs
// boot: --native
// boot: --sim
#include "../boot/check.hpp"

using namespace check;

namespace {

constinit u64 skipped = 0;

void skip_ud2(trap_frame *state) {
  ++skipped;
  state->rip += 2;
}

void no_handler(trap_frame *) {}

}  // namespace

int main() {
  with_and_without_interrupts([] {
    auto const set = calling(core().trap_set);
    set.gives(0, 6, skip_ud2);
    for (u32 const none : {2u, 8u, 18u, 63u, 64u, 65u, 255u, 256u, 0x80000000u, ~0u}) {
      set.refuses(error::no_such, none, no_handler);
      set.refuses(error::no_such, none, nullptr);
    }
    skipped = 0;
    asm volatile("ud2");
    same(static_cast<i64>(skipped), 1);  // a refused call left it where it was
    for (u32 vector = 0; vector < 63; ++vector) {
      if (vector == 2 || vector == 8 || vector == 18) continue;
      set.gives(0, vector, no_handler);
      set.gives(0, vector, nullptr);
    }
    set.gives(0, 6, skip_ud2);
    asm volatile("ud2");
    same(static_cast<i64>(skipped), 2);
    set.gives(0, 6, nullptr);
  });
  return verdict();
}
