# Images, media and machines that cannot boot: a sentence on each, an end with status 120, and no hang.
# limit: 120
PATH=$PATH:/usr/sbin:/sbin
source test/boot/machine.bash

HEADER=16384                    # of the program, in every image
OVMF=/usr/share/OVMF

# image KIND: makes hello's image of that kind at $work/image.
image() {
  [ -n "${hello-}" ] || hello=$(./build_x86-64.sh hello) || fail "hello does not build"
  build/image "$1" "${hello%.img}.bin" "" "$work/image" || fail "no image"
}

# start OPTIONS...: a machine that has to end by itself. Sets `output` and `status`: what was written for the run script.
start() {
  : >"$work/status"
  output=$(timeout --foreground -s KILL 40 qemu-system-x86_64 -accel tcg,thread=multi -cpu max -m 128M -smp 2 -display none \
    -monitor none -no-user-config -nodefaults -no-reboot -serial "${serial-stdio}" \
    -chardev "file,id=status,path=$work/status" -device isa-debugcon,iobase=0xf5,chardev=status \
    -device isa-debug-exit,iobase=0xf4,iosize=0x01 "$@" 2>&1 </dev/null | tr -d '\0')
  status=125
  [ ! -s "$work/status" ] || status=$(tail -c 1 "$work/status" | od -An -tu1)
}

start_disk() {
  start -machine q35 -drive "if=none,id=boot,format=raw,snapshot=on,file=$work/image" -device ide-hd,drive=boot,bootindex=0 "$@"
}

start_kernel() {
  start -machine "${machine_type-q35}" -kernel "$work/image" "$@"
}

# uefi_options OVMF-CODE OVMF-VARIABLES: sets `uefi` to QEMU's options for it.
uefi_options() {
  cp "$OVMF/$2" "$work/variables.fd"
  uefi=(-drive "if=pflash,unit=0,format=raw,readonly=on,file=$OVMF/$1"
    -drive "if=pflash,unit=1,format=raw,file=$work/variables.fd")
}

# start_uefi OPTIONS...: from a stick with the EFI file that image efi has made.
start_uefi() {
  stick
  uefi_options OVMF_CODE_4M.fd OVMF_VARS_4M.fd
  start -machine q35 "${uefi[@]}" -drive "if=none,id=boot,format=raw,file=$work/stick" \
    -device ide-hd,drive=boot,bootindex=0 "$@"
}

# stick: a file system with $work/image as its EFI file.
stick() {
  rm -f "$work/stick"
  truncate -s 40M "$work/stick"
  mkfs.fat "$work/stick" >"$work/log" || fail "mkfs.fat fails"
  mmd -i "$work/stick" ::/EFI ::/EFI/BOOT && mcopy -i "$work/stick" "$work/image" ::/EFI/BOOT/BOOTX64.EFI || fail "mcopy fails"
}

# says TEXT: that sentence of loader or core, once, and status 120.
says() {
  expect_text "exo16: $1"
  expect_status 120
  [ "$(grep -ac 'exo16: ' <<<"$output")" -eq 1 ] || fail "more than a sentence: $output"
}

no_header() {
  dd if=/dev/zero of="$work/image" bs=1 seek=$HEADER count=512 conv=notrunc status=none
}

# change_byte OFFSET: one bit of it.
change_byte() {
  local byte
  byte=$(od -An -tu1 -j "$1" -N 1 "$work/image")
  patch "$work/image" "$1" 1 $((byte ^ 16))
}

# --- the program

test_no_program() {
  image disk
  no_header
  start_disk
  says "the image holds no program; build it again"
  image pvh
  no_header
  start_kernel
  says "this file holds no program; build it again"
  machine_type=microvm start_kernel
  says "this file holds no program; build it again"
}

test_no_program_by_uefi() {
  image efi
  no_header
  start_uefi
  says "this file is cut off or holds no program; copy it again"
}

test_damaged_program() {
  local place
  image disk
  for place in 0 4096 $(($(stat -c %s "${hello%.img}.bin") - 1)); do
    image disk
    change_byte $((HEADER + 512 + place))
    start_disk
    says "the program is damaged: write the image again"
  done
  image pvh
  change_byte $((HEADER + 512 + 4096))
  start_kernel
  says "the program is damaged: write the image again"
}

test_damaged_program_by_uefi() {
  image efi
  change_byte $((HEADER + 512 + 4096))
  start_uefi
  says "the program is damaged: write the image again"
}

# The file's table says how long it is: firmware does not start one that is shorter.
test_efi_file_cut_off() {
  image efi
  truncate -s -4096 "$work/image"
  stick
  uefi_options OVMF_CODE_4M.fd OVMF_VARS_4M.fd
  firmware_refuses Unsupported
}

# One whose table has been cut to fit, as some tools do.
test_efi_file_cut_off_with_its_table() {
  local table bytes section
  image efi
  bytes=$(($(stat -c %s "$work/image") - 4096))
  truncate -s $bytes "$work/image"
  table=$(od -An -tu4 -j 60 -N 4 "$work/image")
  section=$((table + 24 + $(od -An -tu2 -j $((table + 20)) -N 2 "$work/image")))
  patch "$work/image" $((table + 24 + 56)) 4 $bytes
  patch "$work/image" $((section + 8)) 4 $((bytes - $(od -An -tu4 -j $((section + 12)) -N 4 "$work/image")))
  patch "$work/image" $((section + 16)) 4 $((bytes - $(od -An -tu4 -j $((section + 20)) -N 4 "$work/image")))
  start_uefi
  says "this file is cut off or holds no program; copy it again"
}

# --- the medium

