// The call table on Linux: a program and this file make a process that is the machine.
//
// The machine is made before the program's constructors run, then the program's own main is called with its own
// arguments; the linker's --wrap=main leads here. Everything else is the program with libstdc++ and libc under it.
#include <exo/arguments.hpp>
#include <exo/memory.hpp>

#include <ctime>
#include <string>

#include "console.hpp"
#include "cores.hpp"
#include "disk.hpp"
#include "memory.hpp"
#include "nic.hpp"
#include "options.hpp"
#include "pci.hpp"
#include "traps.hpp"

/// A search for leaks would not see what is pointed at from the machine's RAM; and programs need not give anything back.
extern "C" char const *__asan_default_options() { return "detect_leaks=0"; }

extern "C" char const __executable_start, _end;  // the linker's
extern "C" int __real_main(int count, char **arguments);

namespace native {
namespace {

char **process_arguments = nullptr;
constinit exo::machine_info machine{};

void sys_exit(u32 status) { _exit(static_cast<int>(status & 0xFF)); }

/// Starts anew with the same options.
void sys_reboot() {
  execv("/proc/self/exe", process_arguments);
  _exit(wrong_use);
}

// A call of calls.inc that has no function here does not compile.
constinit exo::calls const table = {
#define EXO_NOTE(text)
#define EXO_CALL(slot, name, ret, args, doc) .name = native::name,
#include "../api/abi/calls.inc"
#undef EXO_CALL
#undef EXO_NOTE
};

/// Ticks of the TSC in a second, by the kernel's clock: exact to about 20 in a million.
u64 measure_tsc() {
  auto const sample = [](u64 &nanoseconds) {
    std::timespec now;
    u64 const early = exo::ticks();
    clock_gettime(CLOCK_MONOTONIC, &now);
    u64 const late = exo::ticks();
    nanoseconds = static_cast<u64>(now.tv_sec) * 1'000'000'000 + static_cast<u64>(now.tv_nsec);
    return early + (late - early) / 2;
  };
  u64 first_time = 0, last_time = 0;
  u64 const first = sample(first_time);
  std::timespec const pause{.tv_sec = 0, .tv_nsec = 10'000'000};
  nanosleep(&pause, nullptr);
  u64 const last = sample(last_time);
  return static_cast<u64>(static_cast<unsigned __int128>(last - first) * 1'000'000'000 / (last_time - first_time));
}

template <typename Device>
std::span<Device> make_devices(std::vector<char const *> const &names, void (*make)(Device &, char const *)) {
  auto *const devices = new Device[names.size()]{};
  for (std::size_t at = 0; at < names.size(); ++at) make(devices[at], names[at]);
  return {devices, names.size()};
}

/// Records that are the first part of something longer.
template <typename Record, typename Device>
exo::list<Record> list_of(std::span<Device> devices) {
  if (devices.empty()) return {.first = nullptr, .count = 0, .stride = sizeof(Device)};
  return {.first = &devices[0].record, .count = static_cast<u32>(devices.size()), .stride = sizeof(Device)};
}

[[gnu::constructor(101)]] void start(int count, char **arguments, char **) {
  process_arguments = arguments;
  machine.size = sizeof(machine);
  machine.start_tsc = machine.loader_tsc = exo::ticks();
  machine.tsc_hz = measure_tsc();
  machine.program_first = reinterpret_cast<u64>(&__executable_start);
  machine.program_end = reinterpret_cast<u64>(&_end);
  options const chosen = read_options(count, arguments);
  machine.command_line = chosen.command_line;
  exo::host_table = &table;
  exo::host_info = &machine;

  exo::core_record *const records = make_cores(chosen.cores);
  make_memory(chosen.memory_bytes);
  if (chosen.nets.size() > nics_most) refuse("there are more than %u --net options.", nics_most);
  disks = make_devices(chosen.disks, make_disk);
  nics = make_devices(chosen.nets, make_nic);
  machine.cores = {.first = records, .count = core_count, .stride = sizeof(exo::core_record)};
  machine.memory = {.first = &memory->ram, .count = 1, .stride = sizeof(exo::memory_range)};
  machine.disks = list_of<exo::disk_record>(disks);
  machine.nics = list_of<exo::nic_record>(nics);
  exo::system_pages.start(machine.memory);
  enter_trap_stack();
  catch_signals();
  start_cores(records);
  machine.entry_tsc = exo::ticks();
}

}  // namespace
}  // namespace native

/// Calls the program with arguments as its own runtime would split them.
extern "C" int __wrap_main(int, char **) {
  static char program[] = "program";
  static std::string text = exo::info().command_line;
  static std::vector<char *> values(text.size() / 2 + 4);  // and two that are null: the environment is empty
  values[0] = program;
  std::size_t const count = exo::split_arguments(text.data(), std::span(values).subspan(1, text.size() / 2 + 1));
  return __real_main(static_cast<int>(count + 1), values.data());
}
