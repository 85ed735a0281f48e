// The allocator behind operator new and malloc: slabs of equal blocks, which belong to cores.
//
// A slab is a run of pages cut into blocks of one size; there are eight sizes from one power of two to the next. A core
// takes from its own slabs and gives back to them without a lock or a locked instruction. A block of another core's slab
// goes into a ring of that core, or onto a list when that is full; the core looks there when a slab is used up. Larger blocks
// are runs of pages.
//
// Nothing of the heap lies among the blocks, which are therefore aligned as their size is: page_map tells the slab of an
// address, and which core it belongs to. (The shape is known from mimalloc: D. Leijen, B. Zorn, L. de Moura, "Mimalloc: Free
// List Sharding in Action", APLAS 2019.)
//
// A core has its slabs from its first block until it rests, which is at the end of its work and before it halts for more.
// While it rests, another core that runs short of memory may collect what is free there.
//
// Not for trap handlers: they may have interrupted it. Preempted fibers are safe: what changes a core's heap is a section.
#pragma once

#include <algorithm>
#include <array>
#include <atomic>
#include <cstddef>
#include <cstring>
#include <memory>
#include <mutex>
#include <utility>

#include "core.hpp"
#include "free_list.hpp"
#include "lock.hpp"
#include "memory.hpp"
#include "page_map.hpp"
#include "size_classes.hpp"

namespace exo {

namespace detail {

/// A block while it is free. The mark tells that it is, and on which list: one that was freed twice comes off a list a
/// second time without it. Looking at it already when the block is freed would cost a cache miss.
struct [[gnu::may_alias]] heap_block : free_block {
  u64 mark;
};
static_assert(sizeof(heap_block) == size_classes::unit);

/// A run of pages. Only the core that it belongs to uses it; what it is lies in the page map.
struct alignas(64) slab {
  heap_block *free = nullptr;
  slab *next = nullptr;  // a ring of the core's slabs of this size that have free blocks; null: not in it
  slab *previous = nullptr;
  std::byte *first = nullptr;
  u64 bytes = 0;
  u32 used = 0;   // blocks handed out; those on the returned list are among them
  u32 fresh = 0;  // bytes from the start that have been blocks already
  u32 block_bytes = 0;  // 0: a block of its own pages
  u32 size_class = 0;
};
static_assert(sizeof(slab) == 64);

inline constinit slab no_slab;  // has nothing free; never written

/// What a core has. A power of two, so that a core's is found by a shift.
struct alignas(2048) core_heap {
  static constexpr u64 resting = 0xFFFF;

  u64 tag = resting;  // of its slabs in the page map, while it does not rest
  std::array<slab *, size_classes::count> slabs;  // the first of each ring
  std::array<u64, size_classes::count> bytes{};   // of all slabs of a size, full ones too
  spin_lock awake;  // held by the core while it does not rest, or by who collects meanwhile
  returned_ring<64> returned;
  alignas(64) returned_list returned_late;  // when there was no place in the ring

  core_heap() noexcept { slabs.fill(&no_slab); }
};

static_assert(sizeof(core_heap) == 2048);

}  // namespace detail

class heap {
 public:
  explicit constexpr heap(page_pool &pool) noexcept : pool_(pool) {}
  heap(heap const &) = delete;
  heap &operator=(heap const &) = delete;

  static constexpr std::size_t default_alignment = detail::size_classes::unit;

  /// @param alignment  a power of two
  /// @return           null when no memory is left
  /// @core any
  [[nodiscard]] void *take(std::size_t bytes, std::size_t alignment = default_alignment) {
    unpreempted const section;
    // A class that holds a multiple of an alignment has blocks that are one: its step is a power of two.
    if (alignment > default_alignment && bytes <= sizes::block_max) bytes = align_up(std::max<u64>(bytes, 1), alignment);
    core_heap *const mine = here();
    if (bytes > sizes::block_max || alignment > page_bytes || mine == nullptr || mine->tag == core_heap::resting) [[unlikely]] {
      return take_slowly(bytes, alignment);
    }
    std::size_t const size_class = sizes::of(bytes);
    slab &from = *mine->slabs[size_class];
    heap_block *const block = from.free;
    if (block == nullptr) [[unlikely]] return take_slowly(bytes, alignment);
    return pop(from, *block);
  }

