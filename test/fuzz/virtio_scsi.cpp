// A virtio SCSI controller and its disks that answer anything: in registers, in the used ring, and in what they write.
#include <exo/drivers/virtio_scsi.hpp>

#include "machine.hpp"

namespace {

using namespace exo;
using namespace fuzzed;

/// A controller with one disk of 8 MiB, whose data are not kept.
class controller_model : public model {
 public:
  explicit controller_model(machine &here) : here_(here) {
    here.config[0x34] = 0x40;
    u8 at = 0x40;
    for (u8 kind = 1; kind <= 4; ++kind) {  // virtio 1.2 §4.1.4: a page of BAR 0 for each kind of registers
      u8 const next = kind == 4 ? u8{0} : static_cast<u8>(at + 0x14);
      u8 const capability[] = {9, next, 0x14, kind, 0, 0, 0, 0, 0, static_cast<u8>(kind << 4), 0, 0, 0, 0x10, 0, 0, 4, 0, 0, 0};
      std::ranges::copy(capability, here.config.begin() + at);
      at = next;
    }
  }

  u64 read(u64 place, u32) override {
    switch (place - registers_at) {
      case common + 0x04: return selected_ == 1 ? 1 : 0;  // VIRTIO_F_VERSION_1
      case common + 0x14: return status_;
      case common + 0x18: return 128;
      case config + 4: return 126;
      case config + 8: return 0xFFFF;
    }
    return 0;
  }

  void write(u64 place, u64 value, u32) override {
    switch (place - registers_at) {
      case common + 0x00: selected_ = value; break;
      case common + 0x14: set_status(static_cast<u8>(value)); break;
      case common + 0x18: size_ = static_cast<u16>(value); break;
      case common + 0x20: descriptors_ = value; break;
      case common + 0x24: descriptors_ |= value << 32; break;
      case common + 0x28: available_ = value; break;
      case common + 0x2C: available_ |= value << 32; break;
      case common + 0x30: used_ = value; break;
      case common + 0x34: used_ |= value << 32; break;
      case notify: if (!silent) answer_all(); break;
    }
  }

  /// Answers what was asked for.
  void answer_all() {
    while ((status_ & 4) != 0 && seen_ != load<u16>(available_ + 2)) answer_one(load<u16>(available_ + 4 + seen_++ % size_ * 2u));
  }

  /// Puts anything into the used ring.
  void say_anything() {
    if ((status_ & 4) == 0) return;
    u64 const at = here_.number(2) % (4 + 8u * size_);
    store(used_ + at, here_.next());
  }

  bool silent = false;
  u64 size = 0;  // as the driver has understood it

 private:
  static constexpr u64 common = 0x1000, notify = 0x2000, config = 0x4000;

  template <typename T>
  T load(u64 at) {
    T value;
    std::memcpy(&value, memory(at, sizeof(T)).data(), sizeof(T));
    return value;
  }
  template <typename T>
  void store(u64 at, T value) {
    std::memcpy(memory(at, sizeof(T)).data(), &value, sizeof(T));
  }
  std::span<std::byte> memory(u64 at, u64 bytes) {
    std::span const part(reinterpret_cast<std::byte *>(at), bytes);
    demand(here_.owns(part), "the device is given memory that is nobody's");
    return part;
  }

  void set_status(u8 value) {
    status_ = value;
    if (value == 0) seen_ = 0;
  }

  /// §5.6.6.1: the request, then what the device writes: the response, and data.
  void answer_one(u16 head) {
    demand(head < size_, "a chain begins outside the ring");
    u64 const request = load<u64>(descriptors_ + head * 16u);
    std::array<u8, 16> command;
    std::memcpy(command.data(), memory(request + 19, 16).data(), command.size());
    bool const has_blocks = command[0] == 0x88 || command[0] == 0x8A || command[0] == 0x93;  // READ, WRITE, WRITE SAME
    u64 const block = scsi::load(std::span(command).subspan(2, 8)), blocks = scsi::load(std::span(command).subspan(10, 4));
    demand(!has_blocks || (block < size && blocks <= size - block), "blocks outside the disk are asked for");
    u32 written = 0, parts = 0;
    u16 at = head;
    for (bool responded = false;; ++parts) {
      demand(parts < size_, "a chain has no end");
      u64 const place = descriptors_ + at * 16u;
      std::span const part = memory(load<u64>(place), load<u32>(place + 8));
      if ((load<u16>(place + 12) & 2) != 0) {
        std::ranges::fill(part, std::byte{});
        if (std::exchange(responded, true)) fill(part, command);
        spoil(part);
        written += static_cast<u32>(part.size());
      }
      if ((load<u16>(place + 12) & 1) == 0) break;
      at = load<u16>(place + 14);
      demand(at < size_, "a chain leads outside the ring");
    }
    u16 const index = load<u16>(used_ + 2);
    store(used_ + 4 + index % size_ * 8u, static_cast<u32>(here_.answer(head, 4)));
    store(used_ + 8 + index % size_ * 8u, static_cast<u32>(here_.answer(written, 4)));
    store(used_ + 2, static_cast<u16>(index + 1));
  }

