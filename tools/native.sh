# A program as a process of this Linux: native/ is the call table. Sourced by the run script, whose options these are.

NATIVE_NICS_MAX=4

# Refuses what needs a machine; sets the default of --net.
native_check() {
  [ -z "$uefi" ] || refuse "--uefi does not go with --native, which boots nothing. Leave one out."
  [ "${#forwards[@]}" -eq 0 ] || refuse "--forward does not go with --native. Give --net tap:NAME or packet:NAME."
  [ "${#nets[@]}" -le $NATIVE_NICS_MAX ] || refuse "--native takes up to $NATIVE_NICS_MAX --net, not ${#nets[@]}. Leave some out."
  [ -z "$accel" ] || refuse "--accel does not go with --native, which emulates nothing. Leave one out."
  [ "${#qemu_options[@]}" -eq 0 ] || refuse "QEMU OPTIONS do not go with --native. Leave out what follows '--'."
  [[ " ${nets[*]} " != *' user '* ]] || refuse "--net user is QEMU's own network. With --native give tap:NAME, packet:NAME or none."
  case $sanitizers in *--tsan*--[au]* | *--[au]*--tsan*)
    refuse "--tsan does not go with other sanitizers. Run the program once with each."
    ;;
  esac
  net=${net:-none}
  needs=(build)
}

# Builds the program that find_program found; `prefix` becomes another one for each set of sanitizers.
native_build() {
  local names=
  case $sanitizers in *--asan*) names+=,address ;; esac
  case $sanitizers in *--ubsan*) names+=,undefined ;; esac
  case $sanitizers in *--tsan*) names+=,thread ;; esac
  prefix+=.native${names//,/-}
  "$top/tools/program.sh" "$source" "$prefix" native "${names#,}" >&2 ||
    refuse "$source does not build; the lines above say why."
}

# Becomes the process.
native_run() {
  local processors disk each
  local -a command=("$prefix.elf" --cores "$cores" --mem "$memory_bytes" --args "$args")
  for disk in "${disks[@]}"; do command+=(--disk "$disk"); done
  for each in "${nets[@]}"; do command+=(--net "$each"); done
  [ -z "$gdb" ] || command=(gdb -q -iex "set pagination off" --args "${command[@]}")
  if [ -n "$print" ]; then
    echo "${command[@]@Q}"
    exit 0
  fi
  processors=$(nproc)
  [ "$cores" -le "$processors" ] ||
    echo "$me: this machine has $processors processors for $cores cores: they take turns, so times say little." >&2
  said_run "${command[@]}"
}
