# The virtio console: what goes in on the host's side comes back out, whole and in order.
source test/boot/machine.bash

# Sends back what comes in, upper case, until it ends with "quit".
mirror() {
  compile mirror <<'CPP'
#include <exo/exo.hpp>
#include <exo/drivers/virtio_console.hpp>
using namespace exo;
int main() {
  auto const found = find_pci([](pci_function const &each) { return virtio_console::probe(each.record()); });
  if (!found) return 3;
  auto port = virtio_console::open(found->record());
  if (!port) {
    print("{}\n", port.error());
    return 4;
  }
  print("{} columns, {} rows\n", port->dimensions().columns, port->dimensions().rows);
  std::string_view last;
  char buffer[1000];
  u64 sum = 0;
  for (clock::time_point const end = clock::now() + std::chrono::seconds(40); !last.ends_with("quit\n");) {
    auto const got = port->try_read(buffer);
    if (!got) return 5;
    if (got->empty()) {
      port->wait(end);
      if (clock::now() >= end) return 6;
      continue;
    }
    last = {got->data(), got->size()};
    sum += got->size();
    for (char &each : *got) {
      if (each >= 'a' && each <= 'z') each = static_cast<char>(each - 'a' + 'A');
    }
    if (auto const written = port->write({got->data(), got->size()}); !written) {
      print("{}\n", written.error());
      return 7;
    }
    for (char &each : *got) {
      if (each >= 'A' && each <= 'Z') each = static_cast<char>(each - 'A' + 'a');
    }
  }
  if (!port->drain(clock::now() + std::chrono::seconds(20))) return 8;
  print("{} characters\n", sum);
}
CPP
}

# mirrored OPTIONS...: 60,000 characters go through and come back. The host's side is a pair of pipes; they have room for
# 64 KiB, and QEMU drops what one has no room for.
mirrored() {
  local reader
  mirror
  { head -c 30000 /dev/urandom | od -An -v -tx1 | head -c 60000; echo; echo quit; } >"$work/sent"
  mkfifo "$work/pipe.in" "$work/pipe.out"
  cat "$work/pipe.out" >"$work/came" &
  reader=$!
  cat "$work/sent" >"$work/pipe.in" &
  machine "$elf" -chardev "pipe,id=c,path=$work/pipe" "$@"
  expect_status 0
  expect_text "60006 characters"
  wait $reader
  tr a-z A-Z <"$work/sent" | cmp - "$work/came" || fail "something else came back"
}

test_pci() {
  mirrored -device virtio-serial-pci -device virtconsole,chardev=c
}

test_pci_without_msix() {
  mirrored -machine pc -device virtio-serial-pci,vectors=0,disable-legacy=on -device virtconsole,chardev=c
}

# A device that the machine takes out while it has characters is given up (ACPI hotplug of QEMU's pc: bus 0, eject slot 7).
test_removed() {
  compile removed <<'CPP'
#include <exo/exo.hpp>
#include <exo/drivers/virtio_console.hpp>
#include <exo/port.hpp>
using namespace exo;
static char characters[10'000];
int main() {
  auto const found = find_pci([](pci_function const &each) { return virtio_console::probe(each.record()); });
  if (!found) return 3;
  std::string_view const text(characters, sizeof characters);
  {
    auto port = virtio_console::open(found->record());
    if (!port || !port->write(text)) return 4;
    port_out<u32>(0xAE10, 0);
    port_out<u32>(0xAE08, 1 << 7);
    auto const written = port->write(text, std::chrono::milliseconds(300));
    if (written || written.error() != error::io) return 5;
    char buffer[10];
    if (auto const got = port->try_read(buffer); got && !got->empty()) return 6;
    if (port->drain(clock::now() + std::chrono::milliseconds(300))) return 7;
  }
  if (virtio_console::open(found->record())) return 8;
  print("gone\n");
}
CPP
  machine "$elf" -machine pc -chardev null,id=c -device virtio-serial-pci,addr=7 -device virtconsole,chardev=c
  expect_status 0
  expect_text "gone"
}
