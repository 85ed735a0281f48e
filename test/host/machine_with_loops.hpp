// A fake machine whose RAM the allocator has, for what runs loops.
#pragma once

#include <exo/memory.hpp>

#include "fake.hpp"

struct machine_with_loops {
  explicit machine_with_loops(fake::settings chosen = {.cores = 4}) : machine(chosen) {
    exo::system_pages.start(exo::info().memory);
    free = exo::system_pages.free().bytes;
  }
  /// Whether all pages that were taken were given back.
  [[nodiscard]] bool kept_nothing() const { return exo::system_pages.free().bytes == free; }

  fake::machine machine;
  exo::u64 free = 0;
};
