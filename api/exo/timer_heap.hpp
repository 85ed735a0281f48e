// Deadlines in order: a pairing heap whose nodes lie in what waits for them. Nothing here allocates.
//
// Adding costs O(1), taking the earliest or any other O(log n) on the average (Fredman et al., "The pairing heap",
// Algorithmica 1986).
#pragma once

#include <utility>

#include "core.hpp"
#include "time.hpp"

namespace exo {

/// Something that happens at a TSC deadline. It must be off the heap when it is destroyed.
struct timer_node {
  explicit timer_node(void (*what)(timer_node &) noexcept) noexcept : due(what) {}
  timer_node(timer_node const &) = delete;
  timer_node &operator=(timer_node const &) = delete;

  u64 deadline = no_deadline;
  void (*due)(timer_node &self) noexcept;

  // The heap's.
  timer_node *child = nullptr;
  timer_node *next = nullptr;      // sibling
  timer_node *previous = nullptr;  // sibling, or parent of the first child; null: the root, or on no heap
};

class timer_heap {
 public:
  [[nodiscard]] bool empty() const noexcept { return root_ == nullptr; }
  /// The earliest deadline; no_deadline if there is none.
  [[nodiscard]] u64 first_deadline() const noexcept { return root_ != nullptr ? root_->deadline : no_deadline; }
  [[nodiscard]] bool has(timer_node const &node) const noexcept { return root_ == &node || node.previous != nullptr; }

  void add(timer_node &node) noexcept {
    node.child = node.next = node.previous = nullptr;
    root_ = root_ != nullptr ? join(root_, &node) : &node;
  }

  /// Takes a node off; one that is on no heap stays as it is.
  void remove(timer_node &node) noexcept {
    if (&node == root_) {
      root_ = join_all(node.child);
    } else if (node.previous != nullptr) {
      (node.previous->child == &node ? node.previous->child : node.previous->next) = node.next;
      if (node.next != nullptr) node.next->previous = node.previous;
      timer_node *const rest = join_all(node.child);
      if (rest != nullptr) root_ = join(root_, rest);
    }
    node.child = node.next = node.previous = nullptr;
  }

  /// Takes the earliest node off if its time has come; null if not.
  [[nodiscard]] timer_node *take_due(u64 now) noexcept {
    if (first_deadline() > now || root_ == nullptr) return nullptr;
    timer_node *const node = root_;
    remove(*node);
    return node;
  }

 private:
  static timer_node *join(timer_node *a, timer_node *b) noexcept {
    if (b->deadline < a->deadline) std::swap(a, b);
    b->next = a->child;
    if (b->next != nullptr) b->next->previous = b;
    b->previous = a;
    a->child = b;
    return a;
  }

  /// Joins siblings: in pairs from the left, then the pairs from the right.
  static timer_node *join_all(timer_node *first) noexcept {
    timer_node *pairs = nullptr;  // linked by next, the last pair first
    while (first != nullptr) {
      timer_node *a = first;
      timer_node *const b = a->next;
      first = b != nullptr ? b->next : nullptr;
      a->next = a->previous = nullptr;
      if (b != nullptr) {
        b->next = b->previous = nullptr;
        a = join(a, b);
      }
      a->next = pairs;
      pairs = a;
    }
    timer_node *all = pairs;
    if (all == nullptr) return nullptr;
    pairs = std::exchange(all->next, nullptr);
    while (pairs != nullptr) {
      timer_node *const rest = std::exchange(pairs->next, nullptr);
      all = join(all, pairs);
      pairs = rest;
    }
    return all;
  }

  timer_node *root_ = nullptr;
};

}  // namespace exo
