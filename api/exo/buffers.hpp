// Buffers for devices: memory that is either the program's or a device's, and a type that knows which.
//
//   exo::buffer_pool pool = *exo::buffer_pool::make(256, 2048);
//   exo::buffer one = *pool.take();                     // error memory when all are in use
//   one.span()[0] = …;
//   exo::frame entry = frame_in(std::move(one));        // now it is the device's: `one` is empty
//   queue.try_send({&entry, 1});
//   … queue.try_reap(done) …
//   exo::buffer back = *pool.returned(done[0].cookie);  // the program's again; goes back to the pool when it goes
//
// Whoever has a buffer has the only handle of it, and lending it gives the handle away: what a device owns cannot be
// touched, given back or lent twice, because there is nothing to do it with. An entry that a queue did not take comes back
// in the same way, by its cookie. What a device says is checked: only a cookie that is lent out is worth a buffer.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <memory>
#include <span>
#include <utility>

#include "core.hpp"
#include "disk.hpp"
#include "free_list.hpp"
#include "memory.hpp"
#include "nic.hpp"
#include "result.hpp"

namespace exo {

namespace detail {

/// A pool's state, in front of its buffers. It stays as long as one of them is out.
struct buffer_state {
  pages memory;
  std::byte *first = nullptr;
  std::atomic<bool> *lent = nullptr;  // which ones a device has
  u32 count = 0;
  u32 bytes = 0;
  std::atomic<u32> out = 1;  // buffers that are not in the pool; and the pool itself
  free_block *free = nullptr;
  returned_list returned;

  /// What is left when the last one goes. It ends the memory that it lies in.
  void let_go() noexcept {
    if (out.fetch_sub(1, std::memory_order_acq_rel) != 1) return;
    pages const last = std::move(memory);
    std::destroy_at(this);
  }
};

}  // namespace detail

/// A buffer of the program. It goes back to its pool when it goes.
/// @core any, one at a time
class buffer {
 public:
  buffer(buffer &&other) noexcept : state_(std::exchange(other.state_, nullptr)), number_(other.number_) {}
  buffer &operator=(buffer &&other) noexcept {
    buffer moved(std::move(other));
    std::swap(state_, moved.state_);
    std::swap(number_, moved.number_);
    return *this;
  }
  ~buffer() {
    if (state_ == nullptr) return;
    detail::buffer_state &pool = *state_;
    pool.returned.push(*std::construct_at(reinterpret_cast<detail::free_block *>(first())));
    pool.let_go();
  }

  /// Its memory; nothing once it was moved from or lent.
  [[nodiscard]] std::span<std::byte> span() noexcept {
    return state_ == nullptr ? std::span<std::byte>() : std::span(first(), state_->bytes);
  }

  /// Gives it to a device: its memory, and the cookie that it comes back by from buffer_pool::returned. Panics if it is
  /// empty.
  struct lent {
    std::span<std::byte> memory;
    u64 cookie;
  };
  [[nodiscard]] lent lend() && noexcept {
    if (state_ == nullptr) panic("a buffer was lent that is empty: it was moved from, or lent before");
    state_->lent[number_].store(true, std::memory_order_relaxed);
    lent const what{span(), number_};
    state_ = nullptr;
    return what;
  }

 private:
  friend class buffer_pool;
  buffer(detail::buffer_state &state, u32 number) noexcept : state_(&state), number_(number) {}

  [[nodiscard]] std::byte *first() const noexcept { return state_->first + std::size_t{number_} * state_->bytes; }

  detail::buffer_state *state_;
  u32 number_;
};

/// Buffers of one size, in pages of their own. Its memory is kept while the program or a device has one of them.
class buffer_pool {
 public:
  static constexpr u32 bytes_unit = 64;  // a cache line: no two buffers share one

