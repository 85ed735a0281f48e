# The GDB stub in a program: gdb over the serial port, every core a thread.
# limit: 240

# stubbed: a program on two cores that waits for gdb; sets `program_file` and `elf`.
stubbed() {
  program stubbed <<'CPP'
#include <exo/exo.hpp>
#include <exo/gdb_stub.hpp>
exo::u64 volatile total;
double volatile scale = 1.5;
[[gnu::noinline]] exo::u64 add(exo::u64 value) {
  total = total + value;
  return total;
}
[[gnu::noinline]] void work() {
  static std::atomic<exo::u64> rounds{0};
  while (rounds < 3) {
    exo::sleep_for(std::chrono::milliseconds(1));
    scale = 2 * scale;
    ++rounds;
  }
}
[[gnu::noinline]] void fault(exo::u64 *place) { *place = 5; }
[[gnu::noinline]] void endless() {
  for (;;) asm volatile("" : : : "memory");
}
[[gnu::noinline]] void on_other_core(void (*function)()) {
  exo::job other([=] { function(); });
  auto running = exo::run_on(exo::core_id{1}, other);
  running->wait();
}
int main(int argc, char **argv) {
  char const wish = argc > 1 ? argv[1][0] : 's';
  exo::gdb_stub const debugger(wish == 'l' || wish == 'n' ? exo::gdb_wait::no : exo::gdb_wait::yes);
  exo::print("first line\n");
  if (wish == 'l') on_other_core(endless);
  if (wish == 'f') fault(reinterpret_cast<exo::u64 *>(8));
  if (wish == 'n') on_other_core([] { fault(reinterpret_cast<exo::u64 *>(8)); });
  if (wish == 'p') exo::panic("that was {}", "wrong");
  for (exo::u64 turn = 1; turn <= 3; ++turn) add(turn);
  on_other_core(work);
  exo::print("total {}\n", exo::u64{total});
  return static_cast<int>(total & 0x7F);
}
CPP
  run "$program_file" --build-only
  expect_status 0
  make --no-print-directory -s symbols || fail "there are no symbols of the core"
  elf=$(ls -t build/programs/stubbed-*.elf | head -n 1)
}

# stub_boot ARGUMENTS...: boots it with its console on a socket.
stub_boot() {
  local tries
  stubbed
  boot "$program_file" --net none --serial "$work/serial" "$@"
  for ((tries = 600; tries > 0; tries--)); do
    [ ! -S "$work/serial" ] || return 0
    sleep 0.05
  done
  fail "there is no socket"
}

# debug COMMANDS...: a session of gdb; sets `session` to what it says.
debug() {
  local command options=()
  for command in "$@"; do options+=(-ex "$command"); done
  session=$(timeout --foreground -s KILL 80 gdb -q -nx -batch -iex 'set pagination off' -iex 'set confirm off' \
    -iex "set remotetimeout 20" "$elf" -ex "target remote $work/serial" "${options[@]}" 2>&1)
}

