// The most frequent words over several tables, exactly, without merging the tables.
//
// A word whose sum over N tables is at least T occurs at least T/N times in one of them. So T, the tenth best sum of
// the words that lead in some table, is a lower bound for the list, and only words with T/N or more anywhere are
// looked up elsewhere. (P. Cao, Z. Wang: Efficient top-k query calculation in distributed networks, PODC 2004.)
#pragma once

#include <array>

#include "table.hpp"

namespace wordcount {

inline constexpr std::size_t top_words = 10;

/// Whether a comes before b: the higher count first, then the lower word by unsigned bytes.
[[nodiscard]] inline bool ranks_before(word_count const &a, word_count const &b) noexcept {
  if (a.count != b.count) return a.count > b.count;
  return a.key.view() < b.key.view();
}

/// The best words offered so far, best first.
class ranking {
 public:
  /// Takes the word in if it is among the best and not in yet.
  void offer(word_count const &word) noexcept {
    if (full() && !ranks_before(word, best_[size_ - 1])) return;
    auto const end = best_.begin() + size_;
    auto const place = std::lower_bound(best_.begin(), end, word, ranks_before);
    if (place != end && place->key.equals(word.key)) return;
    if (!full()) ++size_;
    std::move_backward(place, best_.begin() + size_ - 1, best_.begin() + size_);
    *place = word;
  }

  [[nodiscard]] bool full() const noexcept { return size_ == top_words; }
  /// The count that a word needs to come in.
  [[nodiscard]] u64 threshold() const noexcept { return full() ? best_[size_ - 1].count : 1; }
  [[nodiscard]] word_count const *begin() const noexcept { return best_.data(); }
  [[nodiscard]] word_count const *end() const noexcept { return best_.data() + size_; }

 private:
  std::array<word_count, top_words> best_{};
  std::size_t size_ = 0;
};

}  // namespace wordcount
