# The screen of pixels: what stands on it is read back from pictures of it, by the font. Under a BIOS (VBE) and UEFI.
# limit: 240
source test/boot/monitor.bash

# on_screen WORDS...: what read_screen says of a new picture of the screen.
on_screen() {
  local tries command=$1
  shift
  [ -x "$work/read_screen" ] ||
    g++ -std=c++23 -O2 -DEXO_HOST -I api -o "$work/read_screen" test/tools/read_screen.cpp || fail "it does not build"
  rm -f "$work/shot.ppm"
  echo "screendump $work/shot.ppm" >&$monitor
  for ((tries = 200; tries > 0; tries--)); do
    "$work/read_screen" "$command" "$work/shot.ppm" "$@" 2>"$work/errors.txt" && return
    sleep 0.05
  done
  cat "$work/errors.txt" "$work/monitor.log"
  fail "no picture of the screen"
}

# as_console: what the console shows of the text on standard input, on the screen as it is.
as_console() {
  local width height
  read -r width height < <(on_screen size)
  awk -v width="$width" -v height="$height" '
    BEGIN {
      RS = "\001"
      scale = width < 960 ? 1 : int(width / 480)
      columns = int(width / (6 * scale))
      rows = int(height / (9 * scale))
      if (rows > 50) rows = 50
    }
    {
      cell = 0
      for (at = 1; at <= length($0); at++) {
        letter = substr($0, at, 1)
        row = int(cell / columns)
        if (letter != "\n") line[row] = line[row] (letter < " " || letter > "~" ? "?" : letter)
        cell = letter == "\n" ? (row + 1) * columns : cell + 1
      }
      row = int(cell / columns)
      first = row < rows ? 0 : row - rows + 1
      for (at = first; at < first + rows; at++) {
        sub(/ *$/, "", line[at])
        print line[at]
      }
    }'
}

# shows FILE: until the screen has the text of the file, and nothing else.
shows() {
  local tries
  as_console <"$1" >"$work/wanted.txt"
  for ((tries = 100; tries > 0; tries--)); do
    on_screen console >"$work/read.txt"
    ! cmp -s "$work/wanted.txt" "$work/read.txt" || return 0
    sleep 0.1
  done
  diff "$work/wanted.txt" "$work/read.txt"
  fail "the screen does not show what it has to"
}

# said FIRST_LINE: what the console said from that line on, to $work/said.txt. Firmware may have said something before.
said() {
  tr -d '\0' <"$work/serial" |
    awk -v first="$1" 'BEGIN { RS = "\001" } { printf "%s", substr($0, index($0, first)) }' >"$work/said.txt"
}

is_size() {
  local size
  size=$(on_screen size)
  [ "$size" = "$1" ] || fail "the screen has $size pixels, not $1"
}

# text WIDTH HEIGHT LINES: prints every character, some that are none, lines that are too long, and LINES more; the last line is `end`, and
# the cursor stands behind it.
text() {
  compile text "-DWIDTH=$1 -DHEIGHT=$2 -DLINES=$3" <<'CPP'
#include <exo/exo.hpp>
#include <exo/screen.hpp>
EXO_SCREEN(WIDTH, HEIGHT);
int main() {
  exo::print("begin\n");
  for (int row = 32; row < 127; row += 16) {
    for (int letter = row; letter < row + 16 && letter < 127; ++letter) exo::print("{} ", static_cast<char>(letter));
    exo::print("\n");
  }
  exo::print("\t\r\x02\x7F\x80\xE9\xFF\n");  // characters that the font lacks
  for (int bytes = 40; bytes <= 240; bytes += 40) {
    for (int at = 0; at < bytes; ++at) exo::print("{}", static_cast<char>('a' + at % 26));
    exo::print("\n");
  }
  // As long as a row, by the cell's 6 pixels at a scale of 1, 2 and 3.
  for (exo::u32 scale = 1; scale <= 3; ++scale) {
    for (exo::u32 at = 0; at < exo::info().screen_width / (6 * scale); ++at) exo::print("=");
    exo::print("\n");
  }
  for (int line = 1; line <= LINES; ++line) exo::print("line {}\n", line);
  exo::print("end");
  for (;;) exo::core().core_idle(~0ull);
}
CPP
}

