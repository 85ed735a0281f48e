// A thousand disk operations in flight at once, and frames echoed, by tasks of one core; the answers to bad requests.
// boot: --cores 1 --disk "$work/disk$(truncate -s 8M "$work/disk")" -- -netdev hubport,id=net0,hubid=0 -device virtio-net-pci,netdev=net0,disable-legacy=on,romfile= -netdev hubport,id=net1,hubid=0 -device virtio-net-pci,netdev=net1,disable-legacy=on,romfile=
// boot: --cores 2 --disk "$work/disk$(truncate -s 8M "$work/disk")" --disk-model nvme -- -netdev hubport,id=net0,hubid=0 -device e1000,netdev=net0,romfile= -netdev hubport,id=net1,hubid=0 -device e1000,netdev=net1,romfile=
// boot: --cores 4 --disk "$work/disk$(truncate -s 8M "$work/disk")" --disk-model ahci -- -netdev hubport,id=net0,hubid=0 -device virtio-net-pci,netdev=net0,disable-legacy=on,romfile= -netdev hubport,id=net1,hubid=0 -device virtio-net-pci,netdev=net1,disable-legacy=on,romfile=
#include "check.hpp"

#include <algorithm>
#include <chrono>
#include <cstring>
#include <exo/fiber.hpp>
#include <exo/on.hpp>
#include <exo/task_channel.hpp>
#include <exo/task_disk.hpp>
#include <exo/task_port.hpp>
#include <exo/when.hpp>

using namespace check;
using namespace std::chrono_literals;

namespace {

constexpr u32 operations = 1000;

u64 pattern(u64 block) { return block * 0x9E3779B97F4A7C15 + 1; }

task<result<void>> write_block(task_disk<> &disk, lba block, std::span<std::byte> buffer) {
  u64 const value = pattern(number(block));
  for (std::size_t at = 0; at < buffer.size(); at += sizeof(value)) std::memcpy(&buffer[at], &value, sizeof(value));
  co_return co_await disk.write(block, buffer);
}

task<result<void>> read_block(task_disk<> &disk, lba block, std::span<std::byte> buffer, u32 &reading, u32 &most) {
  most = std::max(most, ++reading);
  auto const got = co_await disk.read(block, buffer);
  --reading;
  if (!got) co_return got;
  u64 value;
  std::memcpy(&value, &buffer[buffer.size() - sizeof(value)], sizeof(value));
  that(value == pattern(number(block)), "a block has another content");
  co_return {};
}

task<result<void>> with_disk() {
  auto opened = disk::open(disk_id{0});
  if (!opened) co_return std::unexpected(opened.error());
  task_disk<> disk(*opened->take_queue());
  u32 const bytes = disk.record().block_bytes;
  auto memory = pages::take(u64{operations} * bytes);
  if (!memory) co_return std::unexpected(memory.error());
  auto const buffer_of = [&](u32 each) { return memory->span().subspan(std::size_t{each} * bytes, bytes); };

  scope writes;
  for (u32 each = 0; each < operations; ++each) {
    auto const started = writes.spawn(write_block(disk, lba{each}, buffer_of(each)));
    if (!started) co_return started;
  }
  auto const written = co_await writes.join();
  if (!written) co_return written;
  auto const flushed = co_await disk.flush();
  if (!flushed) co_return flushed;

  std::memset(memory->data(), 0, memory->size());
  scope reads;
  u32 reading = 0, most = 0;
  for (u32 each = 0; each < operations; ++each) {
    auto const started = reads.spawn(read_block(disk, lba{each}, buffer_of(each), reading, most));
    if (!started) co_return started;
  }
  auto const read = co_await reads.join();
  if (!read) co_return read;
  same(most, operations);
  same(reading, 0);

  // A fiber reads as a task does.
  auto const in_fiber = co_await fiber([&] { return wait(disk.read(lba{5}, buffer_of(0))); });
  that(in_fiber.has_value(), "a fiber cannot read");
  that(std::ranges::equal(buffer_of(0), buffer_of(5)), "a fiber reads something else");

  // Bad requests, none of which reaches the device.
  auto const no_bytes = co_await disk.read(lba{0}, {});
  that(no_bytes.error() == error::range, "nothing is read");
  auto const part = co_await disk.read(lba{0}, buffer_of(0).first(bytes - 1));
  that(part.error() == error::range, "part of a block is read");
  auto const outside = co_await disk.read(lba{disk.record().blocks}, buffer_of(0));
  that(outside.error() == error::range, "a block behind the last one is read");
  auto const far = co_await disk.write(lba{~u64{0}}, buffer_of(0));
  that(far.error() == error::range, "a block far behind the last one is written");

  // Cancelled: those that wait end at once, those that the device has when it is done; all are joined.
  scope cancelled;
  for (u32 each = 0; each < operations; ++each) {
    auto const started = cancelled.spawn(read_block(disk, lba{each}, buffer_of(each), reading, most));
    if (!started) co_return started;
  }
  co_await yield();
  cancelled.cancel();
  auto const ended = co_await cancelled.join();
  that(!ended && ended.error() == error::cancelled, "nothing was cancelled");
  auto const late = co_await with_deadline(0, [](task_disk<> &from, std::span<std::byte> into) -> task<result<void>> {
    co_return co_await from.read(lba{0}, into);
  }(disk, buffer_of(0)));
  that(!late && late.error() == error::timeout, "a read is not too late");
  auto const again = co_await disk.read(lba{7}, buffer_of(0));
  co_return again;
}

constexpr u32 frame_bytes = 100;

/// Sends back whatever comes, with its first payload byte raised by one, until it is cancelled.
task<result<void>> echo(task_port &port) {
  for (;;) {
    std::array<std::byte, frame_bytes> frame;
    bool mine = false;
    auto const got = co_await port.receive([&](net::received_frame const &one) {
      if (one.bytes.size() < frame_bytes || one.bytes[13] != std::byte{0xB5}) return;
      std::ranges::copy(one.bytes.first(frame_bytes), frame.begin());
      mine = true;
    });
    if (!got) co_return got.error() == error::cancelled ? result<void>() : std::unexpected(got.error());
    if (!mine) continue;
    frame[14] = static_cast<std::byte>(static_cast<u8>(frame[14]) + 1);
    frame[13] = std::byte{0xB6};
    auto const sent = co_await port.send(frame_bytes, [&](std::span<std::byte> into) { std::ranges::copy(frame, into.begin()); });
    if (!sent) co_return sent;
  }
}

task<result<void>> ask(task_port &port) {
  for (u8 round = 0; round < 50;) {
    auto const sent = co_await port.send(frame_bytes, [&](std::span<std::byte> into) {
      std::ranges::fill(into, static_cast<std::byte>(round));
      std::ranges::fill(into.first(6), std::byte{0xFF});  // to all
      into[12] = std::byte{0x88}, into[13] = std::byte{0xB5};  // IEEE 802 local experimental
    });
    if (!sent) co_return sent;
    bool answered = false;
    for (bool waiting = true; waiting && !answered;) {
      // A frame may be lost while the other NIC has just been opened.
      auto const got = co_await with_timeout(500ms, [](task_port &from, bool &good, u8 expected) -> task<result<std::size_t>> {
        co_return co_await from.receive([&](net::received_frame const &one) {
          good |= one.bytes.size() >= frame_bytes && one.bytes[13] == std::byte{0xB6} && one.bytes[14] == std::byte{expected};
        });
      }(port, answered, static_cast<u8>(round + 1)));
      waiting = got.has_value();
      if (!got && got.error() != error::timeout) co_return std::unexpected(got.error());
    }
    if (answered) ++round;
  }
  co_return {};
}

/// A NIC with its buffers.
struct card {
  explicit card(u32 number)
      : rings(*pages::take(nic::ring_bytes(info().nics[number], 1, depth))),
        frames(*pages::take(frame_port::memory_bytes(info().nics[number], depth))),
        opened(*nic::open(number, 1, depth, rings.span())),
        port(*frame_port::open(*opened.take_queue(), frames.span())) {}

