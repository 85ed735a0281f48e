// A machine of the world: its cores, memory, devices and console, and its power switch.
//
// Memory, traps and the checks of arguments are those of the native backend; its globals are pointed at the machine whose
// core goes on.
#pragma once

#include <native/device.hpp>
#include <native/memory.hpp>
#include <native/traps.hpp>

#include <deque>
#include <fstream>
#include <memory>

#include "image.hpp"
#include "world.hpp"

namespace sim {

struct ring {
  u32 armed_core = native::nobody;
};

/// Operations or frames that are done, oldest first.
struct done_ring : ring {
  struct entry {
    exo::completion what;
    u32 entries;
  };
  std::deque<entry> done;
  u32 room = 0;

  i64 reap(exo::completion *out, u32 most) {
    armed_core = native::nobody;
    u32 taken = 0;
    for (; taken < most && !done.empty(); done.pop_front()) {
      out[taken++] = done.front().what;
      room += done.front().entries;
    }
    return taken;
  }
};

struct nic_device {
  struct queue {
    ring receive;
    std::deque<std::vector<exo::frame>> posted;
    std::deque<std::pair<exo::frame, u32>> received;  // with the entries that its buffer had
    u32 receive_room = 0;
    done_ring transmit;
    u64 busy_until = 0;
  };
  exo::nic_record record{};
  u32 open = 0;
  u64 life = 0;  // raised by opening and closing: what was on its way to or from the rings is void
  std::vector<queue> queues;
  struct wire *wire = nullptr;
  u32 end = 0;  // 0 or 1 of the wire
};

struct wire {
  link how;
  u32 number = 0;
  computer *ends[2] = {};
  u32 nics[2] = {};
  u64 cut_until = 0;
};

struct disk_device {
  struct write {
    u64 done_at, block;
    std::vector<std::byte> bytes;
  };
  struct operation {
    std::vector<exo::disk_op> parts;
    u32 queue;
    u64 submitted;
  };
  exo::disk_record record{};
  disk how;
  u32 number = 0;  // of all in the world, for chance
  u32 open = 0;
  u64 life = 0;
  std::vector<done_ring> queues;
  std::vector<std::byte> content, durable;
  std::deque<write> unflushed;
  std::vector<operation const *> at_work;
};

class computer {
 public:
  computer(machine const &how, u32 number, image &program, exo::calls const &table)
      : how_(how), number_(number), program_(program), table_(table) {
    states_.reset(new native::core_state[how.cores]);
    cores_ = std::make_unique<core[]>(how.cores);
    constexpr u64 first_memory = u64{1} << 42, memory_apart = u64{1} << 38;
    native::make_memory(how.memory_bytes, first_memory + number * memory_apart);
    space_ = std::exchange(native::memory, nullptr);
    core_records_.resize(how.cores);
    for (u32 index = 0; index < how.cores; ++index) {
      core &each = cores_[index];
      each.machine = this;
      each.index = index;
      each.number = number * cores_most + index;
      each.state = &states_[index];
      each.stack.map();
      core_records_[index] = {.apic_id = index, .started = 1, .local = reinterpret_cast<u64>(&each.state->local),
                              .stack_end = reinterpret_cast<u64>(each.stack.end()), .stack_bytes = stack_bytes};
    }
    for (u32 at = 0; at < how.disk_count; ++at) make_disk(how.disks[at], number * disks_most + at);
    side_ = {.table = &table_, .info = &info_, .ticks = nullptr, .step = nullptr,
             .constructors = program.constructors().data(), .constructor_count = program.constructors().size()};
  }

  computer(computer const &) = delete;
  computer &operator=(computer const &) = delete;
  ~computer() {
    munmap(reinterpret_cast<void *>(space_->ram.first), space_->ram.bytes);
    close(space_->file);
    delete space_;
  }

  /// Whether it can be reset to such a machine.
  [[nodiscard]] bool fits(machine const &other) const {
    auto const same = [](disk const &one, disk const &two) {
      return one.blocks == two.blocks && one.block_bytes == two.block_bytes && one.write_cache == two.write_cache &&
             one.read_only == two.read_only;
    };
    return how_.cores == other.cores && how_.memory_bytes == other.memory_bytes && how_.disk_count == other.disk_count &&
           how_.interrupts == other.interrupts && std::equal(how_.disks, how_.disks + how_.disk_count, other.disks, same);
  }

