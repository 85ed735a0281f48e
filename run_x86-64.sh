#!/bin/bash
# Builds a program and runs it in QEMU or Bochs. See usage below.
set -euo pipefail
top=$(cd "$(dirname "$(realpath "${BASH_SOURCE[0]}")")" && pwd)
me=$(basename "$0")
source "$top/tools/program-names.sh"
source "$top/tools/said.sh"
source "$top/tools/qemu.sh"
source "$top/tools/bochs.sh"
source "$top/tools/native.sh"
source "$top/tools/simulate.sh"

CORES_MAX=255
MEMORY_MIN_MIB=4
UEFI_MEMORY_MIN_MIB=64  # with less QEMU's UEFI firmware leaves too little, or does not come up
DEFAULT_PORT=7777
EMULATOR_FAILED=125

usage() {
  cat <<TEXT
usage: $me [PROGRAM] [options] [-- QEMU OPTIONS]

Installs what is missing (Debian), builds the core and PROGRAM, and runs them in QEMU. The console is the terminal.
Without an option of the second group the machine is a PC that boots from a disk by its BIOS.

  PROGRAM                 a name under apps/ ($(app_names)),
                          or the path of any .cpp file, or of a folder of .cpp files; default: $DEFAULT_PROGRAM
  --cores N               1 to $CORES_MAX; default 2
  --mem SIZE              a number with K, M, G or T, or of MiB; at least ${MEMORY_MIN_MIB}M; default 256M
  --disk FILE             a raw disk image or block device; may be given again. A file that may not be written is a
                          read-only disk, as ahci or ide one whose changes are lost. $DEFAULT_PROGRAM without --disk gets
                          a text that the build makes, and is told with bytes=N how long the first file is, unless --args
                          does
  --disk-model MODEL      what they are: ${DISK_MODELS// /, }; default: virtio
  --net user|tap:NAME|none  a NIC: QEMU's own network (the default), or a TAP device of this machine; may be given again for
                          more NICs. none: no NIC
  --nic-model MODEL       what they are: ${NIC_MODELS// /, }; default: virtio
  --forward PORT:PORT     with --net user first: a port of 127.0.0.1 and the program's port behind it, UDP and TCP;
                          may be given again. $DEFAULT_PROGRAM without --forward gets $DEFAULT_PORT:$DEFAULT_PORT, if it is free
  --args "TEXT"           the program's command line, up to 479 bytes
  --gdb                   waits for gdb, with the symbols of program and core, and starts it if there is a terminal
  --trace FILE            writes the trace that the program prints (api/exo/trace.hpp) to a file for ui.perfetto.dev
  --profile FILE          writes the profile that it prints (api/exo/profile.hpp) to a file, a line for each stack
  --serial FILE           the console is a unix socket of that name: for gdb and a stub in the program (api/exo/gdb_stub.hpp)
  --accel kvm|tcg|icount  default: kvm where it works, else tcg. icount: time counts instructions, for exact figures
  --build-only            ends after the build
  --print                 prints the command instead of running it; its files stay in a folder under /tmp
  --help                  this text

  --uefi                  boots by UEFI, whose own lines come first; goes with a disk, --usb and --cdrom; --mem 64M or more
  --usb                   boots from a USB stick
  --cdrom                 boots from a CD
  --netboot               boots by UEFI over --net user, which has the program's EFI file
  --pvh                   QEMU starts the program directly
  --microvm               the same in a machine without PCI: virtio-mmio, no screen
  --bochs                 Bochs instead of QEMU: 1 to $BOCHS_CORES_MAX cores, no disk, NIC, --accel or --gdb; keys come through
                          only where the console is a terminal

  --native                no machine at all: an ordinary process of this Linux, with a thread for each core and --net none
                          by default. Goes with the first group, but not with --net user, --forward and --accel; also takes
                          --net packet:NAME, any network interface of this machine, by a packet socket
  --asan, --ubsan, --tsan  with --native: the compiler's address, undefined behaviour or thread sanitizer

  --sim                   the simulated machine: up to 8 cores that run in turns, --net wire (a NIC that is connected to
                          nothing) or none, disks that keep nothing; see doc/simulator.md for worlds of several machines
  --seed N                with --sim: another order of what happens

Exit status: the program's own; 2 wrong use, or the program does not build; $EMULATOR_FAILED QEMU or Bochs failed; 130 ended
by Ctrl-C.
EXO_CXXFLAGS in the environment adds flags for the compiler.
TEXT
}

# bytes SIZE: prints how many bytes it is; fails if it is no size.
bytes() {
  [[ $1 =~ ^([0-9]{1,9})([KMGT]?)$ ]] || return 1
  local number=$((10#${BASH_REMATCH[1]}))
  case ${BASH_REMATCH[2]} in
  K) echo $((number << 10)) ;;
  G) echo $((number << 30)) ;;
  T) echo $((number << 40)) ;;
  *) echo $((number << 20)) ;;
  esac
}