  /// Gives a block back, from whatever core; null is nothing. A block that is free already, or none of the heap, panics.
  /// @core any
  void give(void *block) {
    unpreempted const section;
    u64 const number = map_.find(block);
    if (number == 0) [[unlikely]] return refuse(block);
    core_heap *const mine = here();
    if (number >> tag_shift != mine->tag) [[unlikely]] return give_slowly(block, number);
    put(*mine, *static_cast<heap_block *>(block), *slab_of(number));
  }

  /// A block of another size with the same contents, as far as they fit. Null, and the block unchanged, when no memory is
  /// left. A null block is just taken.
  /// @core any
  [[nodiscard]] void *resize(void *block, std::size_t bytes) {
    std::size_t const old_bytes = size_of(block);
    if (bytes <= old_bytes && bytes >= old_bytes / 2) return block;
    void *const moved = take(bytes);
    if (moved == nullptr || block == nullptr) return moved;
    std::memcpy(moved, block, std::min(bytes, old_bytes));
    give(block);
    return moved;
  }

  /// The bytes that a block has room for, which may be more than were asked for; 0 for null.
  [[nodiscard]] std::size_t size_of(void const *block) const {
    u64 const number = map_.find(block);
    if (number == 0) return refuse(block), 0;
    slab const &within = *slab_of(number);
    return within.block_bytes != 0 ? within.block_bytes : within.bytes;
  }

  /// Whether an address lies in a slab, or in the first page of a block with pages of its own.
  [[nodiscard]] bool holds(void const *address) const noexcept { return map_.find(address) != 0; }

  /// Ends this core's use for now: the others may take from what is free there.
  /// @core any
  void rest() noexcept {
    unpreempted const section;
    core_heap *const mine = here();
    if (mine == nullptr || mine->tag == core_heap::resting) return;
    mine->tag = core_heap::resting;
    detail::hold_preemption();  // as lock() did
    mine->awake.unlock();
  }

  /// Gives the pool back all that this core and the resting ones have free; true if that was something.
  /// @core any
  bool collect() {
    unpreempted const section;
    core_heap *const all = heaps_.load(std::memory_order_acquire);
    if (all == nullptr) return false;
    bool any = false;
    for (u32 core = 0; core < info().cores.size(); ++core) {
      bool const own = core == local().index && all[core].tag != core_heap::resting;
      if (!own && !all[core].awake.try_lock()) continue;
      any = collect_from(all[core]) || any;
      if (!own) all[core].awake.unlock();
    }
    return any;
  }

 private:
  using sizes = detail::size_classes;
  using heap_block = detail::heap_block;
  using slab = detail::slab;
  using core_heap = detail::core_heap;

  // A number in the page map: the slab's address and above it a tag, which is a core's number + 1, or:
  static constexpr u64 pages_tag = 0xFFFE;  // a block of its own pages
  static constexpr unsigned tag_shift = 48;
  static slab *slab_of(u64 number) noexcept {
    return reinterpret_cast<slab *>(number & ((u64{1} << tag_shift) - 1));
  }

  [[nodiscard]] core_heap *here() const noexcept {
    core_heap *const all = heaps_.load(std::memory_order_acquire);
    return all == nullptr ? nullptr : all + local().index;
  }

  static u64 mark_of(heap_block const &block) noexcept { return ~reinterpret_cast<u64>(&block); }
  static u64 returned_mark_of(heap_block const &block) noexcept { return mark_of(block) ^ 1; }

  static void *pop(slab &from, heap_block &block) {
    if (block.mark != mark_of(block)) [[unlikely]] refuse_twice(&block, from);
    from.free = static_cast<heap_block *>(block.next);
    __builtin_prefetch(from.free, 1);  // it is the next one to be taken
    ++from.used;
    block.mark = 0;
    return &block;
  }

  void put(core_heap &mine, heap_block &block, slab &to) {
    heap_block *const before = std::exchange(to.free, &block);
    if (before == &block) [[unlikely]] refuse_twice(&block, to);
    block.next = before;
    block.mark = mark_of(block);
    if (--to.used == 0 || before == nullptr) [[unlikely]] settle(mine, to);
  }

  /// A slab that was full goes to the end of the ring, and so does one that is empty; of those the end has one at most.
  [[gnu::noinline]] void settle(core_heap &mine, slab &which) {
    if (which.next == nullptr) link(mine, which);
    slab *const last = mine.slabs[which.size_class]->previous;
    if (which.used != 0 || last == &which) return;
    if (last->used == 0) return drop_slab(mine, which);
    unlink(mine, which);
    link(mine, which);
  }

