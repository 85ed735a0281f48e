#!/bin/bash
# Makes a Linux guest that a figure is compared with: Debian's cloud kernel, and an initial RAM disk with one static
# process, made from GUEST.cpp or GUEST.c beside this file, and the modules that it loads.
#
#   test/bench/linux/guest.sh GUEST FOLDER      makes FOLDER/vmlinuz and FOLDER/GUEST.initrd, unless they are there
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
guest=$1 folder=$2
virtio="virtio/virtio_ring virtio/virtio virtio/virtio_pci_legacy_dev virtio/virtio_pci_modern_dev virtio/virtio_pci"
# In the order in which they depend on each other. NVMe is in the kernel.
case $guest in
start) modules="" ;;
reads) modules="$virtio block/virtio_blk" ;;
bridge) modules="$virtio failover net_failover virtio_net llc stp bridge" ;;
esac
source=$(echo "$here/$guest".c*)
[ ! "$folder/$guest.initrd" -nt "$source" ] || [ ! -s "$folder/vmlinuz" ] || exit 0
mkdir -p "$folder"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"

package=$(apt-cache depends linux-image-cloud-amd64 | sed -n 's/^ *Depends: \(linux-image-[^ ]*\)$/\1/p' | head -n 1)
[ -n "$package" ] && apt-get download -qq "$package" 2>"$work/errors" || {
  cat "$work/errors" >&2
  echo "guest.sh: apt-get cannot fetch linux-image-cloud-amd64; run apt-get update, or use Debian." >&2
  exit 2
}
dpkg-deb -x "$package"*.deb kernel
cp kernel/boot/vmlinuz-* "$folder/vmlinuz"

mkdir -p root/dev root/modules
mknod root/dev/console c 5 1
number=0
for module in $modules; do
  number=$((number + 1))
  cp "$(find kernel/lib/modules -path "*/${module}.ko")" "root/modules/$number"
done
case $source in
*.c) gcc -O2 -static -nostdlib -ffreestanding -o root/init "$source" ;;
*) g++ -std=c++23 -O2 -Wall -Wextra -static -o root/init "$source" ;;
esac
(cd root && find . | cpio -o -H newc --quiet) >"$folder/$guest.initrd.new"
mv "$folder/$guest.initrd.new" "$folder/$guest.initrd"
