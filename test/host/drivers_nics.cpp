#include <exo/drivers/cmos_clock.hpp>
#include <exo/drivers/list.hpp>

#include <array>
#include <catch2/catch.hpp>
#include <vector>

#include "fake.hpp"

using namespace exo;
using namespace std::chrono_literals;

namespace {

/// A clock's registers: it shows 12:31:00 on 29 February 2024, in decimal digits and with 24 hours, after some seconds before.
struct clock_registers {
  std::array<u8, 128> all{};
  std::vector<u8> seconds_before{};
  u8 at = 0;

  clock_registers() {
    all[2] = 0x31, all[4] = 0x12, all[7] = 0x29, all[8] = 0x02, all[9] = 0x24, all[0x32] = 0x20;
    all[0x0B] = 0x02;
    all[0x0D] = 0x80;
  }
};
struct clock_ports {
  clock_registers *registers;

  u8 in(u16) noexcept {
    if (registers->at != 0 || registers->seconds_before.empty()) return registers->all[registers->at];
    u8 const second = registers->seconds_before.front();
    registers->seconds_before.erase(registers->seconds_before.begin());
    return second;
  }
  void out(u16, u8 value) noexcept { registers->at = value; }
};

}  // namespace

TEST_CASE("rtl8139: headers that can be") {
  using header = detail::rtl8139_header;
  for (u16 const bytes : {18, 64, 1518, 1522}) CHECK(header{1, bytes}.plausible());
  CHECK(header{0x6001, 64}.plausible());
  for (u16 const bytes : {0, 4, 17, 1523, 0xFFF0, 0xFFFF}) CHECK_FALSE(header{1, bytes}.plausible());
  CHECK_FALSE(header{0, 64}.plausible());
  CHECK_FALSE(header{0x0002, 64}.plausible());
  CHECK(header{1, 64}.frame_bytes() == 60);
}

TEST_CASE("rtl8139: the next header lies at a multiple of four, behind the end at the beginning") {
  using header = detail::rtl8139_header;
  CHECK(header{1, 64}.next(0, 32768) == 68);
  CHECK(header{1, 65}.next(0, 32768) == 72);
  CHECK(header{1, 64}.next(32768 - 68, 32768) == 0);
  CHECK(header{1, 1518}.next(32768 - 4, 32768) == 1520);
}

TEST_CASE("ne2000: the ring of pages") {
  using ring = detail::ne2000_ring;
  CHECK(ring::before(ring::first) == ring::end - 1);
  CHECK(ring::before(ring::first + 1) == ring::first);
  CHECK(ring::bytes_between(ring::first, ring::first + 2) == 512);
  CHECK(ring::bytes_between(ring::end - 1, ring::first + 1) == 512);
  CHECK(ring::has(ring::first));
  CHECK_FALSE(ring::has(ring::end));
  CHECK_FALSE(ring::has(ring::first - 1));
}

TEST_CASE("ne2000: headers that can stand at a page") {
  using header = detail::ne2000_header;
  constexpr u8 page = 0x50;
  CHECK(header{0x01, 0x51, 64}.plausible(page));
  CHECK(header{0x21, 0x56, 1518}.plausible(page));
  CHECK(header{0x01, 0x4E, 1200}.plausible(0x7D));  // over the ring's end
  CHECK_FALSE(header{0x00, 0x51, 64}.plausible(page));
  CHECK_FALSE(header{0x01, 0x50, 64}.plausible(page));
  CHECK_FALSE(header{0x01, 0x80, 64}.plausible(page));
  CHECK_FALSE(header{0x01, 0x4B, 64}.plausible(page));
  CHECK_FALSE(header{0x01, 0x51, 17}.plausible(page));
  CHECK_FALSE(header{0x01, 0x51, 257}.plausible(page));
  CHECK_FALSE(header{0x01, 0x58, 1523}.plausible(page));
}

TEST_CASE("vmxnet3: completions that can come next") {
  using namespace detail::vmxnet3_layout;
  constexpr u32 whole = whole_frame;
  CHECK(plausible({5 | whole, 0, 1514, 0}, 5, 1536));
  CHECK(plausible({5 | whole, 0, 1536, 0}, 5, 1536));
  CHECK_FALSE(plausible({6 | whole, 0, 1514, 0}, 5, 1536));
  CHECK_FALSE(plausible({5 | whole | 1 << 16, 0, 1514, 0}, 5, 1536));
  CHECK_FALSE(plausible({5 | 1 << 14, 0, 1514, 0}, 5, 1536));
  CHECK_FALSE(plausible({5 | whole, 0, 1537, 0}, 5, 1536));
}

