// What PCI functions are called: the ones that emulators and common machines have by name, all others by their class.
#pragma once

#include <exo/core.hpp>

#include <string_view>

namespace sysinfo {

using exo::u16;
using exo::u32;
using exo::u8;

struct vendor_name {
  u16 vendor;
  std::string_view name;
};

inline constexpr vendor_name vendor_names[] = {
    {0x1002, "AMD"}, {0x1013, "Cirrus"}, {0x1014, "IBM"}, {0x1022, "AMD"}, {0x103C, "HP"}, {0x106B, "Apple"},
    {0x1077, "QLogic"}, {0x10DE, "NVIDIA"}, {0x10EC, "Realtek"}, {0x1106, "VIA"}, {0x1137, "Cisco"}, {0x1234, "QEMU"},
    {0x126F, "Silicon Motion"}, {0x1414, "Microsoft"}, {0x144D, "Samsung"}, {0x14E4, "Broadcom"}, {0x15AD, "VMware"},
    {0x15B3, "Mellanox"}, {0x15B7, "SanDisk"}, {0x168C, "Qualcomm Atheros"}, {0x1969, "Atheros"}, {0x1987, "Phison"},
    {0x1A03, "ASPEED"}, {0x1AE0, "Google"}, {0x1AF4, "virtio"}, {0x1B21, "ASMedia"}, {0x1B36, "QEMU"},
    {0x1B4B, "Marvell"}, {0x1C5C, "SK hynix"}, {0x1CC1, "ADATA"}, {0x1D0F, "Amazon"}, {0x1D6A, "Aquantia"},
    {0x80EE, "VirtualBox"}, {0x8086, "Intel"}, {0xC0A9, "Micron"},
};

struct device_name {
  u16 vendor;
  u16 device;
  std::string_view name;
};

inline constexpr device_name device_names[] = {
    {0x1013, 0x00B8, "GD 5446 graphics"},
    {0x1022, 0x2000, "PCnet Ethernet"},
    {0x1022, 0x2020, "53C974 SCSI"},
    {0x10EC, 0x8029, "RTL8029 Ethernet (NE2000)"},
    {0x10EC, 0x8139, "RTL8139 Ethernet"},
    {0x10EC, 0x8168, "RTL8168 Gigabit Ethernet"},
    {0x10EC, 0x8125, "RTL8125 2.5 Gigabit Ethernet"},
    {0x1234, 0x1111, "standard graphics"},
    {0x144D, 0xA808, "PM981 NVMe"},
    {0x144D, 0xA80A, "PM9A1 NVMe"},
    {0x15AD, 0x0405, "SVGA II graphics"},
    {0x15AD, 0x07B0, "VMXNET3 Ethernet"},
    {0x15AD, 0x07C0, "paravirtual SCSI"},
    {0x1AE0, 0x0042, "gVNIC Ethernet"},
    {0x1AF4, 0x1000, "network (transitional)"},
    {0x1AF4, 0x1001, "block (transitional)"},
    {0x1AF4, 0x1002, "balloon (transitional)"},
    {0x1AF4, 0x1003, "console (transitional)"},
    {0x1AF4, 0x1004, "SCSI (transitional)"},
    {0x1AF4, 0x1005, "entropy (transitional)"},
    {0x1AF4, 0x1009, "9P (transitional)"},
    {0x1AF4, 0x1041, "network"},
    {0x1AF4, 0x1042, "block"},
    {0x1AF4, 0x1043, "console"},
    {0x1AF4, 0x1044, "entropy"},
    {0x1AF4, 0x1045, "balloon"},
    {0x1AF4, 0x1048, "SCSI"},
    {0x1AF4, 0x1049, "9P"},
    {0x1AF4, 0x1050, "GPU"},
    {0x1AF4, 0x1052, "input"},
    {0x1AF4, 0x1053, "socket"},
    {0x1AF4, 0x1058, "memory"},
    {0x1AF4, 0x1059, "sound"},
    {0x1AF4, 0x105A, "file system"},
    {0x1AF4, 0x1110, "shared memory (ivshmem)"},
    {0x1B36, 0x0001, "PCI bridge"},
    {0x1B36, 0x0002, "serial port"},
    {0x1B36, 0x0005, "test device"},
    {0x1B36, 0x0007, "SD host controller"},
    {0x1B36, 0x0008, "PCIe host bridge"},
    {0x1B36, 0x0009, "PCI expander bridge"},
    {0x1B36, 0x000B, "PCIe expander bridge"},
    {0x1B36, 0x000C, "PCIe root port"},
    {0x1B36, 0x000D, "xHCI USB"},
    {0x1B36, 0x000E, "PCIe to PCI bridge"},
    {0x1B36, 0x0010, "NVMe"},
    {0x1B36, 0x0100, "QXL graphics"},
    {0x1D0F, 0x8061, "EBS NVMe"},
    {0x1D0F, 0xCD01, "instance NVMe"},
    {0x1D0F, 0xEC20, "ENA Ethernet"},
    {0x80EE, 0xBEEF, "graphics"},
    {0x80EE, 0xCAFE, "guest service"},
    {0x8086, 0x100E, "82540EM Gigabit Ethernet (e1000)"},
    {0x8086, 0x100F, "82545EM Gigabit Ethernet (e1000)"},
    {0x8086, 0x10C9, "82576 Gigabit Ethernet (igb)"},
    {0x8086, 0x10D3, "82574L Gigabit Ethernet (e1000e)"},
    {0x8086, 0x10FB, "82599 10 Gigabit Ethernet"},
    {0x8086, 0x1209, "82551 Ethernet"},
    {0x8086, 0x1237, "82441FX host bridge"},
    {0x8086, 0x125C, "I226-V 2.5 Gigabit Ethernet"},
    {0x8086, 0x1521, "I350 Gigabit Ethernet"},
    {0x8086, 0x1533, "I210 Gigabit Ethernet"},
    {0x8086, 0x1563, "X550 10 Gigabit Ethernet"},
    {0x8086, 0x1572, "X710 10 Gigabit Ethernet"},
    {0x8086, 0x15F3, "I225-V 2.5 Gigabit Ethernet"},
    {0x8086, 0x24CD, "82801DB EHCI USB"},
    {0x8086, 0x2415, "82801AA audio"},
    {0x8086, 0x2668, "82801FB HD audio"},
    {0x8086, 0x2918, "82801IB ISA bridge (ICH9)"},
    {0x8086, 0x2922, "82801IR AHCI SATA (ICH9)"},
    {0x8086, 0x2930, "82801I SMBus (ICH9)"},
    {0x8086, 0x2934, "82801I UHCI USB (ICH9)"},
    {0x8086, 0x2935, "82801I UHCI USB (ICH9)"},
    {0x8086, 0x2936, "82801I UHCI USB (ICH9)"},
    {0x8086, 0x293A, "82801I EHCI USB (ICH9)"},
    {0x8086, 0x293E, "82801I HD audio (ICH9)"},
    {0x8086, 0x29C0, "82G33 host bridge (Q35)"},
    {0x8086, 0x5845, "QEMU NVMe"},
    {0x8086, 0x7000, "82371SB ISA bridge (PIIX3)"},
    {0x8086, 0x7010, "82371SB IDE (PIIX3)"},
    {0x8086, 0x7020, "82371SB UHCI USB (PIIX3)"},
    {0x8086, 0x7110, "82371AB ISA bridge (PIIX4)"},
    {0x8086, 0x7111, "82371AB IDE (PIIX4)"},
    {0x8086, 0x7113, "82371AB power management (PIIX4)"},
};

struct class_name {
  u8 base;
  u8 subclass;  // any: what stands here for subclasses that are not listed
  std::string_view name;
};

inline constexpr u8 any = 0xFF;

inline constexpr class_name class_names[] = {
    {0x00, 0x01, "VGA-compatible device"}, {0x01, 0x00, "SCSI controller"}, {0x01, 0x01, "IDE controller"},
    {0x01, 0x04, "RAID controller"}, {0x01, 0x06, "SATA controller"}, {0x01, 0x07, "SAS controller"},
    {0x01, 0x08, "NVMe controller"}, {0x01, any, "storage controller"}, {0x02, 0x00, "Ethernet controller"},
    {0x02, 0x80, "network controller"}, {0x02, any, "network controller"}, {0x03, 0x00, "VGA graphics"},
    {0x03, any, "display controller"}, {0x04, 0x01, "audio"}, {0x04, 0x03, "HD audio"},
    {0x04, any, "multimedia device"}, {0x05, any, "memory controller"}, {0x06, 0x00, "host bridge"},
    {0x06, 0x01, "ISA bridge"}, {0x06, 0x04, "PCI bridge"}, {0x06, any, "bridge"}, {0x07, 0x00, "serial port"},
    {0x07, any, "communication controller"}, {0x08, 0x00, "interrupt controller"}, {0x08, 0x05, "SD host controller"},
    {0x08, 0x06, "IOMMU"}, {0x08, any, "system peripheral"}, {0x09, any, "input device"}, {0x0B, any, "processor"},
    {0x0C, 0x03, "USB controller"}, {0x0C, 0x05, "SMBus"}, {0x0C, any, "serial bus"},
    {0x0D, any, "wireless controller"}, {0x0F, any, "satellite controller"}, {0x10, any, "encryption device"},
    {0x11, any, "signal processor"}, {0x12, any, "accelerator"},
};

/// Who made a function; empty if that is not listed.
constexpr std::string_view vendor_of(u16 vendor) noexcept {
  for (vendor_name const &each : vendor_names) {
    if (each.vendor == vendor) return each.name;
  }
  return {};
}

/// What a function is: by its own number, else by its class.
constexpr std::string_view name_of(exo::pci_record const &function) noexcept {
  for (device_name const &each : device_names) {
    if (each.vendor == function.vendor && each.device == function.device) return each.name;
  }
  for (class_name const &each : class_names) {
    bool const fits = each.subclass == any || each.subclass == (function.class_revision >> 16 & 0xFF);
    if (each.base == function.class_revision >> 24 && fits) return each.name;
  }
  return "unknown device";
}

}  // namespace sysinfo
