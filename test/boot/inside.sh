# What a program says of itself: traces, profiles, counters and faults, on the console and in files.
# limit: 240

traced() {
  program traced <<'CPP'
#include <exo/exo.hpp>
#include <exo/trace.hpp>
exo::u64 turns;
int main() {
  exo::counted const row("turns", 3, turns);
  if (!exo::trace::start(64)) return 1;
  exo::run_on_all([] {
    for (int turn = 0; turn < 100; ++turn) {
      exo::trace::scope const outer("outer \"quoted\"");
      exo::trace::count("turn", static_cast<exo::u64>(turn));
      exo::trace::scope const inner("inner");
      exo::trace::mark("mark");
    }
  });
  turns = 42;
  exo::print("no end of this line: ");
  return exo::trace::print() == 2 * 64 ? 0 : 2;
}
CPP
}

# A viewer's demands on a Chrome trace: known phases, names, tracks that are named, times that are numbers.
trace_file_of() {
  run "$program_file" --net none --trace "$work/trace.json" "$@"
  expect_status 0
  [[ $output != *exo16-trace* ]] || fail "the trace is on the console too"
  jq -e '
    .traceEvents as $all
    | ($all | map(select(.ph == "M" and .name == "thread_name") | .tid) | sort) == [0, 1]
    and ($all | map(select(.ph == "X")) | length > 60 and all(.ts > 0 and .dur >= 0 and (.tid | . == 0 or . == 1)))
    and ($all | map(select(.ph == "i")) | length > 20 and all(.name == "mark" and .s == "t"))
    and ($all | map(select(.ph == "C" and .name == "turn")) | map(.args.value) | max == 99)
    and ($all | map(select(.name == "turns")) | length == 1 and .[0].id == 3 and .[0].args.value == 42)
    and ($all | map(.name) | index("outer \"quoted\"") != null)
    and ($all | map(select(.ph == "X" and .tid == 1) | [.name, .ts, .ts + .dur])
         | (map(select(.[0] == "inner")) | last) as $inner | (map(select(.[0] != "inner")) | last) as $outer
         | $outer[1] <= $inner[1] and $inner[2] <= $outer[2] + 0.002)' "$work/trace.json" >/dev/null ||
    fail "the trace is not what it should be: $(cat "$work/trace.json")"
}

test_trace_file() {
  traced
  trace_file_of
  trace_file_of --bochs
  trace_file_of --native
  trace_file_of --sim

  # The same from a capture of the console, with other text before and between.
  run "$program_file" --net none
  expect_text "no end of this line: exo16-trace: "
  { echo noise; echo "$output" | sed 's/exo16-trace: ,/another core exo16-trace: ,/'; } >"$work/capture"
  tools/inside.sh trace "$work/capture" | jq -e '.traceEvents | length > 100' >/dev/null || fail "a capture gives no trace"
}

# Counters of two cores' loops, a NIC's queue and a disk's, in a printed page and at the end of a trace.
test_counters_of_cores_and_queues() {
  program counting <<'CPP'
#include <exo/drivers/nics.hpp>
#include <exo/exo.hpp>
#include <exo/queue_counters.hpp>
#include <exo/task.hpp>
#include <exo/trace.hpp>
#include <algorithm>
#include <vector>
constexpr exo::u32 reads = 5, frames = 3;
void use(auto &port, exo::disk_queue &disk) {
  for (exo::u32 at = 0; at < frames; ++at) {
    port.try_send(60, [](std::span<std::byte> frame) { std::ranges::fill(frame, std::byte{0xFF}); });
  }
  port.drain(exo::clock::now() + std::chrono::seconds(20));
  auto const block = exo::pages::take(4096);
  for (exo::u32 at = 0; at < reads; ++at) {
    exo::disk_op const one = exo::read_op(exo::lba{at}, block->span().first(512), at);
    (void)disk.try_submit({&one, 1});
    exo::completion done;
    while (disk.try_reap({&done, 1}).value_or(1) == 0) exo::pause();
  }
}
exo::task<void> message_and_print() {
  std::vector<std::array<exo::counted, 8>> loops;
  for (exo::u32 core = 0; core < exo::core_count(); ++core) loops.push_back(exo::list_counters(core, exo::all_counters()[core]));
  (void)exo::try_post(exo::core_id{1}, [] {});
  auto const &other = exo::all_counters()[1];
  while (other.messages == 0 || other.turns == 0) std::ignore = co_await exo::delay(std::chrono::milliseconds(1));
  exo::print_counters();
  exo::trace::print();
}
int main() {
  auto opened = exo::disk::open(exo::disk_id{0});
  auto disk = opened->take_queue();
  auto const on_disk = exo::list_counters("disk0", 0, disk->counters());
  auto const served = exo::with_first_nic([&](auto &port) {
    auto const on_nic = exo::list_counters("nic0", 0, port.counters());
    use(port, *disk);
    (void)exo::run(message_and_print);
  });
  return served ? 0 : 1;
}
CPP
  truncate -s 1M "$work/disk"
  local way
  for way in '--net user' '--net user --nic-model rtl8139' '--sim --net wire'; do
    # shellcheck disable=SC2086  # words
    run "$program_file" $way --disk "$work/disk" --trace "$work/trace.json"
    expect_status 0
    [[ $output =~ 'nic0 sent'\ +0\ +3$'\n' && $output =~ 'disk0 finished'\ +0\ +5$'\n' ]] || fail "$way: $output"
    jq -e '
      def value(name; number): .traceEvents | map(select(.ph == "C" and .name == name and .id == number).args.value)
        | if length == 1 then .[0] else error("not one row: \(name)") end;
      value("nic0 sent"; 0) == 3 and value("nic0 lost"; 0) == 0 and value("disk0 finished"; 0) == 5
      and value("disk0 resets"; 0) == 0 and value("messages"; 0) == 0 and value("messages"; 1) == 1 and value("turns"; 1) > 0' \
      "$work/trace.json" >/dev/null || fail "$way: $(cat "$work/trace.json")"
  done
}

