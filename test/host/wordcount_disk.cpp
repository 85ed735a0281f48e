#include "../../apps/wordcount/read.hpp"

#include <catch2/catch.hpp>
#include <cstdlib>
#include <map>
#include <random>
#include <string>
#include <thread>
#include <vector>

namespace {

using namespace wordcount;

constexpr u64 block_bytes = 512;

struct malloc_memory {
  static void *take(std::size_t bytes) noexcept { return std::malloc(bytes); }
  static void give(void *block, std::size_t) noexcept { std::free(block); }
};

struct no_memory {
  static void *take(std::size_t) noexcept { return nullptr; }
  static void give(void *, std::size_t) noexcept {}
};

/// Disk 0, whose operations finish in any order, some only after a while.
struct fake_disk {
  struct queue {
    std::mutex user;
    std::vector<exo::disk_op> in_flight;
    std::mt19937 random{7};
  };
  static inline std::string content;
  static inline std::vector<queue> queues;
  static inline std::size_t depth = 16;
  static inline u64 bad_block = ~u64{0};
  static inline bool silent = false;
  static inline std::atomic<unsigned> collisions = 0;
  static inline std::atomic<std::size_t> most_in_flight = 0;

  static exo::i64 open(exo::u32, exo::u32 count, exo::u32 operations, void *, u64) {
    queues = std::vector<queue>(count);
    depth = operations;
    return 0;
  }
  static exo::i64 close(exo::u32) { return 0; }

  static exo::i64 submit(exo::u32, exo::u32 index, exo::disk_op const *operations, exo::u32 count) {
    queue &at = queues[index];
    std::unique_lock const mine(at.user, std::try_to_lock);
    if (!mine) return ++collisions, 0;
    exo::u32 taken = 0;
    for (; taken < count && at.in_flight.size() < depth; ++taken) {
      exo::disk_op const &each = operations[taken];
      if (each.bytes % block_bytes || each.block * block_bytes + each.bytes > content.size()) {
        return -static_cast<exo::i64>(exo::error::range);
      }
      at.in_flight.push_back(each);
    }
    most_in_flight = std::max<std::size_t>(most_in_flight, at.in_flight.size());
    return taken;
  }

  static exo::i64 reap(exo::u32, exo::u32 index, exo::completion *out, exo::u32 count) {
    queue &at = queues[index];
    std::unique_lock const mine(at.user, std::try_to_lock);
    if (!mine) return ++collisions, 0;
    exo::u32 done = 0;
    while (done < count && !at.in_flight.empty() && !silent && at.random() % 4 != 0) {
      std::swap(at.in_flight[at.random() % at.in_flight.size()], at.in_flight.back());
      exo::disk_op const each = at.in_flight.back();
      at.in_flight.pop_back();
      bool const bad = each.block <= bad_block && bad_block < each.block + each.bytes / block_bytes;
      if (!bad) std::memcpy(reinterpret_cast<void *>(each.address), &content[each.block * block_bytes], each.bytes);
      out[done++] = {each.cookie, bad ? -static_cast<exo::i32>(exo::error::io) : 0, bad ? 0 : each.bytes};
    }
    return done;
  }

  static exo::i64 idle(u64) {
    std::this_thread::yield();
    return 0;
  }
};

/// A machine with that disk and a little RAM.
class machine {
 public:
  machine(std::string_view text, exo::u32 queue_max, exo::u32 depth_max, u64 tsc_hz = 3'000'000'000) {
    fake_disk::content = text;
    fake_disk::content.resize(exo::align_up(text.size(), block_bytes));
    fake_disk::bad_block = ~u64{0};
    fake_disk::silent = false;
    fake_disk::most_in_flight = 0;
    record_.blocks = fake_disk::content.size() / block_bytes;
    record_.block_bytes = block_bytes;
    record_.queue_max = queue_max;
    record_.depth_max = depth_max;
    record_.depth_bytes = 64;
    info_.tsc_hz = tsc_hz;
    info_.disks = {&record_, 1, sizeof record_};
    range_ = {reinterpret_cast<u64>(ram_.get()), ram_bytes};
    info_.memory = {&range_, 1, sizeof range_};
    calls_.disk_open = fake_disk::open;
    calls_.disk_close = fake_disk::close;
    calls_.disk_submit = fake_disk::submit;
    calls_.disk_reap = fake_disk::reap;
    calls_.core_idle = fake_disk::idle;
    exo::host_table = &calls_;
    exo::host_info = &info_;
    exo::system_pages.start(info_.memory);
  }

