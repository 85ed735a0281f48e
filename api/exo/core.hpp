// The contract in C++: the call table, the shared structs and the errors, made from api/abi/*.inc.
//
// Everything else in Exo16 is built on this header; nothing else touches the fixed address. On a workstation
// (EXO_HOST defined) the same table is whatever `host_table` points at, so tests and simulators can stand behind it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <expected>
#include <span>

namespace exo {

using u8 = std::uint8_t;
using u16 = std::uint16_t;
using u32 = std::uint32_t;
using u64 = std::uint64_t;
using i32 = std::int32_t;
using i64 = std::int64_t;

#define EXO_NOTE(text)

/// Why a call failed. A call that fails has changed nothing.
enum class error : i32 {
#define EXO_ERROR(value, name, doc) name = value,
#include "../abi/errors.inc"
#undef EXO_ERROR
};

/// The sentence that explains an error.
constexpr char const *explain(error why) noexcept {
  switch (why) {
#define EXO_ERROR(value, name, doc) \
  case error::name:                 \
    return doc;
#include "../abi/errors.inc"
#undef EXO_ERROR
  }
  return "An error number that this header does not know.";
}

/// A value, or why there is none.
template <typename T>
using result = std::expected<T, error>;

/// A call's result: the value when it is not negative, else the error.
constexpr result<u64> checked(i64 value) noexcept {
  if (value < 0) return std::unexpected(static_cast<error>(-value));
  return static_cast<u64>(value);
}

/// Records of the machine that know their own size, so that a newer core may have longer ones.
template <typename T>
struct list {
  T const *first;
  u32 count;
  u32 stride;

  struct iterator {
    T const *at;
    u32 stride;
    T const &operator*() const noexcept { return *at; }
    iterator &operator++() noexcept {
      at = reinterpret_cast<T const *>(reinterpret_cast<char const *>(at) + stride);
      return *this;
    }
    bool operator==(iterator const &other) const noexcept { return at == other.at; }
  };

  [[nodiscard]] u32 size() const noexcept { return count; }
  [[nodiscard]] bool empty() const noexcept { return count == 0; }
  T const &operator[](std::size_t index) const noexcept {
    return *reinterpret_cast<T const *>(reinterpret_cast<char const *>(first) + index * stride);
  }
  [[nodiscard]] iterator begin() const noexcept { return {first, stride}; }
  [[nodiscard]] iterator end() const noexcept { return {&(*this)[count], stride}; }
};

struct trap_frame;
using entry_fn = void (*)(void *argument);
using trap_fn = void (*)(trap_frame *state);

struct machine_info;
struct core_record;
struct memory_range;
struct pci_record;
struct nic_record;
struct disk_record;

#define EXO_CONSTANT(name, value, doc) inline constexpr u64 name = value;
#define EXO_STRUCT(name) struct name {
#define EXO_FIELD(type, name, doc) type name;
#define EXO_ARRAY(type, name, count, doc) type name[count];
#define EXO_POINTER(type, name, doc) type const *name;
#define EXO_LIST(type, name, doc) list<type> name;
#define EXO_END(name) \
  }                   \
  ;
#include "../abi/layout.inc"
#undef EXO_CONSTANT
#undef EXO_STRUCT
#undef EXO_FIELD
#undef EXO_ARRAY
#undef EXO_POINTER
#undef EXO_LIST
#undef EXO_END

/// The call table: one function pointer per line of api/abi/calls.inc.
struct calls {
#define EXO_CALL(slot, name, ret, args, doc) ret(*name) args;
#include "../abi/calls.inc"
#undef EXO_CALL
};
#define EXO_CALL(slot, name, ret, args, doc) \
  static_assert(offsetof(calls, name) == slot * sizeof(void *), "calls.inc: slot out of place: " #name);
#include "../abi/calls.inc"
#undef EXO_CALL
#undef EXO_NOTE

#ifdef EXO_HOST

inline calls const *host_table = nullptr;
inline machine_info const *host_info = nullptr;
inline thread_local core_local *host_local = nullptr;
inline u64 (*host_ticks)() noexcept = nullptr;  // virtual time, in place of the TSC

/// A device in place of the machine's. A place below 64 KiB is a port, above it a register in memory.
inline u64 (*host_read)(u64 place, u32 bytes) noexcept = nullptr;
inline void (*host_write)(u64 place, u64 value, u32 bytes) noexcept = nullptr;

inline calls const &core() noexcept { return *host_table; }
inline machine_info const &info() noexcept { return *host_info; }
inline core_local &local() noexcept { return *host_local; }
inline u64 ticks() noexcept { return host_ticks != nullptr ? host_ticks() : __builtin_ia32_rdtsc(); }

#else

/// The call table of the machine.
inline calls const &core() noexcept {
  return *reinterpret_cast<calls const *>(table_address + sizeof(table_header));
}

/// What the machine is: cores, memory, devices, command line.
inline machine_info const &info() noexcept {
  return *reinterpret_cast<table_header const *>(table_address)->info;
}

/// This core's block. Read it anew after anything that may move to another core.
inline core_local &local() noexcept {
  core_local *block;
  asm volatile("movq %%gs:0, %0" : "=r"(block));
  return *block;
}

/// The time stamp counter; info().tsc_hz of these are a second.
inline u64 ticks() noexcept { return __builtin_ia32_rdtsc(); }

#endif

/// A core's number, 0 to info().cores.size() - 1. Core 0 runs main().
enum class core_id : u32 {};

/// The core that this code runs on.
inline core_id this_core() noexcept { return core_id{local().index}; }

}  // namespace exo
