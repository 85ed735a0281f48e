// Generators: coroutines that give a sequence of values, one each time that somebody asks.
//
//   exo::generator<u64> squares(u64 count) {
//     for (u64 each = 0; each < count; ++each) co_yield each * each;
//   }
//   for (u64 square : squares(10)) …
//
// The shape is that of C++23's std::generator. A generator runs in the loop that asks and awaits nothing; one whose values
// have to be waited for is an async_generator, which is asked in a task.
//
// Frames come from the core's frame pool where it has a run loop, and from operator new elsewhere.
#pragma once

#include <concepts>
#include <coroutine>
#include <cstddef>
#include <iterator>
#include <memory>
#include <new>
#include <optional>
#include <type_traits>
#include <utility>

#include "console.hpp"
#include "core.hpp"
#include "preemption.hpp"
#include "run.hpp"
#include "task.hpp"

namespace exo {

namespace detail {

/// Where a frame came from is noted behind it, since it may go on another core, or when the loop has ended.
struct generator_memory {
  enum class origin : u64 { pool, heap };

  static void *operator new(std::size_t bytes) noexcept {
    unpreempted const section;
    run_loop *const loop = run_loop::current();
    std::size_t const place = align_up(bytes, alignof(origin));
    void *const frame =
        loop != nullptr ? loop->frames().take(place + sizeof(origin)) : ::operator new(place + sizeof(origin), std::nothrow);
    if (frame == nullptr) return nullptr;
    std::construct_at(reinterpret_cast<origin *>(static_cast<std::byte *>(frame) + place),
                      loop != nullptr ? origin::pool : origin::heap);
    return frame;
  }
  static void operator delete(void *frame, std::size_t bytes) noexcept {
    unpreempted const section;
    std::size_t const place = align_up(bytes, alignof(origin));
    if (*reinterpret_cast<origin const *>(static_cast<std::byte const *>(frame) + place) == origin::heap) {
      return ::operator delete(frame);
    }
    run_loop::here().frames().give(frame, place + sizeof(origin));
  }
};

}  // namespace detail

/// A sequence that is made while it is read, once. Whose frame could not be had is false, and panics when it is read.
template <typename T>
class [[nodiscard("a generator that nobody asks does nothing")]] generator {
 public:
  using value_type = std::remove_cvref_t<T>;
  using reference = std::conditional_t<std::is_reference_v<T>, T, T &&>;

  struct promise_type : detail::generator_memory {
    std::remove_reference_t<reference> *value = nullptr;  // lies in the frame while the generator stands still

    generator get_return_object() noexcept { return generator(handle::from_promise(*this)); }
    static generator get_return_object_on_allocation_failure() noexcept { return generator(nullptr); }
    static std::suspend_always initial_suspend() noexcept { return {}; }
    static std::suspend_always final_suspend() noexcept { return {}; }
    std::suspend_always yield_value(reference given) noexcept {
      value = std::addressof(given);
      return {};
    }
    /// A value that is not the generator's own is copied into its frame.
    auto yield_value(value_type const &given) noexcept
      requires(std::is_rvalue_reference_v<reference> && std::copy_constructible<value_type>)
    {
      struct copy_awaiter : std::suspend_always {
        explicit copy_awaiter(value_type const &what) : copy(what) {}
        value_type copy;
        void await_suspend(std::coroutine_handle<promise_type> self) noexcept { self.promise().value = std::addressof(copy); }
      };
      return copy_awaiter(given);
    }
    static void return_void() noexcept {}
    [[noreturn]] static void unhandled_exception() noexcept { panic("an exception left a generator"); }
    /// It is asked for its next value by an ordinary call, so it cannot wait.
    template <typename What>
    void await_transform(What &&) = delete;
  };
  using handle = std::coroutine_handle<promise_type>;

  class iterator {
   public:
    using value_type = generator::value_type;
    using difference_type = std::ptrdiff_t;

    explicit iterator(handle frame) noexcept : frame_(frame) {}
    iterator(iterator &&other) noexcept : frame_(std::exchange(other.frame_, nullptr)) {}
    iterator &operator=(iterator &&other) noexcept {
      frame_ = std::exchange(other.frame_, nullptr);
      return *this;
    }
    [[nodiscard]] reference operator*() const noexcept { return static_cast<reference>(*frame_.promise().value); }
    iterator &operator++() noexcept {
      frame_.resume();
      return *this;
    }
    void operator++(int) noexcept { ++*this; }
    [[nodiscard]] friend bool operator==(iterator const &at, std::default_sentinel_t) noexcept { return at.frame_.done(); }