  [[gnu::noinline]] void *take_slowly(std::size_t bytes, std::size_t alignment) {
    core_heap *const mine = awaken();
    if (mine == nullptr) return nullptr;
    for (;;) {
      bool const own_pages = bytes > sizes::block_max || alignment > page_bytes;
      void *const block = own_pages ? take_pages(bytes, alignment) : take_block(*mine, sizes::of(bytes));
      if (block != nullptr || !collect()) return block;
    }
  }

  void *take_block(core_heap &mine, std::size_t size_class) {
    take_back(mine);
    slab *&first = mine.slabs[size_class];
    for (;;) {
      while (first != &detail::no_slab) {
        if (first->free == nullptr) cut(*first);
        if (first->free != nullptr) return pop(*first, *first->free);
        unlink(mine, *first);
      }
      u64 const tag = local().index + 1;
      slab *more = make_slab(sizes::slab_bytes(size_class, mine.bytes[size_class]), page_bytes, tag);
      if (more == nullptr) more = make_slab(sizes::block_bytes(size_class), page_bytes, tag);
      if (more == nullptr) return nullptr;
      more->block_bytes = static_cast<u32>(sizes::block_bytes(size_class));
      more->size_class = static_cast<u32>(size_class);
      mine.bytes[size_class] += more->bytes;
      link(mine, *more);
    }
  }

  void *take_pages(std::size_t bytes, std::size_t alignment) noexcept {
    slab *const made = make_slab(bytes, std::max<u64>(alignment, page_bytes), pages_tag);
    return made != nullptr ? made->first : nullptr;
  }

  [[gnu::noinline]] void give_slowly(void *block, u64 number) {
    if (number >> tag_shift != pages_tag) {
      core_heap &owner = heaps_.load(std::memory_order_acquire)[(number >> tag_shift) - 1];
      auto const returned = [block] {
        auto *const marked = static_cast<heap_block *>(block);
        marked->mark = returned_mark_of(*marked);
        return marked;
      };
      if (!owner.returned.try_push(returned)) owner.returned_late.push(*returned());
      return;
    }
    slab &own_pages = *slab_of(number);
    if (block != own_pages.first || !map_.clear_if(own_pages.first, number)) refuse(block);
    drop(own_pages);
  }

  /// Sorts in what other cores have given back.
  void take_back(core_heap &mine) {
    auto const sort_in = [&](void *each) {
      heap_block &block = *static_cast<heap_block *>(each);
      slab &to = *slab_of(map_.find(&block));
      if (block.mark != returned_mark_of(block)) [[unlikely]] refuse_twice(&block, to);
      put(mine, block, to);
    };
    mine.returned.take_all(sort_in);
    for (detail::free_block *each = mine.returned_late.take_all(); each != nullptr;) {
      sort_in(std::exchange(each, each->next));
    }
  }

  /// Makes blocks of the next page of a slab, or one that is larger; none at its end.
  static void cut(slab &which) noexcept {
    u64 const left = (which.bytes - which.fresh) / which.block_bytes;
    u64 const count = std::min<u64>(left, std::max<u64>(page_bytes / which.block_bytes, 1));
    std::byte *const first = which.first + which.fresh;
    for (u64 at = count; at != 0; --at) {
      auto *const block = reinterpret_cast<heap_block *>(first + (at - 1) * which.block_bytes);
      block->next = which.free;
      block->mark = mark_of(*block);
      which.free = block;
    }
    which.fresh += static_cast<u32>(count) * which.block_bytes;
  }

  static void link(core_heap &mine, slab &which) noexcept {
    slab *&first = mine.slabs[which.size_class];
    if (first == &detail::no_slab) {
      first = which.next = which.previous = &which;
    } else {
      which.next = first;
      which.previous = std::exchange(first->previous, &which);
      which.previous->next = &which;
    }
  }
  static void unlink(core_heap &mine, slab &which) noexcept {
    slab *&first = mine.slabs[which.size_class];
    if (first == &which) first = which.next != &which ? which.next : &detail::no_slab;
    which.next->previous = which.previous;
    which.previous->next = which.next;
    which.next = nullptr;
  }

  bool collect_from(core_heap &from) {
    bool any = false;
    take_back(from);
    for (slab *const first : from.slabs) {
      slab *const last = first->previous;
      for (slab *each = first, *next; last != nullptr; each = next) {
        next = each->next;
        bool const ends = each == last;
        if (each->used == 0) {
          drop_slab(from, *each);
          any = true;
        }
        if (ends) break;
      }
    }
    return any;
  }

