#include <exo/drivers/virtio.hpp>

#include <array>
#include <catch2/catch.hpp>
#include <deque>
#include <random>
#include <vector>

#include "fake.hpp"

using exo::u16;
using exo::u32;
using exo::u64;
using exo::virtio_part;
using exo::virtio_ring;

namespace {

constexpr u32 size = 8;

/// The device's side of a ring, byte by byte as virtio 1.2 §2.7 has it.
struct device_side {
  alignas(16) std::array<std::byte, 4096> memory{};
  u16 doorbell = 0xEEEE;
  virtio_ring ring{memory.data(), size, reinterpret_cast<u64>(&doorbell)};

  template <typename T>
  T &at(u64 offset) {
    return *reinterpret_cast<T *>(memory.data() + offset);
  }
  static constexpr u64 available = size * 16, used = (available + 6 + 2 * size + 7) / 8 * 8;

  u16 announced() { return at<u16>(available + 2); }
  u16 head(u16 number) { return at<u16>(available + 4 + number % size * 2u); }
  u16 flags(u16 descriptor) { return at<u16>(descriptor * 16u + 12); }
  u16 next(u16 descriptor) { return at<u16>(descriptor * 16u + 14); }
  void answer(u32 id, u32 bytes) {
    u16 const index = at<u16>(used + 2);
    at<u32>(used + 4 + index % size * 8u) = id;
    at<u32>(used + 8 + index % size * 8u) = bytes;
    at<u16>(used + 2) = static_cast<u16>(index + 1);
  }
  bool add(u64 cookie, std::vector<virtio_part> const &parts) { return ring.try_add(parts, cookie); }
};

constexpr virtio_part read_part{0x1000, 16, false}, write_part{0x2000, 32, true};

}  // namespace

TEST_CASE("virtio_ring: a chain lies in memory as the specification says, and is announced by kick") {
  device_side device;
  CHECK(device.add(7, {read_part, write_part}));
  CHECK(device.announced() == 0);
  device.ring.kick();
  CHECK(device.announced() == 1);
  CHECK(device.doorbell == 0);
  u16 const head = device.head(0);
  CHECK(device.at<u64>(head * 16u) == 0x1000);
  CHECK(device.at<u32>(head * 16u + 8) == 16);
  CHECK(device.flags(head) == 1);
  CHECK(device.at<u64>(device.next(head) * 16u) == 0x2000);
  CHECK(device.flags(device.next(head)) == 2);
  CHECK_FALSE(device.ring.pending());
  device.answer(head, 5);
  auto const done = device.ring.try_take();
  REQUIRE(done);
  CHECK(done->cookie == 7);
  CHECK(done->bytes == 5);
  CHECK(device.ring.room() == size);
}

TEST_CASE("virtio_ring: no doorbell without work, nor where the device wants none") {
  device_side device;
  device.ring.kick();
  CHECK(device.doorbell == 0xEEEE);
  device.at<u16>(device_side::used) = 1;
  CHECK(device.add(1, {read_part}));
  device.ring.kick();
  CHECK(device.announced() == 1);
  CHECK(device.doorbell == 0xEEEE);
}

TEST_CASE("virtio_ring: interrupts are off until they are wanted") {
  device_side device;
  CHECK(device.at<u16>(device_side::available) == 1);
  device.ring.interrupts(true);
  CHECK(device.at<u16>(device_side::available) == 0);
  device.ring.interrupts(false);
  CHECK(device.at<u16>(device_side::available) == 1);
}

TEST_CASE("virtio_ring: what does not fit is not begun") {
  device_side device;
  CHECK_FALSE(device.add(0, {}));
  for (u64 count = 0; count < 2; ++count) CHECK(device.add(count, {read_part, read_part, write_part}));
  CHECK_FALSE(device.add(9, {read_part, read_part, write_part}));
  CHECK(device.ring.room() == 2);
  CHECK(device.add(9, {read_part, write_part}));
  CHECK_FALSE(device.add(9, {read_part}));
  CHECK(device.ring.in_flight() == 3);
}

TEST_CASE("virtio_ring: a device that names what is not in flight breaks the ring") {
  for (u32 const id : {1u, size - 1, size, 0xFFFFu, 0x10000u, ~0u}) {
    device_side device;
    CHECK(device.add(1, {read_part, write_part}));  // descriptors 0 and 1
    device.ring.kick();
    device.answer(id, 0);
    CHECK_FALSE(device.ring.try_take());
    CHECK(device.ring.broken());
    CHECK_FALSE(device.add(2, {read_part}));
    CHECK_FALSE(device.ring.pending());
  }
}

TEST_CASE("virtio_ring: a device that gives a chain back twice breaks the ring") {
  device_side device;
  CHECK(device.add(1, {read_part}));
  device.ring.kick();
  device.answer(0, 0);
  device.answer(0, 0);
  CHECK(device.ring.try_take());
  CHECK_FALSE(device.ring.try_take());
  CHECK(device.ring.broken());
}

TEST_CASE("virtio_ring: a length is never more than there was room for") {
  device_side device;
  CHECK(device.add(1, {read_part, write_part, write_part}));
  device.ring.kick();
  device.answer(0, ~0u);
  CHECK(device.ring.try_take()->bytes == 64);
}

TEST_CASE("virtio_ring: chains of all lengths, in any order, for longer than the indices have bits") {
  device_side device;
  std::mt19937 random(1);
  std::deque<std::pair<u16, u64>> flying;  // first descriptor, cookie
  u64 cookie = 0;
  for (int round = 0; round < 150'000; ++round) {
    std::vector<virtio_part> const parts(random() % 3 + 1, write_part);
    bool const fits = parts.size() <= device.ring.room();
    u16 const announced = device.announced();
    REQUIRE(device.add(cookie, parts) == fits);
    device.ring.kick();
    if (fits) flying.emplace_back(device.head(announced), cookie++);
    if (flying.empty() || (fits && random() % 2 == 0)) continue;
    auto const pick = flying.begin() + static_cast<long>(random() % flying.size());
    device.answer(pick->first, 1);
    auto const done = device.ring.try_take();
    REQUIRE(done);
    REQUIRE(done->cookie == pick->second);
    flying.erase(pick);
  }
  CHECK(device.ring.in_flight() == flying.size());
  CHECK(cookie > 70'000);
}