   private:
    handle frame_;
  };

  generator(generator &&other) noexcept : frame_(std::exchange(other.frame_, nullptr)) {}
  generator &operator=(generator &&other) noexcept {
    std::swap(frame_, other.frame_);
    return *this;
  }
  ~generator() {
    if (frame_) frame_.destroy();
  }

  /// Whether there was memory for its frame.
  [[nodiscard]] explicit operator bool() const noexcept { return frame_ != nullptr; }

  /// Runs to the first value. Only once.
  [[nodiscard]] iterator begin() noexcept {
    if (!frame_) panic("no memory is left for the frame of a generator; see whether it is true before");
    frame_.resume();
    return iterator(frame_);
  }
  [[nodiscard]] std::default_sentinel_t end() const noexcept { return {}; }

 private:
  explicit generator(handle frame) noexcept : frame_(frame) {}

  handle frame_;
};

/// A sequence whose values have to be waited for: `while (auto line = co_await lines.next()) …` in a task of its core.
/// What it awaits itself is cancelled with the task that asks.
template <typename T>
class [[nodiscard("a generator that nobody asks does nothing")]] async_generator {
 public:
  using value_type = T;

  struct promise_type : detail::generator_memory {
    /// Gives the task that asked its turn.
    struct back_awaiter {
      static bool await_ready() noexcept { return false; }
      static std::coroutine_handle<> await_suspend(std::coroutine_handle<promise_type> self) noexcept {
        return self.promise().asking;
      }
      static void await_resume() noexcept {}
    };

    std::coroutine_handle<> asking;
    cancel_source *cancel = nullptr;  // of the task that asks
    std::optional<T> value;

    async_generator get_return_object() noexcept { return async_generator(handle::from_promise(*this)); }
    static async_generator get_return_object_on_allocation_failure() noexcept { return async_generator(nullptr); }
    static std::suspend_always initial_suspend() noexcept { return {}; }
    static back_awaiter final_suspend() noexcept { return {}; }
    back_awaiter yield_value(T given) noexcept {
      value.emplace(std::move(given));
      return {};
    }
    static void return_void() noexcept {}
    [[noreturn]] static void unhandled_exception() noexcept { panic("an exception left a generator"); }
  };
  using handle = std::coroutine_handle<promise_type>;

  async_generator(async_generator &&other) noexcept : frame_(std::exchange(other.frame_, nullptr)) {}
  async_generator &operator=(async_generator &&other) = delete;
  ~async_generator() {
    if (!frame_) return;
    if (frame_.promise().asking && !frame_.promise().value && !frame_.done()) {
      panic("an async_generator was thrown away while it ran: await its next() to the end");
    }
    frame_.destroy();
  }

  /// Whether there was memory for its frame.
  [[nodiscard]] explicit operator bool() const noexcept { return frame_ != nullptr; }

  /// Awaits the next value; none: that was the last, or there was no memory for the frame.
  [[nodiscard]] auto next() noexcept { return next_awaiter{frame_}; }

 private:
  struct next_awaiter {
    handle frame;
    [[nodiscard]] bool await_ready() const noexcept { return !frame || frame.done(); }
    template <typename Promise>
    std::coroutine_handle<> await_suspend(std::coroutine_handle<Promise> task) noexcept {
      promise_type &self = frame.promise();
      self.asking = task;
      self.cancel = task.promise().cancel;
      self.value.reset();
      return frame;
    }
    [[nodiscard]] std::optional<T> await_resume() noexcept {
      if (!frame || frame.done()) return std::nullopt;
      return std::move(frame.promise().value);
    }
  };

  explicit async_generator(handle frame) noexcept : frame_(frame) {}

  handle frame_;
};

}  // namespace exo

/// Generators whose parameters may be gone before they are do not compile.
template <typename T, typename... Parameters>
struct std::coroutine_traits<exo::generator<T>, Parameters...> {
  static_assert(exo::detail::all_outlive_call<Parameters...>,
                "exo::generator: a coroutine's parameters may be no T const & or T &&, which can refer to what is gone before "
                "it ends; pass values, or T & for what outlives it");
  using promise_type = typename exo::generator<T>::promise_type;
};
template <typename T, typename... Parameters>
struct std::coroutine_traits<exo::async_generator<T>, Parameters...> {
  static_assert(exo::detail::all_outlive_call<Parameters...>,
                "exo::async_generator: a coroutine's parameters may be no T const & or T &&, which can refer to what is gone "
                "before it ends; pass values, or T & for what outlives it");
  using promise_type = typename exo::async_generator<T>::promise_type;
};
