#include <array>
#include <catch2/catch.hpp>
#include <exo/frame_port.hpp>
#include <set>

#include "fake_nic.hpp"

namespace {

alignas(exo::page_bytes) std::byte rings[exo::page_bytes];
std::byte memory[256 << 10];

/// An open card and a port with `count` buffers each way, at an odd address.
struct open_port {
  explicit open_port(std::size_t count, fake_nic::shape const &shape = {})
      : card(shape),
        nic(*exo::nic::open(0, 1, 64, rings)),
        port(*exo::frame_port::open(*nic.take_queue(), std::span(memory).subspan(1, needed(count)))) {}
  ~open_port() { CHECK(card.violations.empty()); }

  [[nodiscard]] std::size_t needed(std::size_t count) const {
    return exo::frame_port::memory_bytes(nic.record(), count);
  }

  bool send(std::size_t size, int value) {
    return port.try_send(size, [&](std::span<std::byte> frame) {
      CHECK(frame.size() == size);
      std::ranges::fill(frame, static_cast<std::byte>(value));
    });
  }

  fake_nic card;
  exo::nic nic;
  exo::frame_port port;
};

}  // namespace

TEST_CASE("frame_port: is what the NIC is") {
  open_port at(4, {.mtu = 9000});
  CHECK(at.port.mac() == exo::net::mac_address{{0x52, 0x54, 0, 0x12, 0x34, 0x56}});
  CHECK(at.port.mtu() == 9000);
  CHECK(at.card.queues[0].posted.front().bytes >= 9018);
}

TEST_CASE("frame_port: a NIC without an address gets one of its own") {
  exo::net::mac_address const mac = open_port(4, {.has_mac = false}).port.mac();
  CHECK(mac != exo::net::mac_address{{0x02}});
  CHECK((mac.octets[0] & 3) == 2);
}

TEST_CASE("frame_port: lends half of the buffers with few doorbells, at most the depth") {
  {
    open_port few(3);
    CHECK(few.card.queues[0].posted.size() == 3);
    CHECK(few.card.queues[0].rx_doorbells == 1);
  }
  open_port many(70);
  CHECK(many.card.queues[0].posted.size() == 64);
  CHECK(many.card.queues[0].rx_doorbells == 2);
}

TEST_CASE("frame_port: buffers lie inside the memory and apart") {
  open_port at(5);
  std::set<exo::u64> firsts;
  for (auto const &each : at.card.queues[0].posted) {
    firsts.insert(each.address);
    CHECK(each.address >= reinterpret_cast<exo::u64>(memory));
    CHECK(each.address + each.bytes <= reinterpret_cast<exo::u64>(memory + sizeof memory));
  }
  for (int count = 0; count < 5; ++count) CHECK(at.send(1514, count));
  at.port.flush();
  for (auto const &[each, content] : at.card.queues[0].sending) firsts.insert(each.address);
  REQUIRE(firsts.size() == 10);
  exo::u64 end = 0;
  for (exo::u64 const first : firsts) {
    CHECK(first >= end);
    end = first + 1518;
  }
}

TEST_CASE("frame_port: too little memory for one buffer each way") {
  fake_nic card;
  auto nic = exo::nic::open(0, 1, 16, rings);
  auto queue = nic->take_queue();
  std::size_t const pair = exo::frame_port::memory_bytes(nic->record(), 1) - 64;
  alignas(64) static std::byte aligned[4096];
  auto const opens = [&](std::span<std::byte> room) { return exo::frame_port::open(std::move(*queue), room); };
  CHECK(opens({}).error() == exo::error::memory);
  CHECK(opens(std::span(aligned).first(pair - 1)).error() == exo::error::memory);
  CHECK(opens(std::span(aligned).subspan(1, pair)).error() == exo::error::memory);
  CHECK(card.queues[0].posted.empty());
  CHECK(opens(std::span(aligned).first(pair)).has_value());
}

TEST_CASE("frame_port: a NIC that was closed meanwhile") {
  fake_nic card;
  auto nic = exo::nic::open(0, 1, 16, rings);
  auto queue = nic->take_queue();
  { exo::nic const closed = std::move(*nic); }
  CHECK(exo::frame_port::open(std::move(*queue), memory).error() == exo::error::closed);
}

TEST_CASE("frame_port: receives in order, for longer than the ring is deep, and loses nothing") {
  open_port at(8);
  int expected = 0;
  for (int round = 0; round < 100; ++round) {
    for (int count = 0; count < round % 9; ++count)
      REQUIRE(at.card.arrive(bytes(static_cast<std::size_t>(60 + count), static_cast<std::byte>(expected + count))));
    int count = 0;
    at.port.try_receive([&](exo::net::received_frame frame) {
      CHECK(frame.bytes.size() == static_cast<std::size_t>(60 + count));
      CHECK(frame.bytes.front() == static_cast<std::byte>(expected + count));
      CHECK_FALSE(frame.checksum_good);
      ++count;
    });
    REQUIRE(count == round % 9);
    expected += count;
    CHECK(at.card.queues[0].posted.size() == 8);
  }
}

