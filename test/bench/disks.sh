#!/bin/bash
# Random reads of 4 KiB from a disk, by Exo16's `diskperf` and by a Linux guest with io_uring and O_DIRECT, in turn, on the
# same emulator with one core. Prints figures; see run.sh.
set -uo pipefail
top=$(cd "$(dirname "$0")/../.." && pwd)
cd "$top" || exit 2
export LC_ALL=C
ROUNDS=${ROUNDS:-3}
LIMIT_S=90
DISK_BYTES=64M
# The TSC of QEMU's emulation counts nanoseconds; Linux cannot find that out where the host is busy.
linux_options="console=ttyS0 quiet rdinit=/init tsc_early_khz=1000000 lpj=1000000 tsc=reliable mitigations=off"

work=$(mktemp -d)
export TMPDIR=$work
trap 'rm -rf "$work"' EXIT
test/bench/linux/guest.sh reads "$top/build/linux" || exit 2
head -c $DISK_BYTES /dev/urandom >"$work/disk"

# exo16 MODEL DEPTH: reads a second.
exo16() {
  timeout --foreground $LIMIT_S ./run_x86-64.sh diskperf --accel tcg --cores 1 --net none --disk "$work/disk" --disk-model "$1" \
    --args "depth=$2" 2>&1 </dev/null | sed -n 's/ a second, .*//p'
}

# linux DEVICE: for each depth, the depth and reads a second.
linux() {
  timeout --foreground -s KILL $LIMIT_S qemu-system-x86_64 -machine q35 -accel tcg,thread=multi -cpu max -m 256M -smp 1 \
    -display none -monitor none -no-user-config -nodefaults -vga std -serial stdio -no-reboot \
    -drive "if=none,id=disk0,format=raw,file=$work/disk" -device "$1,drive=disk0" \
    -kernel build/linux/vmlinuz -initrd build/linux/reads.initrd -append "$linux_options" 2>&1 </dev/null |
    tr -d '\r' | awk '$1 == "reads" { printf "%d %d\n", $2, $3 * 1e9 / $4 }'
}

for model in virtio nvme; do
  case $model in
  virtio) device=virtio-blk-pci,disable-legacy=on,romfile=,num-queues=1 ;;
  nvme) device=nvme,serial=1,max_ioqpairs=1 ;;
  esac
  for ((round = 0; round < ROUNDS; round++)); do
    for depth in 1 32; do
      rate=$(exo16 $model $depth)
      echo "$model exo16 $depth ${rate:-0}"
    done
    linux "$device" | sed "s/^/$model linux /"
  done
done >"$work/rates"

# The best of the rounds: what else the host does only takes away.
awk -v rounds=$ROUNDS '
  { key = $1 " " $2 " " $3; count[key]++; if ($4 > best[key]) best[key] = $4 }
  END {
    for (key in count) if (count[key] != rounds || !best[key]) { print "disks.sh: not all rounds have a rate: " key | "cat >&2"; bad = 1 }
    split("virtio nvme", models)
    for (m = 1; m <= 2; m++) for (d = 1; d <= 32; d += 31) {
      exo = best[models[m] " exo16 " d]
      linux = best[models[m] " linux " d]
      name = models[m] == "virtio" ? "disk" : "nvme"
      if (!exo || !linux) { bad = 1; continue }
      printf "figure %s-qd%d-exo16 %d reads/s\nfigure %s-qd%d-linux %d reads/s\n", name, d, exo, name, d, linux
      printf "figure %s-qd%d-vs-linux %.2f times\n", name, d, exo / linux
    }
    exit bad
  }' "$work/rates"
