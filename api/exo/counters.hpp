// Counters of cores and queues, named in one page: a table that the program, a trace and a debugger read.
//
//   struct alignas(64) { exo::u64 requests; } mine[cores];
//   exo::counted const row("requests", core, mine[core].requests);
//
// A row holds the address of a counter, not its value: each counter stays in memory of the core that counts, which counts
// with an ordinary addition. In gdb: `print exo::counters`.
#pragma once

#include <algorithm>
#include <array>
#include <atomic>
#include <cstddef>
#include <mutex>
#include <string_view>
#include <utility>

#include "console.hpp"
#include "core.hpp"
#include "lock.hpp"

namespace exo {

/// A row of the page. A row without a value is free.
struct counter_row {
  std::array<char, 16> name{};  // ends with 0
  u32 number = 0;               // of the core or the queue
  u32 reserved = 0;
  u64 const *value = nullptr;
};

/// All counters of the program, in one page.
class alignas(page_bytes) counter_page {
 public:
  static constexpr std::size_t room = page_bytes / sizeof(counter_row) - 1;
  static constexpr std::size_t name_most = sizeof(counter_row::name) - 1;

  constexpr counter_page() = default;
  counter_page(counter_page const &) = delete;
  counter_page &operator=(counter_page const &) = delete;

  /// Names a counter.
  ///
  /// @param name    up to name_most letters
  /// @param value   lives until it is taken out; its own core adds to it
  /// @return        its row
  /// @error range   the name is empty or too long
  /// @error memory  all rows are taken
  /// @core  any
  [[nodiscard]] result<u32> add(std::string_view name, u32 number, u64 const &value) noexcept {
    if (name.empty() || name.size() > name_most) return std::unexpected(error::range);
    std::lock_guard const guard(lock_);
    auto const row = std::ranges::find(rows_, nullptr, &counter_row::value);
    if (row == rows_.end()) return std::unexpected(error::memory);
    *row = counter_row{};
    std::ranges::copy(name, row->name.begin());
    row->number = number;
    row->value = &value;
    return static_cast<u32>(row - rows_.begin());
  }

  /// Takes a row out; its counter may go.
  void remove(u32 row) noexcept {
    std::lock_guard const guard(lock_);
    rows_[row].value = nullptr;
  }

  /// Calls function(name, number, value) for each counter, in the order of the rows. A counter that its core adds to at
  /// this time may show the value before or after.
  template <typename Function>
  void each(Function &&function) const noexcept {
    std::lock_guard const guard(lock_);
    for (counter_row const &row : rows_) {
      if (row.value == nullptr) continue;
      u64 const value = std::atomic_ref(*const_cast<u64 *>(row.value)).load(std::memory_order_relaxed);
      function(std::string_view(row.name.data()), row.number, value);
    }
  }

 private:
  mutable spin_lock lock_;
  std::array<counter_row, room> rows_{};
};
static_assert(sizeof(counter_page) == page_bytes, "exo::counters: more than a page");

inline constinit counter_page counters;

/// A counter that is in the page as long as this lives. Without a free row, or with a name that is too long, it is not.
class counted {
 public:
  counted(std::string_view name, u32 number, u64 const &value) noexcept
      : row_(counters.add(name, number, value).value_or(nowhere)) {}
  /// The same of an atomic counter, such as those of a run loop.
  counted(std::string_view name, u32 number, std::atomic<u64> const &value) noexcept
      : counted(name, number, reinterpret_cast<u64 const &>(value)) {
    static_assert(sizeof(value) == sizeof(u64) && std::atomic<u64>::is_always_lock_free);
  }
  counted(counted &&other) noexcept : row_(std::exchange(other.row_, nowhere)) {}
  counted &operator=(counted &&other) noexcept {
    std::swap(row_, other.row_);
    return *this;
  }
  ~counted() {
    if (row_ != nowhere) counters.remove(row_);
  }

  [[nodiscard]] bool is_listed() const noexcept { return row_ != nowhere; }

 private:
  static constexpr u32 nowhere = ~u32{0};
  u32 row_;
};

/// Prints a line `NAME NUMBER VALUE` for each counter.
inline void print_counters() noexcept {
  counters.each([](std::string_view name, u32 number, u64 value) { print("{:<16}{:>4} {:>20}\n", name, number, value); });
}

}  // namespace exo