  /// Adds a NIC at an end of a wire.
  void add_nic(wire &to, u32 end) {
    nic_device made;
    made.record = {.function = ~u32{0}, .offloads = 0,
                   .mac = {2, 0, 0, 0, static_cast<exo::u8>(number_), static_cast<exo::u8>(nics.size())},
                   .mtu = static_cast<exo::u16>(to.how.mtu), .queue_max = how_.cores, .depth_max = native::depth_most,
                   .depth_bytes = 64, .interrupts = how_.interrupts};
    made.wire = &to;
    made.end = end;
    to.ends[end] = this;
    to.nics[end] = static_cast<u32>(nics.size());
    nics.push_back(std::move(made));
  }

  /// Disks as at the very first start, and a console without text; fits(how).
  void reset(machine const &how) {
    how_ = how;
    for (u32 at = 0; at < how.disk_count; ++at) disks[at].how = how.disks[at];
    ended = false;
    status = 0;
    output.clear();
    cuts_ = 0;
    for (disk_device &each : disks) {
      std::ranges::fill(each.content, std::byte{0});
      if (each.how.file != nullptr) {
        auto *const first = reinterpret_cast<char *>(each.content.data());
        std::ifstream(each.how.file, std::ios::binary).read(first, static_cast<std::streamsize>(each.content.size()));
      }
      each.durable = each.content;
      each.unflushed.clear();
    }
  }

  /// The program starts, on core 0.
  void power_on() {
    ++life_;
    program_.restore();
    side_.ticks = [] noexcept {
      now.step(world::clock_ns);
      native::call_handlers();
      return now.now();
    };
    side_.step = [] noexcept {
      now.step(world::step_ns);
      if (now.running() != nullptr) native::call_handlers();
    };
    program_.side().attach(&side_);
    clear_memory();
    describe();
    for (u32 index = 0; index < how_.cores; ++index) {
      core &each = cores_[index];
      std::destroy_at(each.state);
      std::construct_at(each.state);
      each.state->local.self = reinterpret_cast<u64>(&each.state->local);
      each.state->local.index = index;
      each.tls.clear();
      each.halted = false;
      ++each.turns;
      ++each.timers;
    }
    close_devices();
    now.say("%s starts", how_.name);
    begin(cores_[0], [](void *mine) {
      computer &machine = *static_cast<core *>(mine)->machine;
      machine.end(machine.program_.side().run(reinterpret_cast<main_fn>(machine.main())));
    });
    u64 amount = 0;
    if (cuts_ < how_.cuts_most && now.happens(kind::cut, number_, how_.cut, &amount)) {
      ++cuts_;
      u64 const within = static_cast<u64>(how_.cut_within.count());
      now.in(amount % std::max<u64>(within, 1), [this, life = life_] {
        if (life == life_ && !ended) power_cut();
      });
    }
  }

  /// Everything stops; what disks had not flushed may be lost. The machine starts again later.
  void power_cut() {
    now.say("%s has no power", how_.name);
    now.note(number_, 0xC07);
    for (disk_device &each : disks) lose_unflushed(each);
    start_again();
  }
  void start_again() {
    ++life_;
    close_devices();
    now.in(1'000'000, [this, life = life_] {
      if (life == life_) power_on();
    });
  }

  /// The program has ended. Called on one of its cores, which does not go on.
  [[noreturn]] void end(int result) {
    ++life_;
    ended = true;
    status = result & 0xFF;
    now.say("%s ends with status %d", how_.name, status);
    now.note(number_, static_cast<u64>(status));
    close_devices();
    for (;;) now.stop();
  }
  [[noreturn]] void reboot() {
    now.say("%s reboots", how_.name);
    start_again();
    for (;;) now.stop();
  }

