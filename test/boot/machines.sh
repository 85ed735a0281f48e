# Machines at their limits, and what comes out of them when there is no serial port.
# limit: 300
source test/boot/machine.bash

small() {
  compile small <<'CPP'
#include <exo/exo.hpp>
int main() {
  exo::print("printed by {}\n", exo::core_count());
  return 7;
}
CPP
}

test_no_serial_port() {
  small
  serial=none machine "$elf"
  expect_status 7
  serial=none machine "$elf" -vga none
  expect_status 7
}

# screen PROGRAM OPTIONS...: sets `output` to the text screen of a machine without a serial port that has halted.
screen() {
  local file=$1
  build/image disk "$file" "" "$work/boot.img"
  { sleep 4; echo "pmemsave 0xb8000 4000 \"$work/screen\""; sleep 0.5; echo quit; } |
    timeout --foreground -s KILL 30 qemu-system-x86_64 -machine q35 -accel tcg,thread=multi -cpu max -m 256M -smp 2 \
      -display none -monitor stdio -no-user-config -nodefaults -vga std -serial none -no-reboot \
      -drive "if=none,id=boot,format=raw,snapshot=on,file=$work/boot.img" -device ide-hd,drive=boot,bootindex=0 "${@:2}" \
      >"$work/monitor" 2>&1
  output=$(od -An -v -tx1 -w2 "$work/screen" | awk '{ printf "%s", $1 }' | sed 's/../\\x&/g')
  output=$(printf "$output" | fold -w 80 | sed 's/ *$//')
}

test_screen_shows_what_is_printed() {
  compile lines <<'CPP'
#include <exo/exo.hpp>
int main() {
  for (int line = 1; line <= 100; ++line) exo::print("line {}\n", line);
  exo::print("{}", "a text of more than eighty characters, which goes on in the next row of the screen as it has to do");
  for (;;) exo::core().core_idle(~0ull);
}
CPP
  screen "$elf"
  [ "$(head -n 1 <<<"$output")" = "line 78" ] || fail "the first row is not line 78: $output"
  [ "$(sed -n 23p <<<"$output")" = "line 100" ] || fail "row 23 is not the last line: $output"
  [ "$(sed -n 25p <<<"$output")" = "en as it has to do" ] || fail "row 25 is not the rest of the long line: $output"
}

test_screen_shows_a_fault() {
  compile fault <<'CPP'
#include <exo/exo.hpp>
int main() { asm volatile("ud2"); }
CPP
  screen "$elf"
  expect_text "exo16: fault #UD vector 6 core 0"
  expect_text "exo16: trace"
}

test_reboot() {
  compile reboot <<'CPP'
#include <exo/exo.hpp>
int main() {
  exo::print("once more\n");
  exo::core().sys_reboot();
}
CPP
  limit_s=20 machine "$elf" -no-reboot
  expect_status 125 # it ended, and not by an exit
  expect_text "once more"
  [ "$(grep -c 'once more' <<<"$output")" -eq 1 ] || fail "it came up again: $output"
}

test_power_off() {
  local started ended image
  small
  machine "$elf" # the firmware's tables, and no exit device
  started=$(date +%s)
  output=$(timeout --foreground -s KILL 30 qemu-system-x86_64 -machine q35 -accel tcg -cpu max -m 64M -display none \
    -monitor none -no-user-config -nodefaults -serial stdio \
    -drive "if=none,id=boot,format=raw,snapshot=on,file=$work/boot.img" -device ide-hd,drive=boot,bootindex=0 2>&1 </dev/null)
  status=$?
  expect_status 0
  expect_text "printed by 1"
}

test_exit_from_every_core() {
  compile leave <<'CPP'
#include <exo/exo.hpp>
int main(int count, char **) {
  exo::job leave([] { exo::core().sys_exit(200); });
  auto const running = exo::run_on(exo::core_id{1}, leave);
  for (;;) exo::core().core_idle(~0ull);
  return count;
}
CPP
  machine "$elf"
  expect_status 200
}

test_too_many_cores_for_the_memory() {
  small
  boot_refuses "too little RAM" "$elf" -m 6M -smp 64
  machine "$elf" -m 16M -smp 64
  expect_status 7
  expect_text "printed by 64"
}

