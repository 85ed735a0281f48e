// The command line of the process, which tools/native.sh writes: it has checked what users can get wrong.
#pragma once

#include <cstdlib>
#include <string_view>
#include <vector>

#include "machine.hpp"

namespace native {

struct options {
  u32 cores = 2;
  u64 memory_bytes = 256 << 20;
  std::vector<char const *> disks;
  std::vector<char const *> nets;  // tap:NAME or packet:NAME
  char const *command_line = "";
};

inline u64 number(char const *name, char const *text, u64 most) {
  char *end = nullptr;
  u64 const value = std::strtoull(text, &end, 10);
  if (*text < '0' || *text > '9' || *end != 0 || value == 0 || value > most) {
    refuse("%s '%s' is not a number of 1 to %llu.", name, text, static_cast<unsigned long long>(most));
  }
  return value;
}

inline options read_options(int count, char **arguments) {
  options chosen;
  for (int at = 1; at < count; at += 2) {
    std::string_view const name = arguments[at];
    if (at + 1 == count) refuse("%s needs a value after it.", arguments[at]);
    char const *const value = arguments[at + 1];
    if (name == "--cores") {
      chosen.cores = static_cast<u32>(number("--cores", value, 255));
    } else if (name == "--mem") {
      chosen.memory_bytes = number("--mem", value, u64{1} << 46) & ~(exo::page_bytes - 1);
    } else if (name == "--disk") {
      chosen.disks.push_back(value);
    } else if (name == "--net" && (std::string_view(value).starts_with("tap:") || std::string_view(value).starts_with("packet:"))) {
      chosen.nets.push_back(value);
    } else if (name == "--args") {
      chosen.command_line = value;
    } else {
      refuse("there is no option '%s %s'; there are --cores N, --mem BYTES, --disk FILE, --net tap:NAME|packet:NAME, --args TEXT.",
             arguments[at], value);
    }
  }
  return chosen;
}

}  // namespace native
