# The ways to boot beside those in ways.cpp, what options are refused, and what images consist of.
# limit: 180
PATH=$PATH:/usr/sbin:/sbin
program_file=test/boot/ways.cpp

# built ARGS: builds the program; sets `image` to its disk image, and `prefix`.
built() {
  image=$(./build_x86-64.sh "$program_file" --args "${1-}") || fail "it does not build"
  prefix=${image%.img}
}

# printed ARGS...: prints the command for a run with a work folder of its own, $work/run.
printed() {
  mkdir -p "$work/run"
  TMPDIR=$work/run ./run_x86-64.sh --accel tcg --net none "$@" --print || fail "there is no command for: $*"
}

# run_command COMMAND: runs what printed has printed. Sets `output` and `status`.
run_command() {
  output=$(eval "timeout --foreground -s KILL 60 $1" 2>&1 </dev/null)
  status=$(tail -c 1 "$work"/run/exo16.*/status | od -An -tu1)
}

expect_program() {
  expect_text "way: $1 cores"
  expect_text "[one][two words]"
  expect_status 42
}

# --- ways

# The EFI file alone, on a stick that other tools have made.
test_only_the_efi_file() {
  local command
  built "one 'two words'"
  truncate -s 40M "$work/stick.img"
  mkfs.fat "$work/stick.img" >"$work/log" || fail "mkfs.fat fails"
  mmd -i "$work/stick.img" ::/EFI ::/EFI/BOOT && mcopy -i "$work/stick.img" "$prefix.efi" ::/EFI/BOOT/BOOTX64.EFI || fail "mcopy fails"
  command=$(printed "$program_file" --uefi --usb)
  cp "$work/stick.img" "$work"/run/exo16.*/boot.img
  run_command "$command"
  expect_program 2
}

test_usb_2() {
  local command
  command=$(printed "$program_file" --usb --args "one 'two words'")
  run_command "${command/qemu-xhci/usb-ehci}"
  expect_program 2
}

test_direct_boot_of_the_pvh_file() {
  built "one 'two words'"
  mkdir "$work/run"
  : >"$work/status"
  output=$(timeout --foreground -s KILL 30 qemu-system-x86_64 -machine microvm -accel tcg -cpu max -display none -monitor none \
    -no-user-config -nodefaults -serial stdio -chardev "file,id=status,path=$work/status" \
    -device isa-debugcon,iobase=0xf5,chardev=status -device isa-debug-exit,iobase=0xf4,iosize=1 \
    -kernel "$prefix.pvh" -append "three" 2>&1 </dev/null)
  status=$(od -An -tu1 "$work/status")
  expect_program 1
  expect_text "[two words][three]"
}

# Disks in their order, whatever the bus; a text read from one, and an answer over the NIC.
test_disks_in_order() {
  local way
  truncate -s 1M "$work/first"
  truncate -s 2M "$work/second"
  for way in --cdrom --microvm --pvh; do
    run rawdisk $way --disk "$work/first" --disk "$work/second" --net none
    expect_text "disk 0: 2048 blocks of 512 bytes"
    expect_text "disk 1: 4096 blocks of 512 bytes"
  done
}

test_microvm_reads_and_answers() {
  local port answer
  port=$((20000 + $$ % 20000))
  boot wordcount --microvm --cores 4 --forward $port:7777 --args quit
  wait_for "$work/console" "wordcount: 4 cores" 60
  exec 3<>/dev/udp/127.0.0.1/$port
  echo >&3
  answer=$(timeout --foreground 10 dd bs=65536 count=1 status=none <&3)
  [[ $answer == *"lines "* ]] || fail "another answer: $answer"
  echo quit >&3
  ended
  expect_status 0
  expect_text "bytes 16777216"
}

# A network server that has a part of the file only: the firmware says so, and does not try for ever.
test_network_file_cut_off() {
  local command file
  command=$(printed hello --netboot --net user)
  file=$(echo "$work"/run/exo16.*/tftp/BOOTX64.EFI)
  truncate -s $(($(stat -c %s "$file") / 2)) "$file"
  eval "timeout --foreground -s KILL 60 $command" >"$work/console" 2>&1 </dev/null &
  machine=$!
  wait_for "$work/console" "failed to load Boot" 45
  [ "$(grep -ac '>>Start PXE over IPv4' "$work/console")" -eq 1 ] || fail "it tried more than once: $(cat "$work/console")"
}

