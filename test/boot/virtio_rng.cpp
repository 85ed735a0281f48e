// virtio entropy: bytes come, others each time; a host that gives none is given up in time.
// boot: --args bytes -- -object rng-builtin,id=r -device virtio-rng-pci,rng=r,romfile=
// boot: --args bytes -- -object rng-builtin,id=r -device virtio-rng-pci,rng=r,romfile=,disable-legacy=on,vectors=0
// boot: --args bytes -- -object rng-random,id=r,filename=/dev/urandom -machine pc -device virtio-rng-pci,rng=r,romfile=
// boot: --args legacy -- -object rng-builtin,id=r -device virtio-rng-pci,rng=r,romfile=,disable-modern=on,disable-legacy=off
// boot: --args silent -- -chardev null,id=c -object rng-egd,id=r,chardev=c -device virtio-rng-pci,rng=r,romfile=
// boot: --args none
// boot: --microvm --args mmio -- -object rng-builtin,id=r -device virtio-rng-device,rng=r,bus=virtio-mmio-bus.3
#include "check.hpp"

#include <exo/drivers/virtio_rng.hpp>

#include <array>
#include <string_view>

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

result<pci_function> device() {
  return find_pci([](pci_function const &each) { return virtio_rng::probe(each.record()); });
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
  for (u32 round = 0; round < 3; ++round) {
    auto source = virtio_rng::open(found->record());
    if (!source) {
      fail(where::current(), source.error().sentence);
    } else if (kind == "bytes") {
      gives_bytes(*source);
    } else {
      std::array<std::byte, 8> bytes;
      auto const filled = source->fill(bytes, std::chrono::milliseconds(200));
      same(static_cast<i64>(filled.error()), static_cast<i64>(error::timeout));
    }
  }
  return verdict();
}
