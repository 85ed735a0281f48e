# Bochs as the machine. Sourced by the run script, whose options, files and `work`, the folder of the run, it uses.

BOCHS_CORES_MAX=8
BOCHS_MEMORY_MAX_MIB=2048
BOCHS_SECTORS=63 BOCHS_HEADS=16  # of the disk; the firmware needs a geometry, the loader does not
BOCHS_END_S=2                    # how long Bochs may take to end after the program has

# bochs_check: refuses the options that Bochs has nothing for.
bochs_check() {
  [ -z "$uefi" ] || refuse "--uefi does not go with --bochs, which has a BIOS only. Leave one out."
  [ "$cores" -le $BOCHS_CORES_MAX ] || refuse "--cores '$cores' is more than the $BOCHS_CORES_MAX that Bochs has."
  [ $((memory_bytes % (1 << 20))) -eq 0 ] && [ "$memory_bytes" -le $((BOCHS_MEMORY_MAX_MIB << 20)) ] ||
    refuse "--mem '$memory' is no whole number of MiB up to ${BOCHS_MEMORY_MAX_MIB}M, as Bochs needs it."
  [ ${#disks[@]} -eq 0 ] || refuse "--disk does not go with --bochs, which has no disk that the core drives. Leave one out."
  [ "${net:-none}" = none ] || refuse "--net '$net' does not go with --bochs, which has no NIC that the core drives. Leave one out."
  [ ${#forwards[@]} -eq 0 ] || refuse "--forward does not go with --bochs, which has no NIC that the core drives. Leave one out."
  [ -z "$gdb" ] || refuse "--gdb does not go with --bochs. Leave one out."
  [ -z "$accel" ] || refuse "--accel does not go with --bochs, which interprets. Leave one out."
  [ ${#qemu_options[@]} -eq 0 ] || refuse "QEMU options after -- do not go with --bochs. Leave them out."
  net=none
  needs+=(bochs)
}

# bochs_machine: sets `command` to a Bochs machine as the options say.
bochs_machine() {
  local cylinders=$((BOCHS_HEADS * BOCHS_SECTORS * 512)) console=file,dev=$work/console
  boot_file disk boot.img
  truncate -s %$cylinders "$boot"
  cylinders=$(($(stat -c %s "$boot") / cylinders))
  if [ -z "$print$trace$profile" ] && [ -t 0 ] && [ -t 1 ]; then console=term,dev=$(tty); fi
  cat >"$work/machine" <<TEXT
plugin_ctrl: iodebug=1, speaker=0, sb16=0, gameport=0, parallel=0
display_library: term
megs: $((memory_bytes >> 20))
romimage: file=/usr/share/bochs/BIOS-bochs-latest, options=fastboot
vgaromimage: file=/usr/share/bochs/VGABIOS-lgpl-latest
cpu: model=corei7_haswell_4770, count=$cores, ips=200000000, reset_on_triple_fault=0
clock: sync=none, time0=utc
ata0-master: type=disk, path="$boot", mode=flat, cylinders=$cylinders, heads=$BOCHS_HEADS, spt=$BOCHS_SECTORS
boot: disk
com1: enabled=1, mode=$console
debug: action=ignore, unmapped=report
log: $work/log
TEXT
  echo c >"$work/commands"  # to Bochs' debugger: go on
  command=(env TERM=dumb bochs -q -f "$work/machine" -rc "$work/commands")
}

# bochs_start: starts `command`; sets `machine` to its process id, and `watching` to those that read what it says.
#
# Bochs' own exit status says nothing. But its log has what is written to ports without a device: the core's status.
bochs_start() {
  # This script keeps a writer of each open, 6 and 8, so that their readers neither wait for Bochs nor end before it.
  mkfifo "$work/log" "$work/console"
  exec 6<>"$work/log" 7<"$work/log" 8<>"$work/console" 9<"$work/console"
  # Its standard output is the screen; what that shows goes to the serial port too. It ignores SIGTERM.
  stop_signal=KILL
  setsid "${command[@]}" </dev/null >/dev/null 2>"$work/errors" 6>&- 7<&- 8>&- 9<&- &
  machine=$!
  grep --line-buffered -aE 'unmapped: 8-bit write to 00f5 = |>>PANIC<<' <&7 6>&- 8>&- 9<&- |
    bochs_watch "$machine" 6>&- 7<&- 8>&- 9<&- &
  watching=($!)
  if grep -q 'mode=term' "$work/machine"; then
    bochs_terminal "$machine" <&0 6>&- 7<&- 8>&- 9<&- &
  else
    said_both <&9 6>&- 7<&- 8>&- 9<&- &
  fi
  watching+=($!)
  exec 7<&- 9<&-
}

# bochs_watch PROCESS: takes the status out of the log, and ends a Bochs that does not end then.
bochs_watch() {
  local line tries
  while IFS= read -r line; do
    case $line in
    *'write to 00f5 = '*)
      printf "\\x${line##* }" >>"$work/status"
      (
        for ((tries = BOCHS_END_S * 20; tries > 0; tries--)); do
          kill -0 "$1" 2>/dev/null || exit 0
          sleep 0.05
        done
        kill -KILL "$1" 2>/dev/null
      ) &
      ;;
    *'shutdown requested') ;;
    *) echo "${line##*>>PANIC<< }" >>"$work/errors" ;;
    esac
  done
  wait
}

# bochs_terminal PROCESS: Bochs makes the terminal raw, each time that the UART is set up; but Ctrl-C is to be a signal, and
# lines are to begin at the left.
bochs_terminal() {
  while kill -0 "$1" 2>/dev/null; do
    [[ $(stty -a) != *-isig* ]] || stty isig intr '^C' opost onlcr
    sleep 0.1
  done
}

# bochs_ended: waits until all that Bochs said has been read.
bochs_ended() {
  exec 6>&- 8>&-
  wait "${watching[@]}" || true
}