# is_port TEXT: a number of 1 to 65535.
is_port() {
  [[ $1 =~ ^[0-9]{1,5}$ ]] && [ $((10#$1)) -ge 1 ] && [ $((10#$1)) -le 65535 ]
}

# listening tcp|udp PORT: something on this machine has that port.
listening() {
  awk -v port="$(printf %04X "$2")" -v protocol="$1" '
    { split($2, local, ":") }
    local[2] == port && (protocol == "udp" || $4 == "0A") { found = 1 }
    END { exit !found }' "/proc/net/$1" "/proc/net/${1}6" 2>/dev/null
}

# --- options

program= cores=2 memory=256M net= args= gdb= accel= build_only= print= uefi= way= sanitizers=
disk_model= nic_model= seed= trace= profile= serial=
disks=() nets=() tap_details=() forwards=() qemu_options=()
while [ $# -gt 0 ]; do
  case $1 in
  --cores | --mem | --disk | --disk-model | --net | --nic-model | --forward | --args | --accel | --seed | --trace | --profile | \
    --serial)
    [ $# -ge 2 ] || refuse "$1 needs a value after it. See $me --help."
    case $1 in
    --cores) cores=$2 ;;
    --mem) memory=$2 ;;
    --disk) disks+=("$2") ;;
    --disk-model) disk_model=$2 ;;
    --net)
      if [ "$2" = none ]; then nets=(); else nets+=("$2"); fi
      net=${nets[0]-none}
      ;;
    --nic-model) nic_model=$2 ;;
    --forward) forwards+=("$2") ;;
    --args) args=$2 ;;
    --accel) accel=$2 ;;
    --trace) trace=$2 ;;
    --profile) profile=$2 ;;
    --serial) serial=$2 ;;
    --seed) seed=$2 ;;
    esac
    shift
    ;;
  --uefi) uefi=1 ;;
  --asan | --ubsan | --tsan) sanitizers+=" $1" ;;
  --usb | --cdrom | --netboot | --pvh | --microvm | --bochs | --native | --sim)
    [ -z "$way" ] || [ "$way" = "${1#--}" ] || refuse "one way to boot at a time: both '--$way' and '$1' are given."
    way=${1#--}
    ;;
  --gdb) gdb=1 ;;
  --build-only) build_only=1 ;;
  --print) print=1 ;;
  --help | -h)
    usage
    exit 0
    ;;
  --)
    shift
    qemu_options=("$@")
    break
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
program=${program:-$DEFAULT_PROGRAM}

[[ $cores =~ ^[0-9]{1,3}$ ]] && cores=$((10#$cores)) && [ "$cores" -ge 1 ] && [ "$cores" -le $CORES_MAX ] ||
  refuse "--cores '$cores' is not a number of 1 to $CORES_MAX."
memory_bytes=$(bytes "$memory") ||
  refuse "--mem '$memory' is not a size. Give a number with K, M, G or T, such as 256M."
[ "$memory_bytes" -ge $((MEMORY_MIN_MIB << 20)) ] || refuse "--mem '$memory' is too little. Give ${MEMORY_MIN_MIB}M or more."
[ "$(printf %s "$args" | wc -c)" -le 479 ] || refuse "--args has more than 479 bytes. Shorten it."
case $accel in '' | kvm | tcg | icount) ;; *) refuse "--accel '$accel' is none of kvm, tcg, icount." ;; esac

way=${way:-disk}
needs=(run)
case $way in
pvh | microvm) [ -z "$uefi" ] || refuse "--uefi does not go with --$way, which boots without firmware. Leave one out." ;;
bochs) bochs_check ;;
native) native_check ;;
sim) sim_check ;;
netboot)
  uefi=1
  [ "${net:-user}" = user ] || refuse "--netboot goes with --net user only; with '$net' leave it out."
  ;;