 private:
  static constexpr std::size_t ram_bytes = 16 << 20;
  struct freed {
    void operator()(std::byte *block) const { std::free(block); }
  };
  std::unique_ptr<std::byte, freed> ram_{static_cast<std::byte *>(std::aligned_alloc(exo::page_bytes, ram_bytes))};
  exo::memory_range range_{};
  exo::disk_record record_{};
  exo::machine_info info_{};
  exo::calls calls_{};
};

auto const threads = [](unsigned cores, auto const &function) {
  std::vector<std::thread> others;
  for (unsigned core = 1; core < cores; ++core) others.emplace_back([&function, core] { function(core); });
  function(0);
  for (std::thread &other : others) other.join();
};

template <typename Memory = malloc_memory>
std::expected<summary, failure> count(unsigned queues, unsigned cores, u64 text_bytes, std::size_t read_bytes) {
  auto buffers = exo::pages::take(cores * reads_per_core * read_bytes);
  REQUIRE(buffers);
  auto disk = exo::disk::open(exo::disk_id{0}, queues, 16);
  REQUIRE(disk);
  disk_count<Memory> job(*disk, queues, cores, text_bytes, buffers->span());
  return job.run(threads);
}

std::string sample(std::size_t bytes) {
  constexpr std::string_view words[] = {"the ", "of\n", "and  ", "internationalization ", "\n", "a ", "\t"};
  std::mt19937 random(5);
  std::string text;
  while (text.size() < bytes) text += words[random() % std::size(words)];
  text.resize(bytes);
  return text;
}

TEST_CASE("wordcount: a disk's text counts as it does in memory") {
  for (std::size_t bytes : {1uz, 511uz, 512uz, 513uz, 40'000uz, 1'000'001uz}) {
    std::string const text = sample(bytes);
    machine const here(text, 8, 16);
    auto const expected = count_parallel<malloc_memory>(text, 1, threads);
    REQUIRE(expected);
    for (auto const &[queues, cores] : {std::pair{1u, 1u}, {2u, 2u}, {1u, 2u}, {1u, 5u}, {2u, 5u}, {4u, 4u}}) {
      for (std::size_t read_bytes : {512uz, 4096uz, 65536uz}) {
        auto const found = count(queues, cores, bytes, read_bytes);
        REQUIRE(found);
        CHECK(found->lines == expected->lines);
        CHECK(found->words == expected->words);
        CHECK(found->bytes == bytes);
        for (std::size_t i = 0; i < top_words; ++i) {
          CHECK(found->top[i].count == expected->top[i].count);
          CHECK(found->top[i].text == expected->top[i].text);
        }
      }
    }
  }
  CHECK(fake_disk::collisions == 0);
  CHECK(fake_disk::most_in_flight >= reads_per_core);
}

TEST_CASE("wordcount: a text may end before its disk") {
  machine const here("one two three", 1, 16);
  auto const found = count(1, 1, 7, 512);
  REQUIRE(found);
  CHECK(found->words == 2);
  CHECK(found->bytes == 7);
}

TEST_CASE("wordcount: a block that cannot be read ends it, and is named") {
  machine const here(sample(300'000), 4, 16);
  fake_disk::bad_block = 123;
  for (unsigned cores : {1u, 3u}) {
    auto const found = count(1, cores, 300'000, 4096);
    REQUIRE(!found);
    CHECK(found.error().why == exo::error::io);
    CHECK(found.error().first_block <= 123);
    CHECK(123 < found.error().first_block + found.error().blocks);
  }
}

TEST_CASE("wordcount: a disk that never answers ends it") {
  machine const here(sample(300'000), 4, 16, 3'000'000);  // a thousandth of what it is, so that patience ends soon
  fake_disk::silent = true;
  for (unsigned queues : {1u, 2u}) {
    auto const found = count(queues, 2, 300'000, 4096);
    REQUIRE(!found);
    CHECK(found.error().why == exo::error::timeout);
    CHECK(found.error().blocks == 8);
  }
}

TEST_CASE("wordcount: without memory a disk's text has no summary") {
  machine const here(sample(1000), 4, 16);
  auto const found = count<no_memory>(1, 2, 1000, 4096);
  REQUIRE(!found);
  CHECK(found.error().why == exo::error::memory);
  CHECK(found.error().blocks == 0);
}

TEST_CASE("wordcount: reads fit the text and the RAM") {
  constexpr u64 gib = 1 << 30;
  CHECK(read_bytes_for(gib, 2, gib) == 128 * 1024);
  CHECK(read_bytes_for(1 << 20, 2, gib) == 16 * 1024);
  CHECK(read_bytes_for(1, 64, gib) == 4096);
  CHECK(read_bytes_for(gib, 1, 1 << 20) == 16 * 1024);
  CHECK(read_bytes_for(gib, 1000, 0) == 4096);
}

}  // namespace
