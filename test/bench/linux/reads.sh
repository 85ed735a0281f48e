#!/bin/bash
# Makes the peer that disks.sh measures: Debian's cloud kernel, the modules of virtio-blk (NVMe is in the kernel), and an
# initial RAM disk with one static process.
#
#   test/bench/linux/reads.sh FOLDER      makes FOLDER/reads.vmlinuz and FOLDER/reads.initrd, unless they are there
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
folder=$1
modules="virtio/virtio_ring virtio/virtio virtio/virtio_pci_legacy_dev virtio/virtio_pci_modern_dev virtio/virtio_pci block/virtio_blk"
[ "$folder/reads.initrd" -nt "$here/reads.cpp" ] && [ -s "$folder/reads.vmlinuz" ] && exit 0
mkdir -p "$folder"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"

package=$(apt-cache depends linux-image-cloud-amd64 | sed -n 's/^ *Depends: \(linux-image-[^ ]*\)$/\1/p' | head -n 1)
[ -n "$package" ] && apt-get download -qq "$package" 2>"$work/errors" || {
  cat "$work/errors" >&2
  echo "reads.sh: apt-get cannot fetch linux-image-cloud-amd64; run apt-get update, or use Debian." >&2
  exit 2
}
dpkg-deb -x "$package"*.deb kernel
cp kernel/boot/vmlinuz-* "$folder/reads.vmlinuz"

mkdir -p root/dev root/modules
mknod root/dev/console c 5 1
number=0
for module in $modules; do
  number=$((number + 1))
  cp kernel/lib/modules/*/kernel/drivers/"$module".ko "root/modules/$number"
done
g++ -std=c++23 -O2 -Wall -Wextra -static -o root/init "$here/reads.cpp"
(cd root && find . | cpio -o -H newc --quiet) >"$folder/reads.initrd.new"
mv "$folder/reads.initrd.new" "$folder/reads.initrd"
