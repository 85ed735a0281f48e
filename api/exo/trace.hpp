// What each core did and when: a ring of records per core, printed as a Chrome trace.
//
//   exo::trace::start();                          // once; without it nothing is recorded
//   { exo::trace::scope const all("parse"); … }   // a piece of work, nested as the scopes are
//   exo::trace::mark("full");                     // a moment
//   exo::trace::count("in flight", n);            // a value over time
//   exo::trace::print();                          // what the rings hold, on the console
//
// A record is some fifteen instructions and no lock, also in trap handlers. A ring keeps the newest records. What print()
// writes are lines that begin with trace::line_mark; `./run_x86-64.sh --trace FILE` or tools/inside.sh make a file of them,
// which chrome://tracing and ui.perfetto.dev open. write() takes another way out: a disk, a network.
#pragma once

#include <algorithm>
#include <array>
#include <atomic>
#include <bit>
#include <cstddef>
#include <cstring>
#include <optional>
#include <string_view>

#include "console.hpp"
#include "core.hpp"
#include "counters.hpp"
#include "memory.hpp"
#include "time.hpp"

namespace exo::trace {

/// The name of a record: a literal of up to 48 letters, since only its address is kept and a line has to hold it.
struct name {
  char const *letters;
  template <std::size_t Bytes>
  consteval name(char const (&literal)[Bytes]) : letters(literal) {
    static_assert(Bytes <= 49, "exo::trace: a name has 48 letters at most");
  }
};

namespace detail {

enum class kind : u64 { scope, mark, count };

struct record {
  u64 name_and_kind = 0;  // addresses have 48 bits, a kind the upper 8
  u64 value = 0;          // of a scope: its first tick
  u64 when = 0;           // ticks, written last; of a scope: its end
};
inline constexpr unsigned kind_shift = 56;

struct alignas(64) ring {
  u64 next = 0;  // records so far
  u64 mask = 0;
  record *records = nullptr;
};

inline constinit std::atomic<ring *> rings{nullptr};  // one for each core, once there are any
inline thread_local constinit ring *own = nullptr;

/// This core's first record, or there are no rings.
[[gnu::noinline, gnu::cold]] inline ring *attach() noexcept {
  ring *const all = rings.load(std::memory_order_acquire);
  return own = all == nullptr ? nullptr : all + local().index;
}

/// Takes the next place of a ring. One instruction, so that a trap handler that records in between gets another one.
[[gnu::always_inline]] inline u64 take_place(ring &to) noexcept {
  u64 place = 1;
  asm volatile("xaddq %0, %1" : "+r"(place), "+m"(to.next) : : "cc");
  return place;
}

[[gnu::always_inline]] inline void put(kind which, name what, u64 value) noexcept {
  ring *to = own;
  if (to == nullptr) [[unlikely]] {
    to = attach();
    if (to == nullptr) return;
  }
  record &at = to->records[take_place(*to) & to->mask];
  std::atomic_ref(at.name_and_kind)
      .store(reinterpret_cast<u64>(what.letters) | static_cast<u64>(which) << kind_shift, std::memory_order_relaxed);
  std::atomic_ref(at.value).store(value, std::memory_order_relaxed);
  std::atomic_ref(at.when).store(ticks(), std::memory_order_release);
}

}  // namespace detail

/// Makes the rings, for all cores, and begins to record.
///
/// @param records  of each core's ring; a power of two, 24 bytes each
/// @error range    records is no power of two
/// @error memory   too little RAM
/// @error busy     there are rings already
/// @core  any      @heap  pages, for good
[[nodiscard]] inline result<void> start(u64 records = 1 << 14) noexcept {
  using namespace detail;
  if (!is_power_of_two(records) || records > u64{1} << 32) return std::unexpected(error::range);
  if (rings.load(std::memory_order_acquire) != nullptr) return std::unexpected(error::busy);
  u64 const cores = info().cores.size();
  result<pages> memory = pages::take(cores * (sizeof(ring) + records * sizeof(record)));
  if (!memory) return std::unexpected(memory.error());
  std::memset(memory->data(), 0, memory->size());
  auto *const all = reinterpret_cast<ring *>(memory->data());
  auto *first = reinterpret_cast<record *>(all + cores);
  for (u64 core = 0; core < cores; ++core, first += records) {
    std::construct_at(all + core, ring{.next = 0, .mask = records - 1, .records = first});
  }
  ring *none = nullptr;
  if (!rings.compare_exchange_strong(none, all, std::memory_order_acq_rel)) return std::unexpected(error::busy);
  memory->release();
  return {};
}

/// Records a piece of work when it ends: from here to the end of the object.
class scope {
 public:
  [[gnu::always_inline]] explicit scope(name what) noexcept : what_(what), first_(ticks()) {}
  scope(scope const &) = delete;
  scope &operator=(scope const &) = delete;
  [[gnu::always_inline]] ~scope() { detail::put(detail::kind::scope, what_, first_); }

