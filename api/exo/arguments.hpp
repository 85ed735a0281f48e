// The command line as argv.
#pragma once

#include <cstddef>
#include <span>

namespace exo {

/// Cuts a command line into arguments, in place.
///
/// Blanks separate arguments. '…' keeps everything, "…" keeps blanks; outside '…' a backslash keeps the next
/// character. A quote that is not closed ends with the text.
///
/// @param text  ends with 0; becomes the arguments, each ending with 0
/// @param out   where each argument begins; length / 2 + 1 entries always suffice
/// @return      how many there are; those that found no place in out are counted too
constexpr std::size_t split_arguments(char *text, std::span<char *> out) noexcept {
  std::size_t count = 0;
  char *write = text;
  for (char const *read = text;;) {
    while (*read == ' ' || *read == '\t') ++read;
    if (*read == 0) return count;
    if (count < out.size()) out[count] = write;
    ++count;

    char quote = 0;
    for (; *read != 0; ++read) {
      if (quote == 0 && (*read == ' ' || *read == '\t')) break;
      if (quote == 0 ? (*read == '\'' || *read == '"') : *read == quote) {
        quote = quote == 0 ? *read : '\0';
        continue;
      }
      if (*read == '\\' && quote != '\'' && read[1] != 0) ++read;
      *write++ = *read;
    }
    if (*read != 0) ++read;  // before the 0 below may fall on the blank
    *write++ = 0;
  }
}

}  // namespace exo
