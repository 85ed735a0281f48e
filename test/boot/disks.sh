# Disks whose tests need the host: their files are compared; and diskperf.
# limit: 400
source test/boot/machine.bash

# written MODEL: all cores write to a disk of a model; then its file has what the same program, as a process, expects.
written() {
  truncate -s 4M "$work/image"
  run test/boot/disk_soak.cpp --net none --cores 2 --args 2000 --disk "$work/image" --disk-model "$1"
  expect_status 0
  run test/boot/disk_soak.cpp --native --net none --args compare --disk "$work/image"
  expect_status 0
  patch "$work/image" 1000003 1 0xEE  # a single byte that differs is found
  run test/boot/disk_soak.cpp --native --net none --args compare --disk "$work/image"
  expect_status 1
}

test_virtio_file() {
  written virtio
}
test_nvme_file() {
  written nvme
}

# A core that finds no messages takes the line of the one controller for all its disks.
test_ahci_over_a_line() {
  local disk disks=()
  for disk in a b c; do
    truncate -s 2M "$work/$disk"
    disks+=(--disk "$work/$disk")
  done
  mkdir "$work/top"
  cp -rp run_x86-64.sh tools api bootloader src Makefile apps build test "$work/top/"
  sed -i 's/^PCI_CAP_MSI .*/PCI_CAP_MSI equ 0xff/' "$work/top/src/x86-64/irq.asm"
  cd "$work/top" || fail "no copy"
  run test/boot/ahci.cpp --net none --pvh --cores 3 --disk-model ahci "${disks[@]}" --args "wakes 3 line"
  expect_status 0
}

test_diskperf() {
  head -c 1M /dev/urandom >"$work/image"
  cp "$work/image" "$work/before"
  local model
  for model in virtio nvme; do
    run diskperf --net none --cores 2 --disk "$work/image" --disk-model $model --args "seconds=1 cores=2 depth=7"
    expect_status 0
    expect_text "random reads of 4096 bytes, 7 in flight on each of 2 cores"
    expect_text " a second, "
    expect_text "99 % within"
    cmp "$work/image" "$work/before" || fail "it wrote without being told to"
    run diskperf --net none --disk "$work/image" --disk-model $model --args "seconds=1 mode=sequential write=yes bytes=65536"
    expect_status 0
    expect_text "sequential writes"
    head -c 1M /dev/zero | cmp - "$work/image" || fail "it did not write zeros to the whole disk"
    cp "$work/before" "$work/image"
  done
}

test_diskperf_refuses() {
  truncate -s 256K "$work/image"
  local argument
  for argument in depth=0 depth=x depth=7x depth=1024 depth=100000 "cores=2 bytes=262144" cores=3 cores=0 bytes=1000 bytes=1073741824 seconds= mode=both write=perhaps \
    disk=9 speed=9; do
    run diskperf --net none --cores 2 --disk "$work/image" --disk-model nvme --args "$argument"
    expect_status 2
    expect_text "diskperf: "
    [ "$(wc -l <<<"$output")" -eq 1 ] || fail "more than a sentence: $output"
  done
}
