// The functions that GCC and libstdc++ take for granted: memory and string routines, static locals, exit handlers,
// operator new, malloc, and the ends of the road (abort, stack smashing, library errors), which all panic.
//
// Every one has a C++ name of its own and the expected name as its symbol, so nothing here clashes with <cstring> or
// <cstdlib>, whatever is included first. As inline functions they may stand in several translation units.
#pragma once

#ifndef EXO_HOST

#include <emmintrin.h>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <mutex>

#include "console.hpp"
#include "core.hpp"
#include "lock.hpp"
#include "system_heap.hpp"

// An unused inline function still gets its symbol; the linker drops it with --gc-sections when nothing refers to it.
#define EXO_SYMBOL [[gnu::used]] inline

namespace exo::libc {

// ---- memory and strings. The barriers keep the compiler from seeing memcpy in memcpy. ----

using block16 = __m128i_u;

EXO_SYMBOL void *copy_up(void *to, void const *from, std::size_t bytes) noexcept __asm__("memcpy");
EXO_SYMBOL void *copy_up(void *to, void const *from, std::size_t bytes) noexcept {
  auto *write = static_cast<char *>(to);
  auto const *read = static_cast<char const *>(from);
  for (; bytes >= 16; bytes -= 16, read += 16, write += 16) {
    _mm_storeu_si128(reinterpret_cast<block16 *>(write), _mm_loadu_si128(reinterpret_cast<block16 const *>(read)));
    asm volatile("" : "+r"(write));
  }
  for (; bytes != 0; --bytes) {
    *write++ = *read++;
    asm volatile("" : "+r"(write));
  }
  return to;
}

EXO_SYMBOL void *copy_either_way(void *to, void const *from, std::size_t bytes) noexcept __asm__("memmove");
EXO_SYMBOL void *copy_either_way(void *to, void const *from, std::size_t bytes) noexcept {
  if (reinterpret_cast<u64>(to) - reinterpret_cast<u64>(from) >= bytes) return copy_up(to, from, bytes);
  auto *write = static_cast<char *>(to) + bytes;
  auto const *read = static_cast<char const *>(from) + bytes;
  for (; bytes >= 16; bytes -= 16) {
    read -= 16;
    write -= 16;
    _mm_storeu_si128(reinterpret_cast<block16 *>(write), _mm_loadu_si128(reinterpret_cast<block16 const *>(read)));
    asm volatile("" : "+r"(write));
  }
  for (; bytes != 0; --bytes) {
    *--write = *--read;
    asm volatile("" : "+r"(write));
  }
  return to;
}

EXO_SYMBOL void *fill(void *to, int value, std::size_t bytes) noexcept __asm__("memset");
EXO_SYMBOL void *fill(void *to, int value, std::size_t bytes) noexcept {
  auto *write = static_cast<char *>(to);
  __m128i const pattern = _mm_set1_epi8(static_cast<char>(value));
  for (; bytes >= 16; bytes -= 16, write += 16) {
    _mm_storeu_si128(reinterpret_cast<block16 *>(write), pattern);
    asm volatile("" : "+r"(write));
  }
  for (; bytes != 0; --bytes) {
    *write++ = static_cast<char>(value);
    asm volatile("" : "+r"(write));
  }
  return to;
}

EXO_SYMBOL int compare(void const *left, void const *right, std::size_t bytes) noexcept __asm__("memcmp");
EXO_SYMBOL int compare(void const *left, void const *right, std::size_t bytes) noexcept {
  auto const *a = static_cast<unsigned char const *>(left);
  auto const *b = static_cast<unsigned char const *>(right);
  for (; bytes != 0; --bytes, ++a, ++b) {
    if (*a != *b) return *a - *b;
  }
  return 0;
}

EXO_SYMBOL void *find(void const *text, int value, std::size_t bytes) noexcept __asm__("memchr");
EXO_SYMBOL void *find(void const *text, int value, std::size_t bytes) noexcept {
  for (auto const *at = static_cast<unsigned char const *>(text); bytes != 0; --bytes, ++at) {
    if (*at == static_cast<unsigned char>(value)) return const_cast<unsigned char *>(at);
  }
  return nullptr;
}

EXO_SYMBOL std::size_t length(char const *text) noexcept __asm__("strlen");
EXO_SYMBOL std::size_t length(char const *text) noexcept {
  char const *end = text;
  while (*end != 0) {
    ++end;
    asm volatile("" : "+r"(end));
  }
  return static_cast<std::size_t>(end - text);
}

// ---- local statics (Itanium C++ ABI 3.3.3): byte 0 of the guard tells that the object is made ----

struct static_guard {
  std::atomic<char> made;
  std::atomic<u32> maker;  // 1 + the core that is at it
};
static_assert(sizeof(static_guard) == sizeof(u64));

EXO_SYMBOL void guard_abort(static_guard *guard) noexcept __asm__("__cxa_guard_abort");
EXO_SYMBOL void guard_abort(static_guard *guard) noexcept {
  guard->maker.store(0, std::memory_order_release);
  detail::allow_preemption();
}

EXO_SYMBOL int guard_acquire(static_guard *guard) noexcept __asm__("__cxa_guard_acquire");
EXO_SYMBOL int guard_acquire(static_guard *guard) noexcept {
  u32 const me = local().index + 1;
  while (guard->made.load(std::memory_order_acquire) == 0) {
    u32 maker = 0;
    // Not preempted until it is made: another fiber of this core would take that for a static that needs itself.
    if (detail::hold_preemption_if(
            [&] { return guard->maker.compare_exchange_strong(maker, me, std::memory_order_acquire); })) {
      if (guard->made.load(std::memory_order_relaxed) == 0) return 1;
      guard_abort(guard);
    } else if (maker == me) {
      panic("a local static needs itself to be made");
    }
    pause();
  }
  return 0;
}

EXO_SYMBOL void guard_release(static_guard *guard) noexcept __asm__("__cxa_guard_release");
EXO_SYMBOL void guard_release(static_guard *guard) noexcept {
  guard->made.store(1, std::memory_order_release);
  guard_abort(guard);
}

// ---- what runs when the program ends, last registered first ----

struct exit_call {
  void (*function)(void *);
  void *argument;
};

struct exit_chunk {
  exit_chunk *older;
  u32 count;
  exit_call calls[31];
};

inline constinit spin_lock exit_lock;
inline constinit exit_chunk first_exit_chunk{};
inline constinit exit_chunk *exit_chunks = &first_exit_chunk;

EXO_SYMBOL int at_exit(void (*function)(void *), void *argument, void *) noexcept __asm__("__cxa_atexit");
EXO_SYMBOL int at_exit(void (*function)(void *), void *argument, void *) noexcept {
  std::lock_guard const guard(exit_lock);
  if (exit_chunks->count == std::size(exit_chunks->calls)) {
    result<std::byte *> const memory = system_pages.take(sizeof(exit_chunk));
    if (!memory) return -1;
    auto *const chunk = reinterpret_cast<exit_chunk *>(*memory);
    chunk->older = exit_chunks;
    chunk->count = 0;
    exit_chunks = chunk;
  }
  exit_chunks->calls[exit_chunks->count++] = {function, argument};
  return 0;
}

EXO_SYMBOL int at_exit_plain(void (*function)()) noexcept __asm__("atexit");
EXO_SYMBOL int at_exit_plain(void (*function)()) noexcept {
  return at_exit(reinterpret_cast<void (*)(void *)>(function), nullptr, nullptr);
}

/// Thread-local objects live as long as their core, which is for good.
EXO_SYMBOL int at_thread_exit(void (*)(void *), void *, void *) noexcept __asm__("__cxa_thread_atexit");
EXO_SYMBOL int at_thread_exit(void (*)(void *), void *, void *) noexcept { return 0; }

inline bool take_exit_call(exit_call &call) noexcept {
  std::lock_guard const guard(exit_lock);
  while (exit_chunks->count == 0 && exit_chunks->older != nullptr) exit_chunks = exit_chunks->older;
  if (exit_chunks->count == 0) return false;
  call = exit_chunks->calls[--exit_chunks->count];
  return true;
}

inline void run_exit_calls() noexcept {
  for (exit_call call; take_exit_call(call);) call.function(call.argument);
#ifdef EXO_HEAP_POISON
  system_heap.collect();
#endif
}

[[gnu::used]] inline void *dso_handle __asm__("__dso_handle") = nullptr;        // which object registers: the only one
[[gnu::used]] inline char single_threaded __asm__("__libc_single_threaded") = 0;  // shared_ptr counts atomically

/// Asked by shared_ptr whether code with RTTI makes it; the library's own answer would need all of its locks.
EXO_SYMBOL bool is_make_shared_tag(void const *) noexcept __asm__("_ZNSt19_Sp_make_shared_tag5_S_eqERKSt9type_info");
EXO_SYMBOL bool is_make_shared_tag(void const *) noexcept { return false; }

// ---- operator new: there are no exceptions, so running out of memory panics unless nothrow was asked for ----

[[gnu::noinline]] inline void *take_or_panic(std::size_t bytes, std::size_t alignment) noexcept {
  void *const block = system_heap.take(bytes, alignment);
  if (block == nullptr) panic("operator new: no {} bytes of memory are left in one piece", bytes);
  return block;
}

#define EXO_NEW(name, parameters, symbol, expression)              \
  EXO_SYMBOL void *name parameters noexcept __asm__(symbol);       \
  EXO_SYMBOL void *name parameters noexcept { return expression; }
#define EXO_DELETE(name, parameters, symbol)                  \
  EXO_SYMBOL void name parameters noexcept __asm__(symbol);   \
  EXO_SYMBOL void name parameters noexcept { system_heap.give(block); }
#define EXO_ALIGN_DEFAULT __STDCPP_DEFAULT_NEW_ALIGNMENT__

// m: std::size_t, St11align_val_t: std::align_val_t, RKSt9nothrow_t: std::nothrow_t const &; nw, na: new, new[]
EXO_NEW(new_one, (std::size_t bytes), "_Znwm", take_or_panic(bytes, EXO_ALIGN_DEFAULT))
EXO_NEW(new_many, (std::size_t bytes), "_Znam", take_or_panic(bytes, EXO_ALIGN_DEFAULT))
EXO_NEW(new_one_aligned, (std::size_t bytes, std::size_t alignment), "_ZnwmSt11align_val_t",
        take_or_panic(bytes, alignment))
EXO_NEW(new_many_aligned, (std::size_t bytes, std::size_t alignment), "_ZnamSt11align_val_t",
        take_or_panic(bytes, alignment))
EXO_NEW(new_one_or_null, (std::size_t bytes, void const *), "_ZnwmRKSt9nothrow_t", system_heap.take(bytes))
EXO_NEW(new_many_or_null, (std::size_t bytes, void const *), "_ZnamRKSt9nothrow_t", system_heap.take(bytes))
EXO_NEW(new_one_aligned_or_null, (std::size_t bytes, std::size_t alignment, void const *),
        "_ZnwmSt11align_val_tRKSt9nothrow_t", system_heap.take(bytes, alignment))
EXO_NEW(new_many_aligned_or_null, (std::size_t bytes, std::size_t alignment, void const *),
        "_ZnamSt11align_val_tRKSt9nothrow_t", system_heap.take(bytes, alignment))
EXO_DELETE(delete_one, (void *block), "_ZdlPv")
EXO_DELETE(delete_many, (void *block), "_ZdaPv")
EXO_DELETE(delete_one_sized, (void *block, std::size_t), "_ZdlPvm")
EXO_DELETE(delete_many_sized, (void *block, std::size_t), "_ZdaPvm")
EXO_DELETE(delete_one_aligned, (void *block, std::size_t), "_ZdlPvSt11align_val_t")
EXO_DELETE(delete_many_aligned, (void *block, std::size_t), "_ZdaPvSt11align_val_t")
EXO_DELETE(delete_one_sized_aligned, (void *block, std::size_t, std::size_t), "_ZdlPvmSt11align_val_t")
EXO_DELETE(delete_many_sized_aligned, (void *block, std::size_t, std::size_t), "_ZdaPvmSt11align_val_t")
EXO_DELETE(delete_one_or_null, (void *block, void const *), "_ZdlPvRKSt9nothrow_t")
EXO_DELETE(delete_many_or_null, (void *block, void const *), "_ZdaPvRKSt9nothrow_t")

#undef EXO_NEW
#undef EXO_DELETE

// ---- malloc: out of memory is null; there is no errno ----

EXO_SYMBOL void *allocate(std::size_t bytes) noexcept __asm__("malloc");
EXO_SYMBOL void *allocate(std::size_t bytes) noexcept { return system_heap.take(bytes); }

EXO_SYMBOL void release(void *block) noexcept __asm__("free");
EXO_SYMBOL void release(void *block) noexcept { system_heap.give(block); }

EXO_SYMBOL void *allocate_zeroed(std::size_t count, std::size_t bytes) noexcept __asm__("calloc");
EXO_SYMBOL void *allocate_zeroed(std::size_t count, std::size_t bytes) noexcept {
  std::size_t all = 0;
  if (__builtin_mul_overflow(count, bytes, &all)) return nullptr;
  void *const block = system_heap.take(all);
  return block == nullptr ? nullptr : fill(block, 0, all);
}

EXO_SYMBOL void *reallocate(void *block, std::size_t bytes) noexcept __asm__("realloc");
EXO_SYMBOL void *reallocate(void *block, std::size_t bytes) noexcept { return system_heap.resize(block, bytes); }

EXO_SYMBOL void *allocate_aligned(std::size_t alignment, std::size_t bytes) noexcept __asm__("aligned_alloc");
EXO_SYMBOL void *allocate_aligned(std::size_t alignment, std::size_t bytes) noexcept {
  return is_power_of_two(alignment) ? system_heap.take(bytes, alignment) : nullptr;
}

EXO_SYMBOL int allocate_aligned_into(void **out, std::size_t alignment, std::size_t bytes) noexcept
    __asm__("posix_memalign");
EXO_SYMBOL int allocate_aligned_into(void **out, std::size_t alignment, std::size_t bytes) noexcept {
  constexpr int invalid = 22, no_memory = 12;  // EINVAL, ENOMEM
  if (!is_power_of_two(alignment) || alignment % sizeof(void *) != 0) return invalid;
  void *const block = system_heap.take(bytes, alignment);
  if (block == nullptr) return no_memory;
  *out = block;
  return 0;
}
#undef EXO_ALIGN_DEFAULT

// ---- the ends of the road ----

#define EXO_PANIC(name, symbol, ...)                           \
  [[noreturn]] EXO_SYMBOL void name() noexcept __asm__(symbol); \
  [[noreturn]] EXO_SYMBOL void name() noexcept { panic(__VA_ARGS__); }
EXO_PANIC(abort_program, "abort", "abort was called")
EXO_PANIC(terminate, "_ZSt9terminatev", "std::terminate was called")
EXO_PANIC(stack_smashed, "__stack_chk_fail", "a function wrote past its stack buffer")
EXO_PANIC(pure_virtual, "__cxa_pure_virtual", "a pure virtual function was called")
EXO_PANIC(deleted_virtual, "__cxa_deleted_virtual", "a deleted virtual function was called")
EXO_PANIC(throw_bad_alloc, "_ZSt17__throw_bad_allocv", "std::bad_alloc")
EXO_PANIC(throw_bad_array_length, "_ZSt28__throw_bad_array_new_lengthv", "std::bad_array_new_length")
EXO_PANIC(throw_bad_cast, "_ZSt16__throw_bad_castv", "std::bad_cast")
EXO_PANIC(throw_bad_exception, "_ZSt21__throw_bad_exceptionv", "std::bad_exception")
EXO_PANIC(throw_bad_typeid, "_ZSt18__throw_bad_typeidv", "std::bad_typeid")
EXO_PANIC(throw_bad_function_call, "_ZSt25__throw_bad_function_callv", "std::bad_function_call")
#undef EXO_PANIC

#define EXO_THROW(name, symbol)                                                \
  [[noreturn]] EXO_SYMBOL void throw_##name(char const *what) noexcept __asm__(symbol); \
  [[noreturn]] EXO_SYMBOL void throw_##name(char const *what) noexcept { panic("std::" #name ": {}", what); }
EXO_THROW(logic_error, "_ZSt19__throw_logic_errorPKc")
EXO_THROW(domain_error, "_ZSt20__throw_domain_errorPKc")
EXO_THROW(invalid_argument, "_ZSt24__throw_invalid_argumentPKc")
EXO_THROW(length_error, "_ZSt20__throw_length_errorPKc")
EXO_THROW(out_of_range, "_ZSt20__throw_out_of_rangePKc")
EXO_THROW(runtime_error, "_ZSt21__throw_runtime_errorPKc")
EXO_THROW(range_error, "_ZSt19__throw_range_errorPKc")
EXO_THROW(overflow_error, "_ZSt22__throw_overflow_errorPKc")
EXO_THROW(underflow_error, "_ZSt23__throw_underflow_errorPKc")
#undef EXO_THROW

/// The text is a printf format; it is shown as it is, which names the function and the reason.
[[noreturn]] EXO_SYMBOL void throw_out_of_range_text(char const *what, ...) noexcept
    __asm__("_ZSt24__throw_out_of_range_fmtPKcz");
[[noreturn]] EXO_SYMBOL void throw_out_of_range_text(char const *what, ...) noexcept {
  panic("std::out_of_range: {}", what);
}

[[noreturn]] EXO_SYMBOL void throw_system_error(int code) noexcept __asm__("_ZSt20__throw_system_errori");
[[noreturn]] EXO_SYMBOL void throw_system_error(int code) noexcept { panic("std::system_error {}", code); }

[[noreturn]] EXO_SYMBOL void assertion_failed(char const *file, int line, char const *function, char const *condition)
    noexcept __asm__("_ZSt21__glibcxx_assert_failPKciS0_S0_");
[[noreturn]] EXO_SYMBOL void assertion_failed(char const *file, int line, char const *function, char const *condition)
    noexcept {
  panic("{}:{}: {}: assertion failed: {}", file, line, function, condition);
}

}  // namespace exo::libc

#undef EXO_SYMBOL

#endif
