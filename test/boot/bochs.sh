# The same images in another machine: Bochs, whose processor, firmware and devices are not QEMU's.

test_hello() {
  build/image disk "$(./build_x86-64.sh hello | sed 's/img$/bin/')" "" "$work/boot.img"
  bochs_boot "$work/boot.img" 1
  expect_text "Hello from 1 cores"
}

cores_on() {
  build/image disk "$(./build_x86-64.sh cores | sed 's/img$/bin/')" "" "$work/boot.img"
  bochs_boot "$work/boot.img" "$1"
  expect_text "right, $1 cores"
}

test_cores_1() {
  cores_on 1
}

test_cores_4() {
  cores_on 4
}

# x2APIC, TSC deadline and AVX-512, which QEMU's own emulation does not have.
test_modern_cpu() {
  printf '%s\n' '#include <exo/exo.hpp>' 'int main() {' \
    '  using namespace exo;' \
    '  constexpr u64 wanted = machine_x2apic | machine_tsc_deadline;' \
    '  u64 const hz = info().tsc_hz, begin = ticks();' \
    '  if (core().core_idle(begin + hz / 100) != 0 || ticks() < begin + hz / 100) return 1;' \
    '  asm volatile("vpxorq %zmm31, %zmm31, %zmm31");' \
    '  print("{} cores, features {}\n", core_count(), (info().features & wanted) == wanted);' \
    '}' >"$work/modern.cpp"
  build/image disk "$(./build_x86-64.sh "$work/modern.cpp" | sed 's/img$/bin/')" "" "$work/boot.img"
  bochs_boot "$work/boot.img" 4 corei7_skylake_x
  expect_text "4 cores, features true"
}
