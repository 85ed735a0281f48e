# limit: 600
# Programs as processes of this Linux: native/ in place of the core, the same answers to the same programs.
source test/boot/network.sh
source test/boot/wordcount.sh

test_hello() {
  local cores
  for cores in 1 2 4; do
    run hello --native --cores $cores
    expect_status 0
    expect_text "Hello from $cores cores"
  done
  expect_text 'they take turns'
}

test_cores() {
  local options
  for options in '' --asan\ --ubsan --tsan; do
    run cores --native --cores 4 $options
    expect_status 0
    expect_text 'core  3: APIC id 3'
    expect_text 'right, 4 cores'
  done
}

# Programs that have no test of their own here.
test_programs() {
  run pingpong --native
  expect_status 0
  expect_text 'core 0 to core 1 and back'
  run tasks --native --args 10000
  expect_status 0
  expect_text '10000 of 10000 tasks waited at once on 2 cores and came back'
  truncate -s 1M "$work/disk"
  run diskperf --native --disk "$work/disk" --args seconds=1
  expect_status 0
  run sysinfo --native --disk "$work/disk" --args 'a b'
  expect_status 0
  expect_text 'command line: "a b"'
  run screen --native
  expect_status 1
  expect_text 'The machine has no screen'
}

test_disk_queues() {
  truncate -s 8M "$work/disk"
  run test/boot/disk_queues.cpp --native --cores 4 --disk "$work/disk"
  expect_status 0
}

test_wakes() {
  run test/boot/wakes.cpp --native
  expect_status 0
  run test/boot/wakes.cpp --native --tsan
  expect_status 0
}

# Fibers with preemption, and a thousand disk operations at a time.
test_tasks() {
  local options
  for options in '' --asan; do
    run test/boot/fibers.cpp --native --cores 2 $options
    expect_status 0
  done
  run test/boot/fibers.cpp --native --args overflow
  expect_status 142
  expect_text "the stack of fiber 'deep' is full"
  truncate -s 8M "$work/disk"
  for options in '' --asan --tsan; do
    run test/boot/task_io.cpp --native --cores 2 --disk "$work/disk" $options
    expect_status 0
  done
}

test_wordcount() {
  local cores report
  tools/make-text.sh "$work/text" 20000001
  report=$(expected "$work/text")
  for cores in 1 2 4; do
    run wordcount --native --disk "$work/text" --cores $cores
    expect_status 0
    expect_text "$report"$'\nwordcount: '"$cores"
  done
  run wordcount --native
  expect_status 0
  expect_text "$(expected build/text.txt)"
}

test_wordcount_with_sanitizers() {
  local report option
  tools/make-text.sh "$work/text" 1000001
  report=$(expected "$work/text")
  for option in '--asan --ubsan' --tsan; do
    run wordcount --native --disk "$work/text" $option
    expect_status 0
    expect_text "$report"
    [[ $output != *Sanitizer* && $output != *'runtime error'* ]] || fail "$output"
  done
}

test_awkward_texts() {
  local text
  : >"$work/empty"
  printf 'no newline at the end' >"$work/no-newline"
  head -c 1000 /dev/urandom | base64 >"$work/odd-length"
  for text in empty no-newline odd-length; do
    run wordcount --native --disk "$work/$text"
    expect_status 0
    expect_text "$(expected "$work/$text")"
  done
}

test_rawdisk() {
  head -c 65536 /dev/urandom >"$work/disk"
  cp "$work/disk" "$work/before"
  run rawdisk --native --disk "$work/disk" --args 'write 5 hello'
  expect_status 0
  [ "$(dd if="$work/disk" bs=512 skip=5 count=1 status=none | head -c 5)" = hello ] || fail "block 5 is another one"
  cmp -n $((5 * 512)) "$work/disk" "$work/before" || fail "a block before it changed"
  cmp -i $((6 * 512)) "$work/disk" "$work/before" || fail "a block behind it changed"
  [ "$(stat -c %s "$work/disk")" -eq 65536 ] || fail "the file has another size"
  run rawdisk --native --disk "$work/disk" --args 'read 5'
  expect_status 0
  expect_text hello
}