  /// @param count   how many
  /// @param bytes   of each; rounded up to 64. With a multiple of 4,096 each is page aligned
  /// @error range   count or bytes is 0, or they are too much for 32 bits
  /// @error memory  there is too little RAM
  [[nodiscard]] static result<buffer_pool> make(u32 count, u32 bytes) noexcept {
    using state = detail::buffer_state;
    if (count == 0 || bytes == 0 || bytes > ~u32{0} - bytes_unit) return std::unexpected(error::range);
    bytes = static_cast<u32>(align_up(bytes, bytes_unit));
    u64 const front = align_up(sizeof(state) + count * sizeof(*state::lent), page_bytes);
    result<pages> memory = pages::take(front + u64{count} * bytes);
    if (!memory) return std::unexpected(memory.error());
    std::byte *const first = memory->data();
    auto *const made = std::construct_at(reinterpret_cast<state *>(first));
    made->lent = reinterpret_cast<std::atomic<bool> *>(made + 1);
    made->first = first + front;
    made->count = count;
    made->bytes = bytes;
    made->memory = std::move(*memory);
    for (u32 number = count; number-- != 0;) {
      std::construct_at(made->lent + number, false);
      made->free = std::construct_at(reinterpret_cast<detail::free_block *>(made->first + std::size_t{number} * bytes), made->free);
    }
    return buffer_pool(*made);
  }

  buffer_pool(buffer_pool &&other) noexcept : state_(std::exchange(other.state_, nullptr)) {}
  buffer_pool &operator=(buffer_pool &&other) noexcept {
    std::swap(state_, other.state_);
    return *this;
  }
  ~buffer_pool() {
    if (state_ != nullptr) state_->let_go();
  }

  /// A buffer, with whatever was in it.
  /// @error memory  all are in use
  /// @core  one at a time; buffers go back from any
  [[nodiscard]] result<buffer> take() noexcept {
    if (state_->free == nullptr) state_->free = state_->returned.take_all();
    if (state_->free == nullptr) return std::unexpected(error::memory);
    auto *const first = reinterpret_cast<std::byte *>(std::exchange(state_->free, state_->free->next));
    auto const number = static_cast<u32>(static_cast<u64>(first - state_->first) / state_->bytes);
    state_->out.fetch_add(1, std::memory_order_relaxed);
    return buffer(*state_, number);
  }

  /// The buffer that a device gave back, by its cookie. To be called as well for entries that a queue did not take, and for
  /// all that it had when it was closed.
  /// @error no_such  no buffer of this cookie is lent: it came back already, or the device made it up
  [[nodiscard]] result<buffer> returned(u64 cookie) noexcept {
    if (cookie >= state_->count || !state_->lent[cookie].exchange(false)) return std::unexpected(error::no_such);
    return buffer(*state_, static_cast<u32>(cookie));
  }

 private:
  explicit buffer_pool(detail::buffer_state &state) noexcept : state_(&state) {}

  detail::buffer_state *state_;
};

/// An entry for a frame in a buffer that becomes the device's; an empty one, to be posted, is as long as the buffer.
/// @param bytes  the frame's, from the start of the buffer; cut to its size
[[nodiscard]] inline frame frame_in(buffer &&from, std::size_t bytes = ~std::size_t{0}) noexcept {
  buffer::lent const what = std::move(from).lend();
  return frame_at(what.memory.data(), std::min(bytes, what.memory.size()), what.cookie);
}

/// An operation that fills a buffer, which becomes the device's, from a disk.
/// @param bytes  whole blocks; cut to the buffer's size
[[nodiscard]] inline disk_op read_op(lba first, buffer &&into, std::size_t bytes = ~std::size_t{0}) noexcept {
  buffer::lent const what = std::move(into).lend();
  return read_op(first, what.memory.first(std::min(bytes, what.memory.size())), what.cookie);
}

/// An operation that writes a buffer, which becomes the device's, to a disk.
[[nodiscard]] inline disk_op write_op(lba first, buffer &&from, std::size_t bytes = ~std::size_t{0}) noexcept {
  buffer::lent const what = std::move(from).lend();
  return write_op(first, what.memory.first(std::min(bytes, what.memory.size())), what.cookie);
}

}  // namespace exo
