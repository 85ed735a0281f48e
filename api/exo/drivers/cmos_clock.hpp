// The CMOS clock (MC146818 and what firmware shows as one): date and time to the second, which go on without power.
//
//   exo::cmos_clock clock;
//   if (auto const now = clock.read()) exo::print("{}\n", now->time_since_epoch().count());
//
// Whether it shows UTC or local time is up to who has set it. One core at a time uses it, and no firmware code meanwhile.
// SPEC  Motorola MC146818A data sheet, §Address map, §Update cycle; ACPI 6.5 §5.2.9 (FADT, CENTURY)
#pragma once

#include <array>
#include <chrono>
#include <utility>

#include "../lock.hpp"
#include "../port.hpp"
#include "../result.hpp"
#include "../time.hpp"

namespace exo {

/// A CMOS clock. Ports is machine_ports, or what a test puts in their place.
template <byte_ports Ports = machine_ports>
class cmos_clock {
 public:
  /// @param century  the register that the FADT names at its offset 108, most often 0x32. Without one the years are 1980 to
  ///                 2079
  explicit cmos_clock(u8 century = 0, Ports ports = {}) noexcept : ports_(ports), century_(century) {}

  /// The date and time that the clock shows.
  ///
  /// @error no_such  there is no such clock
  /// @error timeout  it says that it is changing, for longer than it may
  /// @error io       its battery is empty, or it shows no date or time
  /// @core           one at a time
  [[nodiscard]] result<std::chrono::local_seconds> read() noexcept {
    if (get(reg_a) == nothing && get(reg_b) == nothing) return std::unexpected(error::no_such);
    if ((get(reg_d) & valid) == 0) return std::unexpected(error::io);
    // The registers change one after the other: two equal readings in a row, none of them taken while they do, are right.
    result<readings> before = take();
    for (u32 attempt = 0; before && attempt < attempts; ++attempt) {
      result<readings> const now = take();
      if (now && *now == *before) return decode(*now);
      before = now;
    }
    return std::unexpected(before ? error::timeout : before.error());
  }

 private:
  static constexpr u16 index_port = 0x70, data_port = 0x71;
  static constexpr u8 reg_a = 0x0A, reg_b = 0x0B, reg_d = 0x0D;
  static constexpr u8 updating = 0x80;                 // register A
  static constexpr u8 binary = 0x04, hours_24 = 0x02;  // register B
  static constexpr u8 valid = 0x80;                    // register D
  static constexpr u8 afternoon = 0x80;                // hours, where there are 12
  static constexpr u8 nothing = 0xFF;
  static constexpr auto update_patience = std::chrono::milliseconds(20);  // an update takes 2.3 ms
  static constexpr u32 attempts = 8;

  enum field { second, minute, hour, day, month, year, century, mode, fields };
  using readings = std::array<u8, fields>;
  static constexpr std::array<u8, century> registers = {0x00, 0x02, 0x04, 0x07, 0x08, 0x09};

  [[nodiscard]] u8 get(u8 reg) noexcept {
    ports_.out(index_port, reg);
    return ports_.in(data_port);
  }

  [[nodiscard]] result<readings> take() noexcept {
    u64 const deadline = deadline_in(update_patience);
    while ((get(reg_a) & updating) != 0) {
      if (ticks() >= deadline) return std::unexpected(error::timeout);
      pause();
    }
    readings all{};
    for (u32 each = 0; each < registers.size(); ++each) all[each] = get(registers[each]);
    if (century_ != 0) all[century] = get(century_);
    all[mode] = get(reg_b);
    return all;
  }

  [[nodiscard]] result<std::chrono::local_seconds> decode(readings const &all) const noexcept {
    bool good = true;
    auto const number = [&](u8 value) -> unsigned {
      if ((all[mode] & binary) != 0) return value;
      good = good && value % 16 <= 9 && value / 16 <= 9;
      return value / 16 * 10u + value % 16;
    };
    unsigned hours = 0;
    if ((all[mode] & hours_24) != 0) {
      hours = number(all[hour]);
    } else {
      hours = number(static_cast<u8>(all[hour] & ~afternoon));
      good = good && hours >= 1 && hours <= 12;
      hours = hours % 12 + ((all[hour] & afternoon) != 0 ? 12 : 0);
    }
    unsigned const minutes = number(all[minute]), seconds = number(all[second]);
    unsigned const short_year = number(all[year]), hundreds = century_ != 0 ? number(all[century]) : 0;
    unsigned const years = century_ != 0 ? hundreds * 100 + short_year : short_year + (short_year < 80 ? 2000 : 1900);
    std::chrono::year_month_day const date(std::chrono::year(static_cast<int>(years)), std::chrono::month(number(all[month])),
                                           std::chrono::day(number(all[day])));
    if (!good || !date.ok() || short_year > 99 || hundreds > 99 || hours > 23 || minutes > 59 || seconds > 59) {
      return std::unexpected(error::io);
    }
    return std::chrono::local_days(date) + std::chrono::hours(hours) + std::chrono::minutes(minutes) +
           std::chrono::seconds(seconds);
  }

  Ports ports_;
  u8 century_;
};

}  // namespace exo