test_read_only_disk() {
  local file=/proc/version command
  [ ! -w $file ] || [ "$(id -u)" -eq 0 ] || fail "$file may be written"
  program disk <<'TEXT'
#include <exo/exo.hpp>
int main() {
  auto memory = exo::pages::take(4096);
  exo::disk_op op{};
  op.address = reinterpret_cast<exo::u64>(memory->data());
  op.bytes = 512;
  op.kind = exo::disk_write;
  auto rings = exo::pages::take(4096);
  exo::core().disk_open(0, 1, 16, rings->data(), 4096);
  exo::print("features {} write {}", exo::info().disks[0].features, exo::core().disk_submit(0, 0, &op, 1));
  op.kind = exo::disk_flush;
  exo::print(" flush {}\n", exo::core().disk_submit(0, 0, &op, 1));
}
TEXT
  truncate -s 4096 "$work/disk"
  run "$program_file" --native --disk "$work/disk"
  expect_text 'features 14 write 1 flush 1'
  command=$(./run_x86-64.sh "$program_file" --native --disk "$work/disk" --print) || fail "$command"
  mount_read_only() {
    mount --bind "$work/disk" "$work/disk" && mount -o remount,bind,ro "$work/disk" || fail "nothing can be mounted"
    eval "$command"
  }
  declare -f mount_read_only fail >"$work/functions"
  output=$(work=$work command=$command unshare --mount --map-root-user bash -c 'source "$work/functions"; mount_read_only' 2>&1)
  expect_text 'features 1 write -8 flush -8'
}

# A file that is no whole blocks: the rest of the last one reads as zeros, and a write makes it whole.
test_last_block() {
  program last <<'TEXT'
#include <exo/exo.hpp>
#include <algorithm>
int main() {
  auto memory = exo::pages::take(4096);
  auto opened = exo::disk::open(exo::disk_id{0});
  exo::disk_blocks blocks(*opened->take_queue());
  auto const block = memory->span().first(512);
  std::ranges::fill(block, std::byte{0xFF});
  if (exo::info().disks[0].blocks != 2 || !blocks.read(exo::lba{1}, block)) return 1;
  bool const text = std::ranges::all_of(block.first(188), [](std::byte each) { return each == std::byte{'x'}; });
  bool const zeros = std::ranges::all_of(block.subspan(188), [](std::byte each) { return each == std::byte{0}; });
  if (!text || !zeros) return 2;
  return blocks.write(exo::lba{1}, block) ? 0 : 3;
}
TEXT
  head -c 700 /dev/zero | tr '\0' x >"$work/disk"
  cp "$work/disk" "$work/before"
  run "$program_file" --native --disk "$work/disk"
  expect_status 0
  truncate -s 1024 "$work/before"
  cmp "$work/disk" "$work/before" || fail "the file has something else in it"
}

test_status() {
  program status <<'TEXT'
#include <exo/exo.hpp>
struct last {
  ~last() { exo::print("destroyed\n"); }
} const at_the_end;
int main(int count, char **arguments) {
  for (int at = 0; at <= count + 1; ++at) exo::print("[{}]", arguments[at] == nullptr ? "null" : arguments[at]);
  if (count > 2) exo::panic("as {} was told", "it");
  return 300;
}
TEXT
  run "$program_file" --native --args "'a b'"
  expect_status 44
  expect_text '[program][a b][null][null]destroyed'
  run "$program_file" --native --args "a b"
  expect_status 121
  expect_text 'exo16: panic: as it was told (core 0)'
}

test_console_input() {
  program input <<'TEXT'
#include <exo/exo.hpp>
int main() {
  char text[8];
  auto const got = exo::read(text);
  exo::print("got {}|", std::string_view(got.data(), got.size()));
}
TEXT
  ./run_x86-64.sh "$program_file" --native --build-only || fail "it does not build"
  output=$( (sleep 0.3; echo -n "a line") | ./run_x86-64.sh "$program_file" --native)
  [ "$output" = 'got a line|' ] || fail "$output"
}

test_reboot() {
  program reboot <<'TEXT'
#include <exo/exo.hpp>
int main() {
  auto memory = exo::pages::take(4096);
  auto opened = exo::disk::open(exo::disk_id{0});
  exo::disk_blocks blocks(*opened->take_queue());
  auto const block = memory->span().first(512);
  if (!blocks.read(exo::lba{0}, block)) return 1;
  if (block[0] == std::byte{7}) return 7;
  block[0] = std::byte{7};
  if (!blocks.write(exo::lba{0}, block)) return 1;
  exo::core().sys_reboot();
}
TEXT
  truncate -s 512 "$work/disk"
  run "$program_file" --native --disk "$work/disk"
  expect_status 7
}

# Aliases, access, demand paging, and what belongs to the process.
test_memory_and_faults() {
  for options in '' --ubsan; do
    run test/native/memory.cpp --native $options
    expect_status 0
  done
}

