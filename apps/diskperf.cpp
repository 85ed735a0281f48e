// diskperf: how many operations a second a disk does, and how long each takes.
//
//   disk=0            which one
//   mode=random       or sequential; each core has a part of the disk of its own then
//   write=no          yes: writes zeros over what is on the disk
//   bytes=4096        of an operation, whole blocks
//   depth=32          operations in flight of each core
//   cores=1           how many work at once, each with a queue of its own
//   seconds=2         how long
//
// It ends with status 1 if the disk fails, and 2 if an argument is wrong.
#include <algorithm>
#include <array>
#include <bit>
#include <charconv>
#include <exo/exo.hpp>
#include <memory>
#include <optional>
#include <span>
#include <string_view>
#include <type_traits>

namespace {

using exo::u32;
using exo::u64;

constexpr u32 cores_most = 64;
constexpr u32 depth_most = 1024;
constexpr u64 seconds_most = 3600;
constexpr u32 polls_before_halt = 1000;

struct options {
  u64 disk = 0;
  bool sequential = false;
  bool write = false;
  u64 bytes = 4096;
  u64 depth = 32;
  u64 cores = 1;
  u64 seconds = 2;
};

/// Says what is wrong, and what to do.
template <typename... Parts>
std::nullopt_t refuse(exo::format_text<std::type_identity_t<Parts>...> what, Parts const &...parts) {
  exo::print("diskperf: ");
  exo::print(what, parts...);
  exo::print("\n");
  return std::nullopt;
}

std::optional<options> read_options(std::span<char *const> arguments) {
  options chosen;
  struct number {
    std::string_view key;
    u64 options::*field;
    u64 least, most;
  };
  constexpr number numbers[] = {{"disk", &options::disk, 0, 255},          {"bytes", &options::bytes, 1, u64{1} << 30},
                                {"depth", &options::depth, 1, depth_most}, {"cores", &options::cores, 1, cores_most},
                                {"seconds", &options::seconds, 1, seconds_most}};
  for (std::string_view const argument : arguments) {
    std::size_t const equals = std::min(argument.find('='), argument.size());
    std::string_view const key = argument.substr(0, equals), value = argument.substr(std::min(equals + 1, argument.size()));
    if (key == "mode") {
      if (value != "random" && value != "sequential") return refuse("mode={}: it is random or sequential.", value);
      chosen.sequential = value == "sequential";
    } else if (key == "write") {
      if (value != "yes" && value != "no") return refuse("write={}: it is yes or no.", value);
      chosen.write = value == "yes";
    } else {
      auto const *const known = std::ranges::find(numbers, key, &number::key);
      if (known == std::end(numbers)) {
        return refuse("there is no argument '{}'; there are disk, mode, write, bytes, depth, cores, seconds.", argument);
      }
      auto const [end, wrong] = std::from_chars(value.data(), value.data() + value.size(), chosen.*known->field);
      u64 const given = chosen.*known->field;
      if (wrong != std::errc{} || end != value.data() + value.size() || given < known->least || given > known->most) {
        return refuse("{}={}: it is a number from {} to {}.", key, value, known->least, known->most);
      }
    }
  }
  return chosen;
}

/// The options, if this machine and its disk can do that.
std::optional<options> fit(options const &chosen) {
  if (exo::info().disks.size() <= chosen.disk) {
    return refuse("there is no disk {}: this machine has {}.", chosen.disk, exo::info().disks.size());
  }
  exo::disk_record const &record = exo::info().disks[static_cast<u32>(chosen.disk)];
  if (chosen.cores > exo::core_count()) return refuse("cores={}: this machine has {}.", chosen.cores, exo::core_count());
  if (chosen.cores > record.queue_max) return refuse("cores={}: the disk has {} queues.", chosen.cores, record.queue_max);
  if (chosen.depth > record.depth_max) return refuse("depth={}: the disk takes {} at most.", chosen.depth, record.depth_max);
  if (chosen.bytes % record.block_bytes != 0) {
    return refuse("bytes={}: the disk has blocks of {}; give a multiple.", chosen.bytes, record.block_bytes);
  }
  if (chosen.bytes > record.bytes_max) return refuse("bytes={}: the disk takes {} at most.", chosen.bytes, record.bytes_max);
  if (record.blocks * record.block_bytes / chosen.cores < chosen.bytes) return refuse("the disk is too small for that.");
  if (chosen.write && (record.features & exo::disk_read_only) != 0) return refuse("write=yes: the disk is read-only.");
  return chosen;
}

/// How often operations took how long: eight steps to each power of two of TSC ticks.
class histogram {
 public:
  static constexpr u32 step_bits = 3;

