# The keyboard: keys that QEMU's monitor presses, as a program reads them. Under a BIOS and UEFI.
# limit: 240
source test/boot/monitor.bash

keys() {
  compile keys <<'CPP'
#include <exo/exo.hpp>
#include <exo/keyboard.hpp>
int main() {
  auto keyboard = exo::keyboard<>::open();
  if (!keyboard) {
    exo::print("no keyboard: {}\n", static_cast<int>(keyboard.error()));
    return 1;
  }
  exo::print("ready\n");
  for (;;) {
    auto const event = keyboard->try_event();
    if (!event) continue;
    exo::print("{}{:02x}", event->repeated ? '*' : event->pressed ? '+' : '-', static_cast<exo::u32>(event->key));
    if (event->letter >= ' ') exo::print(" {}", event->letter);
    exo::print("\n");
    if (event->key == exo::key::escape && !event->pressed) return 0;
  }
}
CPP
}

# press KEY...: presses and releases keys, each for 100 ms, one after the other.
press() {
  local key
  for key in "$@"; do echo "sendkey $key" >&$monitor; done
}

# events: what the program has said of keys, in one line. A key that was held too long is one.
events() {
  sed -n '/ready/,$p' "$work/serial" | tr -d '\0\r' | grep -a '^[+-]' | tr '\n' ','
}

test_keys_and_letters() {
  local firmware expected
  keys
  for firmware in bios uefi; do
    shown $firmware "$elf"
    says ready
    press a shift-a up caps_lock b caps_lock print pause kp_enter ctrl_r esc
    ends 60
    expect_status 0
    expected="+1e a,-1e,+2a,+1e A,-1e,-2a,+c8,-c8,+3a,-3a,+30 B,-30,+3a,-3a,+b7,-b7,+c5,-c5,+9c,-9c,+9d,-9d,+01,-01,"
    [ "$(events)" = "$expected" ] || fail "$firmware: $(events)"
  done
}

# What is typed while the firmware has the keyboard leaves nothing that could hang the program.
test_keys_before_the_program() {
  local count
  keys
  shown bios "$elf"
  for ((count = 0; count < 10; count++)); do press x y shift-z; done
  says ready
  echo "sendkey esc" >&$monitor
  ends 60
  expect_status 0
}

test_no_keyboard_controller() {
  keys
  shown bios "$elf" -machine q35,i8042=off
  ends
  expect_status 1
  expect_text "no keyboard: 1"
}

# Serial port and keyboard as one, also on a machine that lacks one of them.
test_input_from_both() {
  compile both <<'CPP'
#include <exo/exo.hpp>
#include <exo/keyboard.hpp>
int main() {
  exo::input input;
  exo::print("ready {}\n", input.has_keyboard());
  for (;;) {
    char buffer[4];
    for (char const letter : input.read(buffer)) {
      exo::print("<{}>\n", static_cast<int>(letter));
      if (letter == 'q') return 0;
    }
  }
}
CPP
  shown bios "$elf"
  says "ready true"
  printf 's\r\x7f' >&$typed
  says "<8>"
  press k ret
  wait_for_lines "$work/serial" '^<10>' 2 20
  printf 't' >&$typed
  says "<116>"
  press q
  ends
  expect_status 0
  [ "$(grep -a '^<' <<<"$output" | tr -d '\n')" = "<115><10><8><107><10><116><113>" ] || fail "$output"

  shown bios "$elf" -machine q35,i8042=off
  says "ready false"
  printf 'q' >&$typed
  ends
  expect_status 0
}
