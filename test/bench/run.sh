#!/bin/bash
# Prints the figures, a line `figure NAME VALUE UNIT` for each. Exit status 1: some could not be measured.
#
#   ONLY=pattern test/bench/run.sh   those whose name matches this extended regular expression; nothing else is measured
#
#   bios-total           boot sector, loader and core                                   goal: 16384 at most
#   uefi-total           the same with the loader for UEFI                              goal: 16384 at most
#   call-null            a call through the table and back, without the routine         goal: 6 at most
#   trace-record         a mark of api/exo/trace.hpp; -scope, -count: the others        goal: 20 at most
#   boot-to-entry        the core's first 64-bit instruction to the program's entry
#   boot-to-main         the same to main; one core, one NIC, one disk                  goal: 100000 at most
#   boot-to-main-WAY     to main from where the loader of bios, uefi, pvh, microvm goes on without firmware; for pvh that is
#                        the machine's first instruction                                goal: 100000 at most for pvh
#   virtio-net-tx        per frame in batches of 32: send and reap                      goal: 60 at most
#   virtio-net-rx        per frame in batches of 32: receive and repost                 goal: 60 at most
#   e1000-tx, -rx, e1000e-tx, -rx    the same of these                                  goal: 60 at most
#   *-raw                the same through the call table instead of the handles
#   virtio-blk-request   per request at depth 32, submit to reap                        goal: 120 at most
#   ahci-request         the same of a SATA disk                                        goal: 150 at most
#   nvme-request         the same of an NVMe disk                                       goal: 100 at most
#   core-memory          RAM that the core takes with two cores                         goal: 1024 at most
#   wordcount-speedup-2  two cores against one, same run, text in memory                goal: 1.9 at least
#   mandelbrot-speedup-2 the same of drawing the Mandelbrot set                         goal: 1.95 at least
#   wordcount-one-core   how fast one core counts
#   idle-cpu             a core's share that QEMU takes while all queues are armed        goal: under 2
#   hello-wall           QEMU's start to its end with `hello`, two cores, median
#   message-instructions     cross-core message, putting it in and taking it out        goal: 60 at most
#   await-ready-instructions, child-task-instructions    awaiting what is ready, over a plain call; a child task
#   fiber-switch-instructions    from one stack to another                              goal: under 20
#   fiber-yield-instructions     a fiber lets the loop run everything else once
#   message-one-way-ns       the same natively, with the way from core to core          goal: 150 at most
#   await-ready-ns, child-task-ns    natively                                           goal: 3 and 8 at most
#   spsc-vs-boost, sort-vs-tbb, reduce-vs-tbb    speed over that of the library         goal: 1 at least
#   malloc-vs-mimalloc       the same, of taking and freeing blocks on two cores        goal: 1 at least
#   malloc-overhead          memory that the heap takes beyond what was asked for       goal: 15 at most
#   parallel-for-vs-tbb, parallel-for-vs-openmp  time of 1,000 empty parts over the library's    goal: 0.5 at most
#   forward-vs-linux     64-byte frames between two NICs: `forward` over a Linux bridge    goal: 4 at least
#   start-vs-linux       QEMU's start to the guest's first line: Linux over `hello`     goal: 10 at least
#   start-vs-floor       the same: `hello` over an image that only prints               goal: 1.2 at most
#   disk-qd1-vs-linux    random reads of 4 KiB, one at a time: `diskperf` over Linux    goal: 2 at least
#   disk-qd32-vs-linux   the same with 32 in flight                                     goal: 1.5 at least
#   nvme-qd*-vs-linux    the same of an NVMe disk; the others are of virtio-blk
#   sim-seeds-per-minute two simulated machines, ten pings over a bad wire, on all processors   goal: 10000 at least
#
# Instructions are the guest's, with one core under -icount shift=0, and the same in every run. The other figures depend on
# the host; the speedup needs two idle processors.
set -uo pipefail
top=$(cd "$(dirname "$0")/../.." && pwd)
cd "$top" || exit 2
export LC_ALL=C
LIMIT_S=120
BOOTS=9

