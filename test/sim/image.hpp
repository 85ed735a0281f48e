// The program of a machine: a copy of the shared object that the scenario was made into, with its own globals.
//
// Each copy is loaded once. A machine that starts gets back the globals as they were before any constructor, and runs
// the constructors then: so the loader must not do it, and the copy's file says that there are none.
#pragma once

#include <dlfcn.h>
#include <elf.h>
#include <fcntl.h>
#include <link.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstring>
#include <fstream>
#include <iterator>
#include <span>
#include <string>
#include <vector>

#include <native/machine.hpp>

#include "program.hpp"

namespace sim {

using u32 = std::uint32_t;
using u64 = std::uint64_t;
using native::refuse;

class image {
 public:
  /// @param path  the shared object
  /// @param copy  where a file is made of it
  image(std::string const &path, std::string const &copy) {
    std::ifstream from(path, std::ios::binary);
    std::string bytes((std::istreambuf_iterator<char>(from)), {});
    hide_constructors(path, bytes);
    if (!(std::ofstream(copy, std::ios::binary) << bytes)) refuse("'%s' cannot be written. Is the disk full?", copy.c_str());
    handle_ = dlopen(copy.c_str(), RTLD_NOW | RTLD_LOCAL);
    if (handle_ == nullptr) refuse("'%s' is no program for the simulator: %s.", path.c_str(), dlerror());
    auto const *const program = find<program_side>("sim_program");
    if (program == nullptr) refuse("'%s' was not made for the simulator. Make it with tools/program.sh.", path.c_str());
    side_ = *program;
    link_map *map = nullptr;
    dlinfo(handle_, RTLD_DI_LINKMAP, &map);
    base_ = map->l_addr;
    for (segment &each : writable_) {
      each.first += base_;
      auto const *const bytes_of = reinterpret_cast<std::byte const *>(each.first);
      each.content.assign(bytes_of, bytes_of + each.bytes);
    }
    // As the loader has relocated it: there may be pointers in it.
    if (!tls_first_.empty()) {
      std::memcpy(tls_first_.data(), reinterpret_cast<void const *>(base_ + tls_image_), tls_first_.size());
    }
    tls_first_.resize(tls_bytes_);
    if (init_bytes_ != 0) constructors_ = {reinterpret_cast<constructor_fn const *>(base_ + init_), init_bytes_ / sizeof(void *)};
  }
  image(image const &) = delete;
  image &operator=(image const &) = delete;

  /// Puts all globals back to what the file says.
  void restore() {
    for (segment const &each : writable_) std::memcpy(reinterpret_cast<void *>(each.first), each.content.data(), each.bytes);
    owner_ = ~u32{0};
  }

  /// Makes the thread-local variables those of a core, kept in `mine`, and says what exo::local() is.
  void enter(u32 core, std::vector<std::byte> &mine, exo::core_local &local) {
    if (owner_ != core) {
      if (tls_of_owner_ != nullptr && owner_ != ~u32{0}) std::memcpy(tls_of_owner_->data(), tls(), tls_bytes_);
      if (mine.size() != tls_bytes_) mine.assign(tls_first_.begin(), tls_first_.end());
      std::memcpy(tls(), mine.data(), tls_bytes_);
      owner_ = core;
      tls_of_owner_ = &mine;
    }
    side_.set_local(&local);
  }

  [[nodiscard]] program_side const &side() const { return side_; }
  [[nodiscard]] std::span<constructor_fn const> constructors() const { return constructors_; }

  template <typename T>
  [[nodiscard]] T *find(char const *name) const {
    return reinterpret_cast<T *>(dlsym(handle_, name));
  }
  /// The same place in another copy.
  [[nodiscard]] void const *in(image const &other, void const *here) const {
    return reinterpret_cast<void const *>(reinterpret_cast<u64>(here) - base_ + other.base_);
  }
  /// Whether addresses are those of its globals.
  [[nodiscard]] bool owns(u64 address, u64 bytes) const {
    for (segment const &each : writable_) {
      if (address >= each.first && address + bytes <= each.first + each.bytes) return true;
    }
    return false;
  }

 private:
  struct segment {
    u64 first, bytes;
    std::vector<std::byte> content;
  };

  /// Reads the headers of the file, which the compiler has just made, and empties its list of constructors.
  void hide_constructors(std::string const &path, std::string &bytes) {
    auto *const head = reinterpret_cast<Elf64_Ehdr *>(bytes.data());
    if (bytes.size() < sizeof(*head) || bytes.compare(0, SELFMAG, ELFMAG) != 0) refuse("'%s' is no shared object.", path.c_str());
    std::span const headers(reinterpret_cast<Elf64_Phdr *>(bytes.data() + head->e_phoff), head->e_phnum);
    u64 relro_end = 0;
    for (Elf64_Phdr const &each : headers) {
      if (each.p_type == PT_GNU_RELRO) relro_end = (each.p_vaddr + each.p_memsz) & ~(exo::page_bytes - 1);
    }
    for (Elf64_Phdr const &each : headers) {
      if (each.p_type == PT_LOAD && (each.p_flags & PF_W) != 0) {
        u64 const first = std::max(each.p_vaddr, relro_end), end = each.p_vaddr + each.p_memsz;
        if (first < end) writable_.push_back({first, end - first, {}});
      }
      if (each.p_type == PT_TLS) {
        tls_image_ = each.p_vaddr;
        tls_first_.resize(each.p_filesz);
        tls_bytes_ = each.p_memsz;
      }
      if (each.p_type != PT_DYNAMIC) continue;
      for (auto *entry = reinterpret_cast<Elf64_Dyn *>(bytes.data() + each.p_offset); entry->d_tag != DT_NULL; ++entry) {
        if (entry->d_tag == DT_INIT_ARRAY) init_ = entry->d_un.d_ptr;
        if (entry->d_tag == DT_INIT_ARRAYSZ) init_bytes_ = std::exchange(entry->d_un.d_val, 0);
        if (entry->d_tag == DT_FINI_ARRAYSZ) entry->d_un.d_val = 0;
      }
    }
  }

  /// The calling thread's thread-local variables of this copy.
  [[nodiscard]] void *tls() const {
    void *block = nullptr;
    side_.set_local(nullptr);  // the block is made when it is used first
    dlinfo(handle_, RTLD_DI_TLS_DATA, &block);
    return block;
  }

  void *handle_ = nullptr;
  u64 base_ = 0;
  program_side side_{};
  std::vector<segment> writable_;
  u64 init_ = 0, init_bytes_ = 0;
  std::span<constructor_fn const> constructors_;
  std::vector<std::byte> tls_first_;
  u64 tls_image_ = 0, tls_bytes_ = 0;
  u32 owner_ = ~u32{0};
  std::vector<std::byte> *tls_of_owner_ = nullptr;
};

}  // namespace sim
