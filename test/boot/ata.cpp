// ATA disks at IDE controllers: the disk at a place does what block devices do, by DMA and by PIO. The arguments are the
// channel and the unit of the disk, its MiB, and words of what is to be found there.
// boot: --disk-model ide --disk "$work/disk$(truncate -s 8M "$work/disk")" --args "0 0 8 dma"
// boot: --disk-model ide --disk "$work/a$(truncate -s 1M "$work/a")" --disk "$work/b$(truncate -s 2M "$work/b")" --disk "$work/c$(truncate -s 3M "$work/c")" --disk "$work/d$(truncate -s 4M "$work/d")" --args "1 1 4 dma"
// boot: --args "0 0 2 no-trim" -- -machine pc -drive if=none,id=d,format=raw,file="$work/disk$(truncate -s 2M "$work/disk")" -device ide-hd,bus=ide.0,drive=d,discard_granularity=0
// boot: --args "0 0 5120 trim" -- -machine pc -drive if=none,id=d,format=raw,discard=unmap,file="$work/disk$(truncate -s 5G "$work/disk")" -device ide-hd,bus=ide.0,drive=d
// boot: --args "0 1 0 none" -- -machine pc
// boot: --args "0 0 0 cd" -- -machine pc -device ide-cd,bus=ide.0
// boot: --args "0 0 2 bad-block" -- -machine pc -drive if=none,id=d,driver=raw,file.driver=blkdebug,file.inject-error.0.event=read_aio,file.inject-error.0.errno=5,file.inject-error.0.sector=100,file.inject-error.0.once=off,file.inject-error.0.iotype=read,file.inject-error.1.event=write_aio,file.inject-error.1.errno=5,file.inject-error.1.sector=200,file.inject-error.1.once=off,file.inject-error.1.iotype=write,file.inject-error.2.event=flush_to_disk,file.inject-error.2.errno=5,file.inject-error.2.once=off,file.inject-error.2.iotype=flush,file.image.driver=file,file.image.filename="$work/disk$(truncate -s 2M "$work/disk")" -device ide-hd,bus=ide.0,drive=d
// boot: --args "0 0 2 stuck" -- -machine pc -drive if=none,id=d,format=raw,throttling.iops-total=2,file="$work/disk$(truncate -s 2M "$work/disk")" -device ide-hd,bus=ide.0,drive=d
#include <exo/drivers/ata.hpp>
#include <charconv>
#include <string_view>

#include "block_checks.hpp"

using namespace check;

namespace {

u64 number_of(std::string_view text) {
  u64 value = 0;
  std::from_chars(text.data(), text.data() + text.size(), value);
  return value;
}

void says(opened<ata_disk> const &disk, error why) {
  same(disk ? 0 : -static_cast<i64>(disk.error().why), -static_cast<i64>(why));
}

/// Block 100 cannot be read, block 200 cannot be written, and nothing can be flushed; all else works, before and after.
void bad_block(ata_disk &disk) {
  std::byte *const memory = take_pages(2 * page_bytes);
  i64 const io = -static_cast<i64>(error::io);
  for (u32 round = 0; round < 3; ++round) {
    same(status_of(disk.read(lba{99}, {memory, 512})), 0);
    same(status_of(disk.read(lba{100}, {memory, 512})), io);
    same(status_of(disk.read(lba{97}, {memory, 4096})), io);
    same(status_of(disk.read(lba{101}, {memory, 512})), 0);
    same(status_of(disk.write(lba{100}, {memory, 512})), 0);
    same(status_of(disk.write(lba{200}, {memory, 512})), io);
    same(status_of(disk.write(lba{201}, {memory, 512})), 0);
    same(status_of(disk.flush()), io);
    same(status_of(disk.read(lba{200}, {memory, 512})), 0);
  }
}

/// A disk of two operations a second, at a controller that waits for less than one takes: its channel is reset. Asked more
/// seldom, it goes on.
void stuck(ata_disk &disk) {
  std::byte *const memory = take_pages(page_bytes);
  auto const until = [&](i64 wanted, std::chrono::seconds pause) {
    u64 const end = deadline_in(std::chrono::seconds(60));
    while (status_of(disk.read(lba{1}, {memory, 512})) != wanted) {
      if (ticks() > end) return fail(where::current(), "the disk is never as it is expected:", wanted);
      for (u64 const next = deadline_in(pause); ticks() < next;) exo::pause();
    }
  };
  until(-static_cast<i64>(error::timeout), std::chrono::seconds(0));
  until(0, std::chrono::seconds(1));
}

}  // namespace

int main(int argc, char **argv) {
  if (argc != 5) return 2;
  ata_place const place{.channel = static_cast<u8>(number_of(argv[1])), .unit = static_cast<u8>(number_of(argv[2]))};
  std::string_view const kind = argv[4];
  auto const function = find_pci([](pci_function const &each) { return ata_controller::probe(each.record()); });
  if (!function) panic("there is no IDE controller");
  {
    auto controller = kind == "stuck" ? ata_controller::open(function->record(), std::chrono::milliseconds(100))
                                      : ata_controller::open(function->record());
    if (!controller) panic("{}", controller.error());
    says(controller->disk({.channel = 2, .unit = 0}), error::range);
    says(controller->disk({.channel = 0, .unit = 2}), error::range);
    auto disk = controller->disk(place);
    if (kind == "none" || kind == "cd") {
      says(disk, error::no_such);
      return verdict();
    }
    if (!disk) panic("{}", disk.error());
    same(disk->block_bytes(), 512);
    same(disk->blocks(), static_cast<i64>(number_of(argv[3]) * 2048));
    that(disk->has_dma(), "DMA is not used");
    that(disk->model() == "QEMU HARDDISK", "another model");
    that(!disk->serial().empty() && disk->serial().front() > ' ' && disk->serial().back() > ' ', "a serial number with blanks");
    if (kind == "bad-block") {
      bad_block(*disk);
      disk->use_pio();
      bad_block(*disk);
      return verdict();
    }
    if (kind == "stuck") {
      stuck(*disk);
      return verdict();
    }
    if (kind == "trim") {  // more than one command can name
      a_block_device_clears(*disk, true, false);
      disk->use_pio();
      a_block_device_clears(*disk, false, false);
      return verdict();
    }
    if (kind == "no-trim") a_block_device_clears(*disk, false, false);
    ata_controller moved = std::move(*controller);
    a_block_device_works(*disk);
    disk->use_pio();
    a_block_device_works(*disk);
  }
  // Once more, with what the first one has left.
  auto controller = ata_controller::open(function->record());
  if (!controller) panic("{}", controller.error());
  auto disk = controller->disk(place);
  if (!disk) panic("{}", disk.error());
  a_block_device_is_filled(*disk, 7);
  return verdict();
}
