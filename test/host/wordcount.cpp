#include "../../apps/wordcount/tally.hpp"

#include <catch2/catch.hpp>
#include <cstdlib>
#include <map>
#include <memory>
#include <random>
#include <string>
#include <thread>
#include <vector>

namespace {

using namespace wordcount;

/// Memory that can run out, and that knows what has not come back.
struct purse {
  static inline std::atomic<std::size_t> left = ~std::size_t{0};
  static inline std::atomic<std::ptrdiff_t> blocks = 0;

  static void *take(std::size_t bytes) noexcept {
    std::size_t seen = left;
    do {
      if (bytes > seen) return nullptr;
    } while (!left.compare_exchange_weak(seen, seen - bytes));
    ++blocks;
    return std::malloc(bytes);
  }
  static void give(void *block, std::size_t bytes) noexcept {
    left += bytes;
    --blocks;
    std::free(block);
  }
};

/// A text that ends where readable memory ends, so that sanitizers see every byte too many.
class exact_text {
 public:
  explicit exact_text(std::string_view text) : bytes_(std::make_unique<char[]>(text.size())), size_(text.size()) {
    std::copy(text.begin(), text.end(), bytes_.get());
  }
  [[nodiscard]] std::string_view view() const { return {bytes_.get(), size_}; }

 private:
  std::unique_ptr<char[]> bytes_;
  std::size_t size_;
};

/// Everything that can be counted of a text.
struct counts {
  u64 lines = 0;
  u64 words = 0;
  std::map<std::string, u64> runs;

