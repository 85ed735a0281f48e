#include <array>
#include <catch2/catch.hpp>
#include <exo/nic.hpp>
#include <type_traits>

#include "fake_nic.hpp"

namespace {

alignas(exo::page_bytes) std::byte rings[3 * exo::page_bytes];
std::array<std::byte, 2048> buffer;

exo::frame frame_of(std::size_t size, exo::u64 cookie) { return exo::frame_at(buffer.data(), size, cookie); }

static_assert(!std::is_copy_constructible_v<exo::nic> && !std::is_copy_constructible_v<exo::nic_queue>);
static_assert(std::is_nothrow_move_constructible_v<exo::nic> && std::is_nothrow_move_assignable_v<exo::nic>);

}  // namespace

TEST_CASE("nic: opens with ring memory and closes itself once") {
  fake_nic card;
  {
    auto opened = exo::nic::open(0, 2, 64, rings);
    REQUIRE(opened);
    CHECK(card.is_open);
    CHECK(opened->record().mtu == 1500);
    CHECK(exo::nic::ring_bytes(opened->record(), 2, 64) == 2 * 64 * 64);
    exo::nic moved = std::move(*opened);
    CHECK(card.closes == 0);
  }
  CHECK_FALSE(card.is_open);
  CHECK(card.closes == 1);
}

TEST_CASE("nic: a device that does not reset is told of, and not closed again") {
  fake_nic card;
  card.resets = false;
  {
    auto opened = exo::nic::open(0, 1, 16, rings);
    CHECK(opened->close().error() == exo::error::timeout);
  }
  CHECK(card.closes == 1);
}

TEST_CASE("nic: move assignment keeps one owner") {
  fake_nic card;
  auto first = exo::nic::open(0, 1, 16, rings);
  REQUIRE(first);
  {
    exo::nic second = std::move(*first);
    *first = std::move(second);
  }
  CHECK(card.is_open);
  CHECK(first->take_queue().has_value());
}

TEST_CASE("nic: open reports every error and leaves the NIC as it was") {
  fake_nic card;
  CHECK(exo::nic::open(1, 1, 64, rings).error() == exo::error::no_such);
  CHECK(exo::nic::open(0, 0, 64, rings).error() == exo::error::range);
  CHECK(exo::nic::open(0, 3, 64, rings).error() == exo::error::range);
  CHECK(exo::nic::open(0, 1, 65, rings).error() == exo::error::range);
  CHECK(exo::nic::open(0, 1, 64, std::span(rings).subspan(8)).error() == exo::error::pointer);
  CHECK(exo::nic::open(0, 1, 64, std::span(rings).first(4095)).error() == exo::error::memory);
  CHECK_FALSE(card.is_open);
  auto const opened = exo::nic::open(0, 1, 64, rings);
  REQUIRE(opened);
  CHECK(exo::nic::open(0, 1, 64, rings).error() == exo::error::busy);
  CHECK(card.is_open);
  CHECK(card.closes == 0);
}

TEST_CASE("nic: opens for long frames where the NIC can") {
  {
    fake_nic card;
    CHECK(exo::nic::open(0, 1, 64, rings, exo::long_frames::yes).error() == exo::error::unsupported);
    CHECK_FALSE(card.is_open);
  }
  fake_nic card({.offloads = exo::nic_long});
  for (auto const lengths : {exo::long_frames::yes, exo::long_frames::no}) {
    auto opened = exo::nic::open(0, 1, 64, rings, lengths);
    REQUIRE(opened);
    CHECK(card.opened_long == (lengths == exo::long_frames::yes));
    CHECK(opened->take_queue().has_value());
    CHECK(opened->take_queue().error() == exo::error::no_such);
  }
  // A number of queues is never taken for the flag.
  CHECK(exo::nic::open(0, exo::nic_open_long + 1, 64, rings).error() == exo::error::range);
}

TEST_CASE("nic: each queue is taken once") {
  fake_nic card;
  auto opened = exo::nic::open(0, 2, 16, rings);
  auto first = opened->take_queue();
  auto second = opened->take_queue();
  REQUIRE((first && second));
  CHECK(opened->take_queue().error() == exo::error::no_such);
  exo::frame const frame = frame_of(60, 1);
  CHECK(second->try_send({&frame, 1}) == 1u);
  CHECK(card.queues[0].sending.empty());
  CHECK(card.queues[1].sending.size() == 1);
  CHECK(second->depth() == 16);
}