  static constexpr u32 depth = 16;
  pages rings, frames;
  nic opened;
  task_port port;
};

task<result<void>> with_nics() {
  if (info().nics.size() < 2) co_return {};
  card one(0), other(1);
  scope service;
  auto const serving = service.spawn(echo(one.port));
  if (!serving) co_return serving;
  auto const asked = co_await ask(other.port);
  auto const large = co_await other.port.send(other.port.mtu() + 15, [](std::span<std::byte>) {});
  that(large.error() == error::range, "a frame longer than the MTU is sent");
  service.cancel();
  auto const ended = co_await service.join();
  co_return asked ? ended : asked;
}

/// Values from every core, received by a task of this one.
task<result<void>> with_channel() {
  static channel<u64, 16> values;
  scope senders;
  for (u32 core = 0; core < core_count(); ++core) {
    auto const started = senders.spawn([](u32 from) -> task<result<void>> {
      co_return co_await on(core_id{from}, []() -> task<result<void>> {
        for (u64 each = 1; each <= 200; ++each) {
          auto const sent = co_await exo::send(values, each);
          if (!sent) co_return sent;
        }
        co_return {};
      });
    }(core));
    if (!started) co_return started;
  }
  u64 sum = 0;
  for (u32 each = 0; each < 200 * core_count(); ++each) {
    auto const got = co_await exo::receive(values);
    if (!got) co_return std::unexpected(got.error());
    sum += *got;
  }
  same(static_cast<i64>(sum), core_count() * 20100);
  co_return co_await senders.join();
}

task<result<void>> everything() {
  auto const disks = co_await with_disk();
  that(disks.has_value(), "the disk fails");
  auto const nics = co_await with_nics();
  that(nics.has_value(), "the NICs fail");
  co_return co_await with_channel();
}

}  // namespace

int main() {
  auto const outcome = run(everything);
  if (!outcome) panic("the run failed: {}", outcome.error());
  return verdict();
}
