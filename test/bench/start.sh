#!/bin/bash
# How long from the emulator's start to the guest's first line: Exo16's `hello`, a Linux kernel with one process, and an
# image that only prints, in turn, on QEMU's microvm. Prints figures; see run.sh.
set -uo pipefail
top=$(cd "$(dirname "$0")/../.." && pwd)
cd "$top" || exit 2
export LC_ALL=C
ROUNDS=10
LIMIT_S=60
# The TSC of QEMU's emulation counts nanoseconds; Linux cannot find that out where the host is busy.
linux_options="console=ttyS0 quiet rdinit=/init tsc_early_khz=1000000 lpj=1000000"

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
test/bench/linux/guest.sh start "$top/build/linux" || exit 2
./build_x86-64.sh hello >/dev/null || exit 2
build/image pvh build/apps/hello.bin "" "$work/hello" || exit 2
nasm -f bin -o "$work/floor" test/bench/floor.asm || exit 2

# first_line TEXT QEMU OPTIONS...: microseconds until a line with TEXT.
first_line() {
  local text=$1 begin line machine
  shift
  begin=${EPOCHREALTIME/./}
  exec 3< <(exec timeout -s KILL $LIMIT_S qemu-system-x86_64 -machine microvm -accel tcg -cpu max -m 256M -smp 1 -display none \
    -monitor none -no-user-config -nodefaults -serial stdio "$@" </dev/null 2>&1)
  machine=$!
  while IFS= read -r -u 3 line; do
    [[ $line != *"$text"* ]] || break
  done
  [[ $line == *"$text"* ]] || return 1
  echo $((${EPOCHREALTIME/./} - begin))
  kill "$machine" 2>/dev/null
  exec 3<&-
}

for ((round = 0; round < ROUNDS; round++)); do
  first_line Hello -kernel "$work/hello" >>"$work/exo16" &&
    first_line ready -kernel build/linux/vmlinuz -initrd build/linux/start.initrd -append "$linux_options" \
      >>"$work/linux" &&
    first_line . -kernel "$work/floor" >>"$work/least" || {
    echo "start.sh: a guest did not print its line" >&2
    exit 1
  }
done

for name in exo16 linux least; do
  sort -n "$work/$name" | awk -v name=$name -v count=$ROUNDS '
    NR == int(count / 2) { low = $1 }
    NR == int(count / 2) + 1 { printf "%s %d\n", name, (low + $1) / 2 }'
done | awk '
  { us[$1] = $2 }
  END {
    printf "figure start-exo16 %.1f ms\nfigure start-linux %.1f ms\nfigure start-floor %.1f ms\n",
      us["exo16"] / 1000, us["linux"] / 1000, us["least"] / 1000
    printf "figure start-vs-linux %.1f times faster\n", us["linux"] / us["exo16"]
    printf "figure start-vs-floor %.2f times as long\n", us["exo16"] / us["least"]
  }'