TEST_CASE("nic: link state") {
  fake_nic card;
  auto const opened = exo::nic::open(0, 1, 16, rings);
  CHECK(opened->link());
  card.link_up = false;
  CHECK_FALSE(opened->link());
}

TEST_CASE("nic_queue: a full transmit ring takes what fits, and cookies come back") {
  fake_nic card;
  auto opened = exo::nic::open(0, 1, 16, rings);
  auto queue = opened->take_queue();
  std::array<exo::frame, 20> frames;
  for (exo::u64 index = 0; index < frames.size(); ++index) frames[index] = frame_of(60 + index, 100 + index);
  CHECK(queue->try_send(frames) == 16u);
  CHECK(card.queues[0].tx_doorbells == 1);
  CHECK(queue->try_send(std::span(frames).subspan(16)) == 0u);

  std::array<exo::completion, 32> done;
  CHECK(queue->try_reap(done) == 0u);
  card.transmit(3);
  REQUIRE(queue->try_reap(done) == 3u);
  CHECK(done[0].cookie == 100);
  CHECK(done[2].cookie == 102);
  CHECK(queue->try_send(std::span(frames).subspan(16)) == 3u);
  CHECK(card.wire[1].size() == 61);
}

TEST_CASE("nic_queue: a bad frame is refused with the whole batch") {
  fake_nic card;
  auto opened = exo::nic::open(0, 1, 16, rings);
  auto queue = opened->take_queue();
  std::array const frames{frame_of(60, 1), frame_of(1515, 2)};
  CHECK(queue->try_send(frames).error() == exo::error::range);
  CHECK(card.queues[0].sending.empty());
}

TEST_CASE("nic_queue: posted buffers come back with what arrived") {
  fake_nic card;
  auto opened = exo::nic::open(0, 1, 16, rings);
  auto queue = opened->take_queue();
  std::array<exo::frame, 4> out;
  CHECK(queue->try_receive(out) == 0u);
  std::array const empty{frame_of(1024, 7), exo::frame_at(buffer.data() + 1024, 1024, 8)};
  CHECK(queue->try_post(empty) == 2u);
  CHECK(card.arrive(bytes(60, std::byte{1})));
  CHECK(card.arrive(bytes(1000, std::byte{2})));
  CHECK_FALSE(card.arrive(bytes(60, std::byte{3})));
  REQUIRE(queue->try_receive(out) == 2u);
  CHECK((out[0].cookie == 7 && out[0].bytes == 60));
  CHECK((out[1].cookie == 8 && out[1].bytes == 1000));
  CHECK(buffer[1024] == std::byte{2});
}

TEST_CASE("nic_queue: arm tells of work that is pending already") {
  fake_nic card;
  auto opened = exo::nic::open(0, 1, 16, rings);
  auto queue = opened->take_queue();
  exo::frame const empty = frame_of(2048, 1);
  REQUIRE(queue->try_post({&empty, 1}) == 1u);
  CHECK(queue->arm(exo::ring_rx) == false);
  CHECK(card.queues[0].armed == exo::ring_rx);
  card.arrive(bytes(60));
  CHECK(queue->arm(exo::ring_rx) == true);
  CHECK(queue->arm(exo::ring_tx) == false);
  CHECK(queue->arm(0).error() == exo::error::range);
}

TEST_CASE("nic_queue: arm on a device without interrupts") {
  fake_nic card({.interrupts = false});
  auto opened = exo::nic::open(0, 1, 16, rings);
  CHECK(opened->take_queue()->arm(exo::ring_rx).error() == exo::error::unsupported);
}

TEST_CASE("nic_queue: every call on a closed NIC or a moved-from queue fails") {
  fake_nic card;
  std::array<exo::frame, 1> frames{frame_of(60, 1)};
  std::array<exo::completion, 1> done;
  auto const fails = [&](exo::nic_queue &queue, exo::error why) {
    CHECK(queue.try_send(frames).error() == why);
    CHECK(queue.try_reap(done).error() == why);
    CHECK(queue.try_post(frames).error() == why);
    CHECK(queue.try_receive(frames).error() == why);
    CHECK(queue.arm(exo::ring_rx).error() == why);
  };
  auto opened = exo::nic::open(0, 1, 16, rings);
  auto queue = opened->take_queue();
  exo::nic_queue taken = std::move(*queue);
  fails(*queue, exo::error::no_such);
  *queue = std::move(taken);
  fails(taken, exo::error::no_such);
  CHECK(queue->try_send(frames) == 1u);
  { exo::nic const closed = std::move(*opened); }
  fails(*queue, exo::error::closed);
}
