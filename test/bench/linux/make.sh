#!/bin/bash
# Makes the peer that start.sh measures: Debian's cloud kernel and an initial RAM disk with one static process.
#
#   test/bench/linux/make.sh FOLDER      makes FOLDER/vmlinuz and FOLDER/initrd, unless they are there
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
folder=$1
[ ! -s "$folder/vmlinuz" ] || [ ! -s "$folder/initrd" ] || exit 0
mkdir -p "$folder"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"

package=$(apt-cache depends linux-image-cloud-amd64 | sed -n 's/^ *Depends: \(linux-image-[^ ]*\)$/\1/p' | head -n 1)
[ -n "$package" ] && apt-get download -qq "$package" 2>"$work/errors" || {
  cat "$work/errors" >&2
  echo "make.sh: apt-get cannot fetch linux-image-cloud-amd64; run apt-get update, or use Debian." >&2
  exit 2
}
dpkg-deb -x "$package"*.deb kernel
cp kernel/boot/vmlinuz-* "$folder/vmlinuz"

mkdir -p root/dev
mknod root/dev/console c 5 1
g++ -x c -O2 -static -nostdlib -ffreestanding -o root/init "$here/init.c"
(cd root && find . | cpio -o -H newc --quiet) >"$folder/initrd.new"
mv "$folder/initrd.new" "$folder/initrd"
