// How often each word occurs: an open-addressing hash table of 32-byte slots, with the longer words in an arena.
//
// A word of up to eight bytes lies in its slot, so most look-ups touch one cache line and no second place. Memory is
// bounded by the distinct words: 32 to 128 bytes each, and the bytes of those longer than eight. Nothing here throws
// or waits; what can run out of memory says so. One core uses a table at a time; count_of() may run on several.
#pragma once

#include <algorithm>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <new>
#include <span>
#include <string_view>
#include <utility>

namespace wordcount {

using u8 = std::uint8_t;
using u64 = std::uint64_t;

/// Eight bytes of text, the first one lowest.
[[nodiscard]] inline u64 load_u64(char const *at) noexcept {
  u64 value;
  std::memcpy(&value, at, sizeof value);
  return value;
}

/// Where all of it gets memory, aligned for any type; take() returns null when there is none. Any core may call it.
template <typename Memory>
concept memory_source = requires(void *block, std::size_t bytes) {
  { Memory::take(bytes) } noexcept -> std::same_as<void *>;
  { Memory::give(block, bytes) } noexcept;
};

/// Memory of operator new.
struct program_heap {
  static void *take(std::size_t bytes) noexcept { return ::operator new(bytes, std::nothrow); }
  static void give(void *block, std::size_t) noexcept { ::operator delete(block); }
};

/// An array that may lack memory: then it is empty.
template <typename T, memory_source Memory>
class owned_array {
 public:
  owned_array() noexcept = default;
  explicit owned_array(std::size_t count) noexcept : first_(static_cast<T *>(Memory::take(count * sizeof(T)))) {
    if (!first_) return;
    count_ = count;
    std::uninitialized_value_construct_n(first_, count_);
  }
  owned_array(owned_array &&from) noexcept
      : first_(std::exchange(from.first_, nullptr)), count_(std::exchange(from.count_, 0)) {}
  owned_array &operator=(owned_array &&from) noexcept {
    std::swap(first_, from.first_);
    std::swap(count_, from.count_);
    return *this;
  }
  ~owned_array() {
    std::destroy_n(first_, count_);
    if (first_) Memory::give(first_, count_ * sizeof(T));
  }

  [[nodiscard]] std::size_t size() const noexcept { return count_; }
  [[nodiscard]] bool empty() const noexcept { return count_ == 0; }
  [[nodiscard]] T *begin() const noexcept { return first_; }
  [[nodiscard]] T *end() const noexcept { return first_ + count_; }
  [[nodiscard]] T &operator[](std::size_t index) const noexcept { return first_[index]; }

 private:
  T *first_ = nullptr;
  std::size_t count_ = 0;
};

/// Text that stays where it is until the arena goes.
template <memory_source Memory>
class arena {
 public:
  arena() noexcept = default;
  arena(arena const &) = delete;
  arena &operator=(arena const &) = delete;
  ~arena() {
    while (last_) {
      block *const gone = last_;
      last_ = gone->previous;
      Memory::give(gone, gone->bytes);
    }
  }

  /// Copies text into the arena; null when memory is out.
  [[nodiscard]] char const *keep(std::string_view text) noexcept {
    if ((!last_ || text.size() > room_) && !grow(text.size())) return nullptr;
    char *const place = next_;
    std::copy(text.begin(), text.end(), place);
    next_ += text.size();
    room_ -= text.size();
    return place;
  }

 private:
  struct block {
    block *previous;
    std::size_t bytes;
  };
  static constexpr std::size_t block_bytes = 64 * 1024;

  bool grow(std::size_t text_bytes) noexcept {
    std::size_t const bytes = std::max(block_bytes, text_bytes + sizeof(block));
    void *const taken = Memory::take(bytes);
    if (!taken) return false;
    last_ = ::new (taken) block{last_, bytes};
    next_ = static_cast<char *>(taken) + sizeof(block);
    room_ = bytes - sizeof(block);
    return true;
  }

  block *last_ = nullptr;
  char *next_ = nullptr;
  std::size_t room_ = 0;
};

/// A word as tables compare it. Two words are equal if length and text are: text is the word itself, padded with
/// zeros, up to eight bytes; above that it is the word's address, and the bytes behind it count.
struct word_key {
  u64 hash;
  u64 bytes;
  u64 text;

  static constexpr u64 inline_bytes = sizeof(u64);

  [[nodiscard]] std::string_view view() const noexcept {
    char const *const at =
        bytes <= inline_bytes ? reinterpret_cast<char const *>(&text) : reinterpret_cast<char const *>(text);
    return {at, bytes};
  }

