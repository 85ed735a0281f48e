// The fake machine's state: cores are threads (the one that makes the machine is core 0), the console is a string.
#pragma once

#include <sanitizer/asan_interface.h>
#include <sys/mman.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstring>
#include <deque>
#include <exo/core.hpp>
#include <map>
#include <memory>
#include <mutex>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "fake_devices.hpp"

namespace fake {

/// What sys_exit and sys_reboot throw, since they must not return.
struct exited {
  u32 status;
  bool reboot = false;
};

struct core_state {
  core_local local{};
  std::mutex mutex;
  std::condition_variable changed;
  entry_fn entry = nullptr;
  void *argument = nullptr;
  u64 timer = 0;
  bool stop = false;
  std::map<u32, trap_fn> traps;
  std::thread thread;
};

struct settings {
  u32 cores = 4;
  u32 dead_cores = 0;  // listed after the others, never started
  u64 memory_bytes = u64{16} << 20;
  std::string command_line{};
};

class machine {
 public:
  explicit machine(settings chosen = {}) : command_line_(chosen.command_line) {
    if (exo::host_table != nullptr) throw std::logic_error("there is a fake machine already");
    memory_bytes_ = chosen.memory_bytes;
    memory_ = static_cast<std::byte *>(
        mmap(nullptr, memory_bytes_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0));
    if (memory_ == MAP_FAILED) throw std::bad_alloc();
    ranges_.push_back({reinterpret_cast<u64>(memory_), memory_bytes_});

    u32 const listed = chosen.cores + chosen.dead_cores;
    for (u32 index = 0; index < listed; ++index) {
      auto &core = *cores_.emplace_back(std::make_unique<core_state>());
      core.local.self = reinterpret_cast<u64>(&core.local);
      core.local.index = index;
      records_.push_back({.apic_id = index * 2, .started = index < chosen.cores, .local = core.local.self,
                          .stack_end = 0, .stack_bytes = 0});
    }
    info_.size = sizeof info_;
    info_.tsc_hz = tsc_hz();
    info_.start_tsc = info_.entry_tsc = exo::ticks();
    info_.command_line = command_line_.c_str();
    exo::host_info = &info_;
    exo::host_table = &table;
    now = this;
    publish();

    cores_[0]->local.running = 1;
    exo::host_local = &cores_[0]->local;
    for (u32 index = 1; index < chosen.cores; ++index) {
      core_state &core = *cores_[index];
      core.thread = std::thread([this, &core] { run(core); });
    }
  }
  machine(machine const &) = delete;
  machine &operator=(machine const &) = delete;

  ~machine() {
    for (auto &core : cores_) {
      if (!core->thread.joinable()) continue;
      {
        std::lock_guard const guard(core->mutex);
        core->stop = true;
      }
      core->changed.notify_all();
      core->thread.join();
    }
    now = nullptr;
    exo::host_table = nullptr;
    exo::host_info = nullptr;
    exo::host_local = nullptr;
    ASAN_UNPOISON_MEMORY_REGION(memory_, memory_bytes_);  // the next machine may get the same addresses
    munmap(memory_, memory_bytes_);
  }

  /// Shows devices and ranges that a test added; records may move then.
  void publish() {
    pci_records_.clear();
    for (pci_device const &each : devices.pci) pci_records_.push_back(each.record);
    disk_records_.clear();
    for (auto const &each : devices.disks) disk_records_.push_back(each->record);
    info_.cores = as_list(records_);
    info_.memory = as_list(ranges_);
    info_.pci = as_list(pci_records_);
    info_.disks = as_list(disk_records_);
  }

  /// Makes the machine one with a screen, in memory of the test.
  void show_screen(void *first, u16 width, u16 height, u32 pitch, u64 format) {
    info_.screen = reinterpret_cast<u64>(first);
    info_.screen_width = width;
    info_.screen_height = height;
    info_.screen_pitch = pitch;
    info_.screen_format = static_cast<u32>(format);
  }

  /// What was printed since the last time.
  std::string take_output() {
    std::lock_guard const guard(console_mutex);
    return std::exchange(output, {});
  }

  void raise(u32 core, u64 event) {
    core_state &target = *cores_.at(core);
    {
      std::lock_guard const guard(target.mutex);
      target.local.events |= u64{1} << event;
    }
    target.changed.notify_all();
  }

  [[nodiscard]] bool is_running_core(u32 core) const { return core < cores_.size() && records_[core].started != 0; }
  [[nodiscard]] core_state &core(u32 index) { return *cores_.at(index); }
  [[nodiscard]] core_state &this_core() { return *cores_.at(exo::local().index); }
  [[nodiscard]] bool owns(u64 address) const {
    u64 const first = reinterpret_cast<u64>(memory_);
    return address >= first && address - first < memory_bytes_;
  }

  std::mutex console_mutex;
  std::string output;
  std::string input;
  std::vector<std::size_t> writes;  // bytes of each console_write
  bool console_has_screen = true;
  std::mutex memory_mutex;
  std::map<u64, mapping> mapped;  // by page, over the identity
  u64 given_bytes = 0;
  device_set devices;

  static inline machine *now = nullptr;
  static exo::calls const table;

 private:
  template <typename T>
  static exo::list<T> as_list(std::vector<T> const &records) {
    return {records.data(), static_cast<u32>(records.size()), sizeof(T)};
  }

  /// TSC ticks per second, measured once against the host's clock.
  static u64 tsc_hz() {
    static u64 const hz = [] {
      auto const begin = std::chrono::steady_clock::now();
      u64 const first = exo::ticks();
      std::this_thread::sleep_for(std::chrono::milliseconds(50));
      std::chrono::duration<double> const seconds = std::chrono::steady_clock::now() - begin;
      return static_cast<u64>(static_cast<double>(exo::ticks() - first) / seconds.count());
    }();
    return hz;
  }

  static void run(core_state &core) {
    exo::host_local = &core.local;
    std::unique_lock lock(core.mutex);
    for (;;) {
      core.changed.wait(lock, [&] { return core.stop || core.entry != nullptr; });
      if (core.stop) return;
      entry_fn const entry = std::exchange(core.entry, nullptr);
      lock.unlock();
      entry(core.argument);
      lock.lock();
      core.local.running = 0;
    }
  }

  std::string command_line_;
  std::byte *memory_ = nullptr;
  u64 memory_bytes_ = 0;
  machine_info info_{};
  std::vector<std::unique_ptr<core_state>> cores_;
  std::vector<core_record> records_;
  std::vector<memory_range> ranges_;
  std::vector<pci_record> pci_records_;
  std::vector<disk_record> disk_records_;
};

}  // namespace fake