test_no_trace() {
  run hello --net none --trace "$work/trace.json"
  expect_status 0
  expect_text "Hello from 2 cores"
  expect_text "there is no trace: the program has not called"
  [ ! -s "$work/trace.json" ] || fail "there is a trace"
  printf 'exo16-trace: {"displayTimeUnit":"ns","traceEvents":[\nexo16-trace:  {}\n' >"$work/capture"
  output=$(tools/inside.sh trace "$work/capture" 2>&1)
  status=$?
  expect_status 1
  expect_text "the trace is cut off"
}

test_bad_files() {
  refused "'/nosuch/trace' cannot be written" hello --trace /nosuch/trace
  refused "'/nosuch/profile' cannot be written" hello --profile /nosuch/profile
  refused "--profile does not go with --sim" hello --sim --profile "$work/profile"
  refused "do not go with --gdb" hello --gdb --trace "$work/trace"
  local kind
  for kind in "trace /nosuch" "profile /nosuch build/image" "fault Makefile /nosuch" "trace" "nosuch Makefile"; do
    # shellcheck disable=SC2086  # words
    output=$(tools/inside.sh $kind 2>&1)
    status=$?
    expect_status 2
    expect_text "inside.sh: "
  done
  output=$(tools/inside.sh fault Makefile build/image 2>&1)
  status=$?
  expect_status 1
  expect_text "there is no report of a fault"
}

profiled() {
  program profiled <<'CPP'
#include <exo/exo.hpp>
#include <exo/profile.hpp>
[[gnu::noinline]] void leaf(exo::u64 turns) {
  for (; turns != 0; --turns) asm volatile("" : : : "memory");
}
[[gnu::noinline]] void rarely() {
  leaf(2'000'000);
  asm volatile("");
}
[[gnu::noinline]] void often() {
  leaf(18'000'000);
  asm volatile("");
}
int main(int argc, char **) {
  if (auto const started = exo::profile::start(); !started) return 1;
  if (exo::profile::start() || exo::profile::start(0).error() != exo::error::range) return 2;
  exo::run_on_all([&] {
    exo::u64 const end = exo::ticks() + exo::info().tsc_hz;
    // A timer of the program's own, far away: samples have to wait for it.
    if (argc > 1) exo::core().timer_set(exo::ticks() + exo::info().tsc_hz / 2);
    while (exo::ticks() < end) rarely(), often();
  });
  exo::print("before\n");
  exo::u64 const taken = exo::profile::print();
  exo::print("after\n");
  return taken > 20 && exo::profile::print() == 0 ? 0 : 3;
}
CPP
}

