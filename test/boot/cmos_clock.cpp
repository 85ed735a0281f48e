// The CMOS clock, in all four ways in which it can write numbers: the argument is the second since 1970 that it was set to
// when the machine started. The machine's other clocks are not looked at: an emulator's may drift apart.
// boot: --args "946684798" -- -rtc base=1999-12-31T23:59:58
// boot: --args "1709207998" -- -rtc base=2024-02-29T11:59:58
// boot: --args "1709251198" -- -rtc base=2024-02-29T23:59:58
#include <exo/drivers/cmos_clock.hpp>
#include <charconv>
#include <string_view>

#include "check.hpp"

using namespace check;

namespace {

constexpr u8 reg_b = 0x0B, frozen = 0x80, binary = 0x04, hours_24 = 0x02;

u8 get(u8 reg) {
  port_out<u8>(0x70, reg);
  return port_in(0x71);
}

void put(u8 reg, u8 value) {
  port_out<u8>(0x70, reg);
  port_out<u8>(0x71, value);
}

i64 seconds_now(cmos_clock<> &clock, where at = where::current()) {
  auto const now = clock.read();
  if (now) return now->time_since_epoch().count();
  fail(at, "the clock does not tell the time:", static_cast<i64>(now.error()));
  return 0;
}

/// Reads until the next second begins; it is the one after this one.
i64 next_second(cmos_clock<> &clock) {
  i64 const first = seconds_now(clock);
  i64 now = first;
  for (u64 const end = ticks() + 60 * info().tsc_hz; now == first && ticks() < end;) now = seconds_now(clock);
  that(now > first, "the clock stands still");
  return now;
}

}  // namespace

int main(int argc, char **argv) {
  if (argc != 2) return 2;
  i64 start = 0;
  std::string_view const text = argv[1];
  std::from_chars(text.data(), text.data() + text.size(), start);

  cmos_clock<> clock(0x32), without_century;
  i64 const first = seconds_now(clock);
  that(first >= start && first < start + 300, "another time than the machine was started with");
  i64 last = next_second(clock);  // the day, month or year ends on the way
  while (last < start + 3) {
    i64 const now = next_second(clock);
    that(now > last, "the clock goes back");
    if (now <= last) return verdict();
    last = now;
  }
  i64 const without = seconds_now(without_century);
  that(without >= last && without <= last + 30, "another time without the century");

  u8 const usual = get(reg_b);
  for (u8 const mode : {u8{0}, binary, hours_24, u8{binary | hours_24}}) {
    put(reg_b, static_cast<u8>((usual & ~(binary | hours_24)) | mode));
    i64 const now = next_second(clock);  // the registers follow with the next second
    that(now > last && now <= last + 30, "another time in this mode");
    last = now;
  }
  put(reg_b, usual);
  last = next_second(clock);

  // What is no time is none. While it is being set, the clock stands.
  put(reg_b, usual | frozen);
  u8 const month = get(0x08), second = get(0x00);
  for (u8 const wrong : {u8{0x00}, u8{0x13}, u8{0x0A}, u8{0xFF}}) {
    put(0x08, wrong);
    auto const none = clock.read();
    that(!none && none.error() == error::io, "a month that is none is believed");
  }
  put(0x08, month);
  put(0x00, 0x60);
  that(!clock.read(), "a second that is none is believed");
  put(0x00, second);
  that(clock.read().has_value(), "the time is gone");
  put(reg_b, usual);
  return verdict();
}
