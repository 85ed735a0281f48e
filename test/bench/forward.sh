#!/bin/bash
# Frames of 64 bytes a second between two virtio NICs: Exo16's `forward` against the bridge of a Linux guest, in turn, one
# core each, in the same emulator with the same generator. Prints figures; see run.sh.
set -uo pipefail
top=$(cd "$(dirname "$0")/../.." && pwd)
cd "$top" || exit 2
export LC_ALL=C
ROUNDS=5
SECONDS_EACH=3
LIMIT_S=180
# The TSC of QEMU's emulation counts nanoseconds; Linux cannot find that out where the host is busy.
linux_options="console=ttyS0 quiet rdinit=/init tsc_early_khz=1000000 lpj=1000000 mitigations=off"

# In a network namespace of its own, once what has to be fetched is here.
if [ "${1-}" != inside ]; then
  test/bench/linux/guest.sh bridge "$top/build/linux" || exit 2
  ./build_x86-64.sh forward >/dev/null || exit 2
  exec unshare --net "$0" inside
fi

work=$(mktemp -d)
machine=
trap '[ -z "$machine" ] || kill "$machine" 2>/dev/null; rm -rf "$work"' EXIT
build/image pvh build/apps/forward.bin "" "$work/forward" || exit 2
g++ -std=c++23 -O2 -Wall -Wextra -pthread -o "$work/frames" test/bench/frames.cpp || exit 2

# rate QEMU OPTIONS...: frames a second through this guest.
rate() {
  timeout -s KILL $LIMIT_S qemu-system-x86_64 -machine q35 -accel tcg,thread=multi -cpu max -m 256M -smp 1 -display none \
    -monitor none -no-user-config -nodefaults -serial "file:$work/console" \
    -netdev tap,id=a,ifname=exo0,script=no,downscript=no,vhost=off \
    -netdev tap,id=b,ifname=exo1,script=no,downscript=no,vhost=off \
    -device virtio-net-pci,disable-legacy=on,romfile=,netdev=a -device virtio-net-pci,disable-legacy=on,romfile=,netdev=b \
    "$@" </dev/null >"$work/errors" 2>&1 &
  machine=$!
  "$work/frames" exo0 exo1 $SECONDS_EACH || {
    cat "$work/errors" "$work/console" >&2
    return 1
  }
  kill "$machine" 2>/dev/null
  wait "$machine" 2>/dev/null
  machine=
}

for name in exo0 exo1; do
  ip tuntap add $name mode tap && sysctl -qw net.ipv6.conf.$name.disable_ipv6=1 && ip link set $name up || {
    echo "forward.sh: there is no TAP device to be had; are you root?" >&2
    exit 1
  }
done
for ((round = 0; round < ROUNDS; round++)); do
  rate -kernel "$work/forward" >>"$work/exo16" &&
    rate -kernel build/linux/vmlinuz -initrd build/linux/bridge.initrd -append "$linux_options" >>"$work/linux" || {
    echo "forward.sh: a guest does not forward" >&2
    exit 1
  }
done
exo16=$(sort -n "$work/exo16" | sed -n "$(((ROUNDS + 1) / 2))p")
linux=$(sort -n "$work/linux" | sed -n "$(((ROUNDS + 1) / 2))p")
echo "figure forward-exo16 $exo16 frames/s"
echo "figure forward-linux $linux frames/s"
awk -v exo16="$exo16" -v linux="$linux" 'BEGIN { printf "figure forward-vs-linux %.1f times as many\n", exo16 / linux }'
