// Machines that machines.cpp does not have: UEFI and direct boot on them, sparse APIC ids, holes in memory, BARs above
// 4 GiB. The arguments: cores; MiB of free RAM at least, at most 12 MiB more being the core's and firmware's, unless `holes`;
// acpi, ecam, hpet, serial with + or - for what has to be found or not; bar=GIB: an ivshmem device has so large a BAR.
// limit: 60
// boot: --args "2 244 +acpi +ecam" -- -machine i8042=off
// boot: --cores 6 --args "6 244 +acpi" -- -smp 6,sockets=2,cores=3
// boot: --cores 5 --args "5 244 +acpi" -- -smp 5,sockets=5,cores=3,threads=2,maxcpus=30
// boot: --cores 16 --args "16 244 +acpi" -- -smp 16,sockets=16
// boot: --args "2 244 +acpi" -- -cpu SandyBridge
// boot: --args "2 244 +acpi" -- -cpu Skylake-Server
// boot: --args "2 244 +acpi" -- -cpu Opteron_G3
// boot: --args "2 244 +acpi" -- -cpu Penryn
// boot: --args "2 244 +acpi" -- -cpu Haswell,level=7,-xsave,-avx,-x2apic
// boot: --args "2 244 +acpi" -- -cpu max,phys-bits=36
// boot: --args "2 244 +acpi" -- -cpu max,-rdtscp,-invtsc,-pcid,-smep,-smap
// boot: --args "2 244 +acpi +ecam bar=8" -- -object memory-backend-ram,id=shared,size=8G,reserve=off,share=on -device ivshmem-plain,memdev=shared
// boot: --mem 6G --args "2 6136 +acpi" -- -machine pc,max-ram-below-4g=1G
// boot: --args "2 244 +acpi" -- -m 256M,slots=2,maxmem=8G -object memory-backend-ram,id=dimm,size=128M -device pc-dimm,memdev=dimm
// boot: --pvh --mem 6G --args "2 6136 +acpi +ecam"
// boot: --pvh --args "2 244 +acpi -ecam" -- -machine pc
// boot: --microvm --mem 6G --args "2 6136 +acpi -ecam"
// boot: --microvm --args "2 244 +acpi -hpet" -- -machine pit=off,pic=off,rtc=off
// boot: --microvm --args "1 244 -acpi" -- -machine acpi=off
// prints: no ACPI tables
// boot: --microvm --args "2 244 +acpi -serial" -- -machine isa-serial=off
// boot: --bochs --cores 1 --args "1 244 +acpi -ecam"
// boot: --bochs --cores 5 --mem 1G --args "5 1016 +acpi"
// boot: --uefi --cores 1 --args "1 200 +acpi +ecam +hpet holes"
// boot: --uefi --mem 6G --cores 6 --args "6 6000 +acpi +ecam holes" -- -smp 6,sockets=2,cores=3
// boot: --uefi --args "2 200 +acpi -ecam holes" -- -machine pc
// boot: --uefi --args "2 200 +acpi -hpet holes" -- -machine hpet=off,i8042=off -cpu Skylake-Server
// boot: --uefi --args "2 200 +acpi bar=8 holes" -- -cpu qemu64 -object memory-backend-ram,id=shared,size=8G,reserve=off,share=on -device ivshmem-plain,memdev=shared
#include "check.hpp"

#include <charconv>
#include <cstring>
#include <string_view>

using namespace check;

namespace {

constexpr u32 ivshmem = 0x11101af4;  // device and vendor
constexpr u64 core_mebibytes = 12;

u64 number(std::string_view text) {
  u64 value = 0;
  std::from_chars(text.data(), text.data() + text.size(), value);
  return value;
}

void cores_work(u64 expected) {
  same(core_count(), static_cast<i64>(expected));
  for (core_record const &each : info().cores) {
    for (core_record const &other : info().cores) {
      if (&each != &other) that(each.apic_id != other.apic_id, "two cores with the same APIC id");
    }
  }
  static constinit std::atomic<u32> late = 0;
  same(run_on_all([] {
         u64 const end = ticks() + info().tsc_hz / 200;
         while (core().core_idle(end) != 0) continue;
         if (ticks() >= end) ++late;
       }),
       static_cast<i64>(expected));
  same(late, static_cast<i64>(expected));
}

/// Both ends of each range hold what is written, and no two places are the same RAM.
void memory_works(u64 mebibytes, bool holes) {
  u64 total = 0, last_end = 0;
  auto const word = [](u64 place) { return reinterpret_cast<u64 volatile *>(place); };
  for (memory_range const &range : info().memory) {
    that(range.first >= last_end && range.bytes != 0, "ranges overlap or are out of order");
    last_end = range.first + range.bytes;
    total += range.bytes;
    *word(range.first) = range.first;
    *word(last_end - 8) = last_end;
  }
  for (memory_range const &range : info().memory) {
    same(static_cast<i64>(*word(range.first)), static_cast<i64>(range.first));
    same(static_cast<i64>(*word(range.first + range.bytes - 8)), static_cast<i64>(range.first + range.bytes));
  }
  that(total >= mebibytes << 20, "less RAM than there is");
  that(holes || total <= (mebibytes + core_mebibytes) << 20, "more RAM than there is");
}

void feature(std::string_view wanted) {
  struct {
    std::string_view name;
    u64 bit;
  } const known[] = {{"ecam", machine_ecam}, {"hpet", machine_hpet}, {"acpi", machine_acpi}, {"serial", machine_serial}};
  for (auto const &[name, bit] : known) {
    if (name == wanted.substr(1)) same((info().features & bit) != 0, wanted[0] == '+');
  }
}

void bar_works(u64 gibibytes) {
  for (pci_record const &each : info().pci) {
    if ((each.vendor | u32{each.device} << 16) != ivshmem) continue;
    u64 const first = each.bar[2], bytes = each.bar_bytes[2];
    same(static_cast<i64>(bytes), static_cast<i64>(gibibytes << 30));
    that(first >= u64{4} << 30, "the BAR is not above 4 GiB");
    core().pci_write(each.function, 4, 2, static_cast<u32>(core().pci_read(each.function, 4, 2)) | 2);  // memory
    for (u64 at = 0; at < bytes; at += bytes / 8) *reinterpret_cast<u64 volatile *>(first + at) = ~at;
    for (u64 at = 0; at < bytes; at += bytes / 8) {
      same(static_cast<i64>(*reinterpret_cast<u64 volatile *>(first + at)), static_cast<i64>(~at));
    }
    return;
  }
  that(false, "there is no ivshmem device");
}

}  // namespace

int main(int count, char **words) {
  if (count < 3) return 2;
  bool holes = false;
  for (int at = 3; at < count; ++at) {
    std::string_view const word = words[at];
    if (word == "holes") {
      holes = true;
    } else if (word.starts_with("bar=")) {
      bar_works(number(word.substr(4)));
    } else {
      feature(word);
    }
  }
  memory_works(number(words[2]), holes);
  cores_work(number(words[1]));
  if (failures != 0) {
    print("features {} cores {}\n", info().features, core_count());
    for (memory_range const &range : info().memory) print("memory {:#x} {:#x}\n", range.first, range.bytes);
  }
  return verdict();
}
