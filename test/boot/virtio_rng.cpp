// virtio entropy: bytes come, others each time; a host that gives none is given up in time, and so is a device that is gone.
// boot: --args bytes -- -object rng-builtin,id=r -device virtio-rng-pci,rng=r,romfile=
// boot: --args bytes -- -object rng-builtin,id=r -device virtio-rng-pci,rng=r,romfile=,disable-legacy=on,vectors=0
// boot: --args bytes -- -object rng-random,id=r,filename=/dev/urandom -machine pc -device virtio-rng-pci,rng=r,romfile=
// boot: --args legacy -- -object rng-builtin,id=r -device virtio-rng-pci,rng=r,romfile=,disable-modern=on,disable-legacy=off
// boot: --args silent -- -chardev null,id=c -object rng-egd,id=r,chardev=c -device virtio-rng-pci,rng=r,romfile=
// boot: --args removed -- -machine pc -object rng-builtin,id=r -device virtio-rng-pci,rng=r,romfile=,addr=7
// boot: --args none
// boot: --microvm --args mmio -- -object rng-builtin,id=r -device virtio-rng-device,rng=r,bus=virtio-mmio-bus.3
// soak: --args soak -- -object rng-builtin,id=r -device virtio-rng-pci,rng=r,romfile=
#include "check.hpp"

#include <exo/drivers/virtio_rng.hpp>
#include <exo/port.hpp>

#include <array>
#include <string_view>
#include <utility>

using namespace check;

namespace {

/// Random bytes of all sizes: no two runs of 16 are the same, and each bit is set about half of the time.
void gives_bytes(virtio_rng &source) {
  constexpr std::size_t count = 64 * 1024, run = 16;
  static std::array<std::byte, count> bytes{};
  for (std::size_t at = 0, some = 1; at < count; at += some, some = std::min(some * 3, count - at)) {
    that(source.fill(std::span(bytes).subspan(at, some)).has_value(), "no bytes");
  }
  for (u32 bit = 0; bit < 8; ++bit) {
    std::size_t ones = 0;
    for (std::byte const each : bytes) ones += std::to_integer<u32>(each) >> bit & 1;
    that(ones > count * 45 / 100 && ones < count * 55 / 100, "a bit is set too often, or too seldom");
  }
  for (std::size_t at = run; at < count; at += run) {
    that(!std::ranges::equal(std::span(bytes).first(run), std::span(bytes).subspan(at, run)), "bytes come again");
  }
  that(source.fill({}).has_value(), "nothing cannot be filled");
}

/// Who asks again before bytes came gets none twice.
void gives_none_twice(virtio_rng &source) {
  static std::array<std::array<u64, page_bytes / 8>, 4> taken{};
  for (u32 round = 0; round < 20 && failures == 0; ++round) {
    for (u32 turn = 0; turn < 8; ++turn) that(source.try_fill({}).has_value(), "it cannot be asked");
    for (auto &each : taken) that(source.fill(std::as_writable_bytes(std::span(each))).has_value(), "no bytes");
    for (u32 at = 1; at < taken.size(); ++at) that(taken[at] != taken[at - 1], "bytes come again");
  }
}

/// A million fills, each of whose bytes are not those of the one before.
void soak(virtio_rng &source) {
  constexpr u32 fills = 1'000'000;
  u64 before = 0;
  for (u32 at = 0; at < fills && failures == 0; ++at) {
    u64 now = 0;
    that(source.fill(std::as_writable_bytes(std::span(&now, 1))).has_value(), "no bytes");
    that(now != std::exchange(before, now), "bytes come again");
  }
  print("{} fills\n", fills);
}

result<pci_function> device() {
  return find_pci([](pci_function const &each) { return virtio_rng::probe(each.record()); });
}

/// The machine takes the device out (ACPI hotplug of QEMU's pc: bus 0, eject slot 7) while it is to give bytes.
void removed(virtio_rng &source, pci_function const &place) {
  std::array<std::byte, 64> bytes;
  that(source.fill(bytes).has_value(), "no bytes");
  that(source.try_fill({}).has_value(), "it cannot be asked");
  port_out<u32>(0xAE10, 0);
  port_out<u32>(0xAE08, 1 << 7);
  result<void> filled;
  for (u64 const end = deadline_in(std::chrono::seconds(20)); filled && ticks() < end;) {
    filled = source.fill(bytes, std::chrono::milliseconds(200));  // what it gave before is there
  }
  that(!filled && filled.error() == error::io, "a device that is gone gives bytes");
  that(!virtio_rng::open(place.record()), "a device that is gone opens");
}

}  // namespace

int main(int argc, char **argv) {
  std::string_view const kind = argc == 2 ? argv[1] : "";
  if (kind == "mmio") {
    auto source = virtio_rng::open_mmio(0xFEB00000 + 3 * 512);  // where a microvm has its fourth
    if (!source) return 2;
    gives_bytes(*source);
    auto const other = virtio_rng::open_mmio(0xFEB00000);
    same(static_cast<i64>(other.error().why), static_cast<i64>(error::no_such));
    return verdict();
  }
  auto const found = device();
  if (kind == "none") {
    that(!found, "a device is found");
    auto const other = virtio_rng::open(info().pci[0]);
    same(static_cast<i64>(other.error().why), static_cast<i64>(error::no_such));
    return verdict();
  }
  if (!found) return 3;
  if (kind == "legacy") {
    auto const refused = virtio_rng::open(found->record());
    same(static_cast<i64>(refused.error().why), static_cast<i64>(error::unsupported));
    return verdict();
  }
  if (kind == "removed" || kind == "soak") {
    auto source = virtio_rng::open(found->record());
    if (!source) return 4;
    kind == "soak" ? soak(*source) : removed(*source, *found);
    return verdict();
  }
  for (u32 round = 0; round < 3; ++round) {
    auto source = virtio_rng::open(found->record());
    if (!source) {
      fail(where::current(), source.error().sentence);
    } else if (kind == "bytes") {
      gives_bytes(*source);
      gives_none_twice(*source);
    } else {
      std::array<std::byte, 8> bytes;
      auto const filled = source->fill(bytes, std::chrono::milliseconds(200));
      same(static_cast<i64>(filled.error()), static_cast<i64>(error::timeout));
    }
  }
  return verdict();
}