  /// Data of a good disk.
  static void fill(std::span<std::byte> part, std::array<u8, 16> const &command) {
    auto const set = [&](std::size_t at, u8 value) {
      if (at < part.size()) part[at] = std::byte{value};
    };
    switch (command[0]) {
      case 0xA0: set(3, 8); break;                                  // REPORT LUNS: one
      case 0x9E: set(6, 0x3F), set(7, 0xFF), set(10, 2), set(14, 0x80); break;  // READ CAPACITY
      case 0x12:                                                    // INQUIRY: the pages of what can be cleared
        if ((command[1] & 1) == 0) break;
        set(1, command[2]);
        if (command[2] == 0xB2) set(5, 0xC0);
        if (command[2] == 0xB0) set(21, 1), set(27, 1), set(42, 2);
        break;
      case 0x1A: set(4, 8), set(6, 4); break;                       // MODE SENSE: a write cache
    }
  }

  void spoil(std::span<std::byte> part) {
    if (part.empty() || here_.answer(0, 1) == 0) return;
    for (u32 count = here_.next() % 8; count != 0; --count) part[here_.number(2) % part.size()] = std::byte{here_.next()};
  }

  machine &here_;
  u64 selected_ = 0, descriptors_ = 0, available_ = 0, used_ = 0;
  u16 size_ = 0, seen_ = 0;
  u8 status_ = 0;
};

pci_record const function = [] {
  pci_record made{};
  made.vendor = 0x1AF4;
  made.device = 0x1048;
  made.bar[0] = registers_at;
  made.bar_bytes[0] = 0x10000;
  return made;
}();

/// Submits, and gets each operation back once, until the input is at its end; and then all that are in flight.
void use(machine &here, controller_model &good, scsi_disk &disk) {
  disk_record const record = disk.record();
  demand(record.block_bytes >= 512 && (record.block_bytes & (record.block_bytes - 1)) == 0 && record.blocks != 0,
         "the disk has no such size");
  demand(record.entry_max >= 1 && record.entry_max <= virtio_scsi::entry_max && record.bytes_max >= 65536, "no such limits");
  good.size = record.blocks;
  constexpr u64 room = 64 * 1024;
  auto memory = take_dma(room);
  demand(memory.has_value(), "there is no memory for data");
  std::vector<u64> flying;
  u64 cookie = 100;
  auto const reap = [&] {
    std::array<completion, 4> out;
    auto const some = disk.try_reap(out);
    demand(some.has_value(), "reaping fails");
    for (completion const &each : std::span(out).first(*some)) {
      auto const found = std::ranges::find(flying, each.cookie);
      demand(found != flying.end(), "a cookie comes back that is not in flight");
      demand(each.status <= 0 && each.bytes <= room, "a completion says what cannot be");
      flying.erase(found);
    }
  };
  while (!here.rest.empty()) {
    u8 const what = here.next();
    switch (what % 6) {
      case 0: {
        std::array<disk_op, 3> parts{};
        std::span const entries = std::span(parts).first(1 + what / 6 % 3);
        u64 const block = here.number(what % 4 == 0 ? 8 : 2);
        constexpr u8 kinds[] = {disk_read, disk_write, 2, 3, disk_flush, 5, disk_discard, disk_zero};
        for (disk_op &each : entries) {
          each = {.address = reinterpret_cast<u64>(memory->data()), .cookie = cookie, .bytes = here.next() * 64u,
                  .flags = u8{disk_more}, .kind = kinds[what / 32], .reserved = 0, .block = block};
        }
        entries.back().flags = 0;
        auto const taken = disk.try_submit(entries);
        if (taken && *taken != 0) flying.push_back(cookie++);
        break;
      }
      case 1: reap(); break;
      case 2: (void)disk.arm(); break;
      case 3: good.silent = !good.silent; break;
      case 4: good.answer_all(); break;
      case 5: good.say_anything(); break;
    }
  }
  good.silent = false;
  clock::time_point const end = clock::now() + std::chrono::minutes(1);
  while (!flying.empty() && clock::now() < end) reap();
  demand(flying.empty(), "an operation does not come back");
}

}  // namespace

void fuzz(std::span<std::byte const> input) {
  machine here(input, function, 64);
  controller_model good(here);
  here.device = &good;
  auto controller = virtio_scsi::open(here.record(), std::chrono::milliseconds(100));
  if (!controller) return;
  std::array<scsi_address, 4> room;
  (void)controller->find(room);
  if (auto disk = controller->disk({0, 0})) use(here, good, *disk);
}
