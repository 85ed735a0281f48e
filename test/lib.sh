# What the tests in shell files use. Sourced by test/one.sh at the repository's top.
#
# `work` is a folder for the test alone, and for all that it starts; it goes when the test ends. A test passes when it returns 0.

work=$(mktemp -d)
export TMPDIR=$work
machine=
trap 'clean_up; rm -rf "$work"' EXIT

# Ends what boot started, if it still runs.
clean_up() {
  [ -z "$machine" ] || kill "$machine" 2>/dev/null
}

fail() {
  echo "failed: $*"
  exit 1
}

# accelerated ARGUMENTS...: sets `accel` to TCG, unless the arguments choose another accelerator, Bochs or no machine.
accelerated() {
  accel=(--accel tcg)
  case " $* " in *' --accel '* | *' --bochs '* | *' --native '* | *' --sim '*) accel=() ;; esac
}

# run ARGUMENTS...: runs the run script; see accelerated. Sets `output` (console and messages) and `status`.
run() {
  local accel
  accelerated "$@"
  output=$(./run_x86-64.sh "${accel[@]}" "$@" 2>&1 </dev/null)
  status=$?
}

expect_status() {
  [ "$status" -eq "$1" ] || fail "exit status $status, not $1. Output:"$'\n'"$output"
}

# expect_text TEXT: the output has it, as it is.
expect_text() {
  [[ $output == *"$1"* ]] || fail "the output lacks: $1"$'\n'"Output:"$'\n'"$output"
}

# refused TEXT ARGUMENTS...: the run script ends with status 2 and a message with TEXT, without starting QEMU.
refused() {
  local text=$1
  shift
  run "$@"
  expect_status 2
  expect_text "$text"
  [ "$(wc -l <<<"$output")" -eq 1 ] || fail "more than a sentence: $output"
}

# program NAME: writes standard input to NAME.cpp in the test's folder, and sets `program_file` to its path.
program() {
  program_file=$work/$1.cpp
  cat >"$program_file"
}

# endless: a program that prints its name and stays; sets `program_file` as program does.
endless() {
  program endless <<'CPP'
#include <exo/exo.hpp>
int main() {
  exo::print("endless\n");
  for (;;) exo::core().core_idle(~0ull);
}
CPP
}

# wait_for FILE TEXT SECONDS: until the file has the text.
wait_for() {
  local tries
  for ((tries = $3 * 20; tries > 0; tries--)); do
    ! grep -qF -- "$2" "$1" 2>/dev/null || return 0
    sleep 0.05
  done
  cat "$1"
  fail "after $3 s there is still no: $2"
}

# wait_for_lines FILE PATTERN COUNT SECONDS: until so many lines of the file match.
wait_for_lines() {
  local tries
  for ((tries = $4 * 20; tries > 0; tries--)); do
    [ "$(grep -c -- "$2" "$1" 2>/dev/null)" -lt "$3" ] || return 0
    sleep 0.05
  done
  cat "$1"
  fail "after $4 s there are still no $3 lines with: $2"
}

# boot PROGRAM OPTIONS...: builds PROGRAM and starts it in the background, with Ctrl-C not ignored.
# Its console goes to $work/console, its process id to `machine`.
boot() {
  local accel
  accelerated "$@"
  env --default-signal=INT ./run_x86-64.sh "${accel[@]}" "$@" >"$work/console" 2>&1 </dev/null &
  machine=$!
}

# ended: waits for the machine that boot started; sets `status` and `output`.
ended() {
  wait "$machine"
  status=$?
  output=$(cat "$work/console")
}

# in_network FUNCTION [KIND ARGUMENTS...]: runs a function of the test, with the arguments, in a network namespace of its own,
# with a TAP device exo0 of that kind at 10.0.2.2/24 on this side. Root is needed, or user namespaces.
in_network() {
  local user=()
  [ "$(id -u)" -eq 0 ] || user=(--user --map-root-user)
  declare -f >"$work/functions"
  unshare "${user[@]}" --net bash -c '
    set -uo pipefail
    work=$1 machine=
    source "$work/functions"
    trap clean_up EXIT
    ip link set lo up
    ip tuntap add exo0 mode tap ${3-} && ip address add 10.0.2.2/24 dev exo0 && ip link set exo0 up ||
      fail "there is no TAP device to be had; are you root?"
    "$2" "${@:3}"
  ' bash "$work" "$1" "${@:2}"
}

# echo_replies: how many Linux has received in this namespace.
echo_replies() {
  awk '$1 == "Icmp:" { if (at) print $at; else for (at = NF; $at != "InEchoReps"; --at); }' /proc/net/snmp
}

# all_pinged OPTIONS...: each ping to 10.0.2.15 is answered. Linux counts the answers: ping itself waits for the last one
# no longer than two round trips, which a busy machine may exceed.
all_pinged() {
  local report before tries
  before=$(echo_replies)
  report=$(ping -n -q -W 5 "$@" 10.0.2.15) && [[ $report =~ ([0-9]+)' packets transmitted, '([0-9]+)' received, '[0-9.]+'% packet loss' ]] ||
    fail "$report"
  for ((tries = 100; tries > 0; tries--)); do
    [ $(($(echo_replies) - before)) -lt "${BASH_REMATCH[1]}" ] || return 0
    sleep 0.05
  done
  fail "$(($(echo_replies) - before)) answers: $report"
}

# bochs_boot IMAGE CPUS [MODEL]: boots an image in Bochs, which ends when the program does. `bochs_lines` are more lines of
# its configuration. Sets `output` to the serial console, which is in $work/serial.
bochs_boot() {
  local bytes cylinders
  bytes=$(stat -c %s "$1")
  cylinders=$(((bytes + 16 * 63 * 512 - 1) / (16 * 63 * 512)))
  truncate -s $((cylinders * 16 * 63 * 512)) "$1"
  cat >"$work/bochsrc" <<RC
plugin_ctrl: iodebug=1, speaker=0, sb16=0, gameport=0, parallel=0
display_library: term
megs: 64
romimage: file=/usr/share/bochs/BIOS-bochs-latest, options=fastboot
vgaromimage: file=/usr/share/bochs/VGABIOS-lgpl-latest
cpu: model=${3:-corei7_haswell_4770}, count=$2, ips=200000000, reset_on_triple_fault=0
clock: sync=none, time0=1
ata0-master: type=disk, path=$1, mode=flat, cylinders=$cylinders, heads=16, spt=63
boot: disk
com1: enabled=1, mode=file, dev=$work/serial
log: $work/bochs.log
${bochs_lines-}
RC
  echo c >"$work/bochs.commands"
  # Bochs' own exit status says nothing, and it ignores SIGTERM. Some of its devices write into the current folder.
  TERM=dumb timeout --foreground -s KILL 60 env -C "$work" bochs -q -f "$work/bochsrc" -rc "$work/bochs.commands" >"$work/screen" 2>&1 </dev/null
  output=$(cat "$work/serial" 2>/dev/null)
}
