// mem_map, mem_protect, mem_query and mem_give: good arguments, every bad one, and tables that are as before after it.
// limit: 400
// boot: --cores 2
// boot: --bochs --cores 2
// boot: --native --cores 2
// boot: --sim --cores 2
#include "../boot/check.hpp"

#include <array>

using namespace check;

namespace {

constexpr u64 virt_end = u64{1} << 47;
constexpr u64 far = u64{0x5000} << 30;   // nothing is ever mapped there: what access 0 leaves behind is no hole
constexpr u64 near = u64{0x4000} << 30;  // mapped by these tests
constexpr u32 read_write = access_read | access_write;

u64 info_page() { return address(&info()) & ~(page_bytes - 1); }

/// Whole pages that belong to whatever stands behind the call table: its code first.
#ifdef EXO_HOST
std::array<u64, 3> own_pages() {
  auto const page_of = [](u64 at) { return at & ~(page_bytes - 1); };
  return {page_of(reinterpret_cast<u64>(core().mem_map)), info_page(), page_of(info().cores[1].local)};
}
#else
constexpr u64 core_text = 0x100000, core_data = 0x104000;
std::array<u64, 7> own_pages() {
  core_record const &first = info().cores[0];
  return {core_text, core_text + 0x3000, core_data, core_data + page_bytes, info_page(),
          info().cores[1].local & ~(page_bytes - 1), first.stack_end - page_bytes};
}
#endif

/// Calls that must not change how any of these addresses is mapped.
template <typename Test>
void nothing_changes(Test test) {
  u64 const places[] = {0, page_bytes, own_pages()[0], own_pages()[2], address(&failures), info_page(),
                        far,     far + (u64{1} << 30), virt_end - page_bytes, 0xFEE00000,  address(take_pages(page_bytes))};
  page_state before[std::size(places)];
  for (u32 at = 0; at < std::size(places); ++at) before[at] = state_of(places[at]);
  test();
  for (u32 at = 0; at < std::size(places); ++at) {
    if (!(before[at] == state_of(places[at]))) fail(where::current(), "a refused call changed the mapping of", places[at]);
  }
}

void map_refuses() {
  auto const map = calling(core().mem_map);
  u64 const page = address(take_pages(page_bytes));
  for (u64 const unaligned : {u64{1}, u64{8}, u64{2048}, u64{4095}}) {
    map.refuses(error::range, far + unaligned, page, page_bytes, access_read);
    map.refuses(error::range, far, page + unaligned, page_bytes, access_read);
    map.refuses(error::range, far, page, page_bytes + unaligned, access_read);
  }
  map.refuses(error::range, far, page, 0, access_read);
  for (u32 const access : {32u, 33u, 0x80000000u, ~0u}) map.refuses(error::range, far, page, page_bytes, access);
  for (u64 const virt : {virt_end, virt_end - page_bytes, u64{1} << 48, u64{1} << 63, -2 * page_bytes, -page_bytes}) {
    map.refuses(error::range, virt, page, 2 * page_bytes, access_read);
  }
  for (u64 const bytes : {virt_end, u64{1} << 63, -page_bytes, -far}) {
    map.refuses(error::range, far, page, bytes, access_read);
  }
  for (u64 const phys : {u64{1} << 52, u64{1} << 63, -page_bytes}) {
    map.refuses(error::range, far, phys, page_bytes, access_read);
  }
  map.refuses(error::range, far, page, u64{1} << 46, access_read);  // more than there are physical addresses

  for (u32 const both : {6u, 7u, 14u, 15u, 22u}) map.refuses(error::denied, far, page, page_bytes, both);
  map.refuses(error::denied, 0, page, page_bytes, access_read);
  map.refuses(error::denied, 0, page, 16 * page_bytes, access_read);
  for (u64 const own : own_pages()) {
    map.refuses(error::denied, own, page, page_bytes, read_write);
    map.refuses(error::denied, far, own, page_bytes, access_read);
    map.refuses(error::denied, own - page_bytes, page, 2 * page_bytes, read_write);
    map.refuses(error::denied, far, own - page_bytes, 2 * page_bytes, read_write);
  }
#ifndef EXO_HOST
  map.refuses(error::denied, page_bytes, page_bytes, u64{1} << 32, read_write);  // around all of it
  map.refuses(error::memory, far + page_bytes, u64{1} << 30, u64{8} << 30, access_read);
#endif
}

void protect_refuses() {
  auto const protect = calling(core().mem_protect);
  u64 const page = address(take_pages(page_bytes));
  for (u64 const unaligned : {u64{1}, u64{8}, u64{2048}, u64{4095}}) {
    protect.refuses(error::range, page + unaligned, page_bytes, access_read);
    protect.refuses(error::range, page, page_bytes + unaligned, access_read);
  }
  protect.refuses(error::range, page, 0, access_read);
  for (u32 const access : {32u, 0x80000000u, ~0u}) protect.refuses(error::range, page, page_bytes, access);
  for (u64 const virt : {virt_end, virt_end - page_bytes, u64{1} << 63, -page_bytes}) {
    protect.refuses(error::range, virt, 2 * page_bytes, access_read);
  }
  for (u64 const bytes : {virt_end, u64{1} << 63, -page_bytes}) protect.refuses(error::range, page, bytes, access_read);
  for (u32 const both : {6u, 7u, 14u, 15u, 22u}) protect.refuses(error::denied, page, page_bytes, both);
  protect.refuses(error::denied, 0, page_bytes, access_read);
  for (u64 const own : own_pages()) {
    for (u32 const access : {0u, 1u, 3u, 5u}) protect.refuses(error::denied, own, page_bytes, access);
    if (own == own_pages()[0]) protect.refuses(error::denied, own - page_bytes, 2 * page_bytes, read_write);
  }
#ifndef EXO_HOST
  protect.refuses(error::denied, info().cores[0].stack_end - info().cores[0].stack_bytes - page_bytes, page_bytes, read_write);
#endif
  protect.refuses(error::no_such, far, page_bytes, access_read);
  protect.refuses(error::no_such, virt_end - page_bytes, page_bytes, access_read);

  // A hole behind pages that are mapped: those stay as they are.
  calling(core().mem_map).gives(0, far - page_bytes, page, page_bytes, read_write);
  page_state const before = state_of(far - page_bytes);
  protect.refuses(error::no_such, far - page_bytes, 2 * page_bytes, access_read);
  that(before == state_of(far - page_bytes), "a page in front of a hole changed");
  calling(core().mem_protect).gives(0, far - page_bytes, page_bytes, 0);
}

void query_refuses() {
  auto const ask = calling(core().mem_query);
  mapping out{.phys = 1, .page = 2, .access = 3, .reserved = 4};
  u64 const here = address(&failures);
  ask.refuses(error::pointer, here, nullptr);
  for (u64 const off : {1u, 2u, 4u, 7u}) ask.refuses(error::pointer, here, reinterpret_cast<mapping *>(address(&out) + off));
  for (u64 const virt : {virt_end, virt_end + here, u64{1} << 63, ~u64{0}}) ask.refuses(error::range, virt, &out);
  ask.refuses(error::no_such, far, &out);
  ask.refuses(error::no_such, virt_end - 1, &out);
  that(out.phys == 1 && out.page == 2 && out.access == 3 && out.reserved == 4, "a refused query wrote its answer");
}

void give_refuses() {
  auto const give = calling(core().mem_give);
  std::byte *const page = take_pages(2 * page_bytes);
  give.refuses(error::pointer, nullptr, page_bytes);
  for (u64 const off : {u64{1}, u64{8}, u64{2048}}) give.refuses(error::pointer, page + off, page_bytes);
  for (u64 const bytes : {u64{0}, u64{1}, page_bytes - 1, page_bytes + 8, -page_bytes, u64{1} << 63}) {
    give.refuses(error::range, page, bytes);
  }
  give.refuses(error::range, reinterpret_cast<void *>(virt_end), page_bytes);
  for (u64 const own : own_pages()) {
    give.refuses(error::denied, reinterpret_cast<void *>(own), page_bytes);
  }
  give.refuses(error::pointer, reinterpret_cast<void *>(far), page_bytes);  // not mapped
#ifndef EXO_HOST  // where the program's own pages are those of the process
  static constinit u64 const constant = 1;
  u64 const text = address(reinterpret_cast<void const *>(&give_refuses)) & ~(page_bytes - 1);
  give.refuses(error::pointer, reinterpret_cast<void *>(text), page_bytes);
  give.refuses(error::pointer, reinterpret_cast<void *>(address(&constant) & ~(page_bytes - 1)), page_bytes);
#endif
  calling(core().mem_protect).gives(0, address(page) + page_bytes, page_bytes, access_read);
  give.refuses(error::pointer, page, 2 * page_bytes);  // the second may not be written
  calling(core().mem_protect).gives(0, address(page) + page_bytes, page_bytes, read_write);
  calling(core().mem_map).gives(0, near, address(page), page_bytes, read_write);
  give.refuses(error::pointer, reinterpret_cast<void *>(near), page_bytes);  // RAM, but not at its own address
  calling(core().mem_protect).gives(0, near, page_bytes, 0);
}

void good() {
  std::byte *const page = take_pages(3 * page_bytes);
  auto *const word = reinterpret_cast<u64 *>(page);
  *word = 0x1122334455667788;
  u64 const virt = near + (u64{2} << 30);
  calling(core().mem_map).gives(0, virt, address(page), 3 * page_bytes, read_write);
  mapping at{};
  calling(core().mem_query).gives(0, virt + page_bytes + 5, &at);
  same(static_cast<i64>(at.phys), static_cast<i64>(address(page) + page_bytes + 5));
  same(static_cast<i64>(at.page), page_bytes);
  same(at.access, read_write);
  same(at.reserved, 0);
  auto *const other = reinterpret_cast<u64 volatile *>(virt);
  that(*other == *word, "the other address shows something else");
  *other = 5;
  that(*word == 5, "a write at the other address went elsewhere");
  for (u32 const access : {1u, 5u, 9u, 11u, 0u, 3u}) {
    calling(core().mem_protect).gives(0, virt, 2 * page_bytes, access);
    for (u64 const each : {virt, virt + page_bytes}) {
      calling(core().mem_query).gives(0, each, &at);
      same(at.access, access);
      same(static_cast<i64>(at.phys), static_cast<i64>(address(page) + each - virt));
    }
    calling(core().mem_query).gives(0, virt + 2 * page_bytes, &at);
    same(at.access, read_write);  // the one behind the range
  }
  that(*other == 5, "the page came back with something else in it");
  // Over a page that is mapped, and the hole behind it.
  calling(core().mem_map).gives(0, virt + 2 * page_bytes, address(page), 2 * page_bytes, read_write);
  that(other[2 * page_bytes / sizeof(u64)] == 5, "the page is still the one before");
  calling(core().mem_query).gives(0, virt + 3 * page_bytes, &at);
  same(static_cast<i64>(at.phys), static_cast<i64>(address(page) + page_bytes));
  calling(core().mem_give).gives(0, take_pages(page_bytes), page_bytes);
  calling(core().mem_give).gives(0, take_pages(8 * page_bytes), 8 * page_bytes);
}

}  // namespace

int main() {
  same(state_of(0).at.access, 0);
  same(state_of(own_pages()[0]).at.access, access_read | access_execute);
#ifndef EXO_HOST
  same(state_of(table_address).at.access, access_read);
  same(state_of(info_page()).at.access, access_read);
#endif
  with_and_without_interrupts([] {
    nothing_changes(map_refuses);
    nothing_changes(query_refuses);
    protect_refuses();
    give_refuses();
    good();
  });
  return verdict();
}
