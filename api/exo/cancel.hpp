// Cancellation: who waits registers a hook at the source that its task belongs to, and is told when that is cancelled.
//
// A source, its hooks and those who request belong to one core. A request only makes what waits return error::cancelled
// at its next turn; a task that never waits is not stopped.
#pragma once

#include <utility>

#include "core.hpp"
#include "preemption.hpp"

namespace exo {

/// What happens on cancellation. It is off its source's list when `cancelled` is called.
class cancel_hook {
 public:
  explicit cancel_hook(void (*what)(cancel_hook &) noexcept) noexcept : cancelled_(what) {}
  cancel_hook(cancel_hook const &) = delete;
  cancel_hook &operator=(cancel_hook const &) = delete;
  ~cancel_hook() { remove(); }

  void remove() noexcept {
    if (link_ == nullptr) return;
    unpreempted const section;
    *link_ = next_;
    if (next_ != nullptr) next_->link_ = link_;
    link_ = nullptr;
  }

 private:
  friend class cancel_source;

  void (*cancelled_)(cancel_hook &self) noexcept;
  cancel_hook *next_ = nullptr;
  cancel_hook **link_ = nullptr;  // null: on no list
};

class cancel_source {
 public:
  cancel_source() noexcept : upper_([](cancel_hook &hook) noexcept { of(hook).request(); }) {}
  cancel_source(cancel_source const &) = delete;
  cancel_source &operator=(cancel_source const &) = delete;

  /// Makes this source be cancelled with another one; null is none.
  void follow(cancel_source *upper) noexcept {
    if (upper == nullptr) return;
    if (upper->requested_) {
      request();
    } else {
      upper_.remove();  // from where it may be already: a scope is waited for again and again
      upper->add(upper_);
    }
  }

  [[nodiscard]] bool requested() const noexcept { return requested_; }

  void request() noexcept {
    unpreempted const section;
    requested_ = true;
    while (first_ != nullptr) {
      cancel_hook &hook = *first_;
      hook.remove();
      hook.cancelled_(hook);
    }
  }

  /// @pre not requested yet
  void add(cancel_hook &hook) noexcept {
    unpreempted const section;
    hook.link_ = &first_;
    hook.next_ = std::exchange(first_, &hook);
    if (hook.next_ != nullptr) hook.next_->link_ = &hook.next_;
  }

 private:
  static cancel_source &of(cancel_hook &hook) noexcept {
    return *reinterpret_cast<cancel_source *>(reinterpret_cast<char *>(&hook) - offsetof(cancel_source, upper_));
  }

  cancel_hook upper_;
  cancel_hook *first_ = nullptr;
  bool requested_ = false;
};

}  // namespace exo
