// Runs a scenario with many seeds, or a program alone. tools/sim.sh writes the command line.
//
// A run that fails is told with its seed; then faults are left out as long as it still fails, and what remains is told.
#include <sys/wait.h>

#include <atomic>
#include <charconv>
#include <chrono>
#include <filesystem>

#include "stage.hpp"

namespace {

using namespace sim;

constexpr int failed_status = 1;
constexpr std::size_t faults_to_read = 10;  // with more, other seeds that fail are looked at, for one that takes less
constexpr u32 others_most = 10;

struct options {
  std::string path, name = "program";
  u64 seed = 1, seeds = 1;
  u32 jobs = 1;
  std::optional<std::vector<fault>> only;
  bool trace = false, summary = false, nic = false;
  machine alone;
};

u64 number(char const *name, std::string_view text, u64 least, u64 most) {
  u64 value = 0;
  auto const [end, problem] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (problem != std::errc() || end != text.data() + text.size() || value < least || value > most) {
    refuse("%s '%s' is not a number of %lu to %lu.", name, std::string(text).c_str(), least,
           most);
  }
  return value;
}

std::vector<fault> faults_of(std::string_view text) {
  std::vector<fault> all;
  while (!text.empty()) {
    std::string_view const word = text.substr(0, text.find(' '));
    text.remove_prefix(std::min(text.size(), word.size() + 1));
    if (word.empty() || word == "none") continue;
    auto const made = fault::from_text(word);
    if (!made) {
      refuse("'%s' is no fault: those are written KIND.OBJECT.ORDINAL, as a failing run prints them.",
             std::string(word).c_str());
    }
    all.push_back(*made);
  }
  std::ranges::sort(all);
  return all;
}

options read_options(int count, char **arguments) {
  options chosen;
  if (count < 2) refuse("which program? Use: make sim SCENARIO=name");
  chosen.path = arguments[1];
  chosen.alone.name = "program";
  chosen.alone.memory_bytes = 64 << 20;
  for (int at = 2; at < count; ++at) {
    std::string_view const name = arguments[at];
    if (name == "--trace") {
      chosen.trace = true;
    } else if (name == "--summary") {
      chosen.summary = true;
    } else if (name == "--nic") {
      chosen.nic = true;
    } else if (at + 1 == count) {
      refuse("there is no option '%s', or it needs a value after it.", arguments[at]);
    } else if (char const *const value = arguments[++at]; name == "--name") {
      chosen.name = value;
    } else if (name == "--seed") {
      chosen.seed = number("SEED", value, 0, never);
    } else if (name == "--seeds") {
      chosen.seeds = number("SEEDS", value, 1, u64{1} << 40);
    } else if (name == "--jobs") {
      chosen.jobs = static_cast<u32>(number("JOBS", value, 1, 256));
    } else if (name == "--only") {
      chosen.only = faults_of(value);
    } else if (name == "--cores") {
      chosen.alone.cores = static_cast<u32>(number("--cores", value, 1, cores_most));
    } else if (name == "--mem") {
      chosen.alone.memory_bytes = number("--mem", value, exo::page_bytes, u64{1} << 36) & ~(exo::page_bytes - 1);
    } else if (name == "--args") {
      chosen.alone.arguments = value;
    } else if (name == "--disk") {
      std::error_code wrong;
      u64 const bytes = std::filesystem::file_size(value, wrong);
      if (wrong || chosen.alone.disk_count == disks_most) {
        refuse("'%s' is no file for a disk, or there are more than %u.", value, disks_most);
      }
      chosen.alone.add_disk({.blocks = (bytes + 511) / 512, .file = value});
    } else {
      refuse("there is no option '%s'.", arguments[at - 1]);
    }
  }
  return chosen;
}

/// What the processes that run seeds share.
struct board {
  std::atomic<u64> lowest = never;  // seed that fails
  std::atomic<u64> at[256];         // seed that each is at
  std::atomic<u64> hash, runs;
};

template <typename T>
T &shared() {
  void *const place = mmap(nullptr, sizeof(T), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (place == MAP_FAILED) refuse("there is no memory for the simulator.");
  return *std::construct_at(static_cast<T *>(place));
}

void lower(std::atomic<u64> &to, u64 value) {
  for (u64 old = to; value < old && !to.compare_exchange_weak(old, value);) {
  }
}

/// Runs a function in a process of its own; its exit status, or 128 and the signal that ended it.
template <typename Function>
int in_process(Function function) {
  std::fflush(stdout);
  pid_t const child = fork();
  if (child < 0) refuse("there is no process to be had: %s.", std::strerror(errno));
  if (child == 0) {
    function();
    std::fflush(stdout);
    _exit(0);
  }
  int state = 0;
  while (waitpid(child, &state, 0) < 0 && errno == EINTR) {
  }
  return WIFSIGNALED(state) ? 128 + WTERMSIG(state) : WEXITSTATUS(state);
}

/// The lowest seed that fails, or `never`. Each process runs every jobs-th seed; the first one that fails decides.
u64 find_failure(stage &scene, options const &chosen, board &all) {
  std::vector<pid_t> children;
  std::fflush(stdout);
  for (u32 job = 0; job < chosen.jobs; ++job) {
    pid_t const child = fork();
    if (child < 0) refuse("there is no process to be had: %s.", std::strerror(errno));
    if (child != 0) {
      children.push_back(child);
      continue;
    }
    for (u64 turn = job; turn < chosen.seeds; turn += chosen.jobs) {
      u64 const seed = chosen.seed + turn;
      if (seed > all.lowest) break;
      all.at[job] = seed;
      verdict const came = scene.run(seed);
      all.hash ^= came.hash * (2 * turn + 1);  // in any order
      ++all.runs;
      if (!came.failure.empty()) lower(all.lowest, seed);
    }
    _exit(0);
  }
  for (u32 job = 0; job < chosen.jobs; ++job) {
    int state = 0;
    waitpid(children[job], &state, 0);
    if (!WIFEXITED(state) || WEXITSTATUS(state) != 0) lower(all.lowest, all.at[job]);
  }
  return all.lowest;
}

/// A run in a process of its own, which may crash.
struct trial {
  char failure[512];
  u32 count;
  fault faults[1 << 16];  // more are not shrunk
  u64 hash;
};

std::string fails(stage &scene, u64 seed, std::vector<fault> const *only, trial &out) {
  out.failure[0] = 0;
  int const status = in_process([&] {
    verdict const came = scene.run(seed, only);
    out.failure[came.failure.copy(out.failure, sizeof(out.failure) - 1)] = 0;
    out.count = static_cast<u32>(came.faults.size());
    if (came.faults.size() <= std::size(out.faults)) std::ranges::copy(came.faults, out.faults);
    out.hash = came.hash;
  });
  if (status != 0) return "the program crashed the simulator, with status " + std::to_string(status);
  return out.failure;
}

/// Leaves out faults as long as the run fails in the same way: halves, quarters, … and single ones. (Zeller, ddmin)
std::vector<fault> shrink(stage &scene, u64 seed, std::string const &failure, trial const &whole) {
  static auto &out = shared<trial>();
  std::vector<fault> faults(whole.faults, whole.faults + whole.count);
  std::ranges::sort(faults);
  int tries = 500;
  for (std::size_t parts = 2; !faults.empty() && tries > 0;) {
    std::size_t const length = (faults.size() + parts - 1) / parts;
    bool smaller = false;
    for (std::size_t first = 0; first < faults.size() && --tries > 0;) {
      std::vector<fault> rest = faults;
      auto const begin = rest.begin() + static_cast<std::ptrdiff_t>(first);
      rest.erase(begin, begin + static_cast<std::ptrdiff_t>(std::min(length, faults.size() - first)));
      if (fails(scene, seed, &rest, out) == failure) {
        faults = std::move(rest);
        smaller = true;
      } else {
        first += length;
      }
    }
    if (length == 1 && !smaller) break;
    parts = smaller ? std::max<std::size_t>(parts - 1, 2) : std::min(parts * 2, faults.size());
  }
  return faults;
}

std::string text_of(std::vector<fault> const &faults) {
  std::string text;
  for (fault const &each : faults) text += (text.empty() ? "" : " ") + each.text();
  return text.empty() ? "none" : text;
}

int run_scenario(stage &scene, options const &chosen) {
  auto &all = shared<board>();
  auto const begin = std::chrono::steady_clock::now();
  u64 seed = chosen.seed;
  if (chosen.seeds > 1) {
    seed = find_failure(scene, chosen, all);
    double const seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
    if (seed == never) {
      std::printf("%s passes with seeds %lu to %lu (%.0f a minute; trace %016lx)\n", chosen.name.c_str(), chosen.seed,
                  chosen.seed + chosen.seeds - 1, static_cast<double>(all.runs) / seconds * 60, all.hash.load());
      return 0;
    }
  }
  auto &first = shared<trial>();
  auto const *const only = chosen.only ? &*chosen.only : nullptr;
  std::string const failure = fails(scene, seed, only, first);
  if (failure.empty()) {
    if (chosen.trace) {
      now.traces = true;
      scene.run(seed, only);
    }
    std::printf("%s passes with seed %lu (%u faults; trace %016lx)\n", chosen.name.c_str(), seed, first.count,
                first.hash);
    return 0;
  }
  u32 count = first.count;
  bool const shrinks = only == nullptr && count <= std::size(first.faults);
  std::vector<fault> faults;
  if (shrinks) faults = shrink(scene, seed, failure, first);
  // A seed may fail only as long as many stalls keep an order; another may fail in the same way with less.
  options rest = chosen;
  u64 const end = chosen.seed + chosen.seeds;
  u64 looked = seed;
  for (u32 more = 0; shrinks && faults.size() > faults_to_read && looked + 1 < end && more < others_most; ++more) {
    rest.seed = looked + 1;
    rest.seeds = end - rest.seed;
    all.lowest = never;
    looked = find_failure(scene, rest, all);
    if (looked == never) break;
    if (fails(scene, looked, nullptr, first) != failure || first.count > std::size(first.faults)) continue;
    u32 const its_count = first.count;
    std::vector<fault> its_faults = shrink(scene, looked, failure, first);
    if (its_faults.size() >= faults.size()) continue;
    faults = std::move(its_faults);
    count = its_count;
    seed = looked;
  }
  in_process([&] {
    now.traces = chosen.trace;
    scene.run(seed, shrinks ? &faults : only);
    for (auto const &each : scene.computers()) {
      std::printf("--- %s printed:\n%s", each->how().name, each->output.c_str());
      if (!each->output.empty() && each->output.back() != '\n') std::printf("\n");
    }
    std::printf("---\n");
  });
  std::printf("%s fails with seed %lu: %s\n", chosen.name.c_str(), seed, failure.c_str());
  std::printf("again, with its %u faults:  make sim SCENARIO=%s SEED=%lu\n", count, chosen.name.c_str(), seed);
  if (!shrinks) return failed_status;
  std::printf("with the %zu that it takes:  make sim SCENARIO=%s SEED=%lu FAULTS='%s' TRACE=1\n", faults.size(),
              chosen.name.c_str(), seed, text_of(faults).c_str());
  return failed_status;
}

int run_program(stage &scene, options const &chosen) {
  scene.use(chosen.alone, chosen.nic);
  echoes = true;
  now.traces = chosen.trace;
  verdict const came = scene.run(chosen.seed, chosen.only ? &*chosen.only : nullptr);
  std::fflush(stdout);
  if (came.failure.empty()) return scene.computers()[0]->status;
  std::fprintf(stderr, "sim: %s\n", came.failure.c_str());
  return 125;
}

}  // namespace

int main(int count, char **arguments) {
  options const chosen = read_options(count, arguments);
  std::string folder = (std::filesystem::temp_directory_path() / "exo16-sim.XXXXXX").string();
  if (mkdtemp(folder.data()) == nullptr) refuse("there is no folder to be made at %s.", folder.c_str());
  // In a process of its own, so that the folder goes whatever happens.
  int const status = in_process([&] {
    stage scene(chosen.path, folder);
    native::enter_trap_stack();
    native::catch_signals();
    int const result = scene.is_scenario() ? run_scenario(scene, chosen) : run_program(scene, chosen);
    std::fflush(stdout);
    _exit(result);
  });
  std::filesystem::remove_all(folder);
  return status;
}
