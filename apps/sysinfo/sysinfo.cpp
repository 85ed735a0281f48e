// Everything that the core tells about the machine: cores, memory, PCI, NICs, disks, clock, screen, command line, boot.
#include <exo/drivers/list.hpp>
#include <exo/exo.hpp>
#include <exo/nic.hpp>

#include <chrono>
#include <cstddef>
#include <iterator>
#include <string_view>
#include <utility>

#include "pci_names.hpp"

using exo::i64;
using exo::u32;
using exo::u64;

namespace {

/// A size as a whole number of the largest unit that it is a multiple of.
struct size {
  u64 bytes;
};

}  // namespace

template <>
struct exo::formatter<size> {
  static void write(text_sink &out, size const &value) noexcept {
    constexpr char const *units[] = {"bytes", "KiB", "MiB", "GiB", "TiB"};
    u64 number = value.bytes;
    u32 unit = 0;
    for (; unit < 4 && number != 0 && number % 1024 == 0; ++unit) number /= 1024;
    format_to(out, "{} {}", number, units[unit]);
  }
};

namespace {

void title(char const *text) { exo::print("\n{}\n", text); }

/// The names of bits that are set, or a dash.
template <std::size_t Count>
void print_bits(u64 bits, std::pair<u64, char const *> const (&names)[Count]) {
  bool first = true;
  for (auto const &[bit, name] : names) {
    if ((bits & bit) == 0) continue;
    exo::print("{}{}", first ? "" : ", ", name);
    first = false;
  }
  exo::print("{}\n", first ? "-" : "");
}

void print_cores() {
  exo::print("cores: {} of {} run\n", exo::core_count(), exo::info().cores.size());
  u32 number = 0;
  for (exo::core_record const &core : exo::info().cores) {
    exo::print("  {:>3}  APIC id {:<4} {}, stack of {} below {:#x}\n", number++, core.apic_id,
               core.started != 0 ? "runs" : "did not start", size{core.stack_bytes}, core.stack_end);
  }
}

void print_memory() {
  u64 sum = 0;
  for (exo::memory_range const &range : exo::info().memory) sum += range.bytes;
  title("memory");
  exo::print("  free {}, in {} ranges\n", size{sum}, exo::info().memory.size());
  for (exo::memory_range const &range : exo::info().memory) {
    exo::print("  {:#014x} to {:#014x}  {}\n", range.first, range.first + range.bytes - 1, size{range.bytes});
  }
  exo::machine_info const &machine = exo::info();
  exo::print("  {:#014x} to {:#014x}  the program, {}\n", machine.program_first, machine.program_end - 1,
             size{machine.program_end - machine.program_first});
  exo::print("  the core keeps {}\n", size{machine.core_bytes});
}

void print_functions() {
  title("PCI");
  for (exo::pci_record const &record : exo::info().pci) {
    exo::print("  {}  {:04x}:{:04x}  class {:06x}.{:02x}  ", exo::pci_id{record.function}, record.vendor, record.device,
               record.class_revision >> 8, record.class_revision & 0xFF);
    std::string_view const vendor = sysinfo::vendor_of(record.vendor);
    exo::print("{}{}{}", vendor, vendor.empty() ? "" : " ", sysinfo::name_of(record));
    if (record.msix_count != 0) exo::print(", {} MSI-X", record.msix_count);
    std::string_view const header = exo::driver_header(record);
    if (!header.empty()) exo::print(", driver in <{}>", header);
    exo::print("\n");
    for (u32 bar = 0; bar < std::size(record.bar); ++bar) {
      u64 const bytes = record.bar_bytes[bar];
      if (bytes == 0) continue;
      exo::print("      BAR {}  {:#x}, {}{}\n", bar, record.bar[bar], size{bytes & ~u64{1}},
                 (bytes & 1) != 0 ? " of ports" : "");
    }
  }
}

/// What a NIC's link says while it is open with the least of rings.
void print_link(u32 number) {
  constexpr u32 depth = 16;
  auto rings = exo::pages::take(exo::nic::ring_bytes(exo::info().nics[number], 1, depth));
  if (!rings) return exo::print("      link: no memory to ask for it\n");
  auto opened = exo::nic::open(number, 1, depth, rings->span());
  if (!opened) return exo::print("      link: the NIC does not open: {}\n", opened.error());
  i64 const mbit = exo::core().nic_link(number);
  if (mbit == 0) {
    exo::print("      link: down\n");
  } else if (mbit == 1) {
    exo::print("      link: up, of a speed that it does not say\n");
  } else {
    exo::print("      link: up, {} Mbit/s\n", mbit);
  }
  if (!opened->close()) (void)rings->release();  // it may still write there
}

void print_nics() {
  title("NICs with a driver in the core");
  u32 number = 0;
  for (exo::nic_record const &nic : exo::info().nics) {
    exo::print("  {}  {}  {:02x}:{:02x}:{:02x}:{:02x}:{:02x}:{:02x}, MTU {}, queue pairs: {}, frames in a ring: {}{}\n",
               number++, exo::pci_id{nic.function}, nic.mac[0], nic.mac[1], nic.mac[2], nic.mac[3], nic.mac[4],
               nic.mac[5], nic.mtu, nic.queue_max, nic.depth_max, nic.interrupts != 0 ? ", interrupts" : "");
    exo::print("      offloads: ");
    print_bits(nic.offloads, {{exo::nic_checksum, "checksum"},
                              {exo::nic_checksum_good, "receive checksum"},
                              {exo::nic_tcp4, "TCP/IPv4 segments"},
                              {exo::nic_tcp6, "TCP/IPv6 segments"},
                              {exo::nic_hash, "flow hash"},
                              {exo::nic_long, "long frames"}});
    print_link(number - 1);
  }
  if (number == 0) exo::print("  none\n");
}

/// A text field without the blanks that fill it up.
template <std::size_t Size>
std::string_view text_of(exo::u8 const (&field)[Size]) {
  std::string_view const all(reinterpret_cast<char const *>(field), Size);
  std::string_view const whole = all.substr(0, all.find('\0'));
  return whole.substr(0, whole.find_last_not_of(' ') + 1);
}

void print_disks() {
  title("disks with a driver in the core");
  u32 number = 0;
  for (exo::disk_record const &disk : exo::info().disks) {
    exo::print("  {}  {}  {}, {} blocks of {} bytes, queues: {}, operations in one: {}{}\n", number++,
               exo::pci_id{disk.function}, size{disk.blocks * disk.block_bytes}, disk.blocks, disk.block_bytes,
               disk.queue_max, disk.depth_max, disk.interrupts != 0 ? ", interrupts" : "");
    exo::print("      features: ");
    print_bits(disk.features, {{exo::disk_read_only, "read-only"},
                               {exo::disk_write_cache, "write cache"},
                               {exo::disk_can_discard, "discard"},
                               {exo::disk_can_zero, "zero"}});
    std::string_view const model = text_of(disk.model), serial = text_of(disk.serial);
    exo::print("      model: {}, serial number: {}\n", model.empty() ? "-" : model, serial.empty() ? "-" : serial);
    exo::print("      one operation: up to {} in {} entries", size{disk.bytes_max}, disk.entry_max);
    if (disk.optimal_bytes != 0) exo::print(", best a multiple of {}", size{disk.optimal_bytes});
    exo::print("\n");
  }
  if (number == 0) exo::print("  none\n");
}

void print_screen() {
  title("screen");
  exo::machine_info const &machine = exo::info();
  if (machine.screen == 0) return exo::print("  none\n");
  if (machine.screen_format == exo::screen_text) {
    exo::print("  {} columns, {} rows of text at {:#x}\n", machine.screen_width, machine.screen_height, machine.screen);
  } else {
    exo::print("  {} x {} pixels at {:#x}, {} bytes from row to row, {}\n", machine.screen_width, machine.screen_height,
               machine.screen, machine.screen_pitch, machine.screen_format == exo::screen_bgrx ? "BGRX" : "RGBX");
  }
}

void print_clock_and_boot() {
  exo::machine_info const &machine = exo::info();
  title("clock and features");
  exo::print("  TSC {}.{:06} MHz\n  ", machine.tsc_hz / 1'000'000, machine.tsc_hz % 1'000'000);
  print_bits(machine.features, {{exo::machine_acpi, "ACPI tables"},
                                {exo::machine_ecam, "PCI in memory"},
                                {exo::machine_hpet, "HPET"},
                                {exo::machine_x2apic, "x2APIC"},
                                {exo::machine_tsc_deadline, "TSC deadline"},
                                {exo::machine_serial, "serial port"}});
  title("boot");
  auto const micro = [](u64 ticks) {
    return std::chrono::duration_cast<std::chrono::microseconds>(exo::clock::duration_of(ticks));
  };
  exo::print("  firmware and boot loader, if the TSC began with them: {}\n", micro(machine.start_tsc));
  exo::print("  core, from its first instruction to the program: {}\n", micro(machine.entry_tsc - machine.start_tsc));
  exo::print("  command line: \"{}\"\n", machine.command_line);
}

}  // namespace

int main() {
  print_cores();
  print_memory();
  print_functions();
  print_nics();
  print_disks();
  print_screen();
  print_clock_and_boot();
}