test_fault_report() {
  program fault <<'TEXT'
#include <exo/exo.hpp>
#include <cstring>
int main(int count, char **arguments) {
  exo::u64 volatile place = 0x123;
  if (count == 1) *reinterpret_cast<int volatile *>(place) = 1;
  if (std::strcmp(arguments[1], "UD") == 0) asm volatile("ud2");
  if (std::strcmp(arguments[1], "GP") == 0) asm volatile("cli");
  if (std::strcmp(arguments[1], "DE") == 0) asm volatile("divl %%ecx" : : "a"(1), "c"(0), "d"(0));
  exo::job work([] { asm volatile("ud2"); });
  auto const running = exo::run_on(exo::core_id{1}, work);
}
TEXT
  run "$program_file" --native
  expect_status 142
  expect_text 'exo16: fault #PF vector 14 core 0'
  expect_text 'cr2 0000000000000123'
  expect_text 'err 0000000000000002'
  run "$program_file" --native --args UD
  expect_status 134
  run "$program_file" --native --args GP
  expect_status 141
  expect_text 'fault #GP'
  run "$program_file" --native --args DE
  expect_status 128
  run "$program_file" --native --args other
  expect_status 134
  expect_text 'fault #UD vector 6 core 1'
  run "$program_file" --native --asan
  expect_text AddressSanitizer
  [ "$status" -ne 0 ] || fail "a program that was ended has status 0"
}

test_sanitizers_find_something() {
  program wrong <<'TEXT'
#include <exo/exo.hpp>
#include <limits>
#include <vector>
int number = std::numeric_limits<int>::max(), shared = 0;
int main(int count, char **) {
  std::vector<int> some(static_cast<std::size_t>(count));
  number += count;
  exo::run_on_all([] { for (int turn = 0; turn < 100000; ++turn) ++*static_cast<int volatile *>(&shared); });
  return some.data()[count] == 77;
}
TEXT
  run "$program_file" --native --asan
  expect_text heap-buffer-overflow
  run "$program_file" --native --ubsan
  expect_text 'signed integer overflow'
  run "$program_file" --native --tsan
  expect_text 'data race'
}

native_echo() {
  boot echo --native --net tap:exo0 --args "ip=10.0.2.15/24 port=7 quit"
  answers_everything
}

test_echo() {
  in_network native_echo
}

test_echo_with_queues() {
  in_network native_echo multi_queue
}

native_echo_with_sanitizer() {
  local option
  for option in --asan --tsan; do
    boot echo --native $option --net tap:exo0 --args quit
    wait_for "$work/console" 10.0.2.15 150
    pinged -f -c 500
    messages 10.0.2.15 7 0 1 1472
    echo -n quit >/dev/udp/10.0.2.15/7
    ended
    expect_status 0
    [[ $output != *Sanitizer* ]] || fail "$output"
  done
}

test_echo_with_sanitizers() {
  in_network native_echo_with_sanitizer
}

call_nic() {
  run test/contract/nic.cpp --native --net tap:exo0
  expect_status 0
}

test_call_nic() {
  in_network call_nic
}

# Two NICs on one bridge, which holds back what the receiver has no buffers for.
nic_queues() {
  local each option command
  sysctl -qw net.ipv6.conf.all.disable_ipv6=1 net.ipv6.conf.default.disable_ipv6=1
  ip tuntap add exo1 mode tap
  ip link add hub type bridge mcast_snooping 0
  for each in exo0 exo1; do ip link set $each master hub txqueuelen 30000 up; done
  ip link set hub up
  for option in '' --asan --tsan; do
    command=$(./run_x86-64.sh test/boot/nic_queues.cpp --native --net tap:exo0 --print $option) || fail "$command"
    output=$(eval "timeout -s KILL 60 $command --net tap:exo1" 2>&1)
    status=$?
    expect_status 0
  done
}

test_nic_queues() {
  in_network nic_queues
}

# Two cores, each with a queue of one NIC: all flows arrive, at both, and waiting takes no time of the processor.
two_queues() {
  local client before
  ip neighbour add 10.0.2.15 lladdr 52:54:00:12:34:56 dev exo0
  boot test/native/queues.cpp --native --net tap:exo0
  wait_for "$work/console" waiting 60
  before=$(cpu_time "$machine")
  sleep 1
  [ $(($(cpu_time "$machine") - before)) -le 10 ] || fail "waiting takes time"
  for client in {1..64}; do echo -n flow >/dev/udp/10.0.2.15/$((7000 + client)); done
  ended
  expect_status 0
}

test_two_queues() {
  in_network two_queues multi_queue
}

# Frames from one TAP device to another.
native_forward() {
  ip neighbour add 10.0.2.15 lladdr 52:54:00:12:34:56 dev exo0
  ip tuntap add exo1 mode tap && ip link set exo1 up
  boot forward --native --net tap:exo0 --net tap:exo1
  wait_for "$work/console" 'frames/s' 60
  while ! grep -q ' [1-9][0-9]* from NIC 0' "$work/console"; do
    echo -n moved >/dev/udp/10.0.2.15/7
    sleep 0.05
  done
  kill "$machine"
  ended
  expect_status 143
}

