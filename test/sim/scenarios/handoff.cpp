// Two cores hand work to each other, again and again; each halts until it is its turn.
//
// With EXO_PLANTED one of them halts without a second look: when the other comes in between, its wake is lost.
#include <sim/scenario.hpp>

#include <exo/exo.hpp>

#include <array>
#include <atomic>

namespace {

/// Whose turn it is, and who of the two halts until it is.
class turn {
 public:
  void give(exo::u32 to) noexcept {
    next_.store(to);
    if (waits_[to].exchange(false)) exo::wake(exo::core_id{to});
  }
  void wait(exo::u32 mine) noexcept {
    while (next_.load() != mine) {
      waits_[mine].store(true);
#ifndef EXO_PLANTED
      if (next_.load() == mine) return;
#endif
      exo::core().core_idle(exo::no_deadline);
    }
  }

 private:
  std::atomic<exo::u32> next_ = 0;
  std::array<std::atomic<bool>, 2> waits_{};
};

int hand_over() {
  constexpr int rounds = 10;
  turn whose;
  int sum = 0;
  auto const play = [&](exo::u32 mine) noexcept {
    for (int round = 0; round < rounds; ++round) {
      whose.wait(mine);
      ++sum;
      whose.give(1 - mine);
    }
  };
  exo::job other([&] { play(1); });
  auto running = exo::run_on(exo::core_id{1}, other);
  if (!running) return 1;
  play(0);
  running->wait();
  return sum == 2 * rounds ? 0 : 2;
}

}  // namespace

void scenario(sim::setup &world) { world.add_machine("pair", hand_over).cores = 2; }
