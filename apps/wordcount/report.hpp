// The report: three counts, then the frequent words as uniq -c prints them.
#pragma once

#include <exo/format.hpp>

#include "tally.hpp"

namespace wordcount {

/// Bytes that a report has at most; it fits one UDP message on an Ethernet.
inline constexpr std::size_t report_bytes = 1400;

/// Writes the first bytes of a word on 76 columns at most. Control bytes become \xNN, so that no word can steer the
/// reader's terminal; what is left out is told by its length.
inline void write_word(exo::text_sink &out, frequent_word const &word) noexcept {
  constexpr std::size_t columns = frequent_word::shown_bytes;
  std::size_t const known = std::min<std::size_t>(word.bytes, word.text.size());
  std::size_t column = 0;
  std::size_t shown = 0;
  for (; shown < known; ++shown) {
    auto const byte = static_cast<unsigned char>(word.text[shown]);
    bool const control = byte < ' ' || byte == 0x7f;
    column += control ? 4 : 1;
    if (column > columns) break;
    if (control) {
      exo::format_to(out, "\\x{:02x}", byte);
    } else {
      out.put(word.text[shown]);
    }
  }
  if (shown < word.bytes) exo::format_to(out, "... ({} bytes)", word.bytes);
}

/// Writes a whole report.
inline void write_report(exo::text_sink &out, summary const &found) noexcept {
  exo::format_to(out, "lines {}\nwords {}\nbytes {}\n", found.lines, found.words, found.bytes);
  for (frequent_word const &word : found.top) {
    if (word.count == 0) break;
    exo::format_to(out, "{:>7} ", word.count);
    write_word(out, word);
    out.put('\n');
  }
}

}  // namespace wordcount
