// sanitizer: thread
#include <exo/message.hpp>

#include <catch2/catch.hpp>
#include <cstddef>
#include <memory>
#include <new>
#include <span>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

using exo::u32;
using exo::u64;

namespace {

/// A ring with its slots.
class ring {
 public:
  explicit ring(u32 depth)
      : memory_(static_cast<std::byte *>(::operator new(exo::detail::message_ring::bytes(depth), std::align_val_t{64}))),
        ring_(std::construct_at(reinterpret_cast<exo::detail::message_ring *>(memory_.get()), depth)) {}
  exo::detail::message_ring *operator->() { return ring_; }

 private:
  struct aligned_delete {
    void operator()(std::byte *memory) const { ::operator delete(memory, std::align_val_t{64}); }
  };
  std::unique_ptr<std::byte, aligned_delete> memory_;
  exo::detail::message_ring *ring_;
};

std::vector<int> seen;

constexpr auto note = [](int value) noexcept { seen.push_back(value); };

}  // namespace

TEST_CASE("message: in order, as many as are asked for, until the ring is full") {
  ring messages(4);
  seen.clear();
  CHECK(messages->empty());
  CHECK(messages->run(10) == 0);
  for (int round = 0; round < 5; ++round) {
    for (int each = 0; each < 4; ++each) REQUIRE(messages->try_push<decltype(note)>(10 * round + each));
    CHECK_FALSE(messages->try_push<decltype(note)>(99));
    CHECK_FALSE(messages->empty());
    CHECK(messages->run(3) == 3);
    CHECK(messages->try_push<decltype(note)>(10 * round + 4));
    CHECK(messages->run(10) == 2);
    CHECK(messages->empty());
  }
  REQUIRE(seen.size() == 25);
  for (int at = 0; at < 25; ++at) CHECK(seen[static_cast<std::size_t>(at)] == at / 5 * 10 + at % 5);
}

TEST_CASE("message: what it holds is moved in, handed over and destroyed once") {
  ring messages(2);
  auto const counted = std::make_shared<int>(7);
  static std::shared_ptr<int> got;
  static std::string text;
  auto const keep = [](std::shared_ptr<int> what, std::string letters) noexcept {
    got = std::move(what);
    text = std::move(letters);
  };
  REQUIRE(messages->try_push<decltype(keep)>(counted, std::string(4, 'x')));
  CHECK(counted.use_count() == 2);
  CHECK(messages->run(1) == 1);
  CHECK(got == counted);
  CHECK(text == "xxxx");
  got.reset();
  CHECK(counted.use_count() == 1);
  auto const only_moves = [](std::unique_ptr<int> what) noexcept { text = std::to_string(*what); };
  REQUIRE(messages->try_push<decltype(only_moves)>(std::make_unique<int>(5)));
  CHECK(messages->run(1) == 1);
  CHECK(text == "5");
  auto const only_looks = [](std::shared_ptr<int> const &) noexcept {};
  REQUIRE(messages->try_push<decltype(only_looks)>(counted));
  CHECK(messages->run(1) == 1);
  CHECK(counted.use_count() == 1);
}

TEST_CASE("message: one that is run may send another") {
  ring messages(4);
  seen.clear();
  static exo::detail::message_ring *same;
  same = &*messages.operator->();
  auto const again = [](int left) noexcept {
    seen.push_back(left);
    if (left != 0) CHECK(same->try_push<decltype(note)>(left - 1));
  };
  REQUIRE(messages->try_push<decltype(again)>(3));
  CHECK(messages->run(8) == 1);  // what comes meanwhile waits for the next turn
  CHECK(messages->run(8) == 1);
  CHECK(seen == std::vector<int>{3, 2});
}

TEST_CASE("message: between two cores nothing is lost") {
  ring messages(8);
  constexpr u64 count = 20'000;
  static u64 sum, last, wrong;
  sum = last = wrong = 0;
  auto const add = [](u64 value, std::unique_ptr<u64> copy) noexcept {
    wrong += value != last + 1 || *copy != value;
    last = value;
    sum += value;
  };
  std::thread sender([&] {
    for (u64 each = 1; each <= count; ++each) {
      while (!messages->try_push<decltype(add)>(each, std::make_unique<u64>(each))) std::this_thread::yield();
    }
  });
  for (u64 ran = 0; ran < count;) {
    u32 const now = messages->run(16);
    if (now == 0) std::this_thread::yield();
    ran += now;
  }
  sender.join();
  CHECK(sum == count * (count + 1) / 2);
  CHECK(wrong == 0);
}

TEST_CASE("message: what may go to another core") {
  STATIC_REQUIRE(exo::sendable<int>);
  STATIC_REQUIRE(exo::sendable<std::string>);
  STATIC_REQUIRE(exo::sendable<std::unique_ptr<int>>);
  STATIC_REQUIRE(exo::sendable<exo::loan<int>>);
  STATIC_REQUIRE_FALSE(exo::sendable<int *>);
  STATIC_REQUIRE_FALSE(exo::sendable<int &>);
  STATIC_REQUIRE_FALSE(exo::sendable<std::string_view>);
  STATIC_REQUIRE_FALSE(exo::sendable<std::span<int>>);
  STATIC_REQUIRE_FALSE(exo::sendable<std::reference_wrapper<int>>);
  auto const plain = [](int) noexcept {};
  auto const captures = [some = 1](int) noexcept { (void)some; };
  STATIC_REQUIRE(exo::sendable_call<decltype(plain), int>);
  STATIC_REQUIRE_FALSE(exo::sendable_call<decltype(captures), int>);
  STATIC_REQUIRE_FALSE(exo::sendable_call<decltype(plain), std::string>);
  int number = 1;
  *exo::lend(number) = 2;
  CHECK(number == 2);
}
