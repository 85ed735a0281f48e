# A program alone in the simulated machine: test/sim/ is the call table. Sourced by the run script, whose options these are.

SIM_CORES_MAX=8
SIM_DISKS_MAX=4

# Refuses what needs another machine; sets the default of --net.
sim_check() {
  [ -z "$uefi" ] || refuse "--uefi does not go with --sim, which boots nothing. Leave one out."
  [ "${#forwards[@]}" -eq 0 ] || refuse "--forward does not go with --sim, whose NIC is connected to nothing. Leave one out."
  [ -z "$accel" ] || refuse "--accel does not go with --sim, whose time is its own. Leave one out."
  [ "${#qemu_options[@]}" -eq 0 ] || refuse "QEMU OPTIONS do not go with --sim. Leave out what follows '--'."
  [ "$cores" -le $SIM_CORES_MAX ] || refuse "--cores '$cores' is more than the $SIM_CORES_MAX that can be simulated."
  [ "${#disks[@]}" -le $SIM_DISKS_MAX ] || refuse "--sim takes up to $SIM_DISKS_MAX disks, not ${#disks[@]}. Leave some out."
  case ${net:-none} in none | wire) ;; *)
    refuse "--net '$net' does not go with --sim. Give wire, a NIC that is connected to nothing, or none."
    ;;
  esac
  net=${net:-none}
  needs=(build)
}

# Builds the simulator and the program that find_program found.
sim_build() {
  mkdir -p "$top/build/sim"
  flock "$top/build/sim/lock" make --no-print-directory -s -C "$top" build/sim/sim >&2 ||
    refuse "the simulator does not build; the lines above say why."
  "$top/tools/program.sh" "$source" "$prefix.sim" sim >&2 || refuse "$source does not build; the lines above say why."
}

# Becomes the process.
sim_run() {
  local disk
  local -a command=("$top/build/sim/sim" "$prefix.sim.so" --cores "$cores" --mem "$memory_bytes" --args "$args" --seed "${seed:-1}")
  for disk in "${disks[@]}"; do command+=(--disk "$disk"); done
  [ "$net" = none ] || command+=(--nic)
  [ -z "$gdb" ] || command=(gdb -q -iex "set pagination off" -ex "set follow-fork-mode child" -ex "handle SIGUSR1 nostop noprint" --args "${command[@]}")
  if [ -n "$print" ]; then
    echo "${command[@]@Q}"
    exit 0
  fi
  said_run "${command[@]}"
}
