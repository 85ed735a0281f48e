#!/bin/bash
# Runs a scenario in the simulator; see doc/simulator.md.
#
#   SCENARIO=name|FILE.cpp   one under test/sim/scenarios, or a file
#   SEED=N                   the first seed; default 1
#   SEEDS=N                  how many from there on; default 1000, and 1 if SEED is given
#   FAULTS="FAULT ..."         only these faults happen, as a failing run prints them; `none` for a calm run. One seed only
#   TRACE=1                  prints what happens, one line for each call and each device
#   JOBS=N                   processes; default: the processors
#
# Exit status: 0 it passes, 1 it fails with a seed that is printed, 2 wrong use, or it does not build.
set -euo pipefail
top=$(cd "$(dirname "$(realpath "${BASH_SOURCE[0]}")")/.." && pwd)
me=sim
source "$top/tools/program-names.sh"

scenarios=$top/test/sim/scenarios
known() {
  local file names=
  for file in "$scenarios"/*.cpp; do names+=", $(basename "${file%.cpp}")"; done
  echo "${names#, }"
}

# is_number NAME LEAST: refuses a value that is no number; 64 bits are enough for every seed there is.
is_number() {
  local value=${!1}
  [[ $value =~ ^[0-9]{1,20}$ ]] && { [ ${#value} -lt 20 ] || [[ ! $value > 18446744073709551614 ]]; } &&
    { [ "$2" -eq 0 ] || [[ ! $value =~ ^0*$ ]]; } ||
    refuse "$1='$value' is not a number of $2 to 18446744073709551614. Give the one that a failing run printed, or leave it out."
}

name=${SCENARIO-}
[ -n "$name" ] || refuse "which scenario? Give SCENARIO=NAME, one of: $(known); or the path of a .cpp file."
case $name in
*.cpp | */*)
  [ -e "$name" ] || refuse "there is no file '$name'. Check the path of the scenario."
  source=$name
  ;;
*)
  source=$scenarios/$name.cpp
  [ -e "$source" ] || refuse "there is no scenario '$name'. There are: $(known); or give the path of a .cpp file."
  ;;
esac
[ -z "${SEED-}" ] || is_number SEED 0
[ -z "${SEEDS-}" ] || is_number SEEDS 1
[ -z "${JOBS-}" ] || is_number JOBS 1
seeds=${SEEDS:-$([ -n "${SEED-}${FAULTS-}${TRACE-}" ] && echo 1 || echo 1000)}
[ "$seeds" -eq 1 ] || [ -z "${FAULTS-}${TRACE-}" ] || refuse "FAULTS and TRACE go with one seed. Give SEED=N, and SEEDS=1 or none."

"$top/tools/need.sh" build || exit 2
find_program "$source"
variant=$(printf '%s\n' "$source" "${EXO_CXX-}" "${EXO_CXXFLAGS-}" | cksum | cut -d ' ' -f 1)
prefix=$top/build/sim/programs/$(basename "${source%.cpp}")-$variant
mkdir -p "$top/build/sim"
flock "$top/build/sim/lock" make --no-print-directory -s -C "$top" build/sim/sim >&2 ||
  refuse "the simulator does not build; the lines above say why."
"$top/tools/program.sh" "$source" "$prefix" sim >&2 || refuse "$source does not build; the lines above say why."
command=("$top/build/sim/sim" "$prefix.so" --name "$name" --seed "${SEED:-1}" --seeds "$seeds" --jobs "${JOBS:-$(nproc)}")
[ -z "${FAULTS-}" ] || command+=(--only "$FAULTS")
[ -z "${TRACE-}" ] || command+=(--trace)
exec "${command[@]}"
