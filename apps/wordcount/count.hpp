// Counts lines and words of a text in stripes: any core may count any stripe, in any order and in pieces of any size.
//
// What is counted, with LC_ALL=C and GNU coreutils 9.1 as the reference:
//   line   a newline byte                                                                       wc -l
//   run    a longest sequence of bytes other than space, \t \n \v \f \r                         tr -s '[:space:]' '\n'
//   word   a run with at least one byte of '!' to '~': wc passes over other bytes, which        wc -w
//          neither make nor end a word
// The list of frequent words holds all runs, as tr, sort and uniq would; wc -w leaves out runs of, say, a lone "\x01"
// or a non-breaking space. Stripes cut runs in two: the open ends are kept and joined when all stripes are done.
#pragma once

#include <array>
#include <bit>
#include <string_view>

#include "table.hpp"

namespace wordcount {

/// What kind of byte it is, in the C locale.
enum byte_class : u8 { other_byte = 0, space_byte = 1, newline_byte = 2 | space_byte, printable_byte = 4 };

inline constexpr auto byte_classes = [] {
  std::array<u8, 256> classes{};
  for (unsigned byte = '!'; byte <= '~'; ++byte) classes[byte] = printable_byte;
  for (unsigned char byte : {' ', '\t', '\v', '\f', '\r'}) classes[byte] = space_byte;
  classes['\n'] = newline_byte;
  return classes;
}();

[[nodiscard]] inline u8 class_of(char byte) noexcept { return byte_classes[static_cast<unsigned char>(byte)]; }

[[nodiscard]] inline bool is_space(char byte) noexcept { return class_of(byte) & space_byte; }

/// The first space in a text, or its end. Eight bytes at a time: only bytes up to ' ' can be spaces, and only those
/// have bit 7 clear both before and after 0x5f is added to their other bits.
[[nodiscard]] inline char const *find_space(char const *at, char const *end) noexcept {
  constexpr u64 each = 0x0101010101010101;
  while (end - at >= 8) {
    u64 const bytes = load_u64(at);
    u64 const above_space = ((bytes & 0x7f * each) + (0x7f - ' ') * each) | bytes;
    u64 const others = ~above_space & 0x80 * each;
    if (others == 0) {
      at += 8;
      continue;
    }
    at += std::countr_zero(others) / 8;
    if (is_space(*at)) return at;
    ++at;
  }
  return std::find_if(at, end, is_space);
}

/// Whether wc -w counts a run.
[[nodiscard]] inline bool is_word(std::string_view run) noexcept {
  return std::any_of(run.begin(), run.end(), [](char byte) { return class_of(byte) == printable_byte; });
}

/// A run under construction.
template <memory_source Memory>
class open_run {
 public:
  /// Makes the run longer. False when memory is out: it is as before then.
  [[nodiscard]] bool append(std::string_view piece) noexcept {
    if (piece.size() > text_.size() - bytes_ && !grow(bytes_ + piece.size())) return false;
    std::copy(piece.begin(), piece.end(), text_.begin() + bytes_);
    bytes_ += piece.size();
    return true;
  }

  [[nodiscard]] std::string_view view() const noexcept { return {text_.begin(), bytes_}; }
  void clear() noexcept { bytes_ = 0; }

 private:
  static constexpr std::size_t first_room = 256;

  bool grow(std::size_t least) noexcept {
    owned_array<char, Memory> larger(std::max({first_room, 2 * text_.size(), least}));
    if (larger.empty()) return false;
    std::copy_n(text_.begin(), bytes_, larger.begin());
    text_ = std::move(larger);
    return true;
  }

  owned_array<char, Memory> text_;
  std::size_t bytes_ = 0;
};

/// The ends of a stripe, whose runs may go on in its neighbours.
struct stripe_ends {
  std::string_view head;   // before the first space, empty if it begins with one; the whole stripe if it has no space
  std::string_view tail;   // after the last space, empty if it ends with one
  bool has_space = false;  // if not, its neighbours are one run with it
};

/// What one core has counted. For each stripe: feed() its bytes in order, then end_stripe().
template <memory_source Memory>
class counter {
 public:
  /// Counts the next bytes of the stripe. False when memory is out: all counts are useless then.
  [[nodiscard]] bool feed(std::string_view piece) noexcept {
    char const *const end = piece.data() + piece.size();
    char const *at = piece.data();
    if (in_run_) {
      at = find_space(at, end);
      if (!open_.append({piece.data(), at})) return false;
      if (at == end) return true;
      if (!close_run()) return false;
    }
    while (true) {
      for (; at != end && is_space(*at); ++at) lines_ += class_of(*at) == newline_byte;
      if (at == end) return true;
      char const *const run = at;
      at = find_space(at, end);
      if (at == end) {
        in_run_ = true;
        return open_.append({run, at});
      }
      if (!table_.add(word_key::of({run, at}, end))) return false;
    }
  }

  /// Ends the stripe, and makes ready for the next. The ends live as long as the counter.
  [[nodiscard]] bool end_stripe(stripe_ends &ends) noexcept {
    char const *const last = table_.keep(open_.view());
    if (!last) return false;
    (ends_.has_space ? ends_.tail : ends_.head) = std::string_view(last, open_.view().size());
    ends = ends_;
    ends_ = {};
    in_run_ = true;
    open_.clear();
    return true;
  }

  /// Counts a whole run that was put together from the ends of stripes; an empty one does not count.
  [[nodiscard]] bool add_run(std::string_view run) noexcept { return run.empty() || table_.add(word_key::of(run)); }

  [[nodiscard]] u64 lines() const noexcept { return lines_; }
  [[nodiscard]] word_table<Memory> const &table() const noexcept { return table_; }

 private:
  /// The open run ended: it is the stripe's head, or a run like any other.
  bool close_run() noexcept {
    in_run_ = false;
    std::string_view const run = open_.view();
    open_.clear();
    if (ends_.has_space) return add_run(run);
    ends_.has_space = true;
    char const *const head = table_.keep(run);
    ends_.head = std::string_view(head, run.size());
    return head != nullptr;
  }

  word_table<Memory> table_;
  open_run<Memory> open_;
  stripe_ends ends_;
  u64 lines_ = 0;
  bool in_run_ = true;  // the bytes counted last may go on; so may what came before the stripe
};

/// Counts the runs that stripes cut, given the ends of all stripes in the order of the text. False when memory is out.
template <memory_source Memory>
[[nodiscard]] bool join_stripes(std::span<stripe_ends const> stripes, counter<Memory> &into) noexcept {
  open_run<Memory> run;
  for (stripe_ends const &stripe : stripes) {
    if (!run.append(stripe.head)) return false;
    if (!stripe.has_space) continue;
    if (!into.add_run(run.view())) return false;
    run.clear();
    if (!run.append(stripe.tail)) return false;
  }
  return into.add_run(run.view());
}

}  // namespace wordcount
