# The build and run scripts: what they refuse, what they build, how they end.

test_bad_program() {
  refused "there is no program 'nosuch'" nosuch
  refused "there is no file or folder '/nosuch/program.cpp'" /nosuch/program.cpp
  refused "not a .cpp file" ./Makefile
  refused "no .cpp file in the folder" ./doc
  refused "PROGRAM is empty" ""
  refused "one PROGRAM at a time" hello cores
}

test_bad_options() {
  refused "there is no option '--bogus'" --bogus
  refused "--cores '0' is not a number of 1 to 255" --cores 0
  refused "--cores '256'" --cores 256
  refused "--cores 'two'" --cores two
  refused "--cores needs a value" --cores
  refused "--mem '12Q' is not a size" --mem 12Q
  refused "--mem '' is not a size" --mem ""
  refused "--mem '3M' is too little" --mem 3M
  refused "--accel 'fast'" --accel fast
  refused "--args has more than 479 bytes" --args "$(printf %480d 0)"
}

test_bad_disk() {
  refused "there is no disk file '/nosuch'" --disk /nosuch
  refused "'/' is neither a file nor a block device" --disk /
}

test_bad_models() {
  refused "--disk-model 'floppy' is none of virtio, nvme, ahci, ide, scsi" --disk-model floppy
  refused "--nic-model 'modem' is none of virtio, e1000," --nic-model modem
  refused "--disk-model does not go with --microvm" --microvm --disk-model nvme
  local disks=() disk
  for disk in 1 2 3 4 5; do
    truncate -s 1M "$work/$disk"
    disks+=(--disk "$work/$disk")
  done
  refused "--disk-model ide takes 4 disks, not 5" --disk-model ide "${disks[@]}"
}

test_bad_network() {
  refused "--net 'wifi' is none of" --net wifi
  refused "--net 'tap:' is none of" --net tap:
  refused "there is no network device 'nosuch'" --net tap:nosuch
  refused "'lo' is not a TAP device" --net tap:lo
  refused "--forward '7' is not PORT:PORT" --forward 7
  refused "--forward '0:7'" --forward 0:7
  refused "--forward '7:65536'" --forward 7:65536
  refused "--forward goes with --net user only" --net none --forward 7:7
}

test_help() {
  local script
  for script in ./build_x86-64.sh ./run_x86-64.sh; do
    output=$($script --help)
    status=$?
    expect_status 0
    expect_text "usage: ${script#./}"
  done
}

test_does_not_compile() {
  program wrong <<<'int main() { return nothing; }'
  run "$program_file"
  expect_status 2
  expect_text "error: 'nothing' was not declared"
  expect_text "does not build"
}

test_qemu_fails() {
  run hello --net none -- -no-such-option
  expect_status 125
  expect_text "invalid option"
}

# A program outside the repository, with blanks in its path; its status is the script's.
test_exit_status() {
  local code
  mkdir "$work/a folder"
  cat >"$work/a folder/my program.cpp" <<'CPP'
#include <exo/exo.hpp>
#include <charconv>
#include <cstring>
int main(int argc, char **argv) {
  int status = 99;
  if (argc > 1) std::from_chars(argv[1], argv[1] + std::strlen(argv[1]), status);
  return status;
}
CPP
  for code in 0 1 42 200 255; do
    run "$work/a folder/my program.cpp" --net none --args "$code"
    expect_status $code
  done
}

test_folder() {
  mkdir -p "$work/parts/inner"
  cat >"$work/parts/main.cpp" <<'CPP'
#include <exo/exo.hpp>
#include "answer.hpp"
int main() { exo::print("the answer is {}\n", answer()); }
CPP
  echo 'int answer();' >"$work/parts/answer.hpp"
  printf '#include "answer.hpp"\nint answer() { return 41; }\n' >"$work/parts/inner/answer.cpp"
  run "$work/parts" --net none
  expect_status 0
  expect_text "the answer is 41"

  # Only what changed is built again, and it is built.
  sed -i s/41/42/ "$work/parts/inner/answer.cpp"
  run "$work/parts" --net none
  expect_text "the answer is 42"
}