  void add(u64 ticks) noexcept {
    u32 const power = static_cast<u32>(std::bit_width(ticks >> step_bits));  // of the step
    u64 const step = power == 0 ? ticks : (ticks >> (power - 1)) - (u64{1} << step_bits);
    ++counts_[(power << step_bits) + static_cast<u32>(step)];
    most_ = std::max(most_, ticks);
    ++total_;
  }
  void add(histogram const &other) noexcept {
    for (std::size_t at = 0; at < counts_.size(); ++at) counts_[at] += other.counts_[at];
    most_ = std::max(most_, other.most_);
    total_ += other.total_;
  }

  [[nodiscard]] u64 total() const noexcept { return total_; }
  [[nodiscard]] u64 most() const noexcept { return most_; }

  /// What at least so many of 10,000 operations did not exceed, but for the width of a step.
  [[nodiscard]] u64 at_most(u64 of_ten_thousand) const noexcept {
    u64 seen = 0;
    for (u32 at = 0; at < counts_.size(); ++at) {
      seen += counts_[at];
      if (seen * 10000 >= total_ * of_ten_thousand) return std::min(end_of(at), most_);
    }
    return most_;
  }

  /// How many took fewer ticks than a limit, as exactly as the steps are.
  [[nodiscard]] u64 below(u64 ticks) const noexcept {
    u64 seen = 0;
    for (u32 at = 0; at < counts_.size() && end_of(at) <= ticks; ++at) seen += counts_[at];
    return seen;
  }

 private:
  static u64 end_of(u32 at) noexcept {
    u32 const power = at >> step_bits;
    u64 const step = at & ((1u << step_bits) - 1);
    return power == 0 ? step + 1 : ((u64{1} << step_bits) + step + 1) << (power - 1);
  }

  std::array<u64, 512> counts_{};
  u64 most_ = 0;
  u64 total_ = 0;
};

/// What one core does and finds. Too large for a stack.
struct worker {
  std::optional<exo::disk_queue> queue;
  exo::pages buffers;
  histogram times;
  std::optional<exo::error> failure;
  u64 random = 1;
  u64 next = 0;
  std::array<exo::disk_op, depth_most> batch;
  std::array<exo::completion, depth_most> done;
  std::array<u64, depth_most> begun;    // of each operation
  std::array<u32, depth_most> waiting;  // operations that are not in flight

  /// The block of the next operation, of a disk that has room for so many operations.
  u64 place(options const &chosen, u64 core, u64 room) noexcept {
    if (chosen.sequential) return core * (room / chosen.cores) + next++ % (room / chosen.cores);
    random = random * 6364136223846793005 + 1442695040888963407;
    return static_cast<u64>((static_cast<unsigned __int128>(random) * room) >> 64);
  }

  void run(options const &chosen, u64 core, u64 deadline) noexcept {
    exo::disk_record const &record = queue->record();
    u64 const blocks = chosen.bytes / record.block_bytes, room = record.blocks / blocks;
    random = core * 2 + 1;
    u32 idle = static_cast<u32>(chosen.depth), polls = 0;
    for (u32 at = 0; at < idle; ++at) waiting[at] = at;
    for (u64 now = exo::ticks();;) {
      bool const ends = now >= deadline;
      if (ends && idle == chosen.depth) return;
      if (!ends && idle != 0) {
        for (u32 at = 0; at < idle; ++at) {
          u32 const which = waiting[at];
          batch[at] = {.address = reinterpret_cast<u64>(buffers.data()) + which * chosen.bytes, .cookie = which,
                       .bytes = static_cast<u32>(chosen.bytes), .flags = 0,
                       .kind = static_cast<exo::u8>(chosen.write ? exo::disk_write : exo::disk_read), .reserved = 0,
                       .block = place(chosen, core, room) * blocks};
          begun[which] = now;
        }
        auto const taken = queue->try_submit(std::span(batch).first(idle));
        if (!taken) return fail(taken.error());
        std::copy(waiting.begin() + *taken, waiting.begin() + idle, waiting.begin());
        idle -= static_cast<u32>(*taken);
      }
      auto const got = queue->try_reap(std::span(done).first(chosen.depth));
      if (!got) return fail(got.error());
      now = exo::ticks();
      for (exo::completion const &each : std::span(done).first(*got)) {
        if (each.status < 0) return fail(static_cast<exo::error>(-each.status));
        times.add(now - begun[each.cookie]);
        waiting[idle++] = static_cast<u32>(each.cookie);
      }
      if (*got != 0) {
        polls = 0;
      } else if (++polls < polls_before_halt) {
        exo::pause();
      } else if (auto const pending = queue->arm(); pending && !*pending) {
        exo::core().core_idle(queue->deadline());
      }
    }
  }