TEST_CASE("frame_port: a burst comes in batches of 32") {
  open_port at(64);
  for (int count = 0; count < 40; ++count) REQUIRE(at.card.arrive(bytes(60)));
  auto const nothing = [](exo::net::received_frame) {};
  CHECK(at.port.try_receive(nothing) == 32);
  CHECK(at.port.try_receive(nothing) == 8);
  CHECK(at.port.try_receive(nothing) == 0);
}

TEST_CASE("frame_port: tells of checksums that the device vouches for") {
  open_port at(2);
  for (exo::u64 const flag : {exo::frame_checksum, exo::frame_checksum_good}) {
    at.card.arrive(bytes(60), 0, flag);
    at.port.try_receive([](exo::net::received_frame frame) { CHECK(frame.checksum_good); });
  }
}

TEST_CASE("frame_port: sends nothing before flush, then all with one doorbell") {
  open_port at(8);
  for (int count = 0; count < 3; ++count) CHECK(at.send(60, count));
  CHECK(at.card.queues[0].sending.empty());
  at.port.flush();
  at.port.flush();
  CHECK(at.card.queues[0].tx_doorbells == 1);
  at.card.transmit();
  REQUIRE(at.card.wire.size() == 3);
  CHECK(at.card.wire[2] == bytes(60, std::byte{2}));
}

TEST_CASE("frame_port: a full batch leaves by itself") {
  open_port at(40);
  for (int count = 0; count < 32; ++count) CHECK(at.send(60, count));
  CHECK(at.card.queues[0].sending.size() == 32);
}

TEST_CASE("frame_port: no buffer free, no fill; reaped buffers are used again") {
  open_port at(4);
  for (int round = 0; round < 50; ++round) {
    for (int count = 0; count < 4; ++count) REQUIRE(at.send(60, count));
    CHECK_FALSE(at.port.try_send(60, [](std::span<std::byte>) { FAIL("filled"); }));
    at.port.flush();
    CHECK_FALSE(at.send(60, 9));
    at.card.transmit();
  }
  CHECK(at.card.wire.size() == 200);
}

TEST_CASE("frame_port: a frame longer than the MTU is refused") {
  open_port at(1);
  CHECK_FALSE(at.port.try_send(1515, [](std::span<std::byte>) { FAIL("filled"); }));
  CHECK(at.send(1514, 1));
}

TEST_CASE("frame_port: a device that refuses gives the buffers back") {
  open_port at(2);
  CHECK(at.send(60, 1));
  CHECK(at.send(13, 2));  // shorter than its header, so the whole batch is refused
  at.port.flush();
  CHECK(at.send(60, 3));
  CHECK(at.send(60, 4));
  at.port.flush();
  at.card.transmit();
  CHECK(at.card.wire.size() == 2);
}

TEST_CASE("frame_port: sending while receiving") {
  open_port at(4);
  for (int count = 0; count < 4; ++count) REQUIRE(at.card.arrive(bytes(60, static_cast<std::byte>(count))));
  at.port.try_receive([&](exo::net::received_frame frame) {
    CHECK(at.send(60, std::to_integer<int>(frame.bytes[0])));
  });
  at.port.flush();
  at.card.transmit();
  REQUIRE(at.card.wire.size() == 4);
  CHECK(at.card.wire[3] == bytes(60, std::byte{3}));
}

TEST_CASE("frame_port: wait arms and halts until the deadline") {
  open_port at(1);
  at.port.wait(exo::clock::time_point(std::chrono::nanoseconds(12345)));
  CHECK(at.card.queues[0].armed == exo::ring_rx);
  CHECK(at.card.idle_deadlines == std::vector<exo::u64>{12345});
}

TEST_CASE("frame_port: wait does not halt over a frame that is there") {
  open_port at(1);
  at.card.arrive(bytes(60));
  at.port.wait();
  CHECK(at.card.idle_deadlines.empty());
}

TEST_CASE("frame_port: wait flushes, and without a free buffer also waits for one") {
  open_port at(1);
  CHECK(at.send(60, 1));
  at.port.wait();
  CHECK(at.card.queues[0].sending.size() == 1);
  CHECK(at.card.queues[0].armed == (exo::ring_rx | exo::ring_tx));
  at.card.transmit();
  at.port.wait();
  CHECK(at.card.idle_deadlines.size() == 1);
}

TEST_CASE("frame_port: wait looks every millisecond at a device without interrupts") {
  open_port at(1, {.interrupts = false});
  auto const before = exo::ticks();
  at.port.wait();
  REQUIRE(at.card.idle_deadlines.size() == 1);
  CHECK(at.card.idle_deadlines[0] >= before + 1'000'000);
  CHECK(at.card.idle_deadlines[0] <= exo::ticks() + 1'000'000);
}

TEST_CASE("frame_port: drain waits for the last frame, with a bound") {
  open_port at(4);
  CHECK(at.port.drain(exo::clock::now()));
  CHECK(at.send(60, 1));
  CHECK_FALSE(at.port.drain(exo::clock::now() + std::chrono::milliseconds(1)));
  at.card.transmit();
  CHECK(at.port.drain(exo::clock::now() + std::chrono::milliseconds(1)));
}
