#include <exo/timer_heap.hpp>

#include <algorithm>
#include <catch2/catch.hpp>
#include <deque>
#include <random>
#include <vector>

using exo::u64;

namespace {

exo::timer_node &make(std::deque<exo::timer_node> &all, u64 deadline) {
  exo::timer_node &node = all.emplace_back([](exo::timer_node &) noexcept {});
  node.deadline = deadline;
  return node;
}

}  // namespace

TEST_CASE("timer heap: nothing, one, not yet due") {
  exo::timer_heap heap;
  CHECK(heap.empty());
  CHECK(heap.first_deadline() == exo::no_deadline);
  CHECK(heap.take_due(exo::no_deadline) == nullptr);
  std::deque<exo::timer_node> all;
  exo::timer_node &node = make(all, 10);
  heap.remove(node);  // on no heap
  heap.add(node);
  CHECK(heap.has(node));
  CHECK(heap.take_due(9) == nullptr);
  CHECK(heap.take_due(10) == &node);
  CHECK(!heap.has(node));
  CHECK(heap.empty());
}

TEST_CASE("timer heap: any order of adding and removing comes out sorted") {
  std::mt19937 random(7);
  for (int round = 0; round < 50; ++round) {
    exo::timer_heap heap;
    std::deque<exo::timer_node> all;
    std::vector<exo::timer_node *> on_heap;
    for (int step = 0; step < 300; ++step) {
      if (random() % 3 != 0 || on_heap.empty()) {
        on_heap.push_back(&make(all, random() % 100));
        heap.add(*on_heap.back());
      } else if (random() % 2 == 0) {
        auto const victim = on_heap.begin() + static_cast<std::ptrdiff_t>(random() % on_heap.size());
        heap.remove(**victim);
        on_heap.erase(victim);
      } else {
        exo::timer_node *const due = heap.take_due(~u64{0});
        REQUIRE(due != nullptr);
        auto const least = std::min_element(on_heap.begin(), on_heap.end(),
                                            [](auto *a, auto *b) { return a->deadline < b->deadline; });
        CHECK(due->deadline == (*least)->deadline);
        on_heap.erase(std::find(on_heap.begin(), on_heap.end(), due));
      }
    }
    std::vector<u64> expected, got;
    for (auto const *each : on_heap) expected.push_back(each->deadline);
    std::sort(expected.begin(), expected.end());
    while (exo::timer_node *due = heap.take_due(1000)) got.push_back(due->deadline);
    CHECK(got == expected);
    CHECK(heap.empty());
  }
}
