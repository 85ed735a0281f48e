// The whole job: stripes handed out to cores, and one summary out of what the cores have counted.
//
// A team runs a function on several cores: team(cores, function) calls function(core) once for each core from 0 to
// cores - 1, each on its own, and returns when all have returned.
#pragma once

#include <atomic>
#include <optional>

#include "count.hpp"
#include "top.hpp"

namespace wordcount {

/// A word of the list; text holds its first bytes.
struct frequent_word {
  static constexpr std::size_t shown_bytes = 76;
  u64 count = 0;
  u64 bytes = 0;
  std::array<char, shown_bytes> text{};
};

/// What wordcount reports; top has count 0 behind the last word.
struct summary {
  u64 lines = 0;
  u64 words = 0;
  u64 bytes = 0;
  std::array<frequent_word, top_words> top{};
};

/// A part of the text, for one core to count.
struct stripe {
  std::size_t index;
  u64 first;
  u64 bytes;
};

/// One text, its stripes and the counters of all cores.
///
/// Cores claim() stripes until none is left, feed each to their counter() and hand it in; then one core calls
/// summarize(). Whatever returns false or nothing for lack of memory ends the job.
template <memory_source Memory>
class tally {
 public:
  /// @param grain  stripes are multiples of this many bytes, so that their borders are those of blocks
  tally(unsigned cores, u64 bytes, u64 grain) noexcept
      : bytes_(bytes),
        stripe_bytes_((bytes / (u64{cores} * stripes_per_core) / grain + 1) * grain),
        shares_(cores),
        ends_((bytes + stripe_bytes_ - 1) / stripe_bytes_ + 1) {}

  /// False if there was no memory to begin with.
  [[nodiscard]] bool ready() const noexcept { return !shares_.empty() && !ends_.empty(); }

  /// The next stripe that no core has, or none.
  [[nodiscard]] std::optional<stripe> claim() noexcept {
    std::size_t const index = next_.fetch_add(1, std::memory_order_relaxed);
    u64 const first = index * stripe_bytes_;
    if (first >= bytes_) return std::nullopt;
    return stripe{index, first, std::min(stripe_bytes_, bytes_ - first)};
  }

  /// The counter of a core, 0 to cores - 1.
  [[nodiscard]] wordcount::counter<Memory> &counter(unsigned core) noexcept { return shares_[core].counter; }

  /// The core's counter has been fed the whole stripe.
  [[nodiscard]] bool hand_in(unsigned core, std::size_t index) noexcept {
    return shares_[core].counter.end_stripe(ends_[index]);
  }

  /// Puts everything together when all stripes are handed in; nothing when memory is out.
  template <typename Team>
  [[nodiscard]] std::optional<summary> summarize(Team &&team) noexcept {
    if (!join_stripes<Memory>(ends_, shares_[0].counter)) return std::nullopt;
    auto const cores = static_cast<unsigned>(shares_.size());
    team(cores, [this](unsigned core) { rank_own(shares_[core]); });
    ranking leaders;
    for (share const &each : shares_) {
      for (word_count const &word : each.best) leaders.offer({word.key, count_everywhere(word.key)});
    }
    u64 const least = (leaders.threshold() + cores - 1) / cores;
    team(cores, [this, least](unsigned core) { rank_everywhere(shares_[core], least); });

    summary result;
    result.bytes = bytes_;
    ranking best;
    for (share const &each : shares_) {
      result.lines += each.counter.lines();
      result.words += each.words;
      for (word_count const &word : each.best) best.offer(word);
    }
    std::transform(best.begin(), best.end(), result.top.begin(), show);
    return result;
  }

 private:
  // Enough that cores which are slow, or start late, do not keep the others waiting at the end.
  static constexpr u64 stripes_per_core = 16;

  /// What a core has counted. While it counts it changes the counter only, so neighbours share no cache line.
  struct share {
    wordcount::counter<Memory> counter;
    ranking best;
    u64 words = 0;
  };

  static void rank_own(share &own) noexcept {
    for (word_count const &word : own.counter.table().slots()) {
      if (word.count == 0) continue;
      own.best.offer(word);
      if (is_word(word.key.view())) own.words += word.count;
    }
  }

  void rank_everywhere(share &own, u64 least) const noexcept {
    own.best = {};
    for (word_count const &word : own.counter.table().slots()) {
      if (word.count >= least) own.best.offer({word.key, count_everywhere(word.key)});
    }
  }

  [[nodiscard]] u64 count_everywhere(word_key const &key) const noexcept {
    u64 sum = 0;
    for (share const &each : shares_) sum += each.counter.table().count_of(key);
    return sum;
  }

  static frequent_word show(word_count const &word) noexcept {
    frequent_word shown{word.count, word.key.bytes, {}};
    std::string_view const text = word.key.view().substr(0, frequent_word::shown_bytes);
    std::copy(text.begin(), text.end(), shown.text.begin());
    return shown;
  }

  u64 const bytes_;
  u64 const stripe_bytes_;
  owned_array<share, Memory> shares_;
  owned_array<stripe_ends, Memory> ends_;
  std::atomic<std::size_t> next_ = 0;
};

/// Counts a text that lies in memory on a team of cores; nothing when memory is out.
template <memory_source Memory, typename Team>
[[nodiscard]] std::optional<summary> count_parallel(std::span<char const> text, unsigned cores, Team &&team) noexcept {
  constexpr u64 grain = 4096;
  tally<Memory> all(cores, text.size(), grain);
  if (!all.ready()) return std::nullopt;
  std::atomic<bool> memory_out = false;
  team(cores, [&](unsigned core) {
    while (auto const part = all.claim()) {
      std::string_view const piece(text.data() + part->first, part->bytes);
      if (all.counter(core).feed(piece) && all.hand_in(core, part->index)) continue;
      memory_out = true;
      return;
    }
  });
  if (memory_out) return std::nullopt;
  return all.summarize(team);
}

}  // namespace wordcount