 private:
  name what_;
  u64 first_;
};

/// Records a moment.
[[gnu::always_inline]] inline void mark(name what) noexcept { detail::put(detail::kind::mark, what, 0); }

/// Records a value that changes over time.
[[gnu::always_inline]] inline void count(name what, u64 value) noexcept { detail::put(detail::kind::count, what, value); }

namespace detail {

/// A record that is whole: neither half written nor overwritten while it was read.
inline std::optional<record> read(ring &from, u64 place, u64 oldest_when) noexcept {
  record &at = from.records[place & from.mask];
  record copy;
  copy.when = std::atomic_ref(at.when).load(std::memory_order_acquire);
  copy.value = std::atomic_ref(at.value).load(std::memory_order_relaxed);
  copy.name_and_kind = std::atomic_ref(at.name_and_kind).load(std::memory_order_acquire);
  u64 const next = std::atomic_ref(from.next).load(std::memory_order_acquire);
  if (next - place > from.mask + 1 || copy.when <= oldest_when) return std::nullopt;
  return copy;
}

/// Text as a JSON string.
struct quoted {
  std::string_view text;
};

/// A tick since the core's start, in microseconds with three digits behind the point.
struct microseconds {
  u64 ticks;
};

}  // namespace detail
}  // namespace exo::trace

template <>
struct exo::formatter<exo::trace::detail::quoted> {
  static void write(text_sink &out, trace::detail::quoted const &value) noexcept {
    out.put('"');
    for (char const letter : value.text) {
      auto const code = static_cast<unsigned char>(letter);
      if (code < ' ') {
        format_to(out, "\\u{:04x}", u32{code});
        continue;
      }
      if (letter == '"' || letter == '\\') out.put('\\');
      out.put(letter);
    }
    out.put('"');
  }
};

template <>
struct exo::formatter<exo::trace::detail::microseconds> {
  static void write(text_sink &out, trace::detail::microseconds const &value) noexcept {
    auto const nanoseconds = static_cast<u64>(clock::duration_of(value.ticks).count());
    format_to(out, "{}.{:03}", nanoseconds / 1000, nanoseconds % 1000);
  }
};

namespace exo::trace {
namespace detail {

/// One event as a line of JSON. Other cores' clocks are the same one: the TSC.
inline void write_event(text_sink &out, u32 core, record const &event) noexcept {
  u64 const begin = info().start_tsc;
  quoted const what{reinterpret_cast<char const *>(event.name_and_kind & ((u64{1} << kind_shift) - 1))};
  switch (static_cast<kind>(event.name_and_kind >> kind_shift)) {
    case kind::scope:
      format_to(out, R"({{"name":{},"ph":"X","pid":0,"tid":{},"ts":{},"dur":{}}})", what, core,
                microseconds{event.value - begin}, microseconds{event.when - event.value});
      break;
    case kind::mark:
      format_to(out, R"({{"name":{},"ph":"i","s":"t","pid":0,"tid":{},"ts":{}}})", what, core,
                microseconds{event.when - begin});
      break;
    case kind::count:
      format_to(out, R"({{"name":{},"ph":"C","id":{},"pid":0,"tid":{},"ts":{},"args":{{"value":{}}}}})", what, core, core,
                microseconds{event.when - begin}, event.value);
      break;
  }
}

}  // namespace detail

/// Writes what the rings hold, and the counters' values of now, as a Chrome trace (JSON), a piece for each line.
///
/// Cores may record meanwhile; records that they overwrite are left out, as are scopes that have not ended.
///
/// @param line  called as line(std::string_view) with each line, of up to 512 bytes and without its newline
/// @return      records written
template <typename Line>
u64 write(Line &&line) {
  using namespace detail;
  std::array<char, 480> buffer;
  bool first = true;
  auto const put_line = [&](auto &&fill) {
    text_sink out(buffer);
    out.put(first ? ' ' : ',');
    first = false;
    fill(out);
    line(out.text());
  };
  line(std::string_view(R"({"displayTimeUnit":"ns","traceEvents":[)"));
  u64 written = 0;
  ring *const all = rings.load(std::memory_order_acquire);
  for (u32 core = 0; all != nullptr && core < info().cores.size(); ++core) {
    put_line([&](text_sink &out) {
      format_to(out, R"({{"name":"thread_name","ph":"M","pid":0,"tid":{},"args":{{"name":"core {}"}}}})", core, core);
    });
    ring &from = all[core];
    u64 const end = std::atomic_ref(from.next).load(std::memory_order_acquire);
    u64 oldest_when = 0;  // a place that is taken but not written yet still has the record before this one
    for (u64 place = end - std::min(end, from.mask + 1); place != end; ++place) {
      std::optional<record> const event = read(from, place, oldest_when);
      if (!event) continue;
      if (oldest_when == 0) oldest_when = event->when - 1;
      put_line([&](text_sink &out) { write_event(out, core, *event); });
      ++written;
    }
  }
  u64 const now = ticks() - info().start_tsc;
  counters.each([&](std::string_view what, u32 number, u64 value) {
    put_line([&](text_sink &out) {
      format_to(out, R"({{"name":{},"ph":"C","id":{},"pid":0,"ts":{},"args":{{"value":{}}}}})", quoted{what}, number,
                microseconds{now}, value);
    });
  });
  line(std::string_view("]}"));
  return written;
}

/// What each line of a printed trace begins with.
inline constexpr std::string_view line_mark = "exo16-trace: ";

/// Writes the trace on the console, each line behind line_mark; returns how many records it has.
inline u64 print() noexcept {
  return write([](std::string_view line) { exo::print("{}{}\n", line_mark, line); });
}

}  // namespace exo::trace
