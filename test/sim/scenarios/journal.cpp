// A store of one number that grows: each new value goes to the other one of two blocks, and is promised to the user when it
// is flushed. After a power cut the number is at least the last one that was promised.
//
// With EXO_PLANTED the flush before the promise is missing.
#include <sim/scenario.hpp>

#include <exo/exo.hpp>

#include <charconv>
#include <cstring>
#include <string_view>

namespace {

constexpr exo::u64 last_number = 40;
constexpr exo::u64 magic = 0x6c616e72756f6a;

struct record {
  exo::u64 sign, number, inverse;
  [[nodiscard]] bool is_good() const { return sign == magic && inverse == ~number; }
};

int count() {
  auto memory = exo::pages::take(exo::page_bytes);
  auto rings = exo::pages::take(exo::page_bytes);
  exo::core().disk_open(0, 1, 16, rings->data(), rings->size());
  exo::u64 cookie = 0;
  // One operation at a time, to its end; false if the disk reports an error.
  auto const run = [&](exo::u64 kind, exo::u64 block) {
    exo::disk_op op{};
    op.kind = static_cast<exo::u8>(kind);
    op.cookie = ++cookie;
    op.block = block;
    op.address = reinterpret_cast<exo::u64>(memory->data());
    op.bytes = 512;
    if (exo::core().disk_submit(0, 0, &op, 1) != 1) exo::panic("the disk takes nothing");
    exo::completion done{};
    while (exo::core().disk_reap(0, 0, &done, 1) == 0) {
      if (exo::core().disk_arm(0, 0) == 0) exo::core().core_idle(exo::no_deadline);
    }
    return done.status == 0;
  };
  auto *const slot = reinterpret_cast<record *>(memory->data());
  exo::u64 number = 0;
  for (exo::u64 block = 0; block < 2; ++block) {
    while (!run(exo::disk_read, block)) {
    }
    if (slot->is_good() && slot->number > number) number = slot->number;
  }
  exo::print("found {}\n", number);
  while (number < last_number) {
    ++number;
    *slot = {magic, number, ~number};
    while (!run(exo::disk_write, number % 2)) {
    }
#ifndef EXO_PLANTED
    while (!run(exo::disk_flush, 0)) {
    }
#endif
    exo::print("promised {}\n", number);
  }
  return 0;
}

}  // namespace

void scenario(sim::setup &world) {
  sim::machine &store = world.add_machine("store", count);
  store.add_disk({.blocks = 16, .fail = 0.02, .slow = 0.02, .lose = 0.5, .tear = 0.5});
  store.cut = 0.8;
  store.cut_within = std::chrono::milliseconds(5);
}

void check(sim::outcome &after) {
  exo::u64 promised = 0;
  for (std::string_view text = after.output(0); !text.empty();) {
    std::string_view const line = text.substr(0, text.find('\n'));
    text.remove_prefix(std::min(text.size(), line.size() + 1));
    exo::u64 number = 0;
    std::from_chars(line.data() + line.find(' ') + 1, line.data() + line.size(), number);
    if (line.starts_with("promised")) promised = number;
    if (line.starts_with("found") && number < promised) return after.fail("a number that was promised is gone");
  }
}