profile_file_of() {
  run "$program_file" --net none --profile "$work/folded" "$@"
  expect_status 0
  expect_text before
  expect_text after
  [[ $output != *exo16-profile* ]] || fail "the profile is on the console too"
  ! grep -qvE '^core [01](;[^;]+)+ [1-9][0-9]*$' "$work/folded" || fail "lines that are no folded stacks: $(cat "$work/folded")"
  local core
  for core in 0 1; do
    awk -v core="core $core" '
      index($0, core ";") == 1 && /;often\(\);leaf\(/ { often += $NF }
      index($0, core ";") == 1 && /;rarely\(\);leaf\(/ { rarely += $NF }
      END { exit !(often > 10 && often > 3 * rarely) }' "$work/folded" || fail "core $core: $(cat "$work/folded")"
  done
}

test_profile_file() {
  profiled
  profile_file_of
  profile_file_of --native
}

# A process whose console is read on the way ends as it would alone, also by a signal.
test_process_that_is_read() {
  run "$(traced && echo "$program_file")" --native --cores 1 --trace "$work/trace.json"
  expect_status 2
  endless
  boot "$program_file" --native --trace "$work/trace.json"
  wait_for "$work/console" endless 60
  kill "$machine"
  ended
  expect_status 143
  expect_text "there is no trace"
}

test_profile_lacks_samples() {
  profiled
  run "$program_file" --net none --args timer --profile "$work/folded"
  expect_text "core 1 has "
  expect_text "the program uses the timer itself"
}

test_profile_without_frame_pointers() {
  program bare <<'CPP'
#include <exo/exo.hpp>
#include <exo/profile.hpp>
[[gnu::noinline]] exo::u64 deep(exo::u64 turns) {
  exo::u64 sum = turns;
  for (; turns != 0; --turns) asm volatile("movq $8, %%rbp" : "+r"(sum) : : "memory", "rbp");
  return sum;
}
int main() {
  (void)exo::profile::start();
  exo::u64 const end = exo::ticks() + exo::info().tsc_hz / 2;
  while (exo::ticks() < end) deep(100'000);
  return exo::profile::print() != 0 ? 0 : 1;
}
CPP
  EXO_CXXFLAGS='-fomit-frame-pointer' run "$program_file" --cores 1 --net none --profile "$work/folded"
  expect_status 0
  grep -q 'deep(' "$work/folded" || fail "deep is not in it: $(cat "$work/folded")"
}

test_no_profile() {
  run hello --net none --profile "$work/folded"
  expect_status 0
  expect_text "there is no profile: the program has not called"
}

# Every program: the script says the functions of a report.
test_fault_lines() {
  program faulty <<'CPP'
#include <exo/exo.hpp>
[[gnu::noinline]] void at_fault(int *place) {
  exo::print("{}\n", place);
  *place = 1;
  exo::print("{}\n", place);
}
int main() {
  exo::job other([] { at_fault(reinterpret_cast<int *>(16)); });
  exo::run_on(exo::core_id{1}, other)->wait();
}
CPP
  run "$program_file" --net none
  expect_status 142
  expect_text "exo16: fault #PF vector 14 core 1"
  expect_text "exo16:   in at_fault(int*) at $work/faulty.cpp:4"
  expect_text "exo16:   by exo::detail::run_job(exo::detail::job_state&) at api/exo/smp.hpp:"
  expect_text "exo16:   by smp_entry.idle at src/x86-64/smp.asm:"
  run "$program_file" --bochs
  expect_status 142
  expect_text "exo16:   in at_fault(int*) at $work/faulty.cpp:4"
  run "$program_file" --native
  expect_status 142
  output=$(tools/inside.sh fault - "$(ls -t build/programs/faulty-*.native.elf | head -n 1)" <<<"$output")
  expect_text "exo16:   in at_fault(int*) at $work/faulty.cpp:4"
  expect_text "exo16:   by exo::detail::run_job(exo::detail::job_state&) at api/exo/smp.hpp:"
}

named() {
  program named <<'CPP'
#include <exo/exo.hpp>
#include <exo/fault_report.hpp>
namespace here { struct thing { [[gnu::noinline]] void fail(int kind); }; }
void here::thing::fail(int kind) {
  if (kind == 'd') asm volatile("divl %0" : : "r"(0), "a"(1), "d"(0));
  if (kind == 'b') asm volatile("int3");
  if (kind == 's') asm volatile("movq $8, %%rbp; movq $16, %%rsp; ud2" : : : "memory");
  asm volatile("movq $1, 8" : : : "memory");
}
int main(int, char **argv) {
  exo::report_faults();
  here::thing one;
  if (argv[1][1] == '0') {
    one.fail(argv[1][0]);
  } else {
    exo::run_on_all([&] { if (exo::local().index == 1) one.fail(argv[1][0]); });
  }
  return 0;
}
CPP
}

# A program with report_faults: names in the guest, on every output; the core's own report follows.
test_fault_names() {
  named
  run "$program_file" --net none --args p0
  expect_status 142
  expect_text "exo16: core 0 in here::thing::fail(int)+0x"
  expect_text "exo16: core 0 by main+0x"
  expect_text "exo16: fault #PF vector 14 core 0"
  run "$program_file" --net none --args d1
  expect_status 128
  expect_text "exo16: core 1 in here::thing::fail(int)+0x"
  expect_text "exo16: fault #DE vector 0 core 1"
  run "$program_file" --net none --args b0
  expect_status 131
  expect_text "exo16: core 0 in here::thing::fail(int)+0x"
  expect_text "exo16: fault #BP vector 3 core 0"
  # Registers that lead nowhere.
  run "$program_file" --net none --args s1
  expect_status 134
  expect_text "exo16: core 1 in here::thing::fail(int)+0x"
  expect_text "exo16: fault #UD vector 6 core 1"
  run "$program_file" --bochs --args p0
  expect_status 142
  expect_text "exo16: core 0 in here::thing::fail(int)+0x"
}

# Only programs that ask for it carry the table.
test_symbols_only_where_wanted() {
  named
  run "$program_file" --build-only
  run hello --build-only
  output=$(nm "$(ls -t build/programs/named-*.elf | head -n 1)")
  expect_text " exo_symbol_first"
  output=$(nm build/apps/hello.elf)
  [[ $output != *exo_symbol* ]] || fail "hello has a table"
}
