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
test_trace_file() {
  traced
  run "$program_file" --net none --trace "$work/trace.json"
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

  # The same from a capture of the console, with other text before and between.
  run "$program_file" --net none
  expect_text "no end of this line: exo16-trace: "
  { echo noise; echo "$output" | sed 's/exo16-trace: ,/another core exo16-trace: ,/'; } >"$work/capture"
  tools/inside.sh trace "$work/capture" | jq -e '.traceEvents | length > 100' >/dev/null || fail "a capture gives no trace"
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
  refused "do not go with --bochs" hello --bochs --trace "$work/trace"
  refused "do not go with --native" hello --native --profile "$work/profile"
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

test_profile_file() {
  profiled
  run "$program_file" --net none --profile "$work/folded"
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