  void fail(exo::error why) noexcept { failure = why; }
};

/// A duration of TSC ticks in microseconds, with one digit behind the point.
struct microseconds {
  u64 tenths;
  explicit microseconds(u64 ticks)
      : tenths(static_cast<u64>(exo::clock::duration_of(ticks).count()) / 100) {}
};

void print_time(char const *name, u64 ticks) {
  microseconds const time(ticks);
  exo::print("  {} {}.{} us\n", name, time.tenths / 10, time.tenths % 10);
}

void print_histogram(histogram const &times) {
  print_time("half of all within", times.at_most(5000));
  print_time("90 % within", times.at_most(9000));
  print_time("99 % within", times.at_most(9900));
  print_time("99.9 % within", times.at_most(9990));
  print_time("all within", times.most());
  u64 seen = 0;
  for (u64 us = 1; seen < times.total() && us < u64{1} << 40; us *= 2) {
    u64 const count = times.below(us * exo::info().tsc_hz / 1000000) - seen;
    if (count != 0) exo::print("  below {:>8} us {:>10}\n", us, count);
    seen += count;
  }
}

int measure(options const &chosen) {
  u32 const cores = static_cast<u32>(chosen.cores);
  auto const fail = [](char const *what, exo::error why) {
    exo::print("diskperf: {}: {}\n", what, why);
    return 1;
  };
  auto memory = exo::pages::take(cores * sizeof(worker));
  if (!memory) return fail("there is no memory", memory.error());
  std::span const workers(reinterpret_cast<worker *>(memory->data()), cores);
  std::ranges::uninitialized_default_construct(workers);

  auto disk = exo::disk::open(exo::disk_id{static_cast<u32>(chosen.disk)}, cores,
                              std::max(16u, std::bit_ceil(static_cast<u32>(chosen.depth))));
  if (!disk) return fail("the disk does not open", disk.error());
  for (worker &each : workers) {
    each.queue.emplace(std::move(*disk->take_queue()));
    auto buffers = exo::pages::take(chosen.depth * chosen.bytes);
    if (!buffers) return fail("there is no memory for so much in flight", buffers.error());
    std::ranges::fill(buffers->span(), std::byte{0});
    each.buffers = std::move(*buffers);
  }
  u64 const begin = exo::ticks(), deadline = exo::deadline_in(std::chrono::seconds(chosen.seconds));
  exo::run_on_all([&] { workers[exo::local().index].run(chosen, exo::local().index, deadline); }, cores);
  u64 const milliseconds = std::max<u64>(static_cast<u64>(exo::clock::duration_of(exo::ticks() - begin).count()) / 1000000, 1);

  histogram times;
  int status = 0;
  for (worker &each : workers) {
    if (each.failure) status = fail("the disk fails", *each.failure);
    times.add(each.times);
    if (each.failure) static_cast<void>(each.buffers.release());  // it may still be used by the disk
    each.queue.reset();
  }
  u64 const rate = times.total() * 1000 / milliseconds;
  exo::print("{} {} of {} bytes, {} in flight on each of {} cores: {} in {} ms\n",
             chosen.sequential ? "sequential" : "random", chosen.write ? "writes" : "reads", chosen.bytes, chosen.depth, cores,
             times.total(), milliseconds);
  exo::print("{} a second, {} MiB/s\n", rate, rate * chosen.bytes >> 20);
  if (times.total() != 0) print_histogram(times);
  return status;
}

}  // namespace

int main(int argc, char **argv) {
  std::optional<options> chosen = read_options(std::span(argv + 1, static_cast<std::size_t>(argc - 1)));
  if (chosen) chosen = fit(*chosen);
  return chosen ? measure(*chosen) : 2;
}