test_status_of_a_fault_in_bochs() {
  program fault <<'CPP'
#include <exo/exo.hpp>
int main() { asm volatile("ud2"); }
CPP
  run "$program_file" --bochs
  expect_status 134
  expect_text "fault #UD vector 6"
}

# The boot sector and the loader end Bochs too, although they only halt.
test_boot_error_in_bochs() {
  ./build_x86-64.sh hello >"$work/path" || fail "it does not build"
  # The run script makes its image anew: let it take a maker that leaves the program's header empty.
  mkdir "$work/top"
  cp -r run_x86-64.sh tools api bootloader src Makefile apps build "$work/top/"
  cat >"$work/top/build/image" <<SH
#!/bin/sh
"$PWD/build/image" "\$@" && dd if=/dev/zero of="\$4" bs=512 seek=32 count=1 conv=notrunc status=none
SH
  output=$("$work/top/run_x86-64.sh" hello --bochs 2>&1 </dev/null)
  status=$?
  expect_text "exo16: the image holds no program"
  expect_status 120
}

test_interrupt_in_bochs() {
  endless
  env --default-signal=INT ./run_x86-64.sh "$program_file" --bochs >"$work/console" 2>&1 </dev/null &
  machine=$!
  wait_for "$work/console" endless 60
  kill -INT "$machine"
  ended
  expect_status 130
  ! pgrep -f "bochs.*$work" || fail "Bochs still runs"
  [ -z "$(find "$work" -name 'exo16.*')" ] || fail "the image of the run is still there"
}

# In a terminal: keys reach the program, lines begin at the left, and Ctrl-C ends it all.
test_terminal_of_bochs() {
  program typed <<'CPP'
#include <exo/exo.hpp>
int main() {
  exo::print("ready\nset\n");
  for (char letter = '?';;) {
    exo::print("key {}\n", letter);
    exo::u64 end = exo::ticks() + exo::info().tsc_hz / 2;
    while (exo::ticks() < end) {
      if (exo::core().console_read(&letter, 1) == 1) break;
    }
  }
}
CPP
  mkfifo "$work/keys"
  TERM=dumb timeout --foreground -s KILL 60 script -qec "./run_x86-64.sh '$program_file' --bochs" "$work/console" \
    <"$work/keys" >"$work/screen" 2>&1 &
  exec 3>"$work/keys"
  wait_for "$work/screen" $'key ?\r' 40
  printf x >&3
  wait_for "$work/screen" $'key x\r' 20
  printf '\003' >&3
  wait $!
  status=$?
  exec 3>&-
  output=$(cat "$work/screen")
  expect_status 130
}

# --- options

test_refused_options() {
  refused "one way to boot at a time: both '--usb' and '--cdrom'" hello --usb --cdrom
  refused "--uefi does not go with --pvh" hello --uefi --pvh
  refused "--uefi does not go with --microvm" hello --microvm --uefi
  refused "--uefi does not go with --bochs" hello --bochs --uefi
  refused "--netboot goes with --net user only; with 'none'" hello --netboot --net none
  refused "--mem '63M' is too little for UEFI" hello --uefi --mem 63M
  refused "--mem '32M' is too little for UEFI" hello --netboot --mem 32M
  refused "--cores '9' is more than the 8 that Bochs has" hello --bochs --cores 9
  refused "no whole number of MiB up to 2048M" hello --bochs --mem 4097K
  refused "no whole number of MiB up to 2048M" hello --bochs --mem 3G
  refused "--disk does not go with --bochs" hello --bochs --disk Makefile
  refused "--net 'user' does not go with --bochs" hello --bochs --net user
  refused "--forward does not go with --bochs" hello --bochs --forward 7:7
  refused "--gdb does not go with --bochs" hello --bochs --gdb
  refused "--accel does not go with --bochs" hello --bochs --accel tcg
  refused "QEMU options after -- do not go with --bochs" hello --bochs -- -S
}

test_silent_program_in_bochs() {
  program silent <<<'int main() { return 7; }'
  sed -i '1i #include <exo/exo.hpp>' "$program_file"
  run "$program_file" --bochs
  expect_status 7
}

