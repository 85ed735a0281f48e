// What the one process of a Linux guest does first.
#pragma once

#include <fcntl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cstdio>

/// Loads the modules of the initial RAM disk: /modules/1 and on, in the order in which they depend on each other.
///
/// @param fail  called with the path of one that does not load
inline void load_modules(void (*fail)(char const *path)) {
  for (int number = 1;; ++number) {
    char path[32];
    std::snprintf(path, sizeof path, "/modules/%d", number);
    int const file = open(path, O_RDONLY);
    if (file < 0) return;
    if (syscall(SYS_finit_module, file, "", 0) != 0) fail(path);
    close(file);
  }
}
