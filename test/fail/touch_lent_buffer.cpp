// expect: has no member named 'span'
#include <exo/buffers.hpp>

#include <utility>

std::byte first(exo::buffer &mine, exo::buffer_pool &pool) {
  exo::frame const entry = frame_in(std::move(mine));
#ifndef EXO_WRONG
  return pool.returned(entry.cookie)->span()[0];
#else
  return static_cast<void>(pool), entry.span()[0];
#endif
}
