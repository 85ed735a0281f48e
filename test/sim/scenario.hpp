// What a scenario says: which machines there are, what they run, how they are connected, and what may go wrong.
//
// A scenario is one C++ file: the programs of its machines, as functions like main, and
//
//   void scenario(sim::setup &world) {
//     sim::machine &server = world.add_machine("server", serve);
//     sim::machine &client = world.add_machine("client", ask);
//     world.connect(server, client, {.lose = 0.1, .delay_most = 5ms});
//   }
//
// It passes with a seed when every machine that has to has ended with status 0, and check(), if there is one, has
// nothing to say. Rates are the chance of each single occasion, 0 to 1. See doc/simulator.md.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

namespace sim {

using namespace std::chrono_literals;
using duration = std::chrono::nanoseconds;  // of virtual time, whose TSC counts nanoseconds

inline constexpr unsigned machines_most = 8, cores_most = 8, nics_most = 4, disks_most = 4, links_most = 16;

/// The chance of each single occasion, from a number of 0 to 1. Kept as an integer: devices use no floating point.
class rate {
 public:
  constexpr rate(double chance = 0) noexcept
      : of_2_32_(chance <= 0 ? 0 : chance >= 1 ? std::uint64_t{1} << 32 : static_cast<std::uint64_t>(chance * 4294967296.0)) {}
  [[nodiscard]] constexpr std::uint64_t of_2_32() const noexcept { return of_2_32_; }

 private:
  std::uint64_t of_2_32_;
};

struct disk {
  std::uint64_t blocks = 256;
  std::uint32_t block_bytes = 512;
  bool write_cache = true;               ///< writes last only after a flush
  bool read_only = false;
  duration least = 10us, most = 100us;   ///< what an operation takes
  rate fail = 0;                         ///< of each operation: it ends with error::io, and a write may be done in part
  rate slow = 0;                         ///< of each operation: it takes a hundred times as long
  rate stuck = 0;                        ///< of each operation: it is never completed
  rate lose = 0;                         ///< of each block that was not flushed when the power is cut: it is as before
  rate tear = 0;                         ///< of each write on its way when the power is cut: some of its blocks are done
  char const *file = nullptr;            ///< its content at first; zeros if there is none
};

struct machine {
  char const *name = "";
  void const *main = nullptr;            ///< null: the program's main
  char const *arguments = "";            ///< the command line; has to outlive the run
  unsigned cores = 1;
  std::uint64_t memory_bytes = 4 << 20;
  bool serves = false;                   ///< the run does not wait for its end
  rate stall = 0.05;                     ///< of each call, clock reading and atomic operation: the core stops for a while
  duration stall_most = 20us;
  rate cut = 0;                          ///< of each start: the power is cut some time, and the machine starts again
  duration cut_within = 10ms;            ///< since the start
  unsigned cuts_most = 3;
  unsigned nics = 0;                     ///< connect() adds them
  bool interrupts = true;                ///< nic_arm and disk_arm work
  unsigned disk_count = 0;
  disk disks[disks_most];

  disk &add_disk(disk const &what = {}) { return disks[disk_count++ % disks_most] = what; }
};

struct link {
  duration delay_least = 5us, delay_most = 50us;
  rate lose = 0;                         ///< of each frame
  rate duplicate = 0;                    ///< of each frame: it comes twice
  rate reorder = 0;                      ///< of each frame: it comes up to ten times delay_most later than others
  rate corrupt = 0;                      ///< of each frame: one bit is turned
  rate partition = 0;                    ///< of each frame: from now on nothing passes, for up to partition_most
  duration partition_most = 100ms;
  unsigned mtu = 1500;
};

/// A world being made.
class setup {
 public:
  /// Adds a machine that runs a function, such as `int(int count, char **arguments)` or `int()`.
  machine &add_machine(char const *name, int (*run)(int, char **)) { return add(name, reinterpret_cast<void *>(run)); }
  machine &add_machine(char const *name, int (*run)()) { return add(name, reinterpret_cast<void *>(run)); }

  /// Gives each of two machines one more NIC, with a wire between them.
  virtual void connect(machine &one, machine &other, link const &how = {}) = 0;

  /// A number of the seed's, 0 to below - 1.
  virtual std::uint64_t choose(std::uint64_t below) = 0;

  duration limit = 60s;  ///< a run that takes longer has failed

 protected:
  ~setup() = default;

 private:
  virtual machine &add(char const *name, void const *run) = 0;
};

/// A world after its run.
class outcome {
 public:
  /// What a machine has printed, since its first start.
  [[nodiscard]] virtual std::string_view output(unsigned machine) const = 0;
  /// What a disk shows.
  [[nodiscard]] virtual std::span<std::byte const> content(unsigned machine, unsigned disk) const = 0;
  /// Makes the run a failed one.
  virtual void fail(char const *why) = 0;

 protected:
  ~outcome() = default;
};

}  // namespace sim

extern "C" {
void scenario(sim::setup &world);
void check(sim::outcome &after);
}
