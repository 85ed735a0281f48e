#include "../../apps/wordcount/options.hpp"
#include "../../apps/wordcount/report.hpp"

#include <catch2/catch.hpp>
#include <string>
#include <vector>

namespace {

using namespace wordcount;

frequent_word word(u64 count, std::string_view text) {
  frequent_word shown{count, text.size(), {}};
  std::copy_n(text.begin(), std::min(text.size(), shown.text.size()), shown.text.begin());
  return shown;
}

std::string written(summary const &found) {
  char text[report_bytes];
  exo::text_sink out(text);
  write_report(out, found);
  return std::string(out.text());
}

std::optional<options> read(std::vector<std::string> arguments, std::string *wrong = nullptr) {
  std::vector<char *> pointers;
  for (std::string &each : arguments) pointers.push_back(each.data());
  return read_options(pointers, [&](std::string_view argument) {
    if (wrong) *wrong = argument;
  });
}

TEST_CASE("wordcount: a report is three counts and words as uniq -c prints them") {
  CHECK(written({}) == "lines 0\nwords 0\nbytes 0\n");
  summary found{.lines = 2, .words = 30, .bytes = 400, .top = {}};
  found.top[0] = word(12345678, "the");
  found.top[1] = word(9, "caf\xc3\xa9");
  found.top[2] = word(8, std::string_view("\x1b[2J\0\x7f", 6));
  CHECK(written(found) ==
        "lines 2\nwords 30\nbytes 400\n12345678 the\n      9 caf\xc3\xa9\n      8 \\x1b[2J\\x00\\x7f\n");
}

TEST_CASE("wordcount: a long word is cut, and its length told") {
  summary found;
  found.top[0] = word(2, std::string(76, 'x'));
  found.top[1] = word(1, std::string(77, 'y'));
  found.top[2] = word(1, std::string(20, '\1'));
  std::string const report = written(found);
  CHECK(report.find("2 " + std::string(76, 'x') + "\n") != report.npos);
  CHECK(report.find("1 " + std::string(76, 'y') + "... (77 bytes)\n") != report.npos);
  CHECK(report.find("\\x01... (20 bytes)\n") != report.npos);
}

TEST_CASE("wordcount: the longest report fits a UDP message") {
  constexpr u64 most = ~u64{0};
  summary found{.lines = most, .words = most, .bytes = most, .top = {}};
  for (frequent_word &each : found.top) {
    each = word(most, std::string(100, 'x'));
    each.bytes = most;
  }
  std::string const report = written(found);
  CHECK(report.size() < report_bytes);
  CHECK(report.ends_with("bytes)\n"));
}

TEST_CASE("wordcount: options") {
  auto const plain = read({});
  REQUIRE(plain);
  CHECK(!plain->bytes);
  CHECK(plain->port == 7777);
  CHECK(!plain->once);
  CHECK(!plain->quit);
  CHECK(plain->network.address == exo::net::ipv4_address(10, 0, 2, 15));
  auto const all = read(
      {"bytes=18446744073709551615", "once", "quit", "port=7", "ip=192.168.1.2/16", "gateway=192.168.0.1"});
  REQUIRE(all);
  CHECK(all->bytes == ~u64{0});
  CHECK(all->port == 7);
  CHECK(all->once);
  CHECK(all->quit);
  CHECK(all->network.address == exo::net::ipv4_address(192, 168, 1, 2));
  for (std::string const argument : {"bytes=", "bytes=x", "bytes=1 ", "bytes=-1", "bytes=18446744073709551616", "bytes",
                                     "port=0", "port=65536", "twice", "once=1", "", "ip", "ip=1.2.3.4", "quit="}) {
    std::string wrong = "none";
    CHECK(!read({argument}, &wrong));
    CHECK((wrong == argument || argument.starts_with("ip")));
  }
}

}  // namespace
