// Run loops of three cores: messages through rings that get full, calls to other cores and back, deadlines, cancellation, and
// an end while services still wait. Every message is run once, in the order in which its core sent it; nothing is lost and no
// core is left halted.
//
// With EXO_PLANTED a core tells the others of a message without looking whether the ring had room.
#include <sim/scenario.hpp>

#include <exo/exo.hpp>
#include <exo/on.hpp>
#include <exo/when.hpp>

#include <array>

namespace {

using exo::core_id;
using exo::result;
using exo::task;
using exo::u32;
using exo::u64;
using namespace std::chrono_literals;

constexpr u32 cores = 3, messages = 12;

/// What each core has had from each other one; only its own core touches a row.
std::array<std::array<u32, cores>, cores> had{};
u32 disorders = 0, ended_services = 0;

void take(u32 from, u32 number) noexcept {
  u32 &next = had[static_cast<u32>(exo::this_core())][from];
  if (number != next) ++disorders;
  ++next;
}

task<result<void>> send_to_all() {
  u32 const me = static_cast<u32>(exo::this_core());
  for (u32 number = 0; number < messages; ++number) {
    for (u32 to = 0; to < cores; ++to) {
      for (;;) {
        auto const sent = exo::try_post(core_id{to}, [](u32 from, u32 which) noexcept { take(from, which); }, me, number);
#ifdef EXO_PLANTED
        break;
#endif
        if (sent) break;
        if (sent.error() != exo::error::full) co_return sent;
        auto const waited = co_await exo::delay(2us);
        if (!waited) co_return waited;
      }
    }
  }
  co_return {};
}

task<void> serve() {
  result<void> waited;
  while (waited) waited = co_await exo::delay(1h);
  ++ended_services;
}

task<result<void>> everything() {
  exo::scope all;
  for (u32 core = 0; core < cores; ++core) {
    auto const service = co_await exo::on(core_id{core}, [] { return exo::spawn(serve()); });
    if (!service) co_return service;
    auto const started = all.spawn([](u32 on) -> task<result<void>> { co_return co_await exo::on(core_id{on}, send_to_all); }(core));
    if (!started) co_return started;
  }
  auto const sent = co_await all.join();
  if (!sent) co_return sent;
  auto const late = co_await exo::with_timeout(3us, []() -> task<result<int>> {
    auto const waited = co_await exo::delay(1ms);
    if (!waited) co_return std::unexpected(waited.error());
    co_return 1;
  }());
  if (late || late.error() != exo::error::timeout) co_return std::unexpected(exo::error::range);
  // What was sent before is run before a call that is sent later.
  for (u32 core = 0; core < cores; ++core) {
    bool complete = false;
    while (!complete) {
      auto const looked = co_await exo::on(core_id{core}, [] {
        u32 sum = 0;
        for (u32 const each : had[static_cast<u32>(exo::this_core())]) sum += each;
        return sum;
      });
      if (!looked) co_return std::unexpected(looked.error());
      complete = *looked == cores * messages;
      if (disorders != 0) co_return std::unexpected(exo::error::range);
      if (!complete) co_await exo::yield();
    }
  }
  co_return {};
}

int loops() {
  u64 const free = exo::system_pages.free().bytes;
  auto const outcome = exo::run({.message_depth = 4, .patience = 10ms}, everything);
  if (!outcome || disorders != 0) return 1;
  if (ended_services != cores) return 2;
  return exo::system_pages.free().bytes == free ? 0 : 3;
}

}  // namespace

void scenario(sim::setup &world) {
  world.limit = 50ms;
  world.add_machine("loops", loops).cores = cores;
}