test_forward() {
  in_network native_forward
}

# echo_as_nobody NET: runs echo as a user without rights; sets `output` and `status`.
echo_as_nobody() {
  local command
  command=$(./run_x86-64.sh echo --native --net "$1" --print) || fail "$command"
  cp build/apps/echo.native.elf "$work/echo"
  chmod 711 "$work"
  command=${command//$PWD\/build\/apps\/echo.native.elf/$work/echo}
  output=$(eval "setpriv --reuid 65534 --clear-groups $command" 2>&1)
  status=$?
}

# A packet socket at one end of a wire of Linux: what it receives has checksums that nobody has filled in.
packet_echo() {
  ip address flush dev exo0
  ip link add exo1 type veth peer name exo2
  ip address add 10.0.2.2/24 dev exo1
  ip link set exo1 up
  ip link set exo2 up
  boot echo --native --net packet:exo2 --args "ip=10.0.2.15/24 port=7 quit"
  answers_everything
  [ "$(id -u)" -eq 0 ] || return 0
  echo_as_nobody packet:exo2
  expect_status 2
  expect_text "the interface 'exo2' may not be used"
  expect_text "Run as root"
}

test_packet_socket() {
  in_network packet_echo
}

# The calls of a NIC, and frames that interrupt a core which only runs.
packet_calls() {
  ip link add exo1 type veth peer name exo2
  ip link set exo1 up
  ip link set exo2 up
  run test/contract/nic.cpp --native --net packet:exo2
  expect_status 0
}

test_packet_calls() {
  in_network packet_calls
}

interrupting_frames() {
  local option
  ip neighbour add 10.0.2.15 lladdr 52:54:00:12:34:56 dev exo0
  for option in '' --tsan; do
    boot test/native/frames.cpp --native $option --net tap:exo0
    wait_for "$work/console" waiting 60
    echo -n hello >/dev/udp/10.0.2.15/7
    ended
    expect_status 0
    [[ $output != *Sanitizer* ]] || fail "$output"
  done
}

test_interrupting_frames() {
  in_network interrupting_frames
}

# The core goes on while its operations are under way, and they end in any order.
test_overlapping_disk() {
  truncate -s 64M "$work/disk"
  run test/native/overlap.cpp --native --disk "$work/disk"
  expect_status 0
  run test/native/overlap.cpp --native --tsan --disk "$work/disk"
  expect_status 0
}

bad_tap() {
  boot echo --native --net tap:exo0
  wait_for "$work/console" 10.0.2.15 60
  refused "is in use by another program" echo --native --net tap:exo0
  kill "$machine"
  ended
  expect_status 143
  ip link add exo1 type bridge
  refused "is not a TAP device" echo --native --net tap:exo1
  [ "$(id -u)" -eq 0 ] || return 0
  echo_as_nobody tap:exo0
  expect_status 2
  expect_text "Run as root"
}

test_bad_tap() {
  in_network bad_tap
}

test_refuses() {
  refused "there is no disk file" hello --native --disk "$work/none"
  refused "--net user" hello --native --net user
  refused "--net user" hello --native --net none --net packet:lo --net user
  refused "takes up to 4 --net, not 5" hello --native --net packet:lo --net packet:lo --net packet:lo --net packet:lo --net packet:lo
  refused "there is no network device 'none0'" hello --native --net tap:none0
  refused "there is no network device 'none0'" hello --native --net packet:none0
  refused "goes with --native only" hello --net packet:lo
  refused "--accel does not go with --native" hello --native --accel tcg
  refused "--forward does not go with --native" hello --native --forward 7:7
  refused "--uefi does not go with --native" hello --native --uefi
  refused "one way to boot at a time" hello --native --usb
  refused "QEMU OPTIONS do not go with --native" hello --native -- -S
  refused "--tsan does not go with other sanitizers" hello --native --asan --tsan
  refused "goes with --native only" hello --asan
  refused "is not a number of 1 to 255" hello --native --cores 256
  (ulimit -v 8000000 && refused "memory to be had" hello --native --mem 64G) || return 1
}

test_does_not_build() {
  program wrong <<<'int main() { return nothing; }'
  run "$program_file" --native
  expect_status 2
  expect_text "does not build"
}

test_gdb() {
  ./run_x86-64.sh hello --native --build-only || fail "it does not build"
  output=$(./run_x86-64.sh hello --native --gdb 2>&1 <<<$'break exo::core_count\nrun\nbacktrace\nkill\nquit')
  expect_text 'hello.cpp:4'
}
