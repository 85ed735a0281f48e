#include <exo/drivers/scsi.hpp>

#include <catch2/catch.hpp>
#include <vector>

using namespace exo;

namespace {

std::array<u8, scsi::capacity_bytes> answer(u64 last, u32 bytes) {
  std::array<u8, scsi::capacity_bytes> made{};
  scsi::store(std::span(made).first(8), last);
  scsi::store(std::span(made).subspan(8, 4), bytes);
  return made;
}

std::vector<u8> bytes_of(scsi::command const &command) { return {command.begin(), command.end()}; }

}  // namespace

TEST_CASE("scsi: reads and writes have the highest byte first") {
  CHECK(bytes_of(scsi::transfer(false, 0x0102030405060708, 0x090A0B0C)) ==
        std::vector<u8>{0x88, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 0, 0});
  CHECK(scsi::transfer(true, 0, 1)[0] == 0x8A);
  CHECK(bytes_of(scsi::read_capacity()) == std::vector<u8>{0x9E, 0x10, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 32, 0, 0});
  CHECK(bytes_of(scsi::report_luns(4096)) == std::vector<u8>{0xA0, 0, 0, 0, 0, 0, 0, 0, 0x10, 0, 0, 0, 0, 0, 0, 0});
}

TEST_CASE("scsi: commands that clear, with what they send along") {
  CHECK(bytes_of(scsi::unmap()) == std::vector<u8>{0x42, 0, 0, 0, 0, 0, 0, 0, 24, 0, 0, 0, 0, 0, 0, 0});
  scsi::unmap_list const list = scsi::unmap_list_of(0x0102030405060708, 0x090A0B0C);
  CHECK(std::vector<u8>(list.begin(), list.end()) ==
        std::vector<u8>{0, 22, 0, 16, 0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 0, 0, 0, 0});
  CHECK(bytes_of(scsi::write_same(0x0102030405060708, 0x090A0B0C)) ==
        std::vector<u8>{0x93, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 0, 0});
}

TEST_CASE("scsi: how a disk clears blocks, and how many at once") {
  std::array<u8, scsi::provisioning_bytes> ways{0, 0xB2, 0, 4, 0, 0xC0};
  std::array<u8, scsi::limits_bytes> limits{0, 0xB0, 0, 0x3C};
  auto const is = [&](u64 unmap, u64 write_same) {
    scsi::clearing const most = scsi::clearing_of(ways, limits);
    CHECK(most.unmap == unmap);
    CHECK(most.write_same == write_same);
  };
  scsi::store(std::span(limits).subspan(20, 4), 0x1000);
  is(0, ~u64{0});  // no descriptors, no limit
  scsi::store(std::span(limits).subspan(24, 4), 1);
  scsi::store(std::span(limits).subspan(36, 8), 0x2000);
  is(0x1000, 0x2000);
  ways[5] = 0x80;
  is(0x1000, 0);
  ways[5] = 0x40;
  is(0, 0x2000);
  ways[5] = 0xC0;
  limits[1] = 0;  // another page, or none
  is(0, ~u64{0});
  ways[1] = 0;
  is(0, 0);
}

TEST_CASE("scsi: a size is one more than the last block") {
  auto const size = scsi::capacity_of(answer(0x1FFFF, 4096));
  REQUIRE(size);
  CHECK(size->blocks == 0x20000);
  CHECK(size->block_bytes == 4096);
  CHECK_FALSE(size->provisioned);
  auto thin = answer(0x1FFFF, 4096);
  thin[14] = 0x80;
  CHECK(scsi::capacity_of(thin)->provisioned);
}

TEST_CASE("scsi: sizes that cannot be") {
  for (u32 const bytes : {0u, 1u, 256u, 513u, 520u, 4095u, ~0u}) CHECK_FALSE(scsi::capacity_of(answer(100, bytes)));
  CHECK_FALSE(scsi::capacity_of(answer(~u64{0}, 512)));
  CHECK_FALSE(scsi::capacity_of(answer(~u64{0} / 512, 512)));
  CHECK(scsi::capacity_of(answer(~u64{0} / 512 - 1, 512)));
}

TEST_CASE("scsi: what a command ended with, by status and both forms of sense") {
  u8 sense[18]{};
  auto const outcome = [&](u8 status, u8 form, u8 key) {
    sense[0] = form;
    sense[(form & 0x7F) >= 0x72 ? 1 : 2] = key;
    return scsi::outcome_of(status, sense);
  };
  for (u8 const form : {0x70, 0x71, 0xF0, 0x72, 0x73}) {
    CHECK(outcome(0, form, 3) == scsi::outcome::good);
    CHECK(outcome(2, form, 1) == scsi::outcome::good);
    CHECK(outcome(2, form, 2) == scsi::outcome::other);
    CHECK(outcome(2, form, 3) == scsi::outcome::other);
    CHECK(outcome(2, form, 6) == scsi::outcome::attention);
    CHECK(outcome(2, form, 7) == scsi::outcome::protected_data);
    CHECK(outcome(2, form, 5) == scsi::outcome::other);
    CHECK(outcome(8, form, 1) == scsi::outcome::other);
  }
  CHECK(scsi::outcome_of(2, std::span(sense).first(2)) == scsi::outcome::other);
  CHECK(scsi::outcome_of(2, {}) == scsi::outcome::other);
}