test_bochs_fails() {
  mkdir "$work/bin"
  printf '#!/bin/sh\necho "no such machine" >&2\nexit 1\n' >"$work/bin/bochs"
  chmod +x "$work/bin/bochs"
  PATH=$work/bin:$PATH run hello --bochs
  expect_status 125
  expect_text "no such machine"
  expect_text "Bochs ended before the program did"
}

test_limits_of_bochs_are_real() {
  run hello --bochs --mem 2048M --cores 1
  expect_status 0
  run hello --bochs --mem 4M --cores 1
  expect_status 0
}

# The smallest memory of UEFI is enough, with all disks and NICs.
test_smallest_memory() {
  truncate -s 1M "$work/disk"
  run hello --uefi --mem 64M --disk "$work/disk" --net user
  expect_status 0
  run hello --pvh --mem 4M --net none
  expect_status 0
  run hello --microvm --mem 4M --net none
  expect_status 0
}

# --- images

# esp IMAGE: takes its EFI system partition to $work/esp.
esp() {
  local start size
  read -r start size < <(sfdisk -d "$1" | sed -n 's/.*start= *\([0-9]*\), size= *\([0-9]*\), type=ef.*/\1 \2/p')
  dd if="$1" of="$work/esp" skip="$start" count="$size" status=none
}

test_partitions() {
  local bytes
  for bytes in 1000 5000000 70000000; do
    head -c "$bytes" /dev/urandom >"$work/program"
    build/image disk "$work/program" "" "$work/disk.img" || fail "no image"
    output=$(sfdisk --verify "$work/disk.img" 2>&1) || fail "$output"
    [[ $output != *'verlap'* && $output != *'outside'* ]] || fail "$output"
    output=$(sfdisk -d "$work/disk.img")
    expect_text "type=da, bootable"
    expect_text "type=ef"
    [ $(($(stat -c %s "$work/disk.img") % 1048576)) -eq 0 ] || fail "no whole number of MiB"
    esp "$work/disk.img"
    output=$(fsck.fat -n -v "$work/esp" 2>&1) || fail "$output"
    output=$(mdir -i "$work/esp" -/ -b ::) || fail "$output"
    [ "$output" = "::/EFI/"$'\n'"::/EFI/BOOT/"$'\n'"::/EFI/BOOT/BOOTX64.EFI" ] || fail "not only the program: $output"
    build/image efi "$work/program" "" "$work/efi"
    mcopy -i "$work/esp" ::/EFI/BOOT/BOOTX64.EFI "$work/copy" && cmp "$work/copy" "$work/efi" || fail "another file in it"
    rm "$work/copy"
  done
}

test_cd() {
  built
  make --no-print-directory -s image-iso PROGRAM="$program_file" >"$work/path" || fail "no CD"
  [ "$(cat "$work/path")" = "$PWD/${prefix#"$PWD"/}.iso" ] || fail "another path: $(cat "$work/path")"
  output=$(xorriso -abort_on WARNING -indev "$prefix.iso" -check_media -- -report_el_torito plain \
    -osirrox on -extract / "$work/files" 2>&1) || fail "$output"
  expect_text "boot img :   1  BIOS  y   none"
  expect_text "boot img :   2  UEFI  y   none"
  fsck.fat -n "$work/files/EFI.IMG" || fail "its EFI system partition is damaged"
  mcopy -i "$work/files/EFI.IMG" ::/EFI/BOOT/BOOTX64.EFI "$work/copy" && cmp "$work/copy" "$prefix.efi" || fail "another EFI file"
}

# Other formats hold the same disk.
test_formats() {
  local format image
  for format in qcow2 vmdk vdi vhdx; do
    image=$(make --no-print-directory -s image-$format PROGRAM=hello ARGS="a 'b c' \"d\" \$e \$(f)") || fail "no $format"
    [ "$image" = "$PWD/build/apps/hello.$format" ] || fail "another path: $image"
    output=$(qemu-img compare "$image" build/apps/hello.img) || fail "$format: $output"
  done
  [ "$(dd if=build/apps/hello.img bs=1 skip=16416 count=480 status=none | tr -d '\0')" = "a 'b c' \"d\" \$e \$(f)" ] || fail "another command line"
  output=$(make --no-print-directory -s image-vdi 2>&1)
  expect_text "name a program, for example: make image-vdi PROGRAM=hello"
}