# said TEXT...: gdb said all of them, in this order.
said() {
  local text rest=$session
  for text in "$@"; do
    [[ $rest == *"$text"* ]] || fail "gdb did not say: $text"$'\n'"$session"
    rest=${rest#*"$text"}
  done
}

test_session() {
  stub_boot
  debug "add-symbol-file build/core.elf" 'info threads' 'break add' continue 'print value' 'info threads' 'thread 2' backtrace \
    'thread 1' 'set var total = 40' 'print $rip == &add || 1' 'print $xmm3.v2_int64[1] = 77' 'print $xmm3.v2_int64[1]' \
    'set var $r15 = 0x1234' 'info registers r15' 'print *(long*)0x10' 'print *(long*)0x8000000000000000' \
    'set var *(char*)0x10 = 1' finish 'delete' 'break work' continue 'info threads' backtrace 'stepi' 'stepi' \
    'p $_thread' 'delete' 'print total' 'set var total = 99' continue
  said '2    Thread 2 (core 1, idle)' 'hit Breakpoint 1' 'add (value=value@entry=1)' '$1 = 1' '* 1    Thread 1 (core 0)' core_idle \
    '= 77' '= 77' 'r15            0x1234' 'Cannot access memory at address 0x10' \
    'Cannot access memory at address 0x8000000000000000' 'Cannot access memory at address 0x10' 'Value returned is' '= 41' \
    'Thread 2 hit Breakpoint 2, work ()' '* 2    Thread 2 (core 1)' 'run_job' '= 2' '= 46' 'total 99' \
    'exited with code 0143'
  ended
  expect_status 99
}

test_watchpoints() {
  stub_boot
  debug 'watch total' continue continue delete 'hbreak work' continue 'awatch scale' continue continue \
    delete continue
  said 'Hardware watchpoint' 'Old value = 0' 'New value = 1' 'Old value = 1' 'New value = 3' 'Hardware assisted breakpoint' \
    'Thread 2 hit Breakpoint 2, work ()' 'Thread 2 hit Hardware access (read/write) watchpoint' 'alue = 1.5' \
    'Old value = 1.5' 'New value = 3' 'total 6'
  ended
  expect_status 6
}

test_only_one_thread_goes() {
  stub_boot
  debug 'break work' continue 'set scheduler-locking on' 'stepi 20' 'info threads' 'set scheduler-locking off' delete continue
  said 'Thread 2 hit Breakpoint 1' '* 2    Thread 2 (core 1)' 'total 6'
  ended
  expect_status 6
}

# A fault is a stop; the variable that was wrong can be put right.
test_fault() {
  stub_boot --args fault
  debug continue 'print place' 'info registers rip' 'set var $rdi = (long)&total' continue
  said 'first line' 'received signal SIGSEGV' 'fault (place=place@entry=0x8)' '= (exo::u64 *) 0x8' 'total 11'
  ended
  expect_status 11
}

# Without gdb a fault is what it always is.
test_fault_without_gdb() {
  stubbed
  run "$program_file" --net none --args nobody
  expect_status 142
  expect_text "first line"
  expect_text "exo16: fault #PF vector 14 core 1"
  expect_text "in fault(unsigned long*)"
}

test_panic() {
  stub_boot --args panic
  debug continue 'backtrace' continue
  said 'exo16: panic: that was wrong (core 0)' 'signal SIGABRT' 'exo::panic' 'exited with code 0171'
  ended
  expect_status 121
}

test_detach() {
  stub_boot
  debug 'break add' continue detach
  said 'hit Breakpoint 1'
  ended
  expect_status 6
}

# Ctrl-C stops a program, also a core that is in a loop; gdb goes, and comes again to the program that runs.
test_comes_later() {
  local tries
  stub_boot --cores 2 --args later
  (
    for ((tries = 60; tries > 0; tries--)); do
      [ ! -e "$work/stopped" ] || exit
      [ ! -e "$work/goes" ] || kill -INT "$(cat "$work/goes")"
      sleep 1
    done
  ) &
  env --default-signal=INT timeout --foreground -s KILL 80 gdb -q -nx -batch -iex 'set pagination off' -iex 'set confirm off' \
    -iex 'set remotetimeout 20' "$elf" -ex "target remote $work/serial" -ex "shell echo \$PPID >'$work/goes'" -ex continue \
    -ex "shell touch '$work/stopped'" -ex 'thread 2' -ex backtrace -ex detach -ex 'echo again\n' \
    -ex "target remote $work/serial" -ex 'info threads' -ex 'thread 2' -ex backtrace -ex kill >"$work/session" 2>&1
  session=$(cat "$work/session")
  said 'signal SIGINT' 'endless ()' again 'Thread 2 (core 1)' 'endless ()' 'Inferior 1'
  ended
  expect_status 122
}

test_bad_packets() {
  stub_boot
  # As gdb sends them by hand: unknown, cut off, out of range. None ends the session.
  debug 'maintenance packet Zz' 'maintenance packet m' 'maintenance packet m10' 'maintenance packet m0,10' \
    'maintenance packet Hg99' 'maintenance packet T77' 'maintenance packet p999' 'maintenance packet P0=1' \
    'maintenance packet G00' 'maintenance packet M200000,4:0' 'maintenance packet Z0,1,1' 'maintenance packet Z1' \
    'maintenance packet Z2,1001,8' 'maintenance packet qThreadExtraInfo,0' 'maintenance packet mffffffffffffff00,200' \
    'maintenance packet qXfer:features:read:target.xml:99999,1' continue
  said 'received: ""' 'received: "E01"' 'received: "E01"' 'received: "E14"' 'received: "E01"' 'received: "E01"' \
    'received: "E01"' 'received: "E01"' 'received: "E01"' 'received: "E01"' 'received: ""' 'received: "E01"' \
    'received: "E22"' 'received: "E01"' 'received: "E14"' 'received: "E01"' 'total 6'
  ended
  expect_status 6
}

test_bad_sockets() {
  : >"$work/there"
  refused "'$work/there' exists" hello --serial "$work/there"
  refused "'/nosuch/serial' cannot be made" hello --serial /nosuch/serial
  refused "--serial does not go with --bochs" hello --bochs --serial "$work/serial"
  refused "--serial does not go with --native" hello --native --serial "$work/serial"
  refused "--serial takes the console away" hello --serial "$work/serial" --trace "$work/trace"
}
