# Disks whose tests need the host: their files are compared; and diskperf.
# limit: 400
source test/boot/machine.bash

# written DEVICE [HEADER]: the cores, or the driver in a header, write to a disk at a device of QEMU's. What is read is compared
# with a second file that QEMU writes too; in the end both have what the same program, as a process, expects.
written() {
  local file
  truncate -s 4M "$work/image" "$work/verified"
  run test/boot/disk_soak.cpp --net none --cores 2 --args "2000 ${2-core}" -- -drive \
    "if=none,id=d,driver=blkverify,raw.driver=file,raw.filename=$work/image,test.driver=file,test.filename=$work/verified" $1,drive=d
  expect_status 0
  cmp "$work/image" "$work/verified" || fail "the two files differ"
  run test/boot/disk_soak.cpp --native --net none --args compare --disk "$work/image"
  expect_status 0
  patch "$work/image" 1000003 1 0xEE  # a single byte that differs is found
  run test/boot/disk_soak.cpp --native --net none --args compare --disk "$work/image"
  expect_status 1
}

test_virtio_file() {
  written "-device virtio-blk-pci,num-queues=2,disable-legacy=on,romfile="
}
test_nvme_file() {
  written "-device nvme,serial=1"
}
test_ahci_file() {
  written "-device ide-hd,bus=ide.0"
}
test_scsi_file() {
  written "-device virtio-scsi-pci,romfile= -device scsi-hd" scsi
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
