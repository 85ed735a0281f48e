// RAM is one file in memory, mapped once as it is; mem_map maps parts of it a second time, somewhere else.
//
// Addresses of the arena are its physical ones. Everything else that the process has (its image, stacks, libraries)
// belongs to the core: it can be asked about, not changed. A hole that mem_map fills must not lie there either.
#pragma once

#include <fcntl.h>
#include <sys/mman.h>

#include <cinttypes>
#include <map>
#include <span>
#include <utility>

#include "machine.hpp"

namespace native {

inline constexpr u64 virt_end = u64{1} << 47;
inline constexpr u64 phys_end = u64{1} << 46;  // but for the arena, which lies where the kernel puts it
inline constexpr u32 access_all = exo::access_read | exo::access_write | exo::access_execute | exo::access_uncached |
                                  exo::access_combine;

/// What this backend has mapped: the arena, and what mem_map adds. They do not overlap.
struct region {
  u64 end;
  u64 phys;
  u32 access;
};

struct address_space {
  std::mutex mutex;
  std::map<u64, region> regions;  // by their first address
  int file = -1;
  exo::memory_range ram{};
};

inline constinit address_space *memory = nullptr;

inline bool is_ram(u64 phys, u64 bytes) noexcept {
  auto const &[first, size] = memory->ram;
  return phys >= first && bytes <= size && phys - first <= size - bytes;
}

inline int protection(u32 access) noexcept {
  if (access == 0) return PROT_NONE;
  return PROT_READ | ((access & exo::access_write) != 0 ? PROT_WRITE : 0) |
         ((access & exo::access_execute) != 0 ? PROT_EXEC : 0);
}

/// Access as a page table keeps it: any kind of it can be read.
inline u32 kept(u32 access) noexcept { return access == 0 ? 0 : access | u32{exo::access_read}; }

/// The region that an address lies in, or end().
inline auto find_region(u64 virt) noexcept {
  auto found = memory->regions.upper_bound(virt);
  if (found == memory->regions.begin() || (--found)->second.end <= virt) return memory->regions.end();
  return found;
}

/// Makes a border between regions at an address.
inline void split(u64 at) {
  auto const found = find_region(at);
  if (found == memory->regions.end() || found->first == at) return;
  region upper = found->second;
  upper.phys += at - found->first;
  found->second.end = at;
  memory->regions.emplace(at, upper);
}

/// Looks for an address in what the process has besides the regions. Takes no memory: a handler asks, too.
inline bool find_own(u64 virt, exo::mapping &out) noexcept {
  int const maps = open("/proc/self/maps", O_RDONLY | O_CLOEXEC);
  if (maps < 0) return false;
  // Lines `FIRST-END rwxp …`, both numbers hexadecimal.
  enum { in_first, in_end, in_flags, in_rest } at = in_first;
  u64 first = 0, end = 0;
  u32 access = 0;
  bool found = false;
  std::array<char, 4096> text;
  for (ssize_t count; !found && (count = read(maps, text.data(), text.size())) > 0;) {
    for (char const letter : std::span(text).first(static_cast<std::size_t>(count))) {
      u64 const digit = static_cast<u64>(letter <= '9' ? letter - '0' : letter - 'a' + 10);
      if (at == in_first && letter != '-') {
        first = first << 4 | digit;
      } else if (at == in_first) {
        at = in_end;
      } else if (at == in_end && letter != ' ') {
        end = end << 4 | digit;
      } else if (at == in_end) {
        at = in_flags;
      } else if (at == in_flags && letter != ' ') {
        access |= letter == 'r' ? exo::access_read : letter == 'w' ? exo::access_write : letter == 'x' ? exo::access_execute : 0;
      } else if (at == in_flags) {
        found = virt >= first && virt < end;
        if (found) break;
        at = in_rest;
      } else if (letter == '\n') {
        first = end = access = 0;
        at = in_first;
      }
    }
  }
  close(maps);
  if (found) out = {.phys = virt, .page = exo::page_bytes, .access = access, .reserved = 0};
  return found;
}

/// Whether the process has something besides the regions at an address.
inline bool is_own(u64 virt) {
  guard const locked(memory->mutex);
  exo::mapping what;
  return find_region(virt) == memory->regions.end() && find_own(virt, what);
}

/// What calls check in a range of whole pages.
inline i64 check_range(u64 first, u64 bytes, u64 limit) noexcept {
  bool const whole = (first | bytes) % exo::page_bytes == 0;
  return bytes == 0 || !whole || first + bytes < first || first + bytes > limit ? -error::range : 0;
}

inline i64 check_access(u64 virt, u64 bytes, u32 access) noexcept {
  constexpr u32 both = exo::access_write | exo::access_execute;
  if (access > access_all) return -error::range;
  if ((access & both) == both || virt == 0) return -error::denied;
  return check_range(virt, bytes, virt_end);
}

/// Takes the holes between regions in a range for this backend; if the process has one of them, -denied and none taken.
inline i64 take_holes(u64 first, u64 end) {
  std::map<u64, u64> taken;
  for (u64 at = first; at < end;) {
    if (auto const inside = find_region(at); inside != memory->regions.end()) {
      at = inside->second.end;
      continue;
    }
    auto const next = memory->regions.lower_bound(at);
    u64 const hole_end = next == memory->regions.end() ? end : std::min(next->first, end);
    void *const wanted = reinterpret_cast<void *>(at);
    void *const got = mmap(wanted, hole_end - at, PROT_NONE,
                           MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED_NOREPLACE, -1, 0);
    if (got != wanted) {
      i64 const why = got == MAP_FAILED && errno == ENOMEM ? -error::memory : -error::denied;
      if (got != MAP_FAILED) munmap(got, hole_end - at);
      for (auto const &[hole, bytes] : taken) munmap(reinterpret_cast<void *>(hole), bytes);
      return why;
    }
    taken.emplace(at, hole_end - at);
    at = hole_end;
  }
  return 0;
}

inline i64 mem_map(u64 virt, u64 phys, u64 bytes, u32 access) {
  if (i64 const bad = check_access(virt, bytes, access)) return bad;
  if (i64 const bad = check_range(phys, bytes, virt_end)) return bad;
  if (!is_ram(phys, bytes)) {
    if (is_own(phys) || is_own(phys + bytes - 1)) return -error::denied;
    return bytes > phys_end || phys > phys_end - bytes ? -error::range : -error::unsupported;
  }
  guard const locked(memory->mutex);
  if (i64 const bad = take_holes(virt, virt + bytes)) return bad;
  void *const mapped = mmap(reinterpret_cast<void *>(virt), bytes, protection(access), MAP_SHARED | MAP_FIXED,
                            memory->file, static_cast<off_t>(phys - memory->ram.first));
  if (mapped == MAP_FAILED) return -error::memory;
  split(virt);
  split(virt + bytes);
  memory->regions.erase(memory->regions.lower_bound(virt), memory->regions.lower_bound(virt + bytes));
  memory->regions[virt] = {.end = virt + bytes, .phys = phys, .access = kept(access)};
  return 0;
}

inline i64 mem_protect(u64 virt, u64 bytes, u32 access) {
  if (i64 const bad = check_access(virt, bytes, access)) return bad;
  guard const locked(memory->mutex);
  for (u64 at = virt; at < virt + bytes;) {
    auto const inside = find_region(at);
    exo::mapping own;
    if (inside == memory->regions.end()) return find_own(at, own) ? -error::denied : -error::no_such;
    at = inside->second.end;
  }
  if (mprotect(reinterpret_cast<void *>(virt), bytes, protection(access)) != 0) return -error::memory;
  split(virt);
  split(virt + bytes);
  for (auto each = memory->regions.find(virt); each != memory->regions.end() && each->first < virt + bytes; ++each) {
    each->second.access = kept(access);
  }
  return 0;
}

inline i64 mem_query(u64 virt, exo::mapping *out) {
  if (out == nullptr || reinterpret_cast<u64>(out) % alignof(exo::mapping) != 0) return -error::pointer;
  if (virt >= virt_end) return -error::range;
  guard const locked(memory->mutex);
  auto const inside = find_region(virt);
  if (inside == memory->regions.end()) return find_own(virt, *out) ? 0 : -error::no_such;
  auto const &[first, what] = *inside;
  *out = {.phys = what.phys + (virt - first), .page = exo::page_bytes, .access = what.access, .reserved = 0};
  return 0;
}

/// The kernel has its own page tables: the pages are just kept.
inline i64 mem_give(void *pages, u64 bytes) {
  u64 const first = reinterpret_cast<u64>(pages);
  if (pages == nullptr || first % exo::page_bytes != 0) return -error::pointer;
  if (i64 const bad = check_range(first, bytes, virt_end)) return bad;
  guard const locked(memory->mutex);
  for (u64 at = first; at < first + bytes;) {
    auto const inside = find_region(at);
    exo::mapping own;
    if (inside == memory->regions.end()) return find_own(at, own) ? -error::denied : -error::pointer;
    auto const &[start, what] = *inside;
    if (what.phys != start || (what.access & exo::access_write) == 0) return -error::pointer;
    at = what.end;
  }
  return 0;
}

/// Makes the RAM, at an address if one is given. Pages that nobody touches take nothing.
inline void make_memory(u64 bytes, u64 wanted = 0) {
  memory = new address_space;
  memory->file = memfd_create("exo16-ram", MFD_CLOEXEC);
  void *const first = memory->file < 0 || ftruncate(memory->file, static_cast<off_t>(bytes)) != 0
                          ? MAP_FAILED
                          : mmap(reinterpret_cast<void *>(wanted), bytes, PROT_READ | PROT_WRITE,
                                 MAP_SHARED | MAP_NORESERVE | (wanted != 0 ? MAP_FIXED_NOREPLACE : 0), memory->file, 0);
  if (first == MAP_FAILED) {
    refuse("there are no %" PRIu64 " MiB of memory to be had: %s. Give --mem less.", bytes >> 20, std::strerror(errno));
  }
  memory->ram = {.first = reinterpret_cast<u64>(first), .bytes = bytes};
  memory->regions[memory->ram.first] = {.end = memory->ram.first + bytes,
                                        .phys = memory->ram.first,
                                        .access = exo::access_read | exo::access_write};
}

}  // namespace native
