#!/bin/bash
# Builds a program and its bootable images. See usage below.
set -euo pipefail
top=$(cd "$(dirname "$(realpath "${BASH_SOURCE[0]}")")" && pwd)
me=$(basename "$0")
source "$top/tools/program-names.sh"

usage() {
  cat <<TEXT
usage: $me [PROGRAM] [--args "TEXT"]

Installs what is missing (Debian), builds the core and PROGRAM, and prints the path of the bootable disk image.
Beside it lie, with another ending:

  .efi  the same for UEFI alone, to be copied to EFI/BOOT/BOOTX64.EFI of a FAT partition or to a network boot server
  .pvh  the same for direct boot in a virtual machine: qemu -kernel FILE
  .elf  the program with its symbols

  PROGRAM        a name under apps/ ($(app_names)),
                 or the path of any .cpp file, or of a folder of .cpp files; default: $DEFAULT_PROGRAM
  --args "TEXT"  the program's command line, up to 479 bytes
  --help         this text

EXO_CXXFLAGS in the environment adds flags for the compiler. Exit status 2: wrong use, or it does not build.
TEXT
}

program= args=
while [ $# -gt 0 ]; do
  case $1 in
  --help | -h)
    usage
    exit 0
    ;;
  --args)
    [ $# -ge 2 ] || refuse "--args needs a text after it."
    args=$2
    shift
    ;;
  -*) refuse "there is no option '$1'. See $me --help." ;;
  *)
    [ -z "$program" ] || refuse "one PROGRAM at a time: both '$program' and '$1' are given."
    program=$1
    [ -n "$program" ] || refuse "PROGRAM is empty. Name one of: $(app_names), or a .cpp file or folder."
    ;;
  esac
  shift
done

find_program "${program:-$DEFAULT_PROGRAM}"
"$top/tools/need.sh" run || exit 2
build_program
exec 9>"$prefix.objects/lock"
flock 9
for kind in disk efi pvh; do
  "$top/build/image" $kind "$prefix.bin" "$args" "$prefix.${kind/disk/img}" || exit 2
done
echo "$prefix.img"
