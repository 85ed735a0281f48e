# Machines whose memory or devices the run script does not make as they are needed here; the program is odd_machines.cpp.
# limit: 120
source test/boot/machine.bash

# odd ARGS OPTIONS...: the program with these arguments in that machine finds all as it should be.
odd() {
  command_line=$1
  shift
  tools/program.sh test/boot/odd_machines.cpp "$work/odd" || fail "it does not build"
  machine "$work/odd.bin" "$@"
  expect_status 0
}

# Two nodes, and a hole between them where the PCI devices are.
test_numa() {
  odd "2 252 +acpi" -object memory-backend-ram,id=a,size=128M -object memory-backend-ram,id=b,size=128M \
    -numa node,memdev=a,cpus=0 -numa node,memdev=b,cpus=1
  odd "2 4600 +acpi" -m 4608M -object memory-backend-ram,id=a,size=512M,reserve=off \
    -object memory-backend-ram,id=b,size=4G,reserve=off -numa node,memdev=a,cpus=0 -numa node,memdev=b,cpus=1
}

# Only a part of the machine's processors, by their numbers: APIC ids with gaps.
test_gaps_in_apic_ids() {
  odd "3 244 +acpi" -smp 1,sockets=4,cores=3,maxcpus=12 -cpu qemu64 -device qemu64-x86_64-cpu,socket-id=2,core-id=1,thread-id=0 \
    -device qemu64-x86_64-cpu,socket-id=3,core-id=2,thread-id=0
}

# A NIC that the firmware has used is the program's without a trace of that: echo, in the background with its port 7
# forwarded from `port`, answers, and ends.
port=$((20000 + $$ % 20000))
answers() {
  local answer
  wait_for "$work/console" "echo: 10.0.2.15 answers" 60
  exec 3<>/dev/udp/127.0.0.1/$port
  echo "is it there?" >&3
  answer=$(timeout --foreground 10 dd bs=65536 count=1 status=none <&3)
  [ "$answer" = "is it there?" ] || fail "another answer than the message: $answer"
  echo quit >&3
  ended
}

test_nic_after_network_boot() {
  boot echo --netboot --forward $port:7 --args quit
  answers
  expect_status 0
  expect_text "Start PXE over IPv4"
}

# iPXE in the NIC's own ROM asks for an address, finds nothing to boot, and leaves it to the disk.
test_nic_after_ipxe() {
  local command
  mkdir "$work/run"
  command=$(TMPDIR=$work/run ./run_x86-64.sh echo --accel tcg --net user --forward $port:7 --args quit --print) || fail "$command"
  command=${command/drive=boot,bootindex=0/drive=boot,bootindex=1}
  command=${command/romfile=,netdev=net0/netdev=net0,bootindex=0}
  eval "timeout --foreground -s KILL 100 $command" -chardev "file,id=bios,path=$work/bios" \
    -device isa-debugcon,iobase=0x402,chardev=bios >"$work/console" 2>&1 </dev/null &
  machine=$!
  answers
  [ "$(tail -c 1 "$work"/run/exo16.*/status | od -An -tu1)" -eq 0 ] || fail "it did not end with status 0"
  grep -q "Booting from ROM" "$work/bios" || fail "iPXE has not run: $(cat "$work/bios")"
}
