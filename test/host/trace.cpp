#include <catch2/catch.hpp>
#include <exo/trace.hpp>
#include <string>
#include <thread>
#include <vector>

#include "fake.hpp"

namespace trace = exo::trace;

namespace {

/// Rings are made once for a process, so each case begins with none.
struct rings {
  explicit rings(exo::u64 records) {
    trace::detail::rings = nullptr;
    trace::detail::own = nullptr;
    exo::system_pages.start(exo::info().memory);
    REQUIRE(trace::start(records).has_value());
  }
  ~rings() {
    exo::u64 const cores = exo::info().cores.size();
    auto *const all = trace::detail::rings.exchange(nullptr);
    exo::u64 const records = all[0].mask + 1;
    exo::system_pages.give(reinterpret_cast<exo::u64>(all), cores * (sizeof(*all) + records * sizeof(trace::detail::record)));
    trace::detail::own = nullptr;
  }
};

std::vector<std::string> written() {
  std::vector<std::string> lines;
  trace::write([&](std::string_view line) { lines.emplace_back(line); });
  return lines;
}

std::size_t count_of(std::vector<std::string> const &lines, std::string_view part) {
  return static_cast<std::size_t>(std::ranges::count_if(lines, [&](std::string const &line) { return line.contains(part); }));
}

}  // namespace

TEST_CASE("without rings nothing is recorded and the trace is empty") {
  fake::machine machine;
  trace::detail::rings = nullptr;
  trace::detail::own = nullptr;
  trace::mark("nothing");
  CHECK(written() == std::vector<std::string>{R"({"displayTimeUnit":"ns","traceEvents":[)", "]}"});
}

TEST_CASE("a trace refuses sizes that are none, and a second start") {
  fake::machine machine;
  exo::system_pages.start(exo::info().memory);
  CHECK(trace::start(0).error() == exo::error::range);
  CHECK(trace::start(100).error() == exo::error::range);
  CHECK(trace::start(exo::u64{1} << 30).error() == exo::error::memory);
  rings const all(16);
  CHECK(trace::start(16).error() == exo::error::busy);
}

TEST_CASE("a ring keeps the newest records") {
  fake::machine machine;
  rings const all(16);
  for (exo::u64 value = 0; value < 100; ++value) trace::count("value", value);
  auto const lines = written();
  CHECK(count_of(lines, R"("name":"value")") == 16);
  CHECK(count_of(lines, R"("value":83})") == 0);
  CHECK(count_of(lines, R"("value":84})") == 1);
  CHECK(count_of(lines, R"("value":99})") == 1);
}

TEST_CASE("a place that is taken but not written yet is left out") {
  fake::machine machine;
  rings const all(16);
  for (exo::u64 value = 0; value < 20; ++value) trace::count("value", value);
  auto &ring = trace::detail::rings.load()[exo::local().index];
  (void)trace::detail::take_place(ring);
  auto const lines = written();
  CHECK(count_of(lines, R"("name":"value")") == 15);
  CHECK(count_of(lines, R"("value":4})") == 0);
}

TEST_CASE("names and quotes are JSON") {
  fake::machine machine;
  rings const all(16);
  trace::mark("a \"b\" \\ \n");
  CHECK(count_of(written(), R"("name":"a \"b\" \\ \u000a")") == 1);
}

TEST_CASE("a trace that is written while its core records has only whole records") {
  fake::machine machine;
  rings const all(16);
  std::atomic<bool> stop = false;
  exo::core_local *const here = exo::host_local;
  std::thread recorder([&] {
    exo::host_local = here;
    while (!stop) {
      trace::count("even", 2);
      trace::mark("mark");
    }
    trace::detail::own = nullptr;
  });
  for (int turn = 0; turn < 300; ++turn) {
    for (auto const &line : written()) {
      if (line.contains("even")) CHECK(line.contains(R"("value":2})"));
    }
  }
  stop = true;
  recorder.join();
}