  /// Starts a routine on a core.
  void begin(core &which, void (*routine)(void *)) {
    which.stack.start(routine, &which);
    which.state->local.running = 1;
    wake(which, world::call_ns);
  }
  /// A core goes on later, unless something else lets it.
  void wake(core &which, u64 wait) {
    now.in(wait, [this, &which, life = life_, turn = which.turns] {
      if (life == life_ && turn == which.turns) now.resume(which);
    });
  }

  /// Sets an event bit; wakes the core if it is halted, and has its handler called if there is one.
  void raise(u32 index, u64 event) {
    core &which = cores_[index];
    native::core_state &state = *which.state;
    state.local.events |= u64{1} << event;
    if (state.handlers[exo::event_vector + event] != nullptr) state.upcalls |= u64{1} << event;
    if (which.halted) {
      which.halted = false;
      wake(which, world::call_ns);
    }
  }
  /// core_wake: an interrupt only if the core is halted.
  void wake_event(u32 index) {
    if (cores_[index].halted) return raise(index, exo::event_wake);
    cores_[index].state->local.events |= u64{1} << exo::event_wake;
  }
  void finished(ring &which) {
    if (u32 const index = std::exchange(which.armed_core, native::nobody); index != native::nobody) raise(index, exo::event_queue);
  }

  /// Makes this machine the one that calls work on.
  void enter(core &mine) {
    native::cores = states_.get();
    native::core_count = how_.cores;
    native::memory = space_;
    exo::host_info = &info_;
    exo::host_local = &mine.state->local;
    program_.enter(mine.index, mine.tls, mine.state->local);
  }

  /// Whether a device may use this memory: what lies at a second address of mem_map has no such physical address.
  [[nodiscard]] bool owns(u64 address, u64 bytes) const {
    u64 const first = space_->ram.first, size = space_->ram.bytes;
    if (address >= first && bytes <= size && address - first <= size - bytes) return true;
    if (program_.owns(address, bytes)) return true;
    for (u32 index = 0; index < how_.cores; ++index) {
      if (cores_[index].stack.contains(address) && cores_[index].stack.contains(address + bytes - 1)) return true;
    }
    return false;
  }
  bool check_memory(u64 address, u64 bytes, char const *device) {
    if (bytes == 0 || owns(address, bytes)) return true;
    now.fail(std::string("a ") + device + " of " + how_.name + " was given memory that is neither RAM nor the program's");
    return false;
  }

  [[nodiscard]] machine const &how() const { return how_; }
  [[nodiscard]] u32 number() const { return number_; }
  [[nodiscard]] u64 life() const { return life_; }
  [[nodiscard]] core &core_at(u32 index) { return cores_[index]; }
  [[nodiscard]] exo::list<exo::core_record> cores() const { return info_.cores; }

  std::vector<nic_device> nics;
  std::vector<disk_device> disks;
  std::string output;
  bool ended = false;
  int status = 0;

 private:
  [[nodiscard]] void const *main() const { return how_.main; }

  void make_disk(disk const &what, u32 number) {
    disk_device made;
    made.how = what;
    made.number = number;
    made.record = {.function = ~u32{0},
                   .features = static_cast<u32>(what.read_only     ? exo::disk_read_only
                                                : what.write_cache ? exo::disk_write_cache
                                                                   : 0),
                   .blocks = what.blocks, .block_bytes = what.block_bytes, .entry_max = 126, .bytes_max = ~u32{0},
                   .queue_max = how_.cores,
                   .depth_max = native::depth_most, .depth_bytes = 64, .interrupts = how_.interrupts};
    made.content.resize(what.blocks * what.block_bytes);
    disks.push_back(std::move(made));
  }

  /// RAM is zeros, mapped as at first.
  void clear_memory() {
    auto &[first, bytes] = space_->ram;
    auto &regions = space_->regions;
    for (auto const &[virt, what] : regions) {
      if (virt < first || virt >= first + bytes) munmap(reinterpret_cast<void *>(virt), what.end - virt);
    }
    constexpr u32 read_write = exo::access_read | exo::access_write;
    if (regions.size() != 1 || regions.begin()->second.access != read_write) {
      mmap(reinterpret_cast<void *>(first), bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED | MAP_NORESERVE, space_->file, 0);
    }
    regions.clear();
    regions[first] = {.end = first + bytes, .phys = first, .access = read_write};
    fallocate(space_->file, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, static_cast<off_t>(bytes));
  }

