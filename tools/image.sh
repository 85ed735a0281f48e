#!/bin/bash
# Builds a program's image for another virtual machine, and prints its path.
#
#   tools/image.sh FORMAT PROGRAM ["COMMAND LINE"]
#
# FORMAT   qcow2, vmdk, vdi, vhdx: the disk image as QEMU, VMware, VirtualBox and Hyper-V have it; iso: a CD, BIOS and UEFI
# Exit status 2: it cannot be done; a sentence says why.
set -euo pipefail
top=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
me=image.sh
source "$top/tools/program-names.sh"

[ $# -ge 2 ] && [ $# -le 3 ] || refuse 'usage: tools/image.sh FORMAT PROGRAM ["COMMAND LINE"]'
format=$1 program=$2 args=${3-}
[ -n "$program" ] || refuse "name a program, for example: make image-$format PROGRAM=hello. There are: $(app_names)."

case $format in
iso | qcow2 | vmdk | vdi | vhdx) ;;
*) refuse "there is no format '$format'. Take qcow2, vmdk, vdi, vhdx or iso." ;;
esac
[ "$format" = iso ] || "$top/tools/need.sh" image || exit 2
image=$("$top/build_x86-64.sh" "$program" --args "$args") || exit 2
prefix=${image%.img}
exec 9>"$prefix.objects/lock"
flock 9
if [ "$format" = iso ]; then
  "$top/build/image" iso "$prefix.bin" "$args" "$prefix.iso" || exit 2
else
  qemu-img convert -f raw -O "$format" "$image" "$prefix.$format" ||
    refuse "'$prefix.$format' cannot be made; the lines above say why."
fi
echo "$prefix.$format"
