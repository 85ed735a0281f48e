// How tasks follow each other on a stack. A child runs on that of who awaits it, because most children end without waiting,
// and then the parent just goes on. Everything else comes next when the stack is again that of who resumed the first task:
// a child for which there was no room, and the parent of one that had waited. So no chain of tasks fills a stack.
#pragma once

#include <coroutine>
#include <cstddef>
#include <utility>

namespace exo::detail {

class nesting {
 public:
  /// Whether a child may run on this stack.
  [[nodiscard, gnu::always_inline]] bool has_room() const noexcept { return here() >= floor_; }

  /// What run() resumes when the task that runs has been left; null is nothing.
  void next(std::coroutine_handle<> task) noexcept {
    if (task) next_ = task;
  }

  /// Calls what resumes a task, and then what comes next, before anything else.
  template <typename Function>
  void run(Function function) noexcept {
    std::byte *const outer_floor = std::exchange(floor_, here() - room_bytes);
    std::coroutine_handle<> const outer_next = next_;
    function();
    while (next_ != outer_next) std::exchange(next_, outer_next).resume();
    floor_ = outer_floor;
  }

 private:
  static constexpr std::ptrdiff_t room_bytes = 1024;  // a child takes some 64

  [[gnu::always_inline]] static std::byte *here() noexcept { return static_cast<std::byte *>(__builtin_frame_address(0)); }

  std::byte *floor_ = nullptr;
  std::coroutine_handle<> next_;
};

inline constinit thread_local nesting nesting_here;

/// Lets a task go on, on top of this stack. Whatever resumes tasks calls this or run(), or returns their handle.
inline void resume(std::coroutine_handle<> task) noexcept {
  nesting_here.run([task] { task.resume(); });
}

}  // namespace exo::detail
