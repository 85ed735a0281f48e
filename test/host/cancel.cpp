#include <exo/cancel.hpp>

#include <catch2/catch.hpp>
#include <memory>
#include <optional>
#include <vector>

using exo::cancel_hook;
using exo::cancel_source;

namespace {

/// A hook that counts how often it was called.
struct counter : cancel_hook {
  counter() : cancel_hook([](cancel_hook &self) noexcept { ++static_cast<counter &>(self).count; }) {}
  int count = 0;
};

}  // namespace

TEST_CASE("cancel: every hook is called once") {
  cancel_source source;
  std::vector<std::unique_ptr<counter>> hooks;
  for (int each = 0; each < 5; ++each) source.add(*hooks.emplace_back(std::make_unique<counter>()));
  CHECK_FALSE(source.requested());
  source.request();
  CHECK(source.requested());
  for (auto const &each : hooks) CHECK(each->count == 1);
  source.request();
  for (auto const &each : hooks) CHECK(each->count == 1);
}

TEST_CASE("cancel: hooks that are removed, or gone, are not called") {
  cancel_source source;
  counter first, middle, last;
  for (counter *each : {&first, &middle, &last}) source.add(*each);
  {
    counter gone;
    source.add(gone);
  }
  middle.remove();
  middle.remove();  // is on no list
  source.request();
  CHECK(first.count == 1);
  CHECK(middle.count == 0);
  CHECK(last.count == 1);
}

TEST_CASE("cancel: hooks are called off their list, so they may go, or take others along") {
  cancel_source source;
  struct taker : cancel_hook {
    explicit taker(std::optional<counter> &what)
        : cancel_hook([](cancel_hook &self) noexcept { static_cast<taker &>(self).other.reset(); }), other(what) {}
    std::optional<counter> &other;
  };
  std::optional<counter> other(std::in_place);
  taker hook(other);
  source.add(*other);  // the last one added is the first one called
  source.add(hook);
  struct goer : cancel_hook {
    explicit goer(std::unique_ptr<goer> &what)
        : cancel_hook([](cancel_hook &self) noexcept { static_cast<goer &>(self).mine.reset(); }), mine(what) {}
    std::unique_ptr<goer> &mine;
  };
  std::unique_ptr<goer> gone;
  gone = std::make_unique<goer>(gone);
  source.add(*gone);
  source.request();
  CHECK_FALSE(other);
  CHECK_FALSE(gone);
}

TEST_CASE("cancel: a source follows another, in any depth") {
  cancel_source top, other;
  cancel_source middle, below;
  middle.follow(&top);
  below.follow(&middle);
  other.follow(nullptr);
  counter hook, apart;
  below.add(hook);
  other.add(apart);
  top.request();
  CHECK(middle.requested());
  CHECK(below.requested());
  CHECK(hook.count == 1);
  CHECK(apart.count == 0);
  CHECK_FALSE(other.requested());

  cancel_source late;  // follows what was requested already
  late.follow(&top);
  CHECK(late.requested());
}

TEST_CASE("cancel: a source below is cancelled alone, and may go before the one above") {
  cancel_source top;
  counter hook;
  {
    cancel_source below;
    below.follow(&top);
    below.add(hook);
    below.request();
    CHECK(hook.count == 1);
    CHECK_FALSE(top.requested());
  }
  top.request();
  CHECK(hook.count == 1);
}
