# Machines in the background with QEMU's monitor at hand: pictures of the screen, keys of the keyboard. For the shell
# files beside. Files in $work have names that no header has: the compiler looks for headers there.
source test/boot/machine.bash

# shown FIRMWARE PROGRAM OPTIONS...: boots a program file by bios or uefi in the background. Its console goes to
# $work/serial, its serial input is file descriptor $typed, QEMU's monitor $monitor, and the exit status goes to
# $work/status. With `halts` set it has no port to exit by.
shown() {
  local firmware=$1 file=$2 options=()
  shift 2
  make --no-print-directory -s core || fail "the core does not assemble"
  build/image disk "$file" "${command_line-}" "$work/boot.img" || fail "no image"
  if [ "$firmware" = uefi ]; then
    cp /usr/share/OVMF/OVMF_VARS.fd "$work/vars"
    options=(-drive if=pflash,format=raw,unit=0,readonly=on,file=/usr/share/OVMF/OVMF_CODE.fd
      -drive "if=pflash,format=raw,unit=1,file=$work/vars")
  fi
  [ -n "${halts-}" ] || options+=(-device isa-debug-exit,iobase=0xf4,iosize=0x01)
  rm -f "$work"/{serial,status,typed.in,typed.out,monitor}
  mkfifo "$work/monitor" "$work/typed.in" "$work/typed.out"
  exec {monitor}<>"$work/monitor" {typed}<>"$work/typed.in"
  cat "$work/typed.out" >"$work/serial" &
  qemu-system-x86_64 -machine q35 -accel tcg,thread=multi -cpu max -m 256M -smp 2 -display none -monitor stdio \
    -no-user-config -nodefaults -vga std -chardev "pipe,id=typed,path=$work/typed" -serial chardev:typed -no-reboot \
    -chardev "file,id=status,path=$work/status" -device isa-debugcon,iobase=0xf5,chardev=status "${options[@]}" \
    -drive "if=none,id=boot,format=raw,snapshot=on,file=$work/boot.img" -device ide-hd,drive=boot,bootindex=0 \
    "$@" <"$work/monitor" >"$work/monitor.log" 2>&1 &
  machine=$!
}

# no_more: ends the machine.
no_more() {
  echo quit >&$monitor
  wait "$machine" || true
  machine=
  exec {monitor}>&- {typed}>&-
}

# ends: waits for the program's end; sets `status` and `output`.
ends() {
  local tries
  for ((tries = ${1-30} * 20; tries > 0; tries--)); do
    [ ! -s "$work/status" ] || break
    sleep 0.05
  done
  [ -s "$work/status" ] || fail "it does not end: $(cat "$work/serial")"
  status=$(($(tail -c 1 "$work/status" | od -An -tu1)))
  wait "$machine" || true
  machine=
  exec {monitor}>&- {typed}>&-
  output=$(tr -d '\0' <"$work/serial")
}

# says TEXT: until the console has it.
says() {
  wait_for "$work/serial" "$1" 30
}

# report_ends: until the core has written its status; then it halts, if QEMU has no port to exit by.
report_ends() {
  local tries
  for ((tries = 600; tries > 0; tries--)); do
    [ ! -s "$work/status" ] || return 0
    sleep 0.05
  done
  fail "no end of the report: $(cat "$work/serial")"
}
