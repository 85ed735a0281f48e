#include <exo/arguments.hpp>

#include <catch2/catch.hpp>
#include <string>
#include <vector>

namespace {

std::vector<std::string> split(std::string line) {
  std::vector<char *> out(line.size() / 2 + 1);
  std::size_t const count = exo::split_arguments(line.data(), out);
  REQUIRE(count <= out.size());
  return {out.begin(), out.begin() + static_cast<std::ptrdiff_t>(count)};
}

using words = std::vector<std::string>;

}  // namespace

TEST_CASE("arguments: blanks separate") {
  CHECK(split("").empty());
  CHECK(split("  \t ").empty());
  CHECK(split("one") == words{"one"});
  CHECK(split("  read\t 12  ") == words{"read", "12"});
}

TEST_CASE("arguments: quotes and backslashes") {
  CHECK(split("write 3 'two words'") == words{"write", "3", "two words"});
  CHECK(split(R"(a"b c"d "x'y" 'p"q')") == words{"ab cd", "x'y", "p\"q"});
  CHECK(split(R"(\"a\ b\" '\n' "\"" \\)") == words{"\"a b\"", "\\n", "\"", "\\"});
  CHECK(split(R"("" '' x)") == words{"", "", "x"});
  CHECK(split("''") == words{""});
}

TEST_CASE("arguments: text that ends early") {
  CHECK(split("'open") == words{"open"});
  CHECK(split("\"open \\") == words{"open \\"});
  CHECK(split("a \\") == words{"a", "\\"});
  CHECK(split("x \"") == words{"x", ""});
}

TEST_CASE("arguments: more than there is place for are counted") {
  char line[] = "a b c";
  char *two[2];
  CHECK(exo::split_arguments(line, two) == 3);
  CHECK(std::string(two[1]) == "b");
}
