// A variable of which each core has its own, on cache lines of its own.
//
// thread_local does the same for one core's code alone; here others can look at all of them, and the number of cores
// need not be known before.
#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <utility>

#include "core.hpp"
#include "memory.hpp"
#include "result.hpp"

namespace exo {

/// One T for each core of info().cores, in pages of their own.
template <typename T>
class per_core {
 public:
  /// Makes all of them from the same arguments.
  /// @error memory  there is too little RAM
  template <typename... Args>
  [[nodiscard]] static result<per_core> make(Args const &...args) noexcept {
    std::size_t const cores = info().cores.size();
    result<pages> memory = pages::take(cores * sizeof(place), page_bytes);
    if (!memory) return std::unexpected(memory.error());
    auto *const first = reinterpret_cast<place *>(memory->data());
    for (std::size_t core = 0; core < cores; ++core) std::construct_at(first + core, args...);
    return per_core(std::move(*memory), cores);
  }

  per_core(per_core &&other) noexcept
      : memory_(std::move(other.memory_)), all_(std::exchange(other.all_, {})) {}
  per_core &operator=(per_core &&other) noexcept {
    memory_.swap(other.memory_);
    std::swap(all_, other.all_);
    return *this;
  }
  ~per_core() { std::destroy(all_.begin(), all_.end()); }

  /// This core's.
  [[nodiscard]] T &mine() noexcept { return all_[local().index].value; }
  [[nodiscard]] T const &mine() const noexcept { return all_[local().index].value; }

  /// Another core's; what it does with it at the same time is the program's concern.
  [[nodiscard]] T &of(core_id core) noexcept { return all_[static_cast<u32>(core)].value; }
  [[nodiscard]] T const &of(core_id core) const noexcept { return all_[static_cast<u32>(core)].value; }

  /// Calls function(value) for each core's in their order.
  template <typename Function>
  void for_each(Function &&function) {
    for (place &each : all_) function(each.value);
  }

  [[nodiscard]] std::size_t size() const noexcept { return all_.size(); }

 private:
  static constexpr std::size_t line = 64;  // what two cores should not share
  struct alignas(line) place {
    template <typename... Args>
    explicit place(Args const &...args) : value(args...) {}
    T value;
  };
  static_assert(alignof(place) <= page_bytes, "exo::per_core: the type's alignment is more than a page");

  per_core(pages memory, std::size_t cores) noexcept
      : memory_(std::move(memory)), all_(reinterpret_cast<place *>(memory_.data()), cores) {}

  pages memory_;
  std::span<place> all_;
};

}  // namespace exo
