#!/bin/bash
# Makes the peer that forward.sh measures: Debian's cloud kernel, and an initial RAM disk with the modules of a bridge
# between two virtio NICs.
#
#   test/bench/linux/bridge.sh FOLDER      makes FOLDER/bridge.vmlinuz and FOLDER/bridge.initrd, unless they are there
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
folder=$1
modules="virtio/virtio_ring virtio/virtio virtio/virtio_pci_modern_dev virtio/virtio_pci_legacy_dev virtio/virtio_pci
  core/failover net/net_failover net/virtio_net llc/llc 802/stp bridge/bridge"
[ ! -s "$folder/bridge.vmlinuz" ] || [ ! -s "$folder/bridge.initrd" ] || exit 0
mkdir -p "$folder"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"

package=$(apt-cache depends linux-image-cloud-amd64 | sed -n 's/^ *Depends: \(linux-image-[^ ]*\)$/\1/p' | head -n 1)
[ -n "$package" ] && apt-get download -qq "$package" 2>"$work/errors" || {
  cat "$work/errors" >&2
  echo "bridge.sh: apt-get cannot fetch linux-image-cloud-amd64; run apt-get update, or use Debian." >&2
  exit 2
}
dpkg-deb -x "$package"*.deb kernel
cp kernel/boot/vmlinuz-* "$folder/bridge.vmlinuz"

mkdir -p root/dev root/modules
mknod root/dev/console c 5 1
number=0
for module in $modules; do
  cp kernel/lib/modules/*/kernel/*/"$module.ko" "root/modules/$(printf %02d $number)" 2>/dev/null ||
    cp kernel/lib/modules/*/kernel/*/*/"${module#*/}.ko" "root/modules/$(printf %02d $number)"
  number=$((number + 1))
done
g++ -std=c++23 -O2 -static -o root/init "$here/bridge.cpp"
(cd root && find . | cpio -o -H newc --quiet) >"$folder/bridge.initrd.new"
mv "$folder/bridge.initrd.new" "$folder/bridge.initrd"