  /// This core's, made or waited for if need be; null when no memory is left.
  core_heap *awaken() noexcept {
    if (heaps_.load(std::memory_order_acquire) == nullptr && !start()) return nullptr;
    core_heap *const mine = here();
    if (mine->tag == core_heap::resting) {
      mine->awake.lock();
      detail::allow_preemption();  // the core has it until it rests, not the fiber that is here now
      mine->tag = local().index + 1;
    }
    return mine;
  }

  bool start() noexcept {
    std::lock_guard const guard(lock_);
    if (heaps_.load(std::memory_order_relaxed) != nullptr) return true;
    u64 const bytes = info().cores.size() * sizeof(core_heap);
    result<std::byte *> const memory = pool_.take(bytes);
    if (!memory) return false;
    if (!map_.start(pool_)) {
      pool_.give(reinterpret_cast<u64>(*memory), bytes);
      return false;
    }
    auto *const all = reinterpret_cast<core_heap *>(*memory);
    std::uninitialized_value_construct_n(all, info().cores.size());
    heaps_.store(all, std::memory_order_release);
    return true;
  }

  /// A run of pages that the map leads to. Of one block's own pages only the first is in the map.
  slab *make_slab(u64 bytes, u64 alignment, u64 tag) noexcept {
    result<std::byte *> const run = pool_.take(bytes, alignment);
    if (!run) return nullptr;
    bytes = align_up(bytes, page_bytes);
    std::lock_guard const guard(lock_);
    slab *const made = new_slab();
    u64 const number = reinterpret_cast<u64>(made) | tag << tag_shift;
    if (made != nullptr && map_.set(pool_, *run, tag == pages_tag ? page_bytes : bytes, number)) {
      made->first = *run;
      made->bytes = bytes;
      return made;
    }
    if (made != nullptr) made->next = std::exchange(free_slabs_, made);
    pool_.give(reinterpret_cast<u64>(*run), bytes);
    return nullptr;
  }

  slab *new_slab() noexcept {
    if (free_slabs_ == nullptr) {
      result<std::byte *> const memory = pool_.take(page_bytes);
      if (!memory) return nullptr;
      for (u64 at = page_bytes; at != 0; at -= sizeof(slab)) {
        slab *const made = std::construct_at(reinterpret_cast<slab *>(*memory + at - sizeof(slab)));
        made->next = std::exchange(free_slabs_, made);
      }
    }
    slab *const taken = free_slabs_;
    free_slabs_ = taken->next;
    return std::construct_at(taken);
  }

  void drop_slab(core_heap &mine, slab &which) {
    check_all_free(which);
    unlink(mine, which);
    mine.bytes[which.size_class] -= which.bytes;
    map_.clear(which.first, which.bytes);
    drop(which);
  }

  void drop(slab &which) {
    pool_.give(reinterpret_cast<u64>(which.first), which.bytes);
    std::lock_guard const guard(lock_);
    which.next = std::exchange(free_slabs_, &which);
  }

  /// A slab whose count of used blocks is 0 is not empty if some block was freed twice instead of another.
  static void check_all_free(slab const &which) {
    u32 blocks = which.fresh / which.block_bytes;
    heap_block const *each = which.free;
    for (; each != nullptr && blocks != 0; --blocks) each = static_cast<heap_block const *>(each->next);
    if (each != nullptr || blocks != 0) refuse_twice(which.free, which);
  }

  /// Null is nothing to be given back; anything else that the map does not know is a mistake.
  [[gnu::noinline, gnu::cold]] static void refuse(void const *block) {
    if (block == nullptr) return;
    panic("heap: {:#x} was freed, which is no block in use: it was freed before, or never came from here. "
          "Build with -DEXO_HEAP_POISON, which tells more", reinterpret_cast<u64>(block));
  }
  [[noreturn, gnu::noinline, gnu::cold]] static void refuse_twice(void const *block, slab const &within) {
    panic("heap: the block at {:#x}, of {} bytes, or one near it, was freed twice or written to after it was freed. "
          "Build with -DEXO_HEAP_POISON, which tells more", reinterpret_cast<u64>(block), within.block_bytes);
  }

  page_pool &pool_;
  std::atomic<core_heap *> heaps_ = nullptr;  // one for each core; null before the first block is taken
  detail::page_map map_;
  spin_lock lock_;  // of what follows, and of changes of the map
  slab *free_slabs_ = nullptr;
};

}  // namespace exo