# text_shows FIRMWARE: the program of text is on the screen.
text_shows() {
  shown "$1" "$elf"
  says end
  said begin
  shows "$work/said.txt"
}

test_console_800x600() {
  text 800 600 0
  text_shows bios
  is_size "800 600"
  no_more
}

test_console_scrolls_800x600() {
  text 800 600 150
  text_shows bios
  no_more
}

test_console_1024x768() {
  text 1024 768 3
  text_shows bios
  is_size "1024 768"
  no_more
}

test_console_scrolls_1024x768() {
  text 1024 768 150
  text_shows bios
  no_more
}

test_console_640x480() {
  text 640 480 77
  text_shows bios
  is_size "640 480"
  no_more
}

# The firmware's own mode, whatever the program asks for.
test_console_uefi() {
  text 640 480 3
  text_shows uefi
  is_size "1280 800"
  no_more
  text 640 480 150
  text_shows uefi
  no_more
}

# A program that draws all over the screen. The argument says what then.
painter() {
  compile painter <<'CPP'
#include <exo/exo.hpp>
#include <exo/screen.hpp>
#include <string_view>
EXO_SCREEN(800, 600);
int main(int, char **words) {
  std::string_view const then = words[1];
  exo::print("begin\nprinted before\n");
  auto screen = exo::screen::open();
  if (!screen) exo::panic("no screen: {}", screen.error());
  for (exo::u32 y = 0; y < screen->height(); ++y) {
    for (exo::u32 x = 0; x < screen->width(); ++x) {
      screen->pixel(static_cast<exo::i32>(x), static_cast<exo::i32>(y),
                    {static_cast<exo::u8>(x), static_cast<exo::u8>(y), static_cast<exo::u8>(x / 256 * 16 + y / 256)});
    }
  }
  screen->text(30, 50, "drawn by the program", {1, 2, 254}, 3);
  screen->present();
  exo::print("hidden\n");
  if (then == "fault") asm volatile("ud2");
  if (then == "panic") exo::panic("on purpose");
  if (then == "give") screen = std::unexpected(exo::error::closed);
  if (then == "give") exo::print("printed after\n");
  exo::print("painted\n");
  for (;;) exo::core().core_idle(~0ull);
}
CPP
}

# Every pixel of it where it belongs, red green blue in that order, under both firmwares.
test_program_draws() {
  local firmware place x y
  painter
  for firmware in bios uefi; do
    command_line=keep shown $firmware "$elf"
    says painted
    [ "$(on_screen text 30 50 3 0102fe 20)" = "drawn by the program" ] || fail "$firmware: the text is not there"
    for place in "0 0" "1 0" "0 1" "255 10" "256 300" "799 599" "500 599"; do
      read -r x y <<<"$place"
      [ "$(on_screen pixel $x $y)" = "$(printf %02x%02x%02x $((x & 255)) $((y & 255)) $((x / 256 * 16 + y / 256)))" ] ||
        fail "$firmware: pixel $place is $(on_screen pixel $x $y)"
    done
    no_more
  done
}

# hidden_shows: all that the console said but the hidden line is on the screen.
hidden_shows() {
  said begin
  sed '/^hidden$/d' "$work/said.txt" >"$work/visible.txt"
  shows "$work/visible.txt"
}

test_screen_given_back() {
  painter
  command_line=give shown bios "$elf"
  says painted
  hidden_shows
  no_more
}

# A report that comes over the program's picture can be read whole.
test_fault_over_the_program() {
  local firmware
  painter
  for firmware in bios uefi; do
    halts=1 command_line=fault shown $firmware "$elf"
    report_ends
    hidden_shows
    no_more
  done
}

# A panic takes the screen back to be seen.
test_panic_over_the_program() {
  painter
  halts=1 command_line=panic shown bios "$elf"
  report_ends
  grep -q "exo16: panic: on purpose (core 0)" "$work/serial" || fail "no panic: $(cat "$work/serial")"
  hidden_shows
  no_more
}

