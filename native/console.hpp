// The console is standard input and output, as they are: a terminal keeps its line editing.
#pragma once

#include <poll.h>

#include "machine.hpp"

namespace native {

inline constinit std::mutex console_mutex;

/// What nobody takes is lost, as on a serial line: the other end is closed, or the disk under it full.
inline i64 console_write(void const *text, u64 bytes) {
  if (text == nullptr) return -error::pointer;
  if (bytes > (u64{1} << 47) || reinterpret_cast<u64>(text) + bytes < reinterpret_cast<u64>(text)) return -error::range;
  guard const locked(console_mutex);
  auto const *next = static_cast<char const *>(text);
  for (u64 left = bytes; left != 0;) {
    ssize_t const written = write(STDOUT_FILENO, next, left);
    if (written >= 0) {
      next += written;
      left -= static_cast<u64>(written);
    } else if (errno == EAGAIN) {
      pollfd wait{.fd = STDOUT_FILENO, .events = POLLOUT, .revents = 0};
      poll(&wait, 1, -1);
    } else if (errno != EINTR) {
      break;
    }
  }
  return static_cast<i64>(bytes);
}

inline i64 console_read(void *text, u64 bytes) {
  if (text == nullptr) return -error::pointer;
  pollfd input{.fd = STDIN_FILENO, .events = POLLIN, .revents = 0};
  if (bytes == 0 || poll(&input, 1, 0) <= 0 || (input.revents & POLLIN) == 0) return 0;
  ssize_t const taken = read(STDIN_FILENO, text, bytes < exo::page_bytes ? bytes : exo::page_bytes);
  return taken < 0 ? 0 : taken;
}

/// There is no screen.
inline i64 console_screen(u32 on) { return on > 1 ? -error::range : 0; }

}  // namespace native
