# limit: 900
# The simulated machine: the same seed is the same run, planted bugs are found, and what is wrong is said in a sentence.

# sim NAME=VALUE...: runs a scenario; sets `output` and `status`.
sim() {
  output=$(env JOBS=2 "$@" tools/sim.sh 2>&1 </dev/null)
  status=$?
}

# traced SCENARIO NAME=VALUE...: runs 50 seeds; sets `trace` to the sum of what happened.
traced() {
  sim SCENARIO="$1" SEED=1 SEEDS=50 "${@:2}"
  expect_status 0
  trace=${output##*trace }
}

# Two runs, and builds that share no instruction.
test_same_trace() {
  local scenario first
  for scenario in ping journal; do
    traced $scenario
    first=$trace
    traced $scenario JOBS=1
    [ "$trace" = "$first" ] || fail "$scenario: another trace in another run"
    traced $scenario EXO_CXXFLAGS=-O0
    [ "$trace" = "$first" ] || fail "$scenario: another trace without optimization"
  done
}

test_same_trace_of_clang() {
  local first
  traced ping
  first=$trace
  traced ping EXO_CXX=clang++-19
  [ "$trace" = "$first" ] || fail "another trace of another compiler's program"
}

test_seeds_differ() {
  local first
  traced ping
  first=$trace
  sim SCENARIO=ping SEED=51 SEEDS=50
  [ "${output##*trace }" != "$first" ] || fail "other seeds have the same trace"
}

# planted SCENARIO REASON: right it passes 1,000 seeds, wrong it fails within 1,000; what is left of the faults fails too,
# without them it passes.
planted() {
  local seed only
  sim SCENARIO="$1" SEEDS=1000
  expect_status 0
  sim SCENARIO="$1" SEEDS=1000 EXO_CXXFLAGS=-DEXO_PLANTED
  expect_status 1
  expect_text "$2"
  [[ $output =~ SEED=([0-9]+)\ FAULTS=\'([a-z0-9. ]+)\' ]] || fail "there is no command to run it again: $output"
  seed=${BASH_REMATCH[1]} only=${BASH_REMATCH[2]}
  [ "$(wc -w <<<"$only")" -le 12 ] || fail "that is no short schedule: $only"
  sim SCENARIO="$1" SEED="$seed" EXO_CXXFLAGS=-DEXO_PLANTED
  expect_status 1
  expect_text "$2"
  sim SCENARIO="$1" SEED="$seed" FAULTS="$only" TRACE=1 EXO_CXXFLAGS=-DEXO_PLANTED
  expect_status 1
  expect_text "$2"
  expect_text ' ms  '
  sim SCENARIO="$1" SEED="$seed" FAULTS=none EXO_CXXFLAGS=-DEXO_PLANTED
  expect_status 0
}

test_finds_a_lost_wake() {
  planted handoff 'every core is idle'
}

test_finds_a_missing_flush() {
  planted journal 'a number that was promised is gone'
}

test_finds_a_double_completion() {
  planted requests 'client ended with status 1'
}

# meets SCENARIO SEEDS: cores that meet pass so many interleavings; where one of them does not care for the others, one fails.
meets() {
  sim SCENARIO="$1" SEEDS="$2"
  expect_status 0
  sim SCENARIO="$1" SEEDS=200 EXO_CXXFLAGS=-DEXO_PLANTED
  expect_status 1
  expect_text "$1 fails with seed"
}

# Locks, barriers, latches, channels, per-core variables, collectives.
test_cores_meet() {
  meets sync 10000
}

# Algorithms on all cores, with forks that are stolen and helpers that halt.
test_cores_share_work() {
  meets parallel 1500
}

# Blocks of a heap that is short of memory, freed by other cores than took them.
test_cores_share_a_heap() {
  meets heap 3000
}

# Run loops with full rings, calls between them and cancellation; channels between tasks and fibers.
test_loops_meet() {
  meets loops 1000
  sim SCENARIO=channels SEEDS=1000
  expect_status 0
}

test_finds_wrong_memory() {
  program scene <<'TEXT'
#include <sim/scenario.hpp>
#include <exo/exo.hpp>
#include <cstdlib>
int send() {
  auto rings = exo::pages::take(65536);
  exo::core().nic_open(0, 1, 16, rings->data(), 65536);
  exo::frame one{};
  one.address = 0x123456;  // nothing lies there
  one.bytes = 60;
  exo::core().nic_tx(0, 0, &one, 1);
  exo::core().core_idle(exo::ticks() + 1'000'000);
  return 0;
}
void scenario(sim::setup &world) {
  auto &one = world.add_machine("one", send), &two = world.add_machine("two", send);
  world.connect(one, two);
}
TEXT
  sim SCENARIO="$program_file"
  expect_status 1
  expect_text 'was given memory that is neither RAM nor the program'
}

# A program that crashes, one that never ends, and one whose globals have to be new at every start.
test_ends_of_programs() {
  program scene <<'TEXT'
#include <sim/scenario.hpp>
#include <exo/exo.hpp>
#include <vector>
struct noisy {
  std::vector<int> some{1, 2, 3};
  noisy() { exo::print("made\n"); }
  ~noisy() { exo::print("gone\n"); }
} thing;
int starts = 0;
thread_local int mine = 7;
int run() {
  if (++starts != 1 || mine != 7 || thing.some.size() != 3) return 9;
  mine = 8;
  thing.some.clear();
  exo::job other([] { if (mine != 7) exo::panic("shared"); });
  if (auto running = exo::run_on(exo::core_id{1}, other)) running->wait();
#if ENDING == 1
  *reinterpret_cast<int volatile *>(mine) = 1;
#elif ENDING == 2
  for (;;) exo::core().core_idle(exo::ticks() + 1'000'000);
#endif
  return mine == 8 ? 0 : 3;
}
void scenario(sim::setup &world) {
  world.limit = std::chrono::seconds(1);
  for (char const *name : {"one", "two"}) {
    sim::machine &each = world.add_machine(name, run);
    each.cores = 2;
    each.cut = 0.5;
    each.cut_within = std::chrono::microseconds(20);
  }
}
void check(sim::outcome &after) {
  for (unsigned each = 0; each < 2; ++each) {
    if (!after.output(each).ends_with("gone\n")) after.fail("no destructor");
  }
}
TEXT
  sim SCENARIO="$program_file" SEEDS=200
  expect_status 0
  sim SCENARIO="$program_file" SEEDS=3 EXO_CXXFLAGS=-DENDING=1
  expect_status 1
  expect_text 'fault #PF vector 14 core 0'
  expect_text 'ended with status 142'
  sim SCENARIO="$program_file" SEEDS=3 EXO_CXXFLAGS=-DENDING=2
  expect_status 1
  expect_text 'no end within the limit of virtual time'
}

# A program of apps/ alone, without a change.
test_programs() {
  run hello --sim --cores 3
  expect_status 0
  expect_text 'Hello from 3 cores'
  run cores --sim --cores 4 --seed 7
  expect_status 0
  expect_text 'right, 4 cores'
  printf 'one two two\n' >"$work/text"
  run wordcount --sim --disk "$work/text"
  expect_status 0
  expect_text 'two'
}

test_refuses() {
  sim SCENARIO=none
  expect_status 2
  expect_text "there is no scenario 'none'. There are: "
  sim SCENARIO="$work/none.cpp"
  expect_status 2
  expect_text "there is no file"
  local seed
  for seed in x -1 1.5 18446744073709551615 99999999999999999999 123456789012345678901; do
    sim SCENARIO=ping SEED=$seed
    expect_status 2
    expect_text "is not a number of 0 to 18446744073709551614"
  done
  sim SCENARIO=ping SEEDS=0
  expect_status 2
  sim SCENARIO=ping SEEDS=2 FAULTS=none
  expect_status 2
  expect_text "go with one seed"
  sim SCENARIO=ping SEED=1 FAULTS=lose.0
  expect_status 2
  expect_text "is no fault"
  sim SCENARIO=
  expect_status 2
  expect_text "which scenario?"
  refused "more than the 8 that can be simulated" hello --sim --cores 9
  refused "goes with --sim only" hello --seed 1
  refused "is not a number" hello --sim --seed x
  refused "connected to nothing" hello --sim --net user
}