  void describe() {
    info_ = {};
    info_.size = sizeof(info_);
    info_.tsc_hz = 1'000'000'000;
    info_.start_tsc = info_.entry_tsc = info_.loader_tsc = now.now();
    info_.command_line = how_.arguments;
    info_.cores = {core_records_.data(), how_.cores, sizeof(exo::core_record)};
    info_.memory = {&space_->ram, 1, sizeof(exo::memory_range)};
    info_.nics = {nics.empty() ? nullptr : &nics[0].record, static_cast<u32>(nics.size()), sizeof(nic_device)};
    info_.disks = {disks.empty() ? nullptr : &disks[0].record, static_cast<u32>(disks.size()), sizeof(disk_device)};
  }

  void close_devices() {
    for (nic_device &each : nics) {
      ++each.life;
      each.open = 0;
      each.queues.clear();
    }
    for (disk_device &each : disks) {
      ++each.life;
      each.open = 0;
      each.queues.clear();
      each.at_work.clear();
    }
  }

  /// Each block that is not flushed may be as it was before; of a write that is on its way some blocks may be done.
  void lose_unflushed(disk_device &device) {
    u64 const block_bytes = device.how.block_bytes;
    auto const keep = [&](u64 block, std::vector<std::byte> const &bytes, auto const &is_kept) {
      for (u64 at = 0; at < bytes.size(); at += block_bytes) {
        if (is_kept(at / block_bytes)) std::memcpy(&device.durable[block * block_bytes + at], &bytes[at], block_bytes);
      }
    };
    for (disk_device::write const &each : device.unflushed) {
      keep(each.block, each.bytes, [&](u64) { return !now.happens(kind::forget, device.number, device.how.lose); });
    }
    for (disk_device::operation const *each : device.at_work) {
      u64 done = 0;
      if (each->parts[0].kind != exo::disk_write || !now.happens(kind::tear, device.number, device.how.tear, &done)) continue;
      keep(each->parts[0].block, gather(*each), [&](u64 block) { return (done >> block % 64 & 1) != 0; });
    }
    device.unflushed.clear();
    device.content = device.durable;
  }

 public:
  /// The bytes of a write, as they are in memory now.
  std::vector<std::byte> gather(disk_device::operation const &op) {
    std::vector<std::byte> bytes;
    for (exo::disk_op const &part : op.parts) {
      if (!check_memory(part.address, part.bytes, "disk")) return bytes;
      auto const *const first = reinterpret_cast<std::byte const *>(part.address);
      bytes.insert(bytes.end(), first, first + part.bytes);
    }
    return bytes;
  }

 private:
  machine how_;
  u32 number_;
  image &program_;
  exo::calls const &table_;
  machine_side side_{};
  u64 life_ = 0;
  u32 cuts_ = 0;
  std::unique_ptr<native::core_state[]> states_;
  std::unique_ptr<core[]> cores_;
  native::address_space *space_ = nullptr;
  exo::machine_info info_{};
  std::vector<exo::core_record> core_records_;
};

inline void world::resume(core &which) {
  ++which.turns;
  running_ = &which;
  which.machine->enter(which);
  which.stack.resume();
  running_ = nullptr;
  exo::host_local = nullptr;
}

inline void world::step(u64 nanoseconds) {
  core *const mine = running_;
  if (mine == nullptr) return;
  u64 amount = 0;
  machine const &how = mine->machine->how();
  u64 later = now_ + nanoseconds;
  if (chances.happens(kind::stall, mine->number, how.stall, &amount)) {
    later += amount % std::max<u64>(static_cast<u64>(how.stall_most.count()), 1);
  }
  // In a handler no other core goes on: its stack is the thread's only one for signals.
  if (mine->state->trapped || ((events_.empty() || events_.top().time > later) && later <= limit_)) {
    now_ = later;
    if (now_ <= limit_) return;
  }
  mine->machine->wake(*mine, later - now_);
  stop();
}

}  // namespace sim
