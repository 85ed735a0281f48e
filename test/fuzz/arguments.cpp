// The command line: whatever it says, the arguments lie inside it and are as many as they are said to be.
#include "fuzz.hpp"

#include <exo/arguments.hpp>
#include <exo/net/ipv4.hpp>

void fuzz(std::span<std::byte const> input) {
  std::string const line(text_of(input));
  std::string text = line.c_str();
  std::size_t const length = text.size();
  std::vector<char *> values(length / 2 + 1, nullptr);
  std::size_t const count = exo::split_arguments(text.data(), values);
  demand(count <= values.size(), "there are more arguments than length / 2 + 1");
  for (std::size_t at = 0; at < count; ++at) {
    demand(values[at] >= text.data() && values[at] <= text.data() + length, "an argument lies outside the text");
    demand(values[at] + std::string_view(values[at]).size() <= text.data() + length, "an argument goes on behind the text");
  }
  // With room for fewer, the same number.
  std::string again = line.c_str();
  char *first = nullptr;
  demand(exo::split_arguments(again.data(), {&first, 1}) == count, "the count depends on the room for it");

  if (auto const address = exo::net::ipv4_address::from_text(line)) {
    std::string back;
    for (unsigned octet = 0; octet < 4; ++octet) back += std::to_string(address->octet(octet)) + (octet < 3 ? "." : "");
    demand(exo::net::ipv4_address::from_text(back) == address, "an address is another one when it is written");
  }
}
