// Page tables: which page sizes come out, borders that split large pages and only there, an empty pool and mem_give.
// boot: --mem 2G
// boot: --mem 2G -- -cpu max,-pdpe1gb
// boot: --mem 6G --cores 1
#include "check.hpp"

#include <cpuid.h>

using namespace check;

namespace {

constexpr u64 mebibyte = 1 << 20, gibibyte = 1 << 30, large = 2 * mebibyte;
constexpr u32 read_write = access_read | access_write;
constexpr u64 base = u64{0x4000} * gibibyte;

bool giant_pages() {
  u32 eax = 0x80000001, ebx, ecx, edx;
  asm("cpuid" : "+a"(eax), "=b"(ebx), "=c"(ecx), "=d"(edx));
  return (edx & bit_LM) != 0 && (edx & 1 << 26) != 0;
}

/// An address is mapped in a page of this size, to phys, with this access.
void is(u64 virt, u64 phys, u64 page, u32 access, where at = where::current()) {
  page_state const state = state_of(virt);
  same(state.status, 0, at);
  same(static_cast<i64>(state.at.phys), static_cast<i64>(phys), at);
  same(static_cast<i64>(state.at.page), static_cast<i64>(page), at);
  same(state.at.access, access, at);
}

void largest_pages_that_fit() {
  u64 const giant = giant_pages() ? gibibyte : large;
  same(core().mem_map(base, 0, 2 * gibibyte, access_read), -static_cast<i64>(error::denied));  // the core lies there
  same(core().mem_map(base, 4 * gibibyte, 2 * gibibyte, access_read), 0);
  is(base + 12345, 4 * gibibyte + 12345, giant, access_read);
  is(base + 2 * gibibyte - 1, 6 * gibibyte - 1, giant, access_read);
  same(state_of(base + 2 * gibibyte).status, -static_cast<i64>(error::no_such));

  u64 const second = base + 8 * gibibyte;  // aligned to 2 MiB only
  same(core().mem_map(second + large, 4 * gibibyte + 3 * large, 4 * large, read_write), 0);
  is(second + large + 7, 4 * gibibyte + 3 * large + 7, large, read_write);
  is(second + 5 * large - 1, 4 * gibibyte + 7 * large - 1, large, read_write);

  u64 const third = base + 16 * gibibyte;  // virt and phys not aligned alike: 4 KiB
  same(core().mem_map(third, 4 * gibibyte + page_bytes, large, read_write), 0);
  is(third, 4 * gibibyte + page_bytes, page_bytes, read_write);
  is(third + large - 1, 4 * gibibyte + large + page_bytes - 1, page_bytes, read_write);

  u64 const fourth = base + 24 * gibibyte;  // both borders in the middle of large pages
  same(core().mem_map(fourth + large - page_bytes, 4 * gibibyte + large - page_bytes, 2 * large, read_write), 0);
  is(fourth + large - 1, 4 * gibibyte + large - 1, page_bytes, read_write);
  is(fourth + large, 4 * gibibyte + large, large, read_write);
  is(fourth + 3 * large - page_bytes - 1, 4 * gibibyte + 3 * large - page_bytes - 1, page_bytes, read_write);
  same(state_of(fourth + 3 * large - page_bytes).status, -static_cast<i64>(error::no_such));
}

/// Protecting one page in the middle of the identity map splits large pages around it, and leaves all others alone.
void protect_splits_and_gives_back() {
  std::byte *const memory = take_pages(4 * large, large);
  u64 const first = address(memory), middle = first + large + 5 * page_bytes;
  for (u64 at = 0; at < 4 * large; at += page_bytes) *reinterpret_cast<u64 *>(memory + at) = at;
  for (u32 const access : {0u, 1u, 5u, 3u}) {
    same(core().mem_protect(middle, page_bytes, access), 0);
    is(middle, middle, page_bytes, access);
    is(middle - page_bytes, middle - page_bytes, page_bytes, read_write);
    is(middle + page_bytes, middle + page_bytes, page_bytes, read_write);
    is(first, first, large, read_write);
    is(first + 2 * large, first + 2 * large, large, read_write);
  }
  // Over borders of all sizes at once, and back.
  same(core().mem_protect(first + page_bytes, 4 * large - 2 * page_bytes, access_read), 0);
  is(first, first, page_bytes, read_write);
  is(first + page_bytes, first + page_bytes, page_bytes, access_read);
  is(first + 2 * large + 9, first + 2 * large + 9, large, access_read);
  is(first + 4 * large - page_bytes, first + 4 * large - page_bytes, page_bytes, read_write);
  same(core().mem_protect(first, 4 * large, 0), 0);
  is(first + 2 * large, first + 2 * large, large, 0);
  same(core().mem_protect(first, 4 * large, read_write), 0);
  for (u64 at = 0; at < 4 * large; at += page_bytes) {
    if (*reinterpret_cast<u64 *>(memory + at) != at) return fail(where::current(), "memory has changed at", at);
  }
  // A split of a page that is not there keeps its other parts as they are.
  same(core().mem_protect(first + 2 * large, large, 0), 0);
  same(core().mem_protect(first + 2 * large + page_bytes, page_bytes, read_write), 0);
  is(first + 2 * large, first + 2 * large, page_bytes, 0);
  is(first + 2 * large + page_bytes, first + 2 * large + page_bytes, page_bytes, read_write);
  is(first + 3 * large - 1, first + 3 * large - 1, page_bytes, 0);
  same(*reinterpret_cast<i64 *>(memory + 2 * large + page_bytes), static_cast<i64>(2 * large + page_bytes));
  same(core().mem_protect(first + 2 * large, large, read_write), 0);
}

void registers_at_another_address() {
  u64 const virt = base + 32 * gibibyte;
  same(core().mem_map(virt, 0xFED00000, page_bytes, read_write | access_uncached), 0);
  is(virt, 0xFED00000, page_bytes, read_write | access_uncached);
  same(core().mem_map(virt, 0xFED00000, page_bytes, read_write | access_combine), 0);
  is(virt, 0xFED00000, page_bytes, read_write | access_combine);
  same(*reinterpret_cast<u32 volatile *>(virt + 4), *reinterpret_cast<u32 volatile *>(0xFED00004));
}

/// One page in each GiB takes a table or two; then there are none, and after mem_give there are more.
void empty_pool_and_mem_give() {
  std::byte *const page = take_pages(page_bytes);
  *reinterpret_cast<u64 *>(page) = 42;
  u64 next = base + 64 * gibibyte;
  auto const map_until_empty = [&] {
    u64 mapped = 0;
    i64 status;
    while ((status = core().mem_map(next, address(page), page_bytes, read_write)) == 0 && mapped < 10'000) {
      same(*reinterpret_cast<i64 volatile *>(next), 42);
      next += gibibyte;
      ++mapped;
    }
    same(status, -static_cast<i64>(error::memory));
    return mapped;
  };
  map_until_empty();
  same(state_of(next).status, -static_cast<i64>(error::no_such));
  // What needs no table still works, what may need some is refused and changes nothing.
  std::byte *const more = take_pages(large, large);
  page_state const before = state_of(address(more));
  same(core().mem_protect(address(more) + page_bytes, page_bytes, access_read), -static_cast<i64>(error::memory));
  that(before == state_of(address(more)), "a refused call split a page");
  for (u64 at = base + 64 * gibibyte; at < next; at += gibibyte) same(*reinterpret_cast<i64 volatile *>(at), 42);

  same(core().mem_give(take_pages(20 * page_bytes), 20 * page_bytes), 0);
  u64 const first = map_until_empty();
  that(first >= 5 && first <= 20, "20 tables did not do for 5 to 20 pages");
  same(core().mem_give(take_pages(200 * page_bytes), 200 * page_bytes), 0);
  same(core().mem_protect(address(more) + page_bytes, page_bytes, access_read), 0);
  u64 const second = map_until_empty();
  that(second > first && second >= 60 && second <= 200, "200 tables did not do for 60 to 200 pages");
  for (u64 at = base + 64 * gibibyte; at < next; at += gibibyte) same(*reinterpret_cast<i64 volatile *>(at), 42);
}

}  // namespace

int main() {
  largest_pages_that_fit();
  protect_splits_and_gives_back();
  registers_at_another_address();
  empty_pool_and_mem_give();
  return verdict();
}