work=$(mktemp -d)
export TMPDIR=$work
trap 'rm -rf "$work"' EXIT
only=${ONLY-}
missing=0
asked=0

# measure 'NAME...' COMMAND...: prints those figures that are asked for, of a command that prints all of these.
measure() {
  local name names=() wanted=()
  read -ra names <<<"$1"
  shift
  for name in "${names[@]}"; do
    [[ ! $name =~ $only ]] || wanted+=("$name")
  done
  [ ${#wanted[@]} -gt 0 ] || return 0
  asked=1
  if ! "$@" >"$work/figures"; then
    missing=1
  elif [ "$(cut -d ' ' -f 2 "$work/figures" | sort)" != "$(printf '%s\n' "${names[@]}" | sort)" ]; then
    echo "bench: run.sh names other figures than there are:" $(cut -d ' ' -f 2 "$work/figures") >&2
    missing=1
  fi
  for name in "${wanted[@]}"; do
    grep "^figure $name " "$work/figures"
  done
}

# figures PROGRAM OPTIONS...: runs test/bench/PROGRAM.cpp and passes its figures on.
figures() {
  local program=$1 output
  shift
  if output=$(timeout --foreground $LIMIT_S ./run_x86-64.sh "test/bench/$program.cpp" "$@" 2>&1 </dev/null); then
    grep '^figure ' <<<"$output"
  else
    echo "bench: $program has no figures: $output" >&2
    return 1
  fi
}

# Milliseconds from QEMU's start to its end, the median of several.
hello_wall() {
  local command begin
  command=$(./run_x86-64.sh hello --print) || return
  for ((boot = 0; boot < BOOTS; boot++)); do
    begin=${EPOCHREALTIME/./}
    eval "timeout --foreground $LIMIT_S $command" >/dev/null 2>&1 </dev/null
    echo $(((${EPOCHREALTIME/./} - begin) / 1000))
  done | sort -n | sed -n "$(((BOOTS + 1) / 2))p"
}

# Percent of a core that QEMU takes in IDLE_S seconds, while the machine waits for all queues of all kinds of devices.
IDLE_S=5
idle_cpu() {
  local command machine before after hz
  truncate -s 1M "$work/blk" "$work/nvme" "$work/sata"
  command=$(./run_x86-64.sh test/bench/idle.cpp --accel tcg --cores 2 --disk "$work/blk" --net none --print -- \
    -drive "if=none,id=nvme,format=raw,file=$work/nvme" -device nvme,serial=1,drive=nvme \
    -drive "if=none,id=sata,format=raw,file=$work/sata" -device ide-hd,bus=ide.3,drive=sata \
    -netdev hubport,id=net0,hubid=0 -device virtio-net-pci,disable-legacy=on,romfile=,netdev=net0 \
    -netdev hubport,id=net1,hubid=0 -device e1000e,romfile=,netdev=net1) || return
  eval "exec timeout $LIMIT_S $command" >"$work/idle" 2>&1 </dev/null &
  machine=$!
  timeout $LIMIT_S bash -c 'until grep -q "^idle" "$1" || ! kill -0 "$2" 2>/dev/null; do sleep 0.1; done' bash "$work/idle" $machine
  machine=$(tr -d ' ' <"/proc/$machine/task/$machine/children")  # QEMU, which timeout started
  ticks() { awk '{ print $14 + $15 }' "/proc/$machine/stat"; }
  sleep 1
  before=$(ticks) && sleep $IDLE_S && after=$(ticks)
  kill $machine
  hz=$(getconf CLK_TCK)
  awk -v ticks="$((after - before))" -v seconds=$IDLE_S -v hz="$hz" 'BEGIN { printf "%.1f\n", 100 * ticks / hz / seconds }'
}

# hub_of DEVICE: sets `hub` to QEMU's options for two such NICs, which hear each other.
hub_of() {
  hub=(-netdev hubport,id=net0,hubid=0 -device "$1,netdev=net0" -netdev hubport,id=net1,hubid=0 -device "$1,netdev=net1")
}

# queue_figures NAME DEVICE
queue_figures() {
  hub_of "$2"
  figures queues --accel icount --cores 1 --net none --args "$1" -- "${hub[@]}"
}

# request_figures NAME OPTIONS...
request_figures() {
  figures requests --accel icount --cores 1 --disk "$work/disk" --net none --args "$@"
}

total_figures() {
  tools/size.sh bios uefi | sed -n 's/^\([a-z]*-total\) \([0-9]*\)$/figure \1 \2 bytes/p'
}

idle_figures() {
  echo "figure idle-cpu $(idle_cpu) percent"
}

# boot_figures OPTIONS...: the least of three. At boot the core asks the disk for its serial number, and how long QEMU's thread
# takes to answer is not counted in instructions.
boot_figures() {
  for _ in 1 2 3; do
    figures boot --accel icount --cores 1 --disk "$work/disk" "$@" || return
  done | awk '!($2 in least) || $3 < least[$2] { least[$2] = $3; line[$2] = $0 } END { for (name in line) print line[name] }'
}

hello_figures() {
  echo "figure hello-wall $(hello_wall) ms"
}

sim_figures() {
  local passes
  if passes=$(SCENARIO=ping SEEDS=20000 timeout --foreground $LIMIT_S tools/sim.sh); then
    sed -n "s/.*(\([0-9]*\) a minute.*/figure sim-seeds-per-minute \1 runs/p" <<<"$passes"
  else
    echo "bench: the simulator has no figure: $passes" >&2
    return 1
  fi
}

truncate -s 1M "$work/disk"
make --no-print-directory -s text || exit 2

measure 'bios-total uefi-total' total_figures
measure call-null figures call --accel icount --cores 1 --net none
measure 'trace-record trace-record-count trace-record-scope' figures trace --accel icount --cores 1 --net none
measure 'boot-to-entry boot-to-main' boot_figures
for way in bios uefi pvh microvm; do
  measure boot-to-main-$way boot_figures $([ $way = bios ] || echo --$way) --args $way
done
for nic in virtio-net-pci,disable-legacy=on e1000 e1000e; do
  name=${nic%-pci,*}
  measure "$name-tx $name-rx $name-tx-raw $name-rx-raw" queue_figures "$name" "$nic,romfile="
done
measure virtio-blk-request request_figures virtio-blk-request
measure ahci-request request_figures ahci-request --disk-model ahci
measure nvme-request request_figures nvme-request --disk-model nvme
measure 'core-memory wordcount-speedup-2 wordcount-one-core mandelbrot-speedup-2' \
  figures speedup --cores 2 --disk build/text.txt --net none
measure 'message-instructions fiber-switch-instructions fiber-yield-instructions await-ready-instructions child-task-instructions' \
  figures tasks --accel icount --cores 1 --net none
measure 'message-both-sides-ns fiber-switch-ns fiber-yield-ns await-ready-ns child-task-ns message-one-way-ns' \
  figures tasks --native --cores 2
EXO_CXXFLAGS='-fexceptions -frtti -fopenmp -Wl,--no-as-needed -ltbb' \
  measure 'spsc-vs-boost parallel-for-vs-tbb parallel-for-vs-openmp sort-vs-tbb reduce-vs-tbb' figures peers --native --cores 2
EXO_CXXFLAGS='-Wl,--no-as-needed -lmimalloc' \
  measure 'malloc-vs-mimalloc malloc-overhead' figures heaps --native --cores 2 --mem 1G
measure idle-cpu idle_figures
measure hello-wall hello_figures
measure 'start-exo16 start-linux start-floor start-vs-linux start-vs-floor' test/bench/start.sh
measure 'forward-exo16 forward-linux forward-vs-linux' test/bench/forward.sh
measure "$(printf '%s ' {disk,nvme}-qd{1,32}-{exo16,linux,vs-linux})" test/bench/disks.sh
measure sim-seeds-per-minute sim_figures
[ $asked -eq 1 ] || {
  echo "bench: there is no figure whose name matches '$only'" >&2
  exit 2
}
exit $missing