esac
[ -z "$sanitizers" ] || [ "$way" = native ] || refuse "the option$sanitizers goes with --native only."
[ -z "$seed" ] || [ "$way" = sim ] || refuse "--seed goes with --sim only."
[[ ${seed:-0} =~ ^[0-9]{1,19}$ ]] || refuse "--seed '$seed' is not a number of 0 to 9999999999999999999."
net=${net:-user}
[ ${#nets[@]} -gt 0 ] || [ "$net" = none ] || nets=("$net")
if [ -n "$uefi" ]; then
  needs+=(uefi)
  [ "$memory_bytes" -ge $((UEFI_MEMORY_MIN_MIB << 20)) ] ||
    refuse "--mem '$memory' is too little for UEFI. Give ${UEFI_MEMORY_MIN_MIB}M or more."
fi

for disk in "${disks[@]}"; do
  [ -e "$disk" ] || refuse "there is no disk file '$disk'. Make one, for example with: truncate -s 64M '$disk'"
  [ -f "$disk" ] || [ -b "$disk" ] || refuse "'$disk' is neither a file nor a block device, so it cannot be a disk."
  [ -r "$disk" ] || refuse "the disk file '$disk' cannot be read. Change its permissions, or run as its owner."
done

for model in disk nic; do
  chosen=${model}_model models=${model^^}_MODELS
  [ -n "${!chosen}" ] || continue
  [[ " ${!models} " == *" ${!chosen} "* ]] || refuse "--$model-model '${!chosen}' is none of ${!models// /, }."
  case $way in microvm | bochs | native | sim) refuse "--$model-model does not go with --$way. Leave it out." ;; esac
done

[ ${#disks[@]} -le "${DISK_COUNT_MAX[${disk_model:-virtio}]:-${#disks[@]}}" ] ||
  refuse "--disk-model $disk_model takes ${DISK_COUNT_MAX[$disk_model]} disks, not ${#disks[@]}. Leave some out."

for index in "${!nets[@]}"; do
  case ${nets[index]} in
  user) ;;
  wire) [ "$way" = sim ] || refuse "--net wire goes with --sim only." ;;
  packet:?*)
    [ "$way" = native ] || refuse "--net packet:NAME goes with --native only. Give tap:NAME, or leave it out."
    ip link show dev "${nets[index]#packet:}" >/dev/null 2>&1 ||
      refuse "there is no network device '${nets[index]#packet:}'. See those that there are: ip link"
    ;;
  tap:?*)
    tap=${nets[index]#tap:}
    tap_details[index]=$(ip -d link show dev "$tap" 2>/dev/null) ||
      refuse "there is no network device '$tap'. Make it as root: ip tuntap add $tap mode tap; ip link set $tap up"
    [[ ${tap_details[index]} == *' tun type tap '* ]] ||
      refuse "the network device '$tap' is not a TAP device. Make one as root: ip tuntap add NAME mode tap"
    ;;
  *) refuse "--net '${nets[index]}' is none of user, tap:NAME, packet:NAME, none." ;;
  esac
done

for forward in "${forwards[@]}"; do
  [ "$net" = user ] || refuse "--forward goes with --net user only; with '$net' leave it out."
  is_port "${forward%%:*}" && is_port "${forward#*:}" && [[ $forward == *:* ]] ||
    refuse "--forward '$forward' is not PORT:PORT, this machine's port and the program's, each of 1 to 65535."
  for protocol in udp tcp; do
    ! listening $protocol "${forward%%:*}" ||
      refuse "$protocol port ${forward%%:*} of this machine is in use. Choose another for --forward."
  done
done

# What the program says of itself goes to files that can be written, which is found out before it runs.
if [ -n "$trace$profile" ]; then
  [ -z "$gdb" ] || refuse "--trace and --profile do not go with --gdb, whose console is nobody else's. Leave one out."
  [ -z "$profile" ] || [ "$way" != sim ] ||
    refuse "--profile does not go with --sim, whose time says nothing of the program's. Give --native instead."
fi
for file in "$trace" "$profile"; do
  [ -z "$file" ] || [ -n "$print$build_only" ] || { : >"$file"; } 2>/dev/null ||
    refuse "'$file' cannot be written. Choose a file in a folder that exists and is yours."
done
if [ -n "$serial" ]; then
  case $way in bochs | native | sim) refuse "--serial does not go with --$way, which has no serial port for it. Leave one out." ;; esac
  [ -z "$trace$profile" ] || refuse "--serial takes the console away, so --trace and --profile do not go with it."
  [ ! -e "$serial" ] || refuse "'$serial' exists. Remove it, or choose another name for --serial."
  [ -d "$(dirname "$serial")" ] && [ -w "$(dirname "$serial")" ] ||
    refuse "'$serial' cannot be made. Choose a name in a folder that exists and is yours."
  [ ${#serial} -le 107 ] || refuse "'$serial' has more than the 107 letters that a socket's name may have."
fi

# The file of the core's symbols, here and in tools/inside.sh.
case $way in pvh | microvm) export EXO_SYMBOLS=$top/build/core-pvh.elf ;; *) export EXO_SYMBOLS=$top/build/core.elf ;; esac

