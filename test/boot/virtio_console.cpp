// A virtio console whose host's side is a FIFO that leads back: all that is written comes back, whole and in order. The
// argument is how many operations, reads and writes together.
// boot: --args 2000 -- -chardev pipe,id=c,path="$work/loop$(mkfifo "$work/loop.in" && ln -s loop.in "$work/loop.out")" -device virtio-serial-pci,romfile= -device virtconsole,chardev=c
// soak: --args 1000000 -- -chardev pipe,id=c,path="$work/loop$(mkfifo "$work/loop.in" && ln -s loop.in "$work/loop.out")" -device virtio-serial-pci,romfile= -device virtconsole,chardev=c
#include "check.hpp"

#include <exo/drivers/virtio_console.hpp>

#include <array>
#include <charconv>
#include <cstring>

using namespace check;

namespace {

/// So much may be on its way: a FIFO holds 64 KiB, and QEMU drops what it has no room for.
constexpr u64 window_bytes = 16 * 1024;

/// Byte `at` of the stream.
char pattern(u64 at) { return static_cast<char>(at ^ at >> 8 ^ at >> 16 ^ at >> 18); }

void loop(virtio_console &port, u64 operations) {
  std::array<char, 2048> chunk;
  u64 written = 0, read = 0, done = 0;
  u64 const begin = ticks();
  clock::time_point end = clock::now() + std::chrono::seconds(60);
  while ((done < operations || read != written) && failures == 0) {
    std::size_t const some = done < operations ? std::min<u64>(1 + done * 61 % chunk.size(), window_bytes - (written - read)) : 0;
    for (std::size_t at = 0; at < some; ++at) chunk[at] = pattern(written + at);
    auto const taken = port.try_write({chunk.data(), some});
    auto const got = port.try_read(std::span(chunk).first(1 + done * 89 % chunk.size()));
    if (!taken || !got) return fail(where::current(), "the device answers what cannot be; operation", done);
    written += *taken;
    for (char const each : *got) {
      if (each != pattern(read++)) return fail(where::current(), "another character comes back; place", read - 1);
    }
    done += (*taken != 0) + !got->empty();
    if (*taken != 0 || !got->empty()) {
      end = clock::now() + std::chrono::seconds(60);
    } else {
      port.wait(end);
      if (clock::now() >= end) return fail(where::current(), "characters are lost; sent, came", written, read);
    }
  }
  print("{} operations, {} bytes each way, {} s\n", done, read, (ticks() - begin) / info().tsc_hz);
}

}  // namespace

int main(int argc, char **argv) {
  u64 operations = 0;
  if (argc == 2) std::from_chars(argv[1], argv[1] + std::strlen(argv[1]), operations);
  auto const found = find_pci([](pci_function const &each) { return virtio_console::probe(each.record()); });
  if (operations == 0 || !found) return 2;
  auto port = virtio_console::open(found->record());
  if (!port) panic("{}", port.error());
  loop(*port, operations);
  return verdict();
}
