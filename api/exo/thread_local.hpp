// Thread-local storage: one block per core in the layout that compilers expect behind FS.
//
// x86-64 ELF TLS, variant II: the program's thread-local image ends where FS points, and there lies a head with its
// own address at 0 and the stack protector's canary at 0x28 (System V psABI, AMD64 supplement, 6.2).
#pragma once

#include "core.hpp"

#ifdef EXO_HOST

namespace exo::detail {
inline void enter_thread_local() noexcept {}  // the host's threads have theirs
}  // namespace exo::detail

#else

#include <cpuid.h>
#include <elf.h>

#include <algorithm>
#include <cstring>
#include <memory>
#include <span>

#include "console.hpp"
#include "memory.hpp"

extern "C" [[gnu::visibility("hidden")]] Elf64_Ehdr const exo_program_head __asm__("__ehdr_start");  // from the linker

namespace exo::detail {

struct thread_head {
  thread_head *self = nullptr;
  u64 reserved[4] = {};
  u64 canary = 0;
  u64 unused[2] = {};
};
static_assert(offsetof(thread_head, canary) == 0x28);

inline constinit thread_head first_thread_head;  // core 0's until its block is made
inline constinit std::byte *thread_blocks = nullptr;
inline constinit u64 thread_block_bytes = 0;
inline constinit u64 thread_image_bytes = 0;  // in front of each head

/// Points FS at a head. Always inlined, so that it can run while there is no canary yet.
[[gnu::always_inline]] inline void set_thread_head(thread_head *head) noexcept {
  constexpr u32 msr_fs_base = 0xC0000100;
  u64 const address = reinterpret_cast<u64>(head);
  asm volatile("wrmsr"
               :
               : "c"(msr_fs_base), "a"(static_cast<u32>(address)), "d"(static_cast<u32>(address >> 32))
               : "memory");
}

/// Something that an attacker cannot know; its lowest byte is 0, so that no string can pass over it.
[[gnu::always_inline]] inline u64 new_canary() noexcept {
  u64 value = __builtin_ia32_rdtsc() * 0x9E3779B97F4A7C15;
  u32 eax = 1, ebx, ecx = 0, edx;
  asm volatile("cpuid" : "+a"(eax), "=b"(ebx), "+c"(ecx), "=d"(edx));
  if ((ecx & bit_RDRND) != 0) {
    u64 random = 0;
    asm volatile("rdrand %0" : "=r"(random) : : "cc");
    value ^= random;
  }
  return value & ~u64{0xFF};
}

/// Gives core 0 a head without thread-local variables: enough for the stack protector.
[[gnu::always_inline]] inline void enter_first_thread_head() noexcept {
  first_thread_head.self = &first_thread_head;
  first_thread_head.canary = new_canary();
  set_thread_head(&first_thread_head);
}

/// Points FS at this core's block. Always inlined and calls nothing: FS is 0 when a core runs for the first time.
[[gnu::always_inline]] inline void enter_thread_local() noexcept {
  u32 core;
  asm volatile("movl %%gs:%c1, %0" : "=r"(core) : "i"(offsetof(core_local, index)));
  std::byte *const block = thread_blocks + core * thread_block_bytes;
  set_thread_head(reinterpret_cast<thread_head *>(block + thread_image_bytes));
}

/// Makes a block for every core from the program's PT_TLS segment, and enters core 0's.
inline void make_thread_blocks() noexcept {
  auto const *const base = reinterpret_cast<std::byte const *>(&exo_program_head);
  std::span const segments(reinterpret_cast<Elf64_Phdr const *>(base + exo_program_head.e_phoff),
                           exo_program_head.e_phnum);
  auto const found = std::ranges::find(segments, u32{PT_TLS}, &Elf64_Phdr::p_type);
  Elf64_Phdr const image = found != segments.end() ? *found : Elf64_Phdr{};

  u64 const alignment = std::max<u64>(image.p_align, sizeof(thread_head));
  thread_image_bytes = align_up(image.p_memsz, alignment);
  thread_block_bytes = align_up(thread_image_bytes + sizeof(thread_head), alignment);
  u64 const cores = info().cores.size();
  result<std::byte *> const memory =
      system_pages.take(cores * thread_block_bytes, std::max<u64>(alignment, page_bytes));
  if (!memory) panic("no memory for the thread-local storage of {} cores", cores);
  thread_blocks = *memory;
  std::memset(thread_blocks, 0, cores * thread_block_bytes);
  for (u64 core = 0; core < cores; ++core) {
    std::byte *const head = thread_blocks + core * thread_block_bytes + thread_image_bytes;
    // The image ends at the head but for the padding of its own size (psABI 6.2: tlsoffset = round(size, align)).
    std::memcpy(head - align_up(image.p_memsz, std::max<u64>(image.p_align, 1)),
                reinterpret_cast<std::byte const *>(image.p_vaddr), image.p_filesz);
    auto *const made = std::construct_at(reinterpret_cast<thread_head *>(head));
    made->self = made;
    made->canary = first_thread_head.canary;
  }
  enter_thread_local();
}

}  // namespace exo::detail

#endif