find_program "$program"

# --- build

if [ -n "$gdb" ] && [ -t 0 ] && [ -t 1 ] && [ -z "$print" ] && ! command -v gdb >/dev/null; then
  refuse "--gdb needs gdb. Install it: apt-get install gdb"
fi
"$top/tools/need.sh" "${needs[@]}" || exit 2
if [ "$accel" = kvm ] && [ "$("$top/tools/accel.sh")" != kvm ]; then
  refuse "KVM does not run programs on this machine. Leave --accel out."
fi
case $way in native) native_build ;; sim) sim_build ;; *) build_program ;; esac
[ -z "$gdb" ] || [ "$way" = native ] || [ "$way" = sim ] || flock "$top/build/lock" make --no-print-directory -s -C "$top" symbols >&2 ||
  refuse "the core's symbols cannot be made."
text=$top/build/text.txt
if [ "$source" = "$top/apps/$DEFAULT_PROGRAM" ] && [ "$way" != bochs ]; then
  if [ ${#disks[@]} -eq 0 ]; then
    flock "$top/build/lock" make --no-print-directory -s -C "$top" text >&2 || refuse "the text for it cannot be made."
    disks=("$text")
  fi
  # A disk has whole blocks, a text need not.
  if [ -f "${disks[0]}" ] && [[ " $args" != *' bytes='* ]]; then
    args="bytes=$(stat -L -c %s "${disks[0]}")${args:+ $args}"
  fi
  if [ "$net" = user ] && [ ${#forwards[@]} -eq 0 ] && ! listening udp $DEFAULT_PORT && ! listening tcp $DEFAULT_PORT; then
    forwards=($DEFAULT_PORT:$DEFAULT_PORT)
  fi
fi
[ -z "$build_only" ] || exit 0
[ "$way" != native ] || native_run
[ "$way" != sim ] || sim_run

# --- the machine

work=$(mktemp -d "${TMPDIR:-/tmp}/exo16.XXXXXX")
[ -n "$print" ] || trap 'rm -rf "$work"' EXIT

# boot_file KIND NAME: makes the file to boot from; sets `boot` to its path.
boot_file() {
  boot=$work/$2
  "$top/build/image" "$1" "$prefix.bin" "$args" "$boot" || exit 2
}

case $way in
bochs) bochs_machine ;;
*) qemu_machine ;;
esac

if [ -n "$print" ]; then
  echo "${command[@]@Q}"
  exit 0
fi

# --- run

stopped= stop_signal=TERM
terminal=$(stty -g 2>/dev/null) || terminal=
stop() {
  stopped=$1
  kill -$stop_signal "$machine" 2>/dev/null || true
}

if [ -n "$gdb" ] && [ -t 0 ] && [ -t 1 ]; then
  # The terminal's input is gdb's, and Ctrl-C must not reach QEMU.
  setsid "${command[@]}" </dev/null 2>"$work/errors" &
  machine=$!
  trap '' INT
  until [ -S "$work/gdb" ] || ! kill -0 $machine 2>/dev/null; do sleep 0.05; done
  "${gdb_command[@]}" || true
  stop 0
else
  [ -z "$gdb" ] || echo "$me: waiting for: ${gdb_command[*]@Q}" >&2
  if [ "$way" = bochs ]; then
    bochs_start
  else
    qemu_start
  fi
  trap 'stop 130' INT
  trap 'stop 143' TERM
  trap 'stop 129' HUP
fi

# A signal ends the first wait; the machine then ends by itself.
wait $machine || true
[ -z "$stopped" ] || wait $machine || true
case $way in bochs) bochs_ended ;; *) qemu_ended ;; esac
said_files
[ -z "$terminal" ] || stty "$terminal" 2>/dev/null || true

if [ -s "$work/status" ]; then
  exit $(($(tail -c 1 "$work/status" | od -An -tu1)))
fi
[ -z "$stopped" ] || exit "$stopped"
cat "$work/errors" >&2
emulator=QEMU
[ "$way" != bochs ] || emulator=Bochs
echo "$me: $emulator ended before the program did; the lines above, if any, say why. See the command with --print." >&2
exit $EMULATOR_FAILED
