#!/bin/sh
# Prints which accelerator of QEMU to use: kvm where it really runs 64-bit code, else tcg.
#
# On some hosts /dev/kvm opens, but a guest hangs; so a tiny guest is booted with a time limit. The answer is kept until
# the host boots again.
set -eu
top=$(cd "$(dirname "$0")/.." && pwd)
LIMIT_S=2

if [ ! -r /dev/kvm ] || [ ! -w /dev/kvm ]; then
  echo tcg
  exit
fi
answer=$top/build/accel-$(cat /proc/sys/kernel/random/boot_id)
if [ ! -s "$answer" ]; then
  work=$(mktemp -d)
  trap 'rm -rf "$work"' EXIT
  nasm -f bin "$top/tools/kvm-probe.asm" -o "$work/probe.img"
  truncate -s 1M "$work/probe.img"
  status=0
  timeout -s KILL $LIMIT_S qemu-system-x86_64 -machine q35 -accel kvm -cpu max -m 16M -smp 2 -display none \
    -no-user-config -nodefaults -device isa-debug-exit,iobase=0xf4,iosize=0x01 \
    -drive "if=none,id=boot,format=raw,snapshot=on,file=$work/probe.img" -device ide-hd,drive=boot,bootindex=0 \
    </dev/null >/dev/null 2>&1 || status=$?
  # The guest writes 42, of which QEMU makes 2 * 42 + 1.
  if [ $status -eq 85 ]; then echo kvm; else echo tcg; fi >"$work/answer"
  mkdir -p "$top/build"
  mv "$work/answer" "$answer"
fi
cat "$answer"