# What programs find: EXO_SCREEN's size, text where the BIOS lacks that size or nobody asked, or nothing.
test_what_open_says() {
  local options expected
  while IFS='|' read -r options expected; do
    compile ask $options <<'CPP'
#include <exo/exo.hpp>
#include <exo/screen.hpp>
#ifdef WIDTH
EXO_SCREEN(WIDTH, HEIGHT);
#endif
int main() {
  {
    auto screen = exo::screen::open();
    bool const busy = exo::screen::open() == std::unexpected(exo::error::busy);
    if (screen) exo::print("{} x {}, again: {}\n", screen->width(), screen->height(), busy);
    if (!screen) exo::print("none: {}\n", static_cast<int>(screen.error()));
  }
  exo::print("{}\n", exo::screen::open() ? "open" : "shut");
}
CPP
    shown bios "$elf" ${vga-}
    ends
    expect_status 0
    expect_text "$expected"
  done <<'ASKED'
-DWIDTH=1024 -DHEIGHT=768|1024 x 768, again: true
-DWIDTH=800 -DHEIGHT=600|800 x 600, again: true
-DWIDTH=1111 -DHEIGHT=777|none: 8
|none: 8
ASKED
  shown bios "$elf" -vga none
  ends
  expect_text "none: 1"
}

# app NAME: builds a program under apps; sets `elf`.
app() {
  EXO_CXXFLAGS= tools/program.sh "apps/$1" "$work/app" || fail "$1 does not build"
  elf=$work/app.bin
}

# bars_and_title WIDTH: what apps/screen draws.
bars_and_title() {
  local bar=0 colour scale=$(($1 / 320))
  for colour in ffffff ffff00 00ffff 00ff00 ff00ff ff0000 0000ff 404040; do
    [ "$(on_screen pixel $(((2 * bar + 1) * $1 / 16)) $((20 * scale)))" = $colour ] || fail "bar $bar is not $colour"
    bar=$((bar + 1))
  done
  [ "$(on_screen text $((4 * scale)) $((4 * scale)) $scale ffffff 5)" = Exo16 ] || fail "there is no title"
}

test_app_screen() {
  app screen.cpp
  shown bios "$elf"
  says "Press a key, here or on the machine's keyboard, to end."
  bars_and_title 1024
  [ "$(on_screen pixel 0 767)" != 000000 ] || fail "there is no Mandelbrot set"
  echo "sendkey spc" >&$monitor
  ends
  expect_status 0
  expect_text "screen: 1024 x 768, 2 cores, "

  shown uefi "$elf"
  says "Press a key, here or on the machine's keyboard, to end."
  bars_and_title 1280
  printf x >&$typed
  ends
  expect_status 0
  expect_text "screen: 1280 x 800, 2 cores, "
}

test_app_screen_ends() {
  app screen.cpp
  command_line=once shown bios "$elf"
  ends
  expect_status 0
  [[ $output != *"Press"* ]] || fail "it waits: $output"
  command_line=once shown bios "$elf" -vga none
  ends
  expect_status 1
  expect_text "The machine has no screen"
  command_line=twice shown bios "$elf"
  ends
  expect_status 2
}

test_app_sysinfo() {
  local text
  app sysinfo
  command_line="one two" shown bios "$elf" -device sdhci-pci -device edu \
    -drive "if=none,id=more,format=raw,read-only=on,file=$elf" -device virtio-blk-pci,drive=more,disable-legacy=on,opt_io_size=65536 \
    -drive "if=none,id=fast,format=raw,read-only=on,file=$elf" -device nvme,drive=fast,serial=number-9 \
    -device virtio-net-pci,disable-legacy=on,mac=52:54:00:00:00:09,host_mtu=4000,speed=40000,duplex=full -device e1000,romfile=
  ends
  expect_status 0
  for text in "cores: 2 of 2 run" "Intel 82G33 host bridge (Q35)" "QEMU standard graphics" "virtio block" "read-only" \
    "52:54:00:00:00:09, MTU 4000" "link: up, 40000 Mbit/s" "link: up, 1000 Mbit/s" "of 512 bytes" "write cache, discard, zero" \
    "model: QEMU NVMe Ctrl, serial number: number-9" "best a multiple of 64 KiB" "SD host controller" "1234:11e8" "80 columns, 25 rows of text" 'command line: "one two"' \
    "BAR 0" "the core keeps" "MHz"; do
    expect_text "$text"
  done
}
