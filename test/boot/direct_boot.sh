# Direct boot: what monitors leave behind, say on the command line, and need to power off.
# limit: 60

# kernel NAME ARGS: builds the C++ program on standard input as a file for direct boot at $work/kernel.
kernel() {
  local image
  program "$1"
  image=$(./build_x86-64.sh "$program_file" --args "${2-}") || fail "it does not build"
  build/image pvh "${image%.img}.bin" "${2-}" "$work/kernel" || fail "no image"
}

# microvm OPTIONS...: sets `output` and `status`, QEMU's own.
microvm() {
  output=$(timeout --foreground -s KILL 40 qemu-system-x86_64 -machine microvm -accel tcg -cpu max -m 64M -smp 2 -display none \
    -monitor none -no-user-config -nodefaults -serial stdio -global virtio-mmio.force-legacy=false \
    -kernel "$work/kernel" "$@" 2>&1 </dev/null)
  status=$?
}

# A warm reset leaves RAM as it is: what the program wrote where the loader works must not matter.
test_reboot_with_used_memory() {
  kernel again <<'CPP'
#include <exo/exo.hpp>
#include <exo/port.hpp>
int main() {
  exo::port_out(exo::u16{0x70}, exo::u8{0x50});  // a byte of the clock's memory, which outlives a reset
  bool const second = exo::port_in<exo::u8>(0x71) == 0x5A;
  exo::print("boot {}\n", second ? 2 : 1);
  if (second) return 3;
  exo::port_out(exo::u16{0x71}, exo::u8{0x5A});
  for (auto const &range : exo::info().memory) {
    if (range.first < 0x200000) __builtin_memset(reinterpret_cast<void *>(range.first), 0x5A, range.bytes);
  }
  exo::core().sys_reboot();
}
CPP
  output=$(timeout --foreground -s KILL 40 qemu-system-x86_64 -machine q35 -accel tcg -cpu max -m 64M -display none \
    -monitor none -no-user-config -nodefaults -serial stdio -device isa-debug-exit,iobase=0xf4,iosize=0x01 \
    -kernel "$work/kernel" 2>&1 </dev/null)
  status=$?
  expect_text "boot 1"
  expect_text "boot 2"
  expect_status 7 # twice 3, and 1
}

arguments_program() {
  kernel words "$1" <<'CPP'
#include <exo/exo.hpp>
int main(int count, char **words) {
  for (int at = 1; at < count; ++at) exo::print("<{}>", words[at]);
  exo::print(" {} disks\n", exo::info().disks.size());
}
CPP
}

# Only words that begin with the whole name are the core's; all others are the program's.
test_words_like_devices() {
  arguments_program "log=virtio_mode virtio_model xvirtio_mmio.device=1@2"
  microvm -device isa-debug-exit,iobase=0xf4,iosize=0x01
  expect_text "<log=virtio_mode><virtio_model><xvirtio_mmio.device=1@2> 0 disks"
  [[ $output != *"no virtio"* ]] || fail "a device was seen: $output"
}

test_devices_that_are_none() {
  local word
  arguments_program ""
  for word in virtio_mmio.device=512@ virtio_mmio.device=512@0 virtio_mmio.device=4K@0x1000:5 virtio_mmio.device=1@0x100001 \
    virtio_mmio.device=1@0xfffffffffffffffffff virtio_mmio.device=1@0x123456789a0:3:4; do
    microvm -device isa-debug-exit,iobase=0xf4,iosize=0x01 -append "a $word b"
    expect_text "exo16: no virtio 1 device at "
    expect_text "<a><b> 0 disks"
  done
}

# No PM1 registers there: the sleep control register of ACPI's hardware-reduced form.
test_power_off() {
  arguments_program ""
  microvm
  expect_status 0
  expect_text "0 disks"
}
