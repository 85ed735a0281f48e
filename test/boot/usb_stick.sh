# make usb: what it shows, refuses, writes and reads back. A loop device is the stick; what the kernel says of it is made up.
# limit: 60
PATH=$PATH:/usr/sbin:/sbin

# stick BYTES: a device with so many bytes, in the kernel's files and in /dev; sets `stick` to its path.
stick() {
  truncate -s "$1" "$work/stick"
  stick=$(losetup -f --show "$work/stick") || fail "there is no loop device to be had; are you root?"
  trap 'losetup -d "$stick"; clean_up; rm -rf "$work"' EXIT
  block=$work/sys/class/block/${stick#/dev/}
  mkdir -p "$block/device" "$block/holders"
  echo $(($(stat -c %s "$work/stick") / 512)) >"$block/size"
  echo 1 >"$block/removable"
  echo 0 >"$block/ro"
  echo 240:0 >"$block/dev"
  echo 'Example ' >"$block/device/vendor"
  echo 'Flash Stick' >"$block/device/model"
  : >"$work/mounts"
  : >"$work/swaps"
}

# usb ARGUMENTS...: sets `output` and `status`.
usb() {
  output=$(EXO_SYS=$work/sys EXO_MOUNTS=$work/mounts EXO_SWAPS=$work/swaps make --no-print-directory -s usb "$@" 2>&1)
  status=$?
}

# not_written TEXT ARGUMENTS...: refused with a sentence, and nothing on the stick has changed.
not_written() {
  local text=$1
  shift
  usb "$@"
  expect_status 2
  expect_text "$text"
  cmp -s -n "$(stat -c %s "$work/stick")" "$work/stick" /dev/zero || fail "it was written to: $output"
}

test_written() {
  stick 16M
  usb DEVICE="$stick" PROGRAM=hello ARGS="one 'two'"
  expect_status 0
  expect_text "$stick: Example Flash Stick, 16 MB"
  expect_text "boots hello by BIOS and UEFI: 4 MiB written and compared"
  cmp -n "$(stat -c %s build/apps/hello.img)" build/apps/hello.img "$work/stick" || fail "another image"
}

test_refused() {
  stick 16M
  not_written "name the device" PROGRAM=hello
  expect_text "Removable now: $stick."
  not_written "name a program" DEVICE="$stick"
  not_written "there is no '/dev/nosuch'" DEVICE=/dev/nosuch PROGRAM=hello
  not_written "neither a block device nor a file" DEVICE=/dev/null PROGRAM=hello
  not_written "neither a block device nor a file" DEVICE=/tmp PROGRAM=hello FORCE=1
  not_written "is not a block device that this machine lists" DEVICE="$work/stick" PROGRAM=hello

  echo 0 >"$block/removable"
  not_written "is not removable: it may be a disk of this machine. If you are sure: FORCE=1." DEVICE="$stick" PROGRAM=hello
  echo 1 >"$block/removable"

  echo "40 24 240:0 / /media/stick rw,relatime shared:1 - vfat /dev/other rw" >"$work/mounts"
  not_written "$stick is in use ($stick: mounted at /media/stick). Unmount it first" DEVICE="$stick" PROGRAM=hello
  mkdir "$block/${stick#/dev/}p1"
  echo 240:1 >"$block/${stick#/dev/}p1/dev"
  echo 2048 >"$block/${stick#/dev/}p1/size"
  echo "40 24 240:1 / /media/part rw,relatime - vfat /dev/other rw" >"$work/mounts"
  not_written "(${stick}p1: mounted at /media/part)" DEVICE="$stick" PROGRAM=hello
  echo "40 24 0:31 / /media/tree rw,relatime - btrfs ${stick} rw" >"$work/mounts"
  not_written "($stick: mounted at /media/tree)" DEVICE="$stick" PROGRAM=hello
  : >"$work/mounts"
  printf 'Filename Type\n%s partition\n' "$stick" >"$work/swaps"
  not_written "($stick: swap)" DEVICE="$stick" PROGRAM=hello
  : >"$work/swaps"
  mkdir "$block/holders/dm-0"
  not_written "($stick: part of dm-0)" DEVICE="$stick" PROGRAM=hello
  rmdir "$block/holders/dm-0"
  echo 1 >"$block/partition"
  not_written "is a partition, from which no machine boots" DEVICE="$stick" PROGRAM=hello
  rm "$block/partition"

  echo 1 >"$block/ro"
  not_written "write-protected" DEVICE="$stick" PROGRAM=hello FORCE=1
  echo 0 >"$block/ro"
  echo 0 >"$block/size"
  not_written "there is no medium" DEVICE="$stick" PROGRAM=hello
  echo 4096 >"$block/size"
  not_written "has 2097152 bytes, and the image 4194304" DEVICE="$stick" PROGRAM=hello FORCE=1
}

test_by_force() {
  stick 16M
  echo 0 >"$block/removable"
  echo "40 24 240:0 / /media/stick rw,relatime - vfat $stick rw" >"$work/mounts"
  usb DEVICE="$stick" PROGRAM=hello FORCE=1
  expect_status 0
  expect_text "Taken because of FORCE=1"
  cmp -n "$(stat -c %s build/apps/hello.img)" build/apps/hello.img "$work/stick" || fail "another image"
}

# A device that does not keep what is written.
test_broken_stick() {
  stick 16M
  mkdir "$work/bin"
  cat >"$work/bin/dd" <<SH
#!/bin/sh
/usr/bin/dd "\$@" && printf x | /usr/bin/dd of="$stick" bs=1 seek=1000000 conv=notrunc status=none
SH
  chmod +x "$work/bin/dd"
  PATH=$work/bin:$PATH usb DEVICE="$stick" PROGRAM=hello
  [ "$status" -ne 0 ] || fail "it is taken as good: $output"
  expect_text "does not hold what was written"
}
