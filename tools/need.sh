#!/bin/sh
# Installs the Debian packages that a task needs, if any is missing.
#
#   tools/need.sh build...   to build programs and run them as processes
#   tools/need.sh run...     to build programs and boot them in QEMU
#   tools/need.sh uefi...    QEMU's UEFI firmware
#   tools/need.sh bochs...   Bochs
#   tools/need.sh image...   what disk images of other machines take
#   tools/need.sh fuzz...    the compiler that has a fuzzer
#   tools/need.sh bench...   what the figures take: a Linux guest, and libraries to compare with
#   tools/need.sh test       all that, and everything else the tests use
#
# With nothing missing it says nothing and does not call apt. Exit status 2: something is missing and it cannot be
# installed here; the message names it.
set -u

# package, and a command or file that shows that it is there
packages_build='
make make
g++ g++
'
packages_run=$packages_build'
nasm nasm
qemu-system-x86 qemu-system-x86_64
seabios /usr/share/seabios/bios-256k.bin
'
packages_uefi='
ovmf /usr/share/OVMF/OVMF_CODE_4M.fd
'
packages_bochs='
bochs bochs
bochs-term /usr/lib/x86_64-linux-gnu/bochs/plugins/libbx_term_gui.so
bochsbios /usr/share/bochs/BIOS-bochs-latest
vgabios /usr/share/bochs/VGABIOS-lgpl-latest
'
packages_image='
qemu-utils qemu-img
'
packages_bench='
cpio cpio
libboost-dev /usr/include/boost/lockfree/spsc_queue.hpp
libtbb-dev /usr/include/tbb/parallel_sort.h
libmimalloc-dev /usr/include/mimalloc.h
'
packages_fuzz='
clang-19 clang++-19
libclang-rt-19-dev /usr/lib/llvm-19/lib/clang/19/lib/linux/libclang_rt.fuzzer-x86_64.a
'
packages_test='
catch2 /usr/include/catch2/catch.hpp
clang-19 clang++-19
mtools mcopy
dosfstools fsck.fat
xorriso xorriso
fdisk sfdisk
ipxe-qemu /usr/lib/ipxe/qemu/pxe-virtio.rom
mount losetup
bsdutils script
iproute2 ip
iputils-ping ping
procps pgrep
gdb gdb
jq jq
ovmf /usr/share/OVMF/OVMF_CODE.fd
'

packages=
[ $# -gt 0 ] || set -- help
for task; do
  case $task in
  build) packages=$packages$packages_build ;;
  run) packages=$packages$packages_run ;;
  uefi) packages=$packages$packages_uefi ;;
  bochs) packages=$packages$packages_bochs ;;
  image) packages=$packages$packages_image ;;
  bench) packages=$packages$packages_bench ;;
  fuzz) packages=$packages$packages_fuzz ;;
  test) packages=$packages_run$packages_uefi$packages_bochs$packages_image$packages_fuzz$packages_test ;;
  *)
    echo "usage: tools/need.sh build|run|uefi|bochs|image|bench|fuzz|test ..." >&2
    exit 2
    ;;
  esac
done

# Prints the packages of which nothing is there.
missing() {
  echo "$packages" | while read -r package sign; do
    case $sign in
    '') ;;
    /*) [ -e "$sign" ] || printf ' %s' "$package" ;;
    *) PATH=$PATH:/usr/sbin:/sbin command -v "$sign" >/dev/null || printf ' %s' "$package" ;;
    esac
  done
}

lack=$(missing)
[ -n "$lack" ] || exit 0

# One at a time: apt-get refuses a second one, and `make -j` starts several of these.
exec 9<"$0"
flock 9
lack=$(missing)
[ -n "$lack" ] || exit 0

if ! command -v apt-get >/dev/null; then
  echo "need.sh: these are missing (by their Debian names):$lack. Install them with this system's package manager." >&2
  exit 2
fi
if [ "$(id -u)" -eq 0 ]; then
  as_root=
elif command -v sudo >/dev/null; then
  as_root=sudo
else
  echo "need.sh: packages are missing; as root run: apt-get install --no-install-recommends$lack" >&2
  exit 2
fi

# $lack and $as_root are lists of words.
install() {
  $as_root env DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends $lack >"$log" 2>&1 9<&-
}

log=$(mktemp) || exit 2
trap 'rm -f "$log"' EXIT
echo "need.sh: installing$lack" >&2
# The package lists may be missing or old: fetch them only if it does not go without.
if ! install && ! { $as_root apt-get update -qq >/dev/null 2>&1; install; }; then
  tail -n 5 "$log" >&2
  echo "need.sh: apt-get could not install$lack; see above, then try: apt-get install$lack" >&2
  exit 2
fi
lack=$(missing)
[ -z "$lack" ] || { echo "need.sh: installed, but still not found:$lack" >&2; exit 2; }