  /// The key of a word of at least one byte. It may read, and ignore, up to seven bytes behind a short word, but
  /// never reaches readable_end.
  static word_key of(std::string_view word, char const *readable_end) noexcept {
    u64 const bytes = word.size();
    if (bytes > inline_bytes) return {hash_long(word), bytes, reinterpret_cast<u64>(word.data())};
    u64 text = 0;
    if (readable_end - word.data() >= static_cast<std::ptrdiff_t>(inline_bytes)) {
      text = load_u64(word.data()) & (~u64{0} >> (8 * (inline_bytes - bytes)));
    } else {
      std::memcpy(&text, word.data(), bytes);
    }
    return {mix(text, text_multiplier), bytes, text};
  }
  static word_key of(std::string_view word) noexcept { return of(word, word.data() + word.size()); }

  [[nodiscard]] bool equals(word_key const &other) const noexcept {
    if (bytes != other.bytes) return false;
    if (bytes <= inline_bytes) return text == other.text;
    return hash == other.hash && same_long(view().data(), other.view().data(), bytes);
  }

 private:
  // The fractional parts of the golden ratio and of the square root of 2, made odd: no small factors, mixed bits.
  static constexpr u64 text_multiplier = 0x9e3779b97f4a7c15;
  static constexpr u64 next_multiplier = 0x6a09e667f3bcc909;

  /// Both halves of the 128-bit product, so that every bit of value reaches the high bits that choose a slot.
  static u64 mix(u64 value, u64 multiplier) noexcept {
    unsigned __int128 const product = static_cast<unsigned __int128>(value) * multiplier;
    return static_cast<u64>(product) ^ static_cast<u64>(product >> 64);
  }
  /// Whether two texts of the same length, above eight bytes, are equal.
  static bool same_long(char const *a, char const *b, u64 bytes) noexcept {
    u64 const last = bytes - inline_bytes;
    u64 at = 0;
    while (at < last && load_u64(a + at) == load_u64(b + at)) at += inline_bytes;
    return at >= last && load_u64(a + last) == load_u64(b + last);
  }
  static u64 hash_long(std::string_view word) noexcept {
    char const *at = word.data();
    char const *const last = at + word.size() - inline_bytes;
    u64 hash = word.size();
    for (; at < last; at += inline_bytes) hash = mix(hash ^ load_u64(at), text_multiplier) + next_multiplier;
    return mix(hash ^ load_u64(last), text_multiplier);
  }
};

/// A distinct word and how often it occurred; count 0 marks a free slot.
struct word_count {
  word_key key;
  u64 count;
};

/// The distinct words of one core.
template <memory_source Memory>
class word_table {
 public:
  /// Counts one occurrence. False when memory is out: the word is not counted then.
  [[nodiscard]] bool add(word_key const &key) noexcept {
    if (!slots_.empty()) [[likely]] {
      word_count &found = find(key);
      if (found.count) [[likely]] {
        ++found.count;
        return true;
      }
    }
    return insert(key);
  }

  /// How often a word occurred here.
  [[nodiscard]] u64 count_of(word_key const &key) const noexcept { return slots_.empty() ? 0 : find(key).count; }

  /// All slots, free ones (count 0) too.
  [[nodiscard]] std::span<word_count const> slots() const noexcept { return slots_; }

  /// Keeps text as long as the table lives; null when memory is out.
  [[nodiscard]] char const *keep(std::string_view text) noexcept { return words_.keep(text); }

 private:
  static constexpr unsigned first_slot_bits = 12;

  /// The slot of a word, or the free one where it belongs: there always is one.
  [[nodiscard]] word_count &find(word_key const &key) const noexcept {
    std::size_t index = key.hash >> (64 - slot_bits_);
    while (slots_[index].count && !slots_[index].key.equals(key)) index = (index + 1) & (slots_.size() - 1);
    return slots_[index];
  }

  [[gnu::noinline]] bool insert(word_key key) noexcept {
    if (used_ >= slots_.size() / 2 && !grow()) return false;
    if (key.bytes > word_key::inline_bytes) {
      char const *const kept = words_.keep(key.view());
      if (!kept) return false;
      key.text = reinterpret_cast<u64>(kept);
    }
    find(key) = {key, 1};
    ++used_;
    return true;
  }

  /// Makes the first slots, or doubles them.
  bool grow() noexcept {
    unsigned const bits = slots_.empty() ? first_slot_bits : slot_bits_ + 1;
    owned_array<word_count, Memory> old(std::size_t{1} << bits);
    if (old.empty()) return false;
    std::swap(slots_, old);
    slot_bits_ = bits;
    for (word_count const &word : old) {
      if (word.count) find(word.key) = word;
    }
    return true;
  }

  arena<Memory> words_;
  owned_array<word_count, Memory> slots_;
  unsigned slot_bits_ = 0;
  std::size_t used_ = 0;
};

}  // namespace wordcount
