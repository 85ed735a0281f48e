// Machines of all kinds: what the core finds is right, and cores, timer and memory work. The arguments are the MiB of
// RAM, the cores that run, and the features of machine_info that there have to be (+NAME) and must not be (-NAME).
// boot: --mem 4M --cores 1 --args "4 1 +acpi +ecam +hpet +serial"
// boot: --mem 64M --args "64 2 +acpi +ecam +hpet"
// boot: --mem 1G --args "1024 2 +acpi"
// boot: --mem 3584M --args "3584 2 +acpi"
// boot: --mem 6G --args "6144 2 +acpi"
// boot: --mem 64G --args "65536 2 +acpi"
// boot: --mem 500G --args "512000 2 +acpi"
// boot: --mem 500G --args "512000 2 +acpi" -- -cpu max,-pdpe1gb
// boot: --args "256 2 +acpi -ecam +hpet" -- -machine pc
// boot: --args "256 2 +acpi +ecam -hpet" -- -machine hpet=off
// boot: --args "256 2 +acpi -ecam -hpet" -- -machine pc -machine hpet=off
// boot: --args "256 1 -acpi -ecam -hpet" -- -machine pc -no-acpi
// prints: no ACPI tables
// boot: --args "256 2 +acpi" -- -cpu qemu64
// boot: --args "256 2 +acpi" -- -cpu Nehalem
// boot: --args "256 2 +acpi" -- -cpu Haswell
// boot: --args "256 2 +acpi" -- -cpu EPYC
// boot: --args "256 2 +acpi" -- -cpu max,-pdpe1gb
// boot: --args "256 2 +acpi" -- -cpu max,-xsave
// boot: --args "256 2 +acpi" -- -cpu max,-fsgsbase
// boot: --args "256 2 +acpi" -- -cpu max,-avx,-apic
// boot: --cores 7 --args "256 7 +acpi" -- -smp 7,sockets=3,cores=3,maxcpus=9
// boot: --args "256 2 +acpi" -- -vga none
#include "check.hpp"

#include <charconv>
#include <cstring>
#include <string_view>

using namespace check;

namespace {

u64 number(char const *text) {
  u64 value = 0;
  std::from_chars(text, text + std::strlen(text), value);
  return value;
}

void features(std::string_view wanted) {
  struct {
    std::string_view name;
    u64 bit;
  } const known[] = {{"x2apic", machine_x2apic}, {"ecam", machine_ecam}, {"hpet", machine_hpet},
                     {"acpi", machine_acpi}, {"serial", machine_serial}};
  for (auto const &[name, bit] : known) {
    if (name == wanted.substr(1)) same((info().features & bit) != 0, wanted[0] == '+');
  }
}

void memory_is_listed(u64 mebibytes) {
  u64 total = 0, last_end = 0;
  for (memory_range const &range : info().memory) {
    total += range.bytes;
    that(range.first % page_bytes == 0 && range.bytes % page_bytes == 0 && range.bytes != 0, "a range of no whole pages");
    that(range.first >= last_end, "ranges overlap or are out of order");
    last_end = range.first + range.bytes;
    that(last_end <= info().program_first || range.first >= info().program_end, "the program lies in free memory");
    that(range.first >= 0x100000, "free memory below 1 MiB");
    for (core_record const &core : info().cores) {
      that(core.stack_end <= range.first || core.stack_end > last_end, "a stack lies in free memory");
    }
    for (u64 const place : {range.first, range.first + range.bytes / 2 / 8 * 8, last_end - 8}) {
      same(state_of(place).at.access, access_read | access_write);
      auto *const word = reinterpret_cast<u64 volatile *>(place);
      u64 const before = *word;
      *word = ~place;
      that(*word == ~place, "a range is no RAM");
      *word = before;
    }
  }
  u64 const all = total + info().core_bytes + info().program_end - info().program_first;
  that(all > (mebibytes << 20) - (u64{2} << 20) && all <= mebibytes << 20, "not all RAM is listed");
}

void devices_are_listed() {
  that(!info().pci.empty(), "there is no PCI function");
  u32 before = 0;
  for (pci_record const &each : info().pci) {
    that(each.function >= before, "functions out of order");
    before = each.function + 1;
    same(core().pci_read(each.function, 0, 4), each.vendor | i64{each.device} << 16);
    same(core().pci_read(each.function, 8, 4), each.class_revision);
    for (u32 bar = 0; bar < 6; ++bar) {
      u64 const bytes = each.bar_bytes[bar] & ~u64{1};
      that((bytes & (bytes - 1)) == 0, "the size of a BAR is no power of two");
      if (bytes != 0) that(each.bar[bar] % bytes == 0, "a BAR is not aligned to its size");
    }
  }
  same(info().nics.size(), 0);
  that(info().disks.size() <= 1, "there are more disks than the one that the machine boots from");
}

void cores_and_timers_work(u64 expected) {
  same(core_count(), static_cast<i64>(expected));
  static constinit std::atomic<u32> early = 0;
  same(run_on_all([] {
         u64 const end = ticks() + info().tsc_hz / 500;
         while (core().core_idle(end) != 0) {
         }
         if (ticks() < end) ++early;
         core().timer_set(ticks() + info().tsc_hz / 500);
         while ((core().core_idle(~u64{0}) & 1 << event_timer) == 0) {
         }
       }),
       static_cast<i64>(expected));
  same(early, 0);
  that(info().tsc_hz > 100'000'000 && info().tsc_hz < 20'000'000'000, "the rate of the TSC is not believable");
  that(info().start_tsc < info().entry_tsc && info().entry_tsc < ticks(), "time runs backwards");
}

}  // namespace

int main(int argc, char **argv) {
  if (argc < 3) return 2;
  memory_is_listed(number(argv[1]));
  cores_and_timers_work(number(argv[2]));
  for (int at = 3; at < argc; ++at) features(argv[at]);
  devices_are_listed();
  if (failures != 0) {
    print("features {} cores {} tsc {}\n", info().features, core_count(), info().tsc_hz);
    for (memory_range const &range : info().memory) print("memory {:#x} {:#x}\n", range.first, range.bytes);
  }
  return verdict();
}
