// What the compiler calls in front of atomic operations, with -fsanitize=thread; this stands in for that library.
//
// Programs for the simulator are compiled so, and let another core go on between any two atomic operations, where races
// are. Ordinary accesses pass. All cores are one thread of the host, so every order of memory is the strictest one. This
// file itself is compiled without -fsanitize, and includes nothing, so that nothing of it gets into the program.

extern "C" {

void sim_step() noexcept;  // of program.cpp

void __tsan_init() {}
void __tsan_func_entry(void *) {}
void __tsan_func_exit() {}
void __tsan_vptr_update(void **, void *) {}
void __tsan_vptr_read(void **) {}
// Fibers of the program switch stacks under its own steps.
void *__tsan_get_current_fiber() { return nullptr; }
void *__tsan_create_fiber(unsigned) { return nullptr; }
void __tsan_destroy_fiber(void *) {}
void __tsan_switch_to_fiber(void *, unsigned) {}
void __tsan_read_range(void *, unsigned long) {}
void __tsan_write_range(void *, unsigned long) {}
#define EXO_ACCESS(bytes)                     \
  void __tsan_read##bytes(void *) {}          \
  void __tsan_write##bytes(void *) {}         \
  void __tsan_unaligned_read##bytes(void *) {} \
  void __tsan_unaligned_write##bytes(void *) {} \
  void __tsan_volatile_read##bytes(void *) {} \
  void __tsan_volatile_write##bytes(void *) {} \
  void __tsan_unaligned_volatile_read##bytes(void *) {} \
  void __tsan_unaligned_volatile_write##bytes(void *) {}
EXO_ACCESS(1) EXO_ACCESS(2) EXO_ACCESS(4) EXO_ACCESS(8) EXO_ACCESS(16)
#undef EXO_ACCESS

// clang's names for these three.
void *memcpy(void *, void const *, unsigned long);
void *memmove(void *, void const *, unsigned long);
void *memset(void *, int, unsigned long);
void *__tsan_memcpy(void *to, void const *from, unsigned long bytes) { return memcpy(to, from, bytes); }
void *__tsan_memmove(void *to, void const *from, unsigned long bytes) { return memmove(to, from, bytes); }
void *__tsan_memset(void *to, int value, unsigned long bytes) { return memset(to, value, bytes); }

void __tsan_atomic_thread_fence(int) { sim_step(); }
void __tsan_atomic_signal_fence(int) {}

#define EXO_FETCH(bits, type, name, operation)                                \
  type __tsan_atomic##bits##_fetch_##name(type volatile *at, type value, int) { \
    sim_step();                                                                   \
    type const before = *at;                                                  \
    *at = static_cast<type>(operation);                                       \
    return before;                                                            \
  }
#define EXO_COMPARE(bits, type, name)                                                                          \
  int __tsan_atomic##bits##_compare_exchange_##name(type volatile *at, type *expected, type value, int, int) { \
    sim_step();                                                                                                    \
    type const before = *at;                                                                                   \
    if (before == *expected) {                                                                                 \
      *at = value;                                                                                             \
      return 1;                                                                                                \
    }                                                                                                          \
    *expected = before;                                                                                        \
    return 0;                                                                                                  \
  }
#define EXO_ATOMIC(bits, type)                                                                            \
  type __tsan_atomic##bits##_load(type const volatile *at, int) {                                         \
    sim_step();                                                                                               \
    return *at;                                                                                           \
  }                                                                                                       \
  void __tsan_atomic##bits##_store(type volatile *at, type value, int) {                                  \
    sim_step();                                                                                               \
    *at = value;                                                                                          \
  }                                                                                                       \
  EXO_FETCH(bits, type, add, before + value)                                                              \
  EXO_FETCH(bits, type, sub, before - value)                                                              \
  EXO_FETCH(bits, type, and, before & value)                                                              \
  EXO_FETCH(bits, type, or, before | value)                                                               \
  EXO_FETCH(bits, type, xor, before ^ value)                                                              \
  EXO_FETCH(bits, type, nand, ~(before & value))                                                          \
  type __tsan_atomic##bits##_exchange(type volatile *at, type value, int) {                               \
    sim_step();                                                                                               \
    type const before = *at;                                                                              \
    *at = value;                                                                                          \
    return before;                                                                                        \
  }                                                                                                       \
  EXO_COMPARE(bits, type, strong)                                                                         \
  EXO_COMPARE(bits, type, weak)                                                                           \
  type __tsan_atomic##bits##_compare_exchange_val(type volatile *at, type expected, type value, int, int) { \
    sim_step();                                                                                               \
    type const before = *at;                                                                              \
    if (before == expected) *at = value;                                                                  \
    return before;                                                                                        \
  }
EXO_ATOMIC(8, unsigned char)
EXO_ATOMIC(16, unsigned short)
EXO_ATOMIC(32, unsigned)
EXO_ATOMIC(64, unsigned long)
#undef EXO_FETCH
#undef EXO_COMPARE
#undef EXO_ATOMIC
}