TEST_CASE("drivers: each function finds its header") {
  auto const header = [](u16 vendor, u16 device) {
    pci_record record{};
    record.vendor = vendor;
    record.device = device;
    return driver_header(record);
  };
  CHECK(header(0x10EC, 0x8139) == "exo/drivers/rtl8139.hpp");
  CHECK(header(0x10EC, 0x8029) == "exo/drivers/ne2000.hpp");
  CHECK(header(0x15AD, 0x07B0) == "exo/drivers/vmxnet3.hpp");
  CHECK(header(0x1AF4, 0x1003) == "exo/drivers/virtio_console.hpp");
  CHECK(header(0x1AF4, 0x1043) == "exo/drivers/virtio_console.hpp");
  CHECK(header(0x1AF4, 0x1005) == "exo/drivers/virtio_rng.hpp");
  CHECK(header(0x1AF4, 0x1044) == "exo/drivers/virtio_rng.hpp");
  CHECK(header(0x1AF4, 0x1004) == "exo/drivers/virtio_scsi.hpp");
  CHECK(header(0x1AF4, 0x1048) == "exo/drivers/virtio_scsi.hpp");
  CHECK(header(0x1AF4, 0x1041).empty());
  CHECK(header(0x8086, 0x8139).empty());
}

TEST_CASE("drivers: a function that is another device's is refused with a sentence") {
  pci_record record{};
  record.vendor = 0x8086;
  for (auto const &[why, sentence] : {rtl8139::open(record).error(), ne2000::open(record).error(),
                                      vmxnet3::open(record).error(), virtio_rng::open(record).error()}) {
    CHECK(why == error::no_such);
    CHECK(std::string_view(sentence).ends_with('.'));
  }
}

TEST_CASE("drivers: short frames are filled up with zeros") {
  std::byte buffer[64];
  std::ranges::fill(buffer, std::byte{0xEE});
  CHECK(pad_frame(buffer, 42) == 60);
  CHECK(buffer[41] == std::byte{0xEE});
  CHECK(buffer[42] == std::byte{});
  CHECK(buffer[59] == std::byte{});
  CHECK(buffer[60] == std::byte{0xEE});
  CHECK(pad_frame(buffer, 60) == 60);
  CHECK(pad_frame(buffer, 61) == 61);
}

TEST_CASE("cmos_clock: what it shows, in all ways to write hours and years") {
  fake::machine machine({.cores = 1});
  clock_registers registers;
  cmos_clock<clock_ports> clock(0x32, {&registers}), without_century(0, {&registers});
  auto const shows = [&](auto day, auto time) {
    auto const now = clock.read();
    return now && *now == std::chrono::local_days(day) + time;
  };
  auto const day = 2024y / 2 / 29;
  CHECK(shows(day, 12h + 31min));
  registers.seconds_before = {0x58, 0x59};  // it changes meanwhile
  CHECK(shows(day, 12h + 31min));

  registers.all[0x0B] = 0x00;
  struct hours {
    u8 shown;
    std::chrono::hours is;
  };
  for (hours const &each : {hours{0x12, 0h}, {0x01, 1h}, {0x11, 11h}, {0x92, 12h}, {0x81, 13h}, {0x91, 23h}}) {
    registers.all[4] = each.shown;
    CHECK(shows(day, each.is + 31min));
  }
  for (u8 const none : std::array<u8, 5>{0x00, 0x80, 0x13, 0x93, 0x0A}) {
    registers.all[4] = none;
    CHECK(clock.read().error() == error::io);
  }
  registers.all[0x0B] = 0x06;
  registers.all[2] = 59, registers.all[4] = 23, registers.all[9] = 99, registers.all[0x32] = 19;
  registers.all[7] = 28;
  CHECK(shows(1999y / 2 / 28, 23h + 59min));
  struct years {
    u8 shown;
    std::chrono::year is;
  };
  for (years const &each : {years{79, 2079y}, {80, 1980y}, {0, 2000y}}) {
    registers.all[9] = each.shown;
    auto const now = without_century.read();
    CHECK((now && std::chrono::year_month_day(std::chrono::floor<std::chrono::days>(*now)).year() == each.is));
  }
}

TEST_CASE("cmos_clock: none, one that does not stop changing, one without a battery, and what is no time") {
  fake::machine machine({.cores = 1});
  clock_registers registers;
  cmos_clock<clock_ports> clock(0x32, {&registers});
  clock_registers const good = registers;
  struct wrong {
    u8 at, value;
    error why;
  };
  for (wrong const &each : {wrong{0x0D, 0x00, error::io}, {0x0A, 0x80, error::timeout}, {0, 0x60, error::io}, {2, 0x60, error::io},
                            {4, 0x24, error::io}, {7, 0x30, error::io}, {8, 0x13, error::io}, {8, 0, error::io}, {9, 0x9A, error::io}}) {
    registers = good;
    registers.all[each.at] = each.value;
    auto const shown = clock.read();
    CHECK((!shown && shown.error() == each.why));
  }
  registers.all.fill(0xFF);
  CHECK(clock.read().error() == error::no_such);
}
