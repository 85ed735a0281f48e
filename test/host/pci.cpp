#include <exo/pci.hpp>

#include <catch2/catch.hpp>
#include <string>

#include "fake.hpp"

using exo::error;
using exo::u16;
using exo::u32;
using exo::u64;
using exo::u8;

namespace {

/// A bridge, and two NICs with registers in memory.
struct with_functions {
  fake::machine machine{{.cores = 2}};
  u32 registers[4] = {1, 2, 3, 4};

  with_functions() {
    auto &pci = machine.devices.pci;
    fake::pci_device bridge;
    bridge.record.vendor = 0x8086;
    bridge.record.device = 0x29C0;
    bridge.record.class_revision = 0x06000000;
    pci.push_back(bridge);
    for (u32 index = 0; index < 2; ++index) {
      fake::pci_device nic;
      nic.record.function = 0x00010018 + index;
      nic.record.vendor = 0x1AF4;
      nic.record.device = 0x1041;
      nic.record.class_revision = 0x02000001;
      nic.record.msix = 0x98;
      nic.record.msix_count = 4;
      nic.record.bar[0] = 0xC000;
      nic.record.bar_bytes[0] = 0x20 | 1;
      nic.record.bar[4] = reinterpret_cast<u64>(registers);
      nic.record.bar_bytes[4] = sizeof registers;
      nic.config[0] = 0xF4;
      nic.config[1] = 0x1A;
      pci.push_back(nic);
    }
    machine.publish();
  }
};

}  // namespace

TEST_CASE("pci: finding") {
  with_functions test;
  CHECK(exo::find_pci_device(0x8086, 0x29C0)->base_class() == 6);
  CHECK(exo::find_pci_device(0x1AF4, 0x1041, 1)->id() == exo::pci_id{0x00010019});
  CHECK(exo::find_pci_device(0x1AF4, 0x1041, 2).error() == error::no_such);
  CHECK(exo::find_pci_class(2, 0)->device() == 0x1041);
  CHECK(exo::find_pci_class(2, 0)->subclass() == 0);
  CHECK(exo::find_pci_class(2, 0)->interface() == 0);
  CHECK(exo::find_pci_class(1, 6).error() == error::no_such);
  char buffer[32];
  CHECK(exo::format_to(std::span<char>(buffer), "{}", exo::pci_id{0x00010019}) == "0001:00:03.1");
}

TEST_CASE("pci: configuration space") {
  with_functions test;
  auto const nic = *exo::find_pci_class(2, 0);
  CHECK(nic.read<u16>(0) == u16{0x1AF4});
  CHECK(nic.read<u8>(1) == u8{0x1A});
  CHECK(nic.write<u32>(4, 0xDEADBEEF));
  CHECK(nic.read<u32>(4) == 0xDEADBEEFu);
  CHECK(nic.read<u32>(2).error() == error::range);
  CHECK(nic.read<u32>(4096).error() == error::range);
  CHECK(nic.write<u8>(4096, 0).error() == error::range);
}

TEST_CASE("pci: registers") {
  with_functions test;
  auto const nic = *exo::find_pci_class(2, 0);
  auto const bar = nic.bar(4);
  REQUIRE(bar);
  CHECK(bar->bytes() == 16);
  CHECK(bar->at<u32>(8)->read() == 3);
  bar->at<u32>(12)->write(77);
  CHECK(test.registers[3] == 77);
  CHECK(bar->at<u32>(16).error() == error::range);
  CHECK(bar->at<u64>(12).error() == error::range);
  CHECK(bar->at<u32>(2).error() == error::range);
  CHECK(bar->at<u32>(~u64{3}).error() == error::range);
  CHECK(nic.bar(0).error() == error::unsupported);
  CHECK(nic.bar(1).error() == error::no_such);
  CHECK(nic.bar(6).error() == error::range);
}

TEST_CASE("pci: an interrupt raises an event of a core") {
  with_functions test;
  auto const nic = *exo::find_pci_class(2, 0);
  CHECK(nic.route(3, exo::core_id{0}, exo::event_program));
  test.machine.devices.interrupt(static_cast<u32>(nic.id()), 3);
  CHECK(exo::core().core_idle(~u64{0}) == 1 << exo::event_program);
  CHECK(nic.route(4, exo::core_id{0}, exo::event_program).error() == error::range);
  CHECK(nic.route(0, exo::core_id{0}, exo::event_wake).error() == error::range);
  CHECK(nic.route(0, exo::core_id{9}, exo::event_program).error() == error::no_such);
  CHECK(exo::find_pci_device(0x8086, 0x29C0)->route(0, exo::core_id{0}, exo::event_program).error() ==
        error::unsupported);
}

TEST_CASE("pci: a block of ports has its first one, and as many as are asked for") {
  with_functions at;
  auto const nic = exo::find_pci_device(0x1AF4, 0x1041);
  REQUIRE(nic);
  CHECK(nic->ports(0, 32) == 0xC000);
  CHECK(nic->ports(0, 33).error() == error::no_such);
  CHECK(nic->ports(1, 1).error() == error::no_such);
  CHECK(nic->ports(4, 1).error() == error::unsupported);
  CHECK(nic->ports(6, 1).error() == error::range);
}