test_arguments() {
  program arguments <<'CPP'
#include <exo/exo.hpp>
int main(int argc, char **argv) {
  for (int i = 1; i < argc; ++i) exo::print("[{}]", argv[i]);
  exo::print("\n");
}
CPP
  run "$program_file" --net none --args "one 'two words' \"three\""
  expect_status 0
  expect_text "[one][two words][three]"
}

test_console_input() {
  program first_line <<'CPP'
#include <exo/exo.hpp>
int main() {
  exo::print("ready\n");
  for (char letter = 0; letter != '\n';)
    if (exo::core().console_read(&letter, 1) == 1) exo::core().console_write(&letter, 1);
}
CPP
  { wait_for "$work/console" ready 30; echo "typed text"; } |
    timeout --foreground 60 ./run_x86-64.sh "$program_file" --accel tcg --net none >"$work/console"
  status=$?
  output=$(cat "$work/console")
  expect_status 0
  expect_text "typed text"
}

test_interrupt() {
  endless
  boot "$program_file" --net none
  wait_for "$work/console" endless 60
  kill -INT "$machine"
  ended
  expect_status 130
  ! pgrep -f "qemu.*$work" || fail "QEMU still runs"
  [ -z "$(find "$work" -name 'exo16.*')" ] || fail "the image of the run is still there"
}

# In a terminal Ctrl-C reaches all processes of the job.
test_interrupt_in_a_terminal() {
  endless
  mkfifo "$work/keys"
  TERM=dumb timeout --foreground -s KILL 60 \
    script -qec "./run_x86-64.sh '$program_file' --accel tcg --net none" "$work/console" <"$work/keys" >"$work/screen" 2>&1 &
  exec 3>"$work/keys"
  wait_for "$work/screen" endless 60
  printf '\003' >&3
  wait $!
  status=$?
  exec 3>&-
  expect_status 130
}

test_terminate() {
  endless
  boot "$program_file" --net none
  wait_for "$work/console" endless 60
  kill -TERM "$machine"
  ended
  expect_status 143
}

test_two_at_a_time() {
  program echo_argument <<'CPP'
#include <exo/exo.hpp>
int main(int argc, char **argv) { exo::print("mine is {}\n", argc > 1 ? argv[1] : "none"); }
CPP
  boot "$program_file" --net none --args first
  run "$program_file" --net none --args second
  expect_text "mine is second"
  ended
  expect_text "mine is first"
}

test_image_of_build_script() {
  local image
  image=$(./build_x86-64.sh hello --args "1 2") || fail "it does not build"
  [ "$(dd if="$image" bs=1 skip=16384 count=8 status=none)" = EXO16PRG ] || fail "no program header at 16384"
  [ "$(dd if="$image" bs=1 skip=16416 count=3 status=none)" = "1 2" ] || fail "no command line at 16416"
  [ $(($(stat -c %s "$image") % 1048576)) -eq 0 ] || fail "the image is no whole number of MiB"
}

# The answer is kept for this boot of the host; take it as a machine without an answer.
test_accelerator() {
  local answer
  mkdir -p "$work/tools"
  cp tools/accel.sh tools/kvm-probe.asm "$work/tools/"
  answer=$(timeout --foreground 10 "$work/tools/accel.sh") || fail "no answer in 10 s"
  [[ $answer =~ ^(kvm|tcg)$ ]] || fail "the answer is '$answer'"
  [ "$answer" = "$(tools/accel.sh)" ] || fail "another answer than before"
  [ "$answer" != tcg ] || refused "KVM does not run programs" hello --accel kvm
}

test_probe_runs_in_tcg() {
  nasm -f bin tools/kvm-probe.asm -o "$work/probe.img"
  truncate -s 1M "$work/probe.img"
  timeout --foreground -s KILL 20 qemu-system-x86_64 -machine q35 -accel tcg -cpu max -m 16M -display none -no-user-config \
    -nodefaults -device isa-debug-exit,iobase=0xf4,iosize=0x01 \
    -drive "if=none,id=boot,format=raw,snapshot=on,file=$work/probe.img" -device ide-hd,drive=boot,bootindex=0
  status=$?
  expect_status 85
}
