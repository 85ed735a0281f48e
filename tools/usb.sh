#!/bin/bash
# Writes a program's image to a USB stick or another disk, and reads it back.
#
#   tools/usb.sh DEVICE PROGRAM ["COMMAND LINE"]
#
# All that is on the device is lost. So it is shown first, and refused if it does not look like a stick that nobody uses:
# if it is mounted or in use, not removable, a partition, or no block device. FORCE=1 in the environment takes it anyway.
# Exit status 2: refused, nothing was written; 1: writing failed, or what was read back differs.
set -euo pipefail
top=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
me=usb.sh
source "$top/tools/program-names.sh"
sys=${EXO_SYS-/sys} mounts=${EXO_MOUNTS-/proc/self/mountinfo} swaps=${EXO_SWAPS-/proc/swaps}  # others in tests

# attribute NAME: of the device, or nothing.
attribute() {
  [ ! -r "$block/$1" ] || sed 's/^ *//; s/ *$//' "$block/$1" | tr -d '\0'
}

# candidates: the names of removable disks that have a medium.
candidates() {
  local each names=
  for each in "$sys"/class/block/*; do
    if [ "$(cat "$each/removable" 2>/dev/null)" = 1 ] && [ "$(cat "$each/size")" -gt 0 ]; then names+=" /dev/${each##*/}"; fi
  done
  echo "${names:- none}"
}

# unless_forced SENTENCE: refuses, but with FORCE=1 only warns.
unless_forced() {
  [ "${FORCE-}" = 1 ] || refuse "$1 If you are sure: FORCE=1."
  echo "$me: $1 Taken because of FORCE=1." >&2
}

# where_mounted NAME NUMBERS: prints where the disk or partition is mounted or how else it is used, a line each.
where_mounted() {
  local holder
  awk -v source="/dev/$1" -v numbers="$2" '
    { for (field = 7; field < NF && $field != "-"; field++); }
    $3 == numbers || $(field + 2) == source { print "mounted at " $5 }' "$mounts"
  awk -v file="/dev/$1" '$1 == file { print "swap" }' "$swaps" 2>/dev/null || true
  for holder in "$sys/class/block/$1/holders"/*; do
    [ ! -e "$holder" ] || echo "part of ${holder##*/}"
  done
}

[ $# -ge 2 ] && [ $# -le 3 ] || refuse 'usage: tools/usb.sh DEVICE PROGRAM ["COMMAND LINE"]'
device=$1 program=$2 args=${3-}
[ -n "$device" ] ||
  refuse "name the device, for example: make usb DEVICE=/dev/sdX PROGRAM=hello. Removable now:$(candidates)."
[ -n "$program" ] || refuse "name a program, for example: make usb DEVICE=$device PROGRAM=hello. There are: $(app_names)."
[ -e "$device" ] || refuse "there is no '$device'. Removable now:$(candidates)."
[ ! -d "$device" ] && [ ! -c "$device" ] || refuse "'$device' is neither a block device nor a file. Removable now:$(candidates)."

# --- what it is

device=$(realpath "$device")
block=$sys/class/block/${device##*/}
if [ -b "$device" ] && [ -d "$block" ]; then
  bytes=$(($(attribute size) * 512))
  model="$(attribute device/vendor) $(attribute device/model)"
  [ "$model" != " " ] || model="no name"
  echo "$device: $model, $((bytes / 1000000)) MB"
  used=
  for part in "$block" "$block/${device##*/}"*; do
    [ -r "$part/dev" ] || continue
    name=${part##*/}
    use=$(where_mounted "$name" "$(cat "$part/dev")" | paste -sd ',' | sed 's/,/, /g')
    [ "$part" = "$block" ] || echo "  /dev/$name: $(($(cat "$part/size") / 1953)) MB${use:+, $use}"
    [ -z "$use" ] || used+="${used:+; }/dev/$name: $use"
  done
  [ -z "$used" ] || unless_forced "$device is in use ($used). Unmount it first, or name another."
  if [ -e "$block/partition" ]; then
    unless_forced "$device is a partition, from which no machine boots. Name the whole device."
  elif [ "$(attribute removable)" != 1 ]; then
    unless_forced "$device is not removable: it may be a disk of this machine."
  fi
  [ "$bytes" -gt 0 ] || refuse "there is no medium in $device. Put one in."
  [ "$(attribute ro)" != 1 ] || refuse "$device is write-protected. Move its switch, or take another."
else
  bytes=
  [ -b "$device" ] || bytes=$(stat -c %s "$device")
  unless_forced "'$device' is not a block device that this machine lists."
fi

# --- the image

image=$("$top/build_x86-64.sh" "$program" --args "$args") || exit 2
size=$(stat -c %s "$image")
[ "${bytes:-$size}" -ge "$size" ] || refuse "$device has $bytes bytes, and the image $size. Take a larger one."
as_root=()
if [ ! -w "$device" ] || [ ! -r "$device" ]; then
  command -v sudo >/dev/null || refuse "$device may not be written. Run this as root."
  as_root=(sudo)
fi

# --- written, and read back from the device itself

"${as_root[@]}" dd if="$image" of="$device" bs=1M conv=notrunc,fsync status=none || {
  echo "$me: $device could not be written; the line above says why. Try another." >&2
  exit 1
}
[ ! -b "$device" ] || "${as_root[@]}" blockdev --flushbufs "$device"
"${as_root[@]}" cmp -n "$size" "$image" "$device" >&2 || {
  echo "$me: $device does not hold what was written; it is broken, or was pulled out. Take another." >&2
  exit 1
}
echo "$device boots $program by BIOS and UEFI: $((size / 1048576)) MiB written and compared."
