# What programs say of themselves on the console: traces, profiles, the reports of faults. Sourced by the run script, whose
# options and `work`, the folder of the run, it uses.

# said_listen: keeps of the console's text, on standard input, what is for said_files.
said_listen() {
  trap '' INT TERM HUP  # until the machine has ended
  LC_ALL=C awk -v said="$work/said" -v report="$work/report" '
    /exo16-(trace|profile): / { print >said; next }
    /exo16: fault / { fault = 1 }
    fault { print >report }'
}

# said_show: passes the console's text on; with --trace or --profile line by line, and without what is for their files.
said_show() {
  trap '' INT TERM HUP
  if [ -n "$trace$profile" ]; then
    grep --line-buffered -avE 'exo16-(trace|profile): '
  else
    cat
  fi
}

# said_both: shows and keeps the text on standard input.
said_both() {
  local listening
  trap '' INT TERM HUP
  mkfifo "$work/copy"
  said_listen <"$work/copy" &
  listening=$!
  tee "$work/copy" | said_show
  wait "$listening"
}

# said_files: writes the files of --trace and --profile, and the functions and lines of a fault.
said_files() {
  [ -z "$trace$profile" ] || touch "$work/said"
  [ -z "$trace" ] || "$top/tools/inside.sh" trace "$work/said" >"$trace" || true
  [ -z "$profile" ] || { said_symbols && "$top/tools/inside.sh" profile "$work/said" "$prefix.elf" >"$profile"; } || true
  [ ! -s "$work/report" ] || { said_symbols && "$top/tools/inside.sh" fault "$work/report" "$prefix.elf" >&2; } || true
}

# said_symbols: makes those of the core, which a process has not.
said_symbols() {
  case $way in native | sim) return 0 ;; esac
  flock "$top/build/lock" make --no-print-directory -s -C "$top" symbols >&2
}

# said_run COMMAND...: becomes a process whose standard output is the console. With --trace or --profile it ends when that
# does, with its status, and the files are written.
said_run() {
  local process showing status
  [ -n "$trace$profile" ] || exec "$@"
  work=$(mktemp -d "${TMPDIR:-/tmp}/exo16.XXXXXX")
  trap 'rm -rf "$work"' EXIT
  mkfifo "$work/console"
  said_both <"$work/console" &
  showing=$!
  "$@" <&0 >"$work/console" &
  process=$!
  # A signal ends the first wait; the process then ends by itself.
  trap 'kill -INT "$process"' INT
  trap 'kill -TERM "$process"' TERM
  trap 'kill -HUP "$process"' HUP
  wait "$process" && status=0 || status=$?
  ! kill -0 "$process" 2>/dev/null || { wait "$process" && status=0 || status=$?; }
  wait "$showing" || true
  said_files
  exit "$status"
}
