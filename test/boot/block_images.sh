# What programs write to disks, and give up, is what the host finds in their images (disks.sh has the core's disks); an ATA disk
# in Bochs; and the disk that a machine boots from.

# same_image FILE [FROM TO]: every byte of it is the pattern of round 5 in test/boot/block_checks.hpp, but those from FROM to TO,
# which are 0.
same_image() {
  [ -x "$work/pattern" ] || g++ -std=c++20 -O1 -x c++ -o "$work/pattern" - <<'CPP'
#include <cstdint>
#include <cstdio>
#include <cstdlib>
int main(int, char **words) {
  std::FILE *image = std::fopen(words[1], "rb");
  std::uint64_t const seed = 5, from = std::strtoull(words[2], nullptr, 10), to = std::strtoull(words[3], nullptr, 10);
  std::uint64_t at = 0, word = 0;
  for (; std::fread(&word, 8, 1, image) == 1; at += 8) {
    if (word == (at >= from && at < to ? 0 : ((at + seed) * 0x9E3779B97F4A7C15) ^ seed << 40)) continue;
    std::printf("byte %llu differs\n", static_cast<unsigned long long>(at));
    return 1;
  }
  std::printf("%llu bytes\n", static_cast<unsigned long long>(at));
}
CPP
  "$work/pattern" "$1" "${2-0}" "${3-0}" || fail "$1 is not what was written"
}

# fills DEVICE [THEN]: sets `program_file` to a program that fills a block device, which the C++ lines DEVICE make, and does
# the lines THEN.
fills() {
  program fills <<CPP
#include <exo/disk.hpp>
#include <exo/drivers/ata.hpp>
#include <exo/drivers/virtio_scsi.hpp>
#include "$PWD/test/boot/block_checks.hpp"
using namespace check;
int main() {
  $1
  a_block_device_is_filled(device, 5);
  ${2-}
  return verdict();
}
CPP
}

ata_device='auto const function = find_pci([](pci_function const &each) { return ata_controller::probe(each.record()); });
  if (!function) return 2;
  auto controller = ata_controller::open(function->record());
  if (!controller) return 3;
  auto disk = controller->disk({});
  if (!disk) return 4;
  ata_disk &device = *disk;'

# has_hole FILE BYTES: as many bytes of it as that take no place.
has_hole() {
  local bytes
  bytes=$(stat -c %s "$1")
  [ $((512 * $(stat -c %b "$1"))) -le $((bytes - $2 + 65536)) ] || fail "$1 has no hole of $2 bytes"
}

# With DMA, and what is given up then becomes a hole; and on a small machine without.
test_ide() {
  local ide=(-device piix4-ide,id=pata -device ide-hd,bus=pata.0,drive=d)
  truncate -s 1M "$work/image"
  fills "$ata_device" 'same(status_of(device.discard(lba{1024}, 1016)), 0);'
  run "$program_file" --net none -- -drive if=none,id=d,format=raw,discard=unmap,file="$work/image" "${ide[@]}"
  expect_status 0
  same_image "$work/image" $((1024 * 512)) $((2040 * 512))
  has_hole "$work/image" $((1016 * 512))
  rm "$work/image"
  truncate -s 1M "$work/image"
  fills "$ata_device device.use_pio();"
  run "$program_file" --net none --disk "$work/image" --disk-model ide
  expect_status 0
  same_image "$work/image"
}

# What is given up becomes a hole, and what is made zeros is zeros in the file.
test_scsi() {
  truncate -s 1M "$work/image"
  fills 'auto const function = find_pci([](pci_function const &each) { return virtio_scsi::probe(each.record()); });
    if (!function) return 2;
    auto controller = virtio_scsi::open(function->record());
    if (!controller) return 3;
    auto disk = controller->disk({});
    if (!disk) return 4;
    scsi_blocks device(std::move(*disk));' 'same(status_of(device.zero(lba{1000}, 24)), 0);
    same(status_of(device.discard(lba{1024}, 1016)), 0);'
  run "$program_file" --net none -- -drive if=none,id=d,format=raw,discard=unmap,file="$work/image" \
    -device virtio-scsi-pci,romfile= -device scsi-hd,drive=d
  expect_status 0
  same_image "$work/image" $((1000 * 512)) $((2040 * 512))
  has_hole "$work/image" $((1016 * 512))
}

# The disk that Bochs boots from: its boot sector, and blocks behind the image, with the PCI controller and without PCI. Its
# BIOS chooses no DMA mode, so it is PIO.
test_bochs() {
  local bytes
  program bochs <<'CPP'
#include <exo/drivers/ata.hpp>
#include <exo/exo.hpp>
using namespace exo;
bool works(ata_controller &controller, u64 round) {
  auto disk = controller.disk({});
  if (!disk) {
    print("{}\n", disk.error());
    return false;
  }
  print("{} blocks of {}, DMA: {}, {}\n", disk->blocks(), disk->block_bytes(), disk->has_dma(), disk->model());
  static std::byte memory[32 * 512];
  if (!has_boot_sector(*disk, memory).value_or(false)) return false;
  lba const last{disk->blocks() - 32};
  for (u64 at = 0; at < sizeof memory; ++at) memory[at] = static_cast<std::byte>(at / 512 * 7 + at + round);
  if (!disk->write(last, memory) || !disk->flush()) return false;
  for (std::byte &each : memory) each = std::byte{0};
  if (!disk->read(last, memory)) return false;
  for (u64 at = 0; at < sizeof memory; ++at) {
    if (memory[at] != static_cast<std::byte>(at / 512 * 7 + at + round)) return false;
  }
  return disk->read(last + 1, memory).error() == error::range && !controller.disk({.channel = 0, .unit = 1});
}
int main() {
  bool all = true;
  {
    auto old = ata_controller::open_legacy();
    all = old && works(*old, 1);
  }
  auto const function = find_pci([](pci_function const &each) { return ata_controller::probe(each.record()); });
  if (!function) return 1;
  auto controller = ata_controller::open(function->record());
  all = all && controller && works(*controller, 3);
  print("all right: {}\n", all);
}
CPP
  build/image disk "$(./build_x86-64.sh "$program_file" | sed 's/img$/bin/')" "" "$work/boot.img"
  bytes=$(stat -c %s "$work/boot.img")
  truncate -s $((bytes + 1048576)) "$work/boot.img"
  bochs_boot "$work/boot.img" 1
  expect_text "all right: true"
}

# It comes behind the disks that are given, and is overwritten only by who insists; what QEMU keeps of that is nothing.
test_boot_disk() {
  truncate -s 1M "$work/given"
  run rawdisk --net none --disk "$work/given" --disk-model ahci
  expect_status 0
  expect_text "disk 0: 2048 blocks of 512 bytes, 1 MiB, 1 queues; QEMU HARDDISK exo16-0"
  expect_text "disk 1: "
  run rawdisk --net none --args 'write 0 hello'
  expect_status 1
  expect_text "Disk 0 begins with a boot sector"
  run rawdisk --net none --args 'test 100 1'
  expect_status 1
  expect_text "Nothing was written"
  run rawdisk --net none --args 'write 0 hello force'
  expect_status 0
  expect_text "0000  68 65 6c 6c 6f 00"
  run rawdisk --net none --disk "$work/given" --disk-model ahci --args 'write 0 hello'
  expect_status 0
  [ "$(head -c 5 "$work/given")" = hello ] || fail "the given disk was not written"
}