  bool operator==(counts const &) const = default;
};

/// What wc, tr, sort and uniq do, byte by byte; wc passes over bytes that are neither printable nor space.
counts reference(std::string_view text) {
  counts result;
  std::string run;
  bool in_word = false;
  auto const end_run = [&] {
    if (!run.empty()) ++result.runs[run];
    run.clear();
    result.words += in_word;
    in_word = false;
  };
  for (char const letter : text) {
    auto const byte = static_cast<unsigned char>(letter);
    if (byte == '\n') ++result.lines;
    if (byte == ' ' || (byte >= 9 && byte <= 13)) {
      end_run();
    } else {
      run += letter;
      in_word |= byte > ' ' && byte < 127;
    }
  }
  end_run();
  return result;
}

/// Counts with a counter for each stripe, fed in pieces of a size.
counts in_stripes(std::vector<std::string_view> const &stripes, std::size_t piece_bytes) {
  std::vector<counter<purse>> counters(stripes.size() + 1);
  std::vector<stripe_ends> ends(stripes.size());
  for (std::size_t i = 0; i < stripes.size(); ++i) {
    for (std::string_view rest = stripes[i]; !rest.empty(); rest.remove_prefix(std::min(piece_bytes, rest.size()))) {
      exact_text const piece(rest.substr(0, piece_bytes));
      REQUIRE(counters[i].feed(piece.view()));
    }
    REQUIRE(counters[i].end_stripe(ends[i]));
  }
  REQUIRE(join_stripes<purse>(ends, counters.back()));
  counts result;
  for (auto const &each : counters) {
    result.lines += each.lines();
    for (word_count const &word : each.table().slots()) {
      if (word.count == 0) continue;
      result.runs[std::string(word.key.view())] += word.count;
      if (is_word(word.key.view())) result.words += word.count;
    }
  }
  return result;
}

auto const threads = [](unsigned cores, auto const &function) {
  std::vector<std::thread> others;
  for (unsigned core = 1; core < cores; ++core) others.emplace_back([&function, core] { function(core); });
  function(0);
  for (std::thread &other : others) other.join();
};

/// What a summary of the text has to be.
void check(summary const &found, std::string_view text) {
  counts const expected = reference(text);
  CHECK(found.lines == expected.lines);
  CHECK(found.words == expected.words);
  CHECK(found.bytes == text.size());
  std::vector<std::pair<std::string, u64>> order(expected.runs.begin(), expected.runs.end());
  std::stable_sort(order.begin(), order.end(), [](auto const &a, auto const &b) { return a.second > b.second; });
  order.resize(top_words);
  for (std::size_t i = 0; i < top_words; ++i) {
    std::string const &word = order[i].first;
    CHECK(found.top[i].count == order[i].second);
    CHECK(found.top[i].bytes == word.size());
    std::size_t const shown = std::min(word.size(), frequent_word::shown_bytes);
    CHECK(std::string_view(found.top[i].text.data(), shown) == std::string_view(word).substr(0, shown));
  }
}

/// Bytes of a text: mostly from a small alphabet, so that words repeat, some of any value.
std::string random_text(std::mt19937 &random, std::size_t bytes) {
  constexpr std::string_view alphabet = "ab  \n\t\r\v\f.";
  std::string text(bytes, '\0');
  bool const binary = random() % 4 == 0;
  for (char &letter : text) {
    letter = binary || random() % 16 == 0 ? static_cast<char>(random()) : alphabet[random() % alphabet.size()];
  }
  return text;
}

constexpr std::string_view awkward[] = {
    "",
    "\n",
    " ",
    "a",
    "word",
    "no newline at the end",
    "one\n two\t\tthree\r\n\vfour\ffive ",
    "\n\n\n",
    "thisisawordthatislongerthaneightbytesandsixteen and thisisawordthatislongerthaneightbytesandsixteem",
    "eight888 eight888 seven77 nine99999 nine99998",
    {"a\0b a\0 a \0 \0\0 a\0", 15},
    "\x01 \x01z \x7f \x80\xff \xc2\xa0 caf\xc3\xa9 \xe2\x80\x94 \x1b[0m",
    "a a a a b b b b c c a b c longerthaneight longerthaneight",
};

TEST_CASE("wordcount: bytes are those of wc in the C locale") {
  for (int byte = 0; byte < 256; ++byte) {
    bool const space = byte == ' ' || (byte >= '\t' && byte <= '\r');
    CHECK(is_space(static_cast<char>(byte)) == space);
    CHECK(is_word(std::string(1, static_cast<char>(byte))) == (byte > ' ' && byte < 127));
  }
  CHECK(class_of('\n') == newline_byte);
}

TEST_CASE("wordcount: find_space finds what a byte-wise search finds") {
  std::mt19937 random(1);
  for (int round = 0; round < 20000; ++round) {
    std::string text(random() % 40, 'x');
    for (char &letter : text) {
      if (random() % 8 == 0) letter = static_cast<char>(random() % 2 ? random() : random() % 34);
    }
    exact_text const exact(text);
    auto const view = exact.view();
    char const *const found = find_space(view.data(), view.data() + view.size());
    CHECK(found == std::find_if(view.data(), view.data() + view.size(), is_space));
  }
}

TEST_CASE("wordcount: a text cut anywhere counts the same") {
  for (std::string_view const text : awkward) {
    counts const expected = reference(text);
    for (std::size_t cut = 0; cut <= text.size(); ++cut) {
      for (std::size_t piece : {std::size_t{1}, std::size_t{7}, std::size_t{4096}}) {
        CHECK(in_stripes({text.substr(0, cut), text.substr(cut)}, piece) == expected);
      }
      for (std::size_t second = cut; second <= text.size(); ++second) {
        CHECK(in_stripes({text.substr(0, cut), text.substr(cut, second - cut), text.substr(second)}, 4096) == expected);
      }
    }
  }
}

TEST_CASE("wordcount: random bytes in random stripes and pieces") {
  std::mt19937 random(2);
  for (int round = 0; round < 3000; ++round) {
    std::string const text = random_text(random, random() % 300);
    std::vector<std::string_view> stripes;
    for (std::string_view rest = text; !rest.empty();) {
      std::size_t const bytes = std::min<std::size_t>(rest.size(), random() % 100);
      stripes.push_back(rest.substr(0, bytes));
      rest.remove_prefix(bytes);
    }
    CHECK(in_stripes(stripes, 1 + random() % 50) == reference(text));
  }
}

TEST_CASE("wordcount: many cores come to one exact summary") {
  std::mt19937 random(3);
  for (unsigned cores : {1u, 2u, 3u, 4u, 7u}) {
    for (std::string_view const text : awkward) {
      auto const found = count_parallel<purse>(text, cores, threads);
      REQUIRE(found);
      check(*found, text);
    }
    for (int round = 0; round < 12; ++round) {
      std::string const text = random_text(random, random() % 400000);
      auto const found = count_parallel<purse>(text, cores, threads);
      REQUIRE(found);
      check(*found, text);
    }
  }
}

TEST_CASE("wordcount: a word that leads nowhere may lead overall") {
  constexpr unsigned cores = 4;
  constexpr u64 grain = 4096;
  // Each stripe has its own ten leaders with 20 each; "everywhere" has 15 in each of them.
  std::string text;
  for (char place = 'A'; place < 'A' + static_cast<char>(cores); ++place) {
    std::string part;
    for (int word = 0; word < 10; ++word) {
      for (int i = 0; i < 20; ++i) (part += place) += static_cast<char>('0' + word), part += ' ';
    }
    for (int i = 0; i < 15; ++i) part += "everywhere ";
    part.resize(grain, ' ');
    text += part;
  }
  tally<purse> all(cores, text.size(), grain);
  REQUIRE(all.ready());
  for (unsigned core = 0; core < cores; ++core) {
    auto const part = all.claim();
    REQUIRE(part);
    REQUIRE(part->bytes == grain);
    REQUIRE(all.counter(core).feed({text.data() + part->first, part->bytes}));
    REQUIRE(all.hand_in(core, part->index));
  }
  REQUIRE(!all.claim());
  auto const found = all.summarize(threads);
  REQUIRE(found);
  CHECK(std::string_view(found->top[0].text.data(), 10) == "everywhere");
  CHECK(found->top[0].count == 60);
  check(*found, text);
}

TEST_CASE("wordcount: a table that grows keeps its counts") {
  std::string text;
  for (int round = 0; round < 3; ++round) {
    for (int word = 0; word < 30000; ++word) text += std::to_string(word * 7919) + (word % 2 ? " " : "-and-more\n");
  }
  auto const found = count_parallel<purse>(text, 2, threads);
  REQUIRE(found);
  check(*found, text);
}

TEST_CASE("wordcount: a word longer than any buffer") {
  std::string const text = "short " + std::string(3'000'000, 'x') + " short";
  for (unsigned cores : {1u, 2u, 4u}) {
    auto const found = count_parallel<purse>(text, cores, threads);
    REQUIRE(found);
    check(*found, text);
  }
}

TEST_CASE("wordcount: without memory there is no summary, and never a wrong one") {
  std::mt19937 random(4);
  std::string const text = random_text(random, 200000) + std::string(100000, 'y');
  REQUIRE(purse::blocks == 0);
  std::size_t const all = purse::left;
  bool done = false;
  for (std::size_t budget = 0; !done; budget += 20000) {
    purse::left = budget;
    auto const found = count_parallel<purse>(text, 2, threads);
    done = found.has_value();
    if (done) check(*found, text);
    CHECK(purse::blocks == 0);
    CHECK(purse::left == budget);
  }
  purse::left = all;
}

}  // namespace