# faulty SECTOR ONCE: the disk has an error there.
faulty() {
  image disk
  printf '[inject-error]\nevent = "read_aio"\nerrno = "5"\nsector = "%s"\nonce = "%s"\n' "$1" "$2" >"$work/faults"
  start -machine q35 -drive "if=none,id=boot,format=raw,snapshot=off,file=blkdebug:$work/faults:$work/image" \
    -device ide-hd,drive=boot,bootindex=0
}

test_unreadable_disk() {
  local sector
  for sector in 1 32 33 50; do
    faulty $sector off
    says "the boot disk cannot be read; write the image again or use another"
  done
}

test_disk_readable_at_second_try() {
  local sector
  for sector in 1 32 33 50; do
    faulty $sector on
    expect_text "Hello from 2 cores"
    expect_status 0
  done
}

# A disk with the beginning only.
test_disk_image_cut_off() {
  hello=$(./build_x86-64.sh test/boot/ways.cpp) || fail "it does not build"
  image disk
  truncate -s 2000000 "$work/image"
  start_disk
  says "the boot disk cannot be read; write the image again or use another"
}

test_unreadable_cd() {
  image iso
  truncate -s $((23 * 2048 + 10000)) "$work/image"
  start -machine q35 -drive "if=none,id=boot,format=raw,media=cdrom,file=$work/image" -device ide-cd,drive=boot,bootindex=0
  says "the boot disk cannot be read; write the image again or use another"
}

# --- the machine

test_too_little_memory() {
  hello=$(./build_x86-64.sh test/boot/ways.cpp) || fail "it does not build"
  image disk
  start_disk -m 5M
  says "the BIOS memory map has no RAM for the program"
  image pvh
  for machine_type in q35 microvm; do
    start_kernel -m 2M
    says "the memory map has no RAM for the program"
    start_kernel -m 5M
    says "the memory map has no RAM for the program"
  done
}

# The file says that it takes 120 MiB in memory: the firmware has them once, but not for the loader's copy too.
test_too_little_memory_by_uefi() {
  local table section bytes=$((120 << 20))
  image efi
  table=$(od -An -tu4 -j 60 -N 4 "$work/image")
  section=$((table + 24 + $(od -An -tu2 -j $((table + 20)) -N 2 "$work/image")))
  patch "$work/image" $((table + 24 + 56)) 4 $bytes
  patch "$work/image" $((section + 8)) 4 $((bytes - $(od -An -tu4 -j $((section + 12)) -N 4 "$work/image")))
  start_uefi -m 256M
  says "too little free memory below 4 GiB"
}

test_32_bit_cpu_and_no_nx() {
  local cpu
  for cpu in pentium pentium3 coreduo qemu64,lm=off qemu64,nx=off; do
    image disk
    start_disk -cpu $cpu
    says "this CPU has no 64-bit mode"
    image pvh
    start_kernel -cpu $cpu
    says "this CPU has no 64-bit mode"
  done
}

# On the screen, where there is no serial port.
test_sentence_on_the_screen() {
  image disk
  no_header
  serial=none start_disk -vga std
  expect_status 120
  { wait_for_screen "exo16: the image holds no program; build it again"; echo quit; } |
    timeout --foreground -s KILL 30 qemu-system-x86_64 -machine q35 -accel tcg -cpu max -m 64M -display none \
      -monitor stdio -no-user-config -nodefaults -vga std -serial none \
      -drive "if=none,id=boot,format=raw,snapshot=on,file=$work/image" -device ide-hd,drive=boot,bootindex=0 >"$work/monitor" 2>&1
  [ -e "$work/seen" ] || fail "the text screen lacks it: $(cat "$work/text")"
}

# wait_for_screen TEXT: asks QEMU's monitor for the text screen until it has the text; then makes $work/seen.
wait_for_screen() {
  local tries
  for ((tries = 0; tries < 50; tries++)); do
    echo "pmemsave 0xb8000 4000 \"$work/cells\""
    sleep 0.2
    tr -d '\0\a' <"$work/cells" >"$work/text" 2>/dev/null || continue
    ! grep -qF -- "$1" "$work/text" || { touch "$work/seen"; return; }
  done
}

# --- UEFI firmware

# firmware_refuses WHY: the firmware does not start the EFI file on the stick, says why, and does not begin again.
firmware_refuses() {
  timeout --foreground -s KILL 60 qemu-system-x86_64 -machine q35,smm=on -accel tcg,thread=multi -cpu max -m 128M \
    -global driver=cfi.pflash01,property=secure,value=on -display none -monitor none -no-user-config -nodefaults -vga std \
    -serial stdio "${uefi[@]}" -drive "if=none,id=boot,format=raw,file=$work/stick" -device ide-hd,drive=boot,bootindex=0 \
    >"$work/console" 2>&1 </dev/null &
  machine=$!
  wait_for "$work/console" "failed to load Boot" 40
  grep -aqE "failed to load Boot.*: $1" "$work/console" || fail "for another reason: $(cat "$work/console")"
  ! grep -aq "exo16: " "$work/console" || fail "it has been started: $(cat "$work/console")"
}

test_secure_boot() {
  image efi
  stick
  uefi_options OVMF_CODE_4M.secboot.fd OVMF_VARS_4M.ms.fd
  firmware_refuses "(Access Denied|Security Violation)"
  wait_for "$work/console" "No bootable option or device was found" 20
  [ "$(grep -ac 'failed to load Boot' "$work/console")" -eq 1 ] || fail "it tries again: $(cat "$work/console")"
}

test_uefi_without_screen_and_serial() {
  image efi
  start_uefi -vga none
  expect_text "Hello from 2 cores"
  expect_status 0
  serial=none start_uefi -vga none
  expect_status 0
}
