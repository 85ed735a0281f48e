# Debugging: source lines of the program, labels and lines of the core.

debugged_program() {
  program debugged <<'CPP'
#include <exo/exo.hpp>
[[gnu::noinline]] int inner(int value) {
  exo::print("inner {}\n", value);
  exo::core().core_idle(0);
  return value + 1;
}
int main() { return inner(6); }
CPP
}

test_gdb_shows_source() {
  local command
  debugged_program
  boot "$program_file" --net none --gdb
  wait_for "$work/console" "target remote" 60
  command=$(sed -n "s/.* waiting for: //p" "$work/console")
  output=$(eval "timeout --foreground -s KILL 60 $command -batch" -ex "'hbreak core_entry'" -ex continue \
    -ex "'info symbol \$pc'" -ex "'info line *\$pc'" -ex continue -ex "'hbreak inner'" -ex continue -ex backtrace \
    -ex "'hbreak core_idle'" -ex continue -ex backtrace -ex detach 2>&1)
  expect_text "core_entry in section .core"
  expect_text 'src/x86-64/core.asm"'
  expect_text "inner (value=value@entry=6) at"
  expect_text "in main () at"
  expect_text "core_idle () at src/"
  expect_text "in inner (value=value@entry=6)"
  ended
  expect_status 7
}

# The script starts gdb itself when there is a terminal. Each line is typed when gdb asks for it.
test_gdb_in_a_terminal() {
  local line prompts=0
  debugged_program
  mkfifo "$work/keys"
  TERM=dumb timeout --foreground -s KILL 100 \
    script -qec "./run_x86-64.sh '$program_file' --accel tcg --net none --gdb" /dev/null <"$work/keys" >"$work/screen" 2>&1 &
  exec 3>"$work/keys"
  for line in continue 'hbreak core_idle' continue 'backtrace 3' delete continue quit; do
    prompts=$((prompts + 1))
    wait_for_lines "$work/screen" '^(gdb) ' $prompts 60
    echo "$line" >&3
  done
  wait $!
  status=$?
  exec 3>&-
  output=$(cat "$work/screen")
  expect_text "main () at"
  expect_text "inner 6"
  expect_text "core_idle () at src/"
  expect_status 7
}
