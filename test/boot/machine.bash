# Machines that the run script does not make: any program file as it is, any QEMU options. For the shell files beside.

# le BYTES NUMBER: prints a number, the lowest byte first.
le() {
  local bytes=$1 value=$(($2)) text=
  for (( ; bytes > 0; bytes--)); do
    text+=$(printf '\\x%02x' $((value & 255)))
    value=$((value >> 8))
  done
  printf "$text"
}

# patch FILE OFFSET BYTES NUMBER: overwrites a number in a file.
patch() {
  le "$3" "$4" | dd of="$1" bs=1 seek=$(($2)) conv=notrunc status=none
}

# compile NAME FLAGS...: builds the C++ program on standard input; sets `elf` to its stripped file.
compile() {
  local name=$1
  shift
  cat >"$work/$name.cpp"
  EXO_CXXFLAGS="$*" tools/program.sh "$work/$name.cpp" "$work/$name" || fail "$name does not build"
  elf=$work/$name.bin
}

# machine PROGRAM OPTIONS...: boots a program file in QEMU; options come behind the usual ones. Sets `output` and
# `status`; the status is 125 if the machine did not end by itself. `serial` is the serial port, stdio if not set.
machine() {
  local file=$1
  shift
  make --no-print-directory -s core || fail "the core does not assemble"
  build/image disk "$file" "${command_line-}" "$work/boot.img" || fail "no image"
  : >"$work/status"
  output=$(timeout --foreground -s KILL ${limit_s-50} qemu-system-x86_64 -machine q35 -accel tcg,thread=multi -cpu max -m 256M -smp 2 \
    -display none -monitor none -no-user-config -nodefaults -vga std -serial "${serial-stdio}" \
    -chardev "file,id=status,path=$work/status" -device isa-debugcon,iobase=0xf5,chardev=status \
    -device isa-debug-exit,iobase=0xf4,iosize=0x01 \
    -drive "if=none,id=boot,format=raw,snapshot=on,file=$work/boot.img" -device ide-hd,drive=boot,bootindex=0 \
    "$@" 2>&1 </dev/null | tr -d '\0')
  status=125
  [ ! -s "$work/status" ] || status=$(($(tail -c 1 "$work/status" | od -An -tu1)))
}

# boot_refuses TEXT PROGRAM OPTIONS...: the core says a sentence with TEXT, and that is the end of it.
boot_refuses() {
  local text=$1
  shift
  machine "$@"
  expect_status 120
  expect_text "exo16: "
  expect_text "$text"
  [[ $output != *fault* ]] || fail "a fault besides: $output"
}
