#include <exo/task_port.hpp>

#include <catch2/catch.hpp>
#include <chrono>
#include <cstddef>
#include <exo/when.hpp>
#include <span>
#include <tuple>

#include "fake_nic.hpp"
#include "machine_with_loops.hpp"

using exo::error;
using exo::result;
using exo::task;
using namespace std::chrono_literals;

namespace {

alignas(exo::page_bytes) std::byte rings[exo::page_bytes];
std::byte memory[256 << 10];

/// A machine with a card, of which a port has `count` buffers each way.
struct with_card : machine_with_loops {
  explicit with_card(std::size_t count)
      : machine_with_loops({.cores = 1}), nic(*exo::nic::open(0, 1, 64, rings)), buffers(count) {}
  ~with_card() { CHECK(card.violations.empty()); }

  [[nodiscard]] exo::frame_port port() {
    std::size_t const needed = exo::frame_port::memory_bytes(nic.record(), buffers);
    return *exo::frame_port::open(*nic.take_queue(), std::span(memory).first(needed));
  }
  void arrive(int count) {
    for (int each = 0; each < count; ++each) REQUIRE(card.arrive(bytes(60, static_cast<std::byte>(each))));
  }

  fake_nic card;
  exo::nic nic;
  std::size_t buffers;
};

/// Runs test(machine, port) as a task.
template <typename Test>
void run_with(with_card &at, Test test) {
  CHECK(exo::run([&] {
    return [](with_card &machine, Test body) -> task<void> {
      exo::task_port port(machine.port());
      co_await body(machine, port);
    }(at, test);
  }));
}

task<result<std::size_t>> receive(exo::task_port &port) {
  co_return co_await port.receive([](exo::net::received_frame const &frame) { CHECK(frame.bytes.size() == 60); });
}
task<result<void>> send(exo::task_port &port, std::size_t size, int &filled) {
  co_return co_await port.send(size, [&filled](std::span<std::byte> frame) {
    ++filled;
    std::ranges::fill(frame, static_cast<std::byte>(filled));
  });
}
task<void> halted(with_card &at) {
  while (at.card.idle_deadlines.empty()) std::ignore = co_await exo::delay(1ms);
}
task<void> arrive_later(with_card &at, int count) {
  co_await halted(at);
  at.arrive(count);
}
task<void> transmit_later(with_card &at) {
  co_await halted(at);
  CHECK(at.card.wire.empty());
  at.card.transmit();
}

}  // namespace

TEST_CASE("task_port: a task waits for frames, and the loop halts meanwhile") {
  with_card at(64);
  run_with(at, [](with_card &machine, exo::task_port &port) -> task<void> {
    auto const [got, arrived] = co_await exo::when_all(receive(port), arrive_later(machine, 3));
    CHECK(got == 3u);
    CHECK(machine.card.queues[0].armed == exo::ring_rx);
    machine.arrive(40);  // while nobody waits
    auto const batch = co_await receive(port);
    CHECK(batch == 32u);
    auto const rest = co_await receive(port);
    CHECK(rest == 8u);
  });
}

TEST_CASE("task_port: a frame that is sent leaves in the same turn; without a free buffer the task waits for one") {
  with_card at(2);
  run_with(at, [](with_card &machine, exo::task_port &port) -> task<void> {
    int filled = 0;
    auto const [one, two, three, sent] = co_await exo::when_all(send(port, 60, filled), send(port, 61, filled),
                                                                send(port, 1514, filled), transmit_later(machine));
    CHECK(one);
    CHECK(two);
    CHECK(three);
    CHECK(filled == 3);
    CHECK(machine.card.queues[0].armed == (exo::ring_rx | exo::ring_tx));
    CHECK(machine.card.queues[0].sending.size() == 1);
    machine.card.transmit();
    REQUIRE(machine.card.wire.size() == 3);
    CHECK(machine.card.wire[1] == bytes(61, std::byte{2}));
    CHECK(machine.card.wire[2].size() == 1514);
    auto const long_one = co_await send(port, 1515, filled);
    CHECK(long_one.error() == error::range);
    CHECK(filled == 3);
  });
}

TEST_CASE("task_port: frames that nobody waits for do not keep a task from waiting for a buffer") {
  with_card at(1);
  run_with(at, [](with_card &machine, exo::task_port &port) -> task<void> {
    machine.arrive(1);
    int filled = 0;
    auto const [one, two, sent] =
        co_await exo::when_all(send(port, 60, filled), send(port, 60, filled), transmit_later(machine));
    CHECK(two);
    CHECK(machine.card.idle_deadlines[0] != exo::no_deadline);  // it is polled
    auto const got = co_await receive(port);
    CHECK(got == 1u);
  });
}

TEST_CASE("task_port: waits that are cancelled take nothing, and leave nothing behind") {
  with_card at(1);
  run_with(at, [](with_card &machine, exo::task_port &port) -> task<void> {
    auto const nothing = co_await exo::with_timeout(1ms, receive(port));
    CHECK(nothing.error() == error::timeout);
    machine.arrive(1);
    auto const past = co_await exo::with_deadline(0, receive(port));
    CHECK(past.error() == error::timeout);
    auto const got = co_await receive(port);
    CHECK(got == 1u);
    int filled = 0;
    auto const first = co_await send(port, 60, filled);
    CHECK(first);
    auto const full = co_await exo::with_timeout(1ms, send(port, 60, filled));
    CHECK(full.error() == error::timeout);
    CHECK(filled == 1);
  });
}

TEST_CASE("task_port: tasks that are served in the same turn all go on, though the first cancels the others") {
  with_card at(64);
  run_with(at, [](with_card &machine, exo::task_port &port) -> task<void> {
    machine.arrive(40);
    auto const [first, got] = co_await exo::when_any(receive(port), receive(port), receive(port));
    CHECK(first == 0);
    CHECK(std::get<0>(got) == 32u);
    CHECK(std::get<1>(got) == 8u);  // what it was given is not lost
    CHECK(std::get<2>(got).error() == error::cancelled);
    int filled = 0;
    auto const sent = co_await exo::when_any(send(port, 60, filled), send(port, 60, filled));
    CHECK(std::get<0>(sent.values));
    CHECK(std::get<1>(sent.values));
    CHECK(filled == 2);
  });
}