# bridge NUMBER DEVICES: adds a PCI bridge with so many devices of eight functions to `options`.
bridge() {
  local slot function
  options+=(-device "pci-bridge,id=bridge$1,chassis_nr=$1,addr=0x1$1")
  for ((slot = 1; slot <= $2; slot++)); do
    for ((function = 0; function < 8; function++)); do
      options+=(-device "sdhci-pci,bus=bridge$1,addr=$(printf %x $slot).$function,multifunction=on")
    done
  done
}

test_functions_behind_bridges() {
  local options=()
  bridge 1 5
  bridge 2 3
  options+=(-device pci-bridge,id=bridge3,chassis_nr=3,bus=bridge2,addr=10 -device sdhci-pci,bus=bridge3,addr=4)
  options+=(-device pcie-root-port,id=root,chassis=9,slot=9 -device sdhci-pci,bus=root)
  compile functions <<'CPP'
#include <exo/exo.hpp>
int main() {
  exo::u32 count = 0;
  for (exo::pci_record const &each : exo::info().pci) {
    if (each.class_revision >> 16 != 0x805) continue;
    ++count;
    if (each.bar_bytes[0] != 256 || each.bar[0] == 0) exo::print("function {:#x} has a BAR of {}\n", each.function, each.bar_bytes[0]);
  }
  exo::print("controllers: {}\n", count);
}
CPP
  machine "$elf" "${options[@]}"
  expect_status 0
  expect_text "controllers: 66"
  [[ $output != *"has a BAR"* ]] || fail "$output"
  machine "$elf" "${options[@]:0:90}" -machine pc
  expect_status 0
  expect_text "controllers: 43"
}

test_more_functions_than_fit() {
  local options=() limit_s=280  # the firmware looks at each of them
  bridge 1 31
  bridge 2 31
  bridge 3 12
  small
  boot_refuses "too many cores and PCI functions" "$elf" "${options[@]}"
}

# The report of a fault: the return addresses of all callers, and the address where the stack ended.
test_backtrace() {
  local core trace
  compile nested <<'CPP'
#include <exo/exo.hpp>
using exo::u64;
static void note(u64 address) { exo::print("return {:016x}\n", address); }
#define NOTE note(reinterpret_cast<u64>(__builtin_return_address(0)))
[[gnu::noinline]] static int third(int n) {
  NOTE;
  asm volatile("ud2");
  return n;
}
[[gnu::noinline]] static int second(int n) {
  NOTE;
  return third(n) + 1;
}
[[gnu::noinline]] static int first(int n) {
  NOTE;
  return second(n) + 1;
}
int main(int count, char **) {
  exo::job nested([&] { exo::print("{}\n", first(count)); });
  if (count == 1) return first(count);
  auto const running = exo::run_on(exo::core_id{1}, nested);
}
CPP
  for core in 0 1; do
    command_line=${core/0/}
    machine "$elf"
    expect_status 134
    trace=$(grep 'exo16: trace' <<<"$output")
    while read -r _ address; do
      [[ $trace == *" $address"* ]] || fail "the trace lacks $address: $output"
      trace=${trace#*" $address"} # callers come from the innermost to the outermost
    done < <(grep ^return <<<"$output" | tac)
  done
  command_line=
}

test_stack_overflow_hits_the_guard() {
  compile overflow <<'CPP'
#include <exo/exo.hpp>
using exo::u64;
static u64 (*volatile deeper)(u64);
static u64 down(u64 depth) {
  u64 volatile room[16];
  room[0] = depth;
  return deeper(depth + 1) + room[0];
}
int main() {
  exo::core_record const &core = exo::info().cores[0];
  exo::print("guard {:016x}\n", core.stack_end - core.stack_bytes - 4096);
  deeper = down;
  return static_cast<int>(down(0));
}
CPP
  machine "$elf"
  expect_status 142
  local guard address
  guard=$(sed -n 's/^guard //p' <<<"$output")
  address=$(sed -n 's/^exo16: cr2 \([0-9a-f]*\).*/\1/p' <<<"$output")
  [ "${address:0:13}" = "${guard:0:13}" ] || fail "the fault at $address is not in the guard page at $guard: $output"
}
