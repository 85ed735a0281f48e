// Devices that say what cannot be. The real one is kept from memory, and the test writes into its rings what it might
// write: numbers of nothing that is in flight, numbers twice, lengths of any size, statuses that are none, an index that
// jumps. What was given to the device comes back, each once and no longer than its buffer; nothing else does, and after
// the NIC or disk was closed and opened it works.
// boot: --args disk --disk "$work/disk$(truncate -s 1M "$work/disk")"
// boot: --args disk --disk "$work/disk$(truncate -s 1M "$work/disk")" --disk-model nvme
// boot: --args header-disk --disk "$work/disk$(truncate -s 1M "$work/disk")" --disk-model scsi
// boot: --args console -- -chardev null,id=c -device virtio-serial-pci,romfile= -device virtconsole,chardev=c
// boot: --args nic --net user
// boot: --args nic --net user --nic-model e1000
#include "check.hpp"

#include <exo/drivers/virtio_console.hpp>
#include <exo/drivers/virtio_scsi.hpp>

#include <array>
#include <cstring>
#include <string_view>

using namespace check;

namespace {

constexpr u32 depth = 16, given = 8, buffer_bytes = 2048;
constexpr u32 calls_for_all = 20;  // of ring sizes up to 256
constexpr u64 first_cookie = 100;
constinit std::byte *buffers = nullptr;
constinit u64 random_state = 1;

u32 random(u32 limit) {
  random_state = random_state * 6364136223846793005 + 1442695040888963407;
  return static_cast<u32>((random_state >> 33) % limit);
}

template <typename T>
T load(u64 at) {
  T value;
  std::memcpy(&value, reinterpret_cast<void const *>(at), sizeof(T));
  return value;
}
template <typename T>
void store(u64 at, T value) {
  std::memcpy(reinterpret_cast<void *>(at), &value, sizeof(T));
  std::atomic_signal_fence(std::memory_order_seq_cst);
}
template <typename T>
T volatile &reg(u64 at) {
  return *reinterpret_cast<T volatile *>(at);
}

pci_record const &record_of(u32 function) {
  for (pci_record const &each : info().pci) {
    if (each.function == function) return each;
  }
  panic("a device of no function");
}

/// Whether the device may read and write memory.
void reaches_memory(u32 function, bool on) {
  constexpr u32 command = 4, bus_master = 4;
  u32 const now = static_cast<u32>(core().pci_read(function, command, 2));
  same(core().pci_write(function, command, 2, on ? now | bus_master : now & ~bus_master), 0);
}

/// What comes back: each cookie once.
class ledger {
 public:
  void comes(u64 cookie, where at = where::current()) {
    u64 const which = cookie - first_cookie;
    that(which < given && !std::exchange(seen_[which % given], true), "a cookie that is not in flight", at);
    ++count_;
  }
  [[nodiscard]] u32 count() const { return count_; }

 private:
  std::array<bool, given> seen_{};
  u32 count_ = 0;
};

// --- virtio (virtio 1.2 §2.7, §4.1.4.3)

/// A ring as its device sees it.
class virtio_view {
 public:
  virtio_view(u32 function, u16 queue) {
    constexpr u32 capabilities = 0x34, vendor_capability = 9, common_kind = 1;
    auto const get = [=](u32 at, u32 width) { return static_cast<u32>(core().pci_read(function, at, width)); };
    u32 at = get(capabilities, 1);
    while (at != 0 && (get(at, 1) != vendor_capability || get(at + 3, 1) != common_kind)) at = get(at + 1, 1);
    if (at == 0) panic("no virtio device");
    u64 const common = record_of(function).bar[get(at + 4, 1)] + get(at + 8, 4);
    reg<u16>(common + 0x16) = queue;
    size_ = reg<u16>(common + 0x18);
    auto const address = [=](u64 low) { return u64{reg<u32>(common + low)} | u64{reg<u32>(common + low + 4)} << 32; };
    descriptors_ = address(0x20);
    available_ = address(0x28);
    used_ = address(0x30);
  }

  [[nodiscard]] u32 size() const { return size_; }
  /// Takes what was made available, as a device does before it answers.
  void takes() {
    for (u32 at = 0; at < given; ++at) heads_[at] = load<u16>(available_ + 4 + at * 2);
  }
  /// Head of the chain that was made available as number `at`.
  [[nodiscard]] u16 head(u32 at) const { return heads_[at % given]; }
  /// Chains that were made available so far, and the head of one of those.
  [[nodiscard]] u16 added() const { return load<u16>(available_ + 2); }
  [[nodiscard]] u16 added_head(u32 at) const { return load<u16>(available_ + 4 + at % size_ * 2); }
  /// Where a chain's second descriptor leads: to the response of a SCSI disk's command that reads.
  [[nodiscard]] u64 response_of(u16 head) const {
    return load<u64>(descriptors_ + load<u16>(descriptors_ + head * 16u + 14) * 16u);
  }
  /// Where the last descriptor of a chain leads: to the status of a disk's operation.
  [[nodiscard]] u64 status_of(u16 head) const {
    constexpr u16 next = 1, indirect = 4;
    u64 table = descriptors_, at = table + head * 16u;
    if ((load<u16>(at + 12) & indirect) != 0) at = table = load<u64>(at);
    while ((load<u16>(at + 12) & next) != 0) at = table + load<u16>(at + 14) * 16u;
    return load<u64>(at);
  }

  void says(u32 id, u32 bytes) {
    u64 const entry = used_ + 4 + load<u16>(used_ + 2) % size_ * 8;
    store(entry, id);
    store(entry + 4, bytes);
    jumps(1);
  }
  void jumps(u16 entries) { store(used_ + 2, static_cast<u16>(load<u16>(used_ + 2) + entries)); }

  /// Numbers of which none is the head of a chain in flight: others of the ring, and those that are too large for it.
  void says_nonsense() {
    for (u32 const id : {size_, size_ + 1, 0xFFFFu, ~0u, 0x80000000u, 0x10000u + head(0), 0u - size_}) says(id, 60);
    for (u32 id = 0; id < size_; ++id) {
      bool flies = false;
      for (u32 at = 0; at < given; ++at) flies = flies || head(at) == id;
      if (!flies) says(id, 60);
    }
  }

 private:
  u32 size_ = 0;
  u64 descriptors_ = 0, available_ = 0, used_ = 0;
  std::array<u16, given> heads_{};
};

// --- disks

disk_record const &the_disk() { return info().disks[0]; }

i64 open_disk() {
  u64 const bytes = u64{depth} * the_disk().depth_bytes;
  static std::byte *const rings = take_pages(bytes);
  return core().disk_open(0, 1, depth, rings, bytes);
}

disk_op reading(u64 number) {
  disk_op made{};
  made.kind = disk_read;
  made.block = number;
  made.cookie = first_cookie + number;
  made.address = address(buffers + number * buffer_bytes);
  made.bytes = the_disk().block_bytes;
  return made;
}

void submit(u32 count) {
  std::array<disk_op, depth> ops;
  for (u32 at = 0; at < count; ++at) ops[at] = reading(at);
  same(core().disk_submit(0, 0, ops.data(), count), count);
}

/// Takes what comes now; each has this status and bytes. A call looks at no more of what the device says than it has room for.
void reap_disk(ledger &all, u32 count, i64 status, u32 bytes, where at = where::current()) {
  u32 const before = all.count();
  for (u32 call = 0; call < calls_for_all; ++call) {
    std::array<completion, depth> done{};
    i64 const some = core().disk_reap(0, 0, done.data(), depth);
    for (i64 each = 0; each < some; ++each) {
      completion const &one = done[static_cast<u64>(each)];
      all.comes(one.cookie, at);
      same(one.status, status, at);
      same(one.bytes, bytes, at);
    }
  }
  same(all.count() - before, count, at);
}

void hostile_virtio_disk() {
  virtio_view ring(the_disk().function, 0);
  i64 const io = -static_cast<i64>(error::io);
  u32 const unit = the_disk().block_bytes;
  ledger all;
  u32 next = 0;
  submit(given);
  ring.takes();
  auto const answers = [&](u8 status, u32 bytes) {
    store(ring.status_of(ring.head(next)), status);
    ring.says(ring.head(next++), bytes);
  };
  ring.says_nonsense();
  reap_disk(all, 0, 0, 0);
  ring.says(ring.head(next++), unit + 1);  // without a status
  reap_disk(all, 1, io, unit);
  for (u8 const wrong : {u8{1}, u8{3}, u8{0xFE}}) {
    answers(wrong, 1);
    reap_disk(all, 1, io, 0);
  }
  answers(0, 100 + 1);  // less than was asked for
  reap_disk(all, 1, 0, 100);
  answers(0, ~0u);  // more than there is room for
  ring.says(ring.head(next - 1), 1);
  reap_disk(all, 1, 0, unit);
  ring.says(ring.head(next - 1), unit + 1);  // ended already
  ring.says_nonsense();
  reap_disk(all, 0, 0, 0);
  ring.jumps(0x7FFF);  // what lies there was said before, or never
  std::array<completion, depth> none{};
  for (u32 call = 0; call < 4; ++call) {
    i64 const some = core().disk_reap(0, 0, none.data(), depth);
    for (i64 at = 0; at < some; ++at) all.comes(none[static_cast<u64>(at)].cookie);
  }
  that(all.count() <= given, "more comes back than was given");
}

/// The completion queue lies where the admin command that made it says, and so do the commands (NVM Express 1.4 §5.3, §5.4).
void hostile_nvme_disk() {
  constexpr u32 asq = 0x28, command_bytes = 64, completion_bytes = 16, entries = 128;
  constexpr u8 create_submission = 1, create_completion = 5;
  u64 const admin = reg<u64>(record_of(the_disk().function).bar[0] + asq) & ~u64{page_bytes - 1};
  u64 commands = 0, completions = 0;
  for (u64 at = admin; at < admin + 2 * command_bytes; at += command_bytes) {
    if (load<u8>(at) == create_submission) commands = load<u64>(at + 24);
    if (load<u8>(at) == create_completion) completions = load<u64>(at + 24);
  }
  if (commands == 0 || completions == 0) panic("the queue's addresses are not to be found");
  submit(given);
  u32 head = 0;
  auto const says = [&](u16 id, u16 status) {
    u64 const at = completions + head++ % entries * completion_bytes;
    store(at, random(~0u));
    store(at + 8, random(~0u));
    store(at + 12, u32{id} | u32{status} << 17 | 1u << 16);
  };
  auto const id = [&](u64 number) { return load<u16>(commands + number * command_bytes + 2); };
  std::array<bool, depth> flying{};  // by the bits of an identifier that tell one operation from the others
  for (u64 at = 0; at < given; ++at) flying[id(at) % depth] = true;
  ledger all;
  for (u16 each = 0; each < entries / 2; ++each) {
    if (!flying[each % depth]) says(static_cast<u16>(id(0) - id(0) % depth + each), 0);
  }
  reap_disk(all, 0, 0, 0);
  u64 next = 0;
  for (u16 const status : {u16{1}, u16{0x281}, u16{0x4002}, u16{0x7FFF}}) {
    says(id(next++), status);
    reap_disk(all, 1, -static_cast<i64>(error::io), 0);
  }
  for (u32 turn = 0; turn < 3; ++turn) says(id(next), 0);  // thrice
  reap_disk(all, 1, 0, the_disk().block_bytes);
  says(id(0), 0);  // ended already
  reap_disk(all, 0, 0, 0);
  for (u32 turn = 0; turn < entries; ++turn) {
    says(static_cast<u16>(random(0x10000)), static_cast<u16>(random(0x8000)));
    completion done{};
    if (core().disk_reap(0, 0, &done, 1) == 1) all.comes(done.cookie);
  }
  that(all.count() <= given, "more comes back than was given");
}

// --- devices that a header drives

template <typename Driver>
pci_record const &record_for() {
  return find_pci([](pci_function const &each) { return Driver::probe(each.record()); }).value().record();
}

/// Reads 512 bytes a time; the device answers with a residual (virtio 1.2 §5.6.6.1), a status (SAM-5 §5.3.1), a response;
/// what it has to say first is a unit attention.
void hostile_scsi_disk() {
  auto controller = virtio_scsi::open(record_for<virtio_scsi>());
  auto disk = controller->disk({0, 0});
  if (!disk) panic("{}", disk.error());
  u32 const function = disk->record().function;
  reaches_memory(function, false);
  virtio_view ring(function, 2);
  u32 const before = ring.added();
  struct { u32 residual; u8 status, response; i64 wanted; } const answers[] = {
    {0, 0, 0, 0}, {1, 0, 0, -static_cast<i64>(error::io)}, {512, 0, 0, -static_cast<i64>(error::io)}, {0, 0, 0, 0},
    {0, 0x02, 0, -static_cast<i64>(error::io)}, {0, 0x08, 0, -static_cast<i64>(error::io)}, {0, 0, 9, -static_cast<i64>(error::io)},
    {0, 0, 3, -static_cast<i64>(error::no_such)}};
  u32 next = before;
  for (auto const &each : answers) {
    disk_op const op = read_op(lba{0}, {buffers, 512}, first_cookie);
    same(static_cast<i64>(disk->try_submit({&op, 1}).value_or(0)), 1);
    u64 const response = ring.response_of(ring.added_head(next));
    store(response, u32{18});
    store(response + 4, each.residual);
    store(response + 12, u32{0x70 | 6 << 16});
    store(response + 10, each.status);
    store(response + 11, each.response);
    ring.says(ring.added_head(next++), 512 + 12);
    completion done{};
    same(static_cast<i64>(disk->try_reap({&done, 1}).value_or(0)), 1);
    same(done.status, each.wanted);
    same(done.bytes, each.wanted == 0 ? 512 : 0);
  }
}

/// The console takes as many characters as it has room for, and again so many as the device has taken.
void hostile_console() {
  constexpr u32 places = 8, place_bytes = 512;
  pci_record const &record = record_for<virtio_console>();
  auto port = virtio_console::open(record);
  if (!port) panic("{}", port.error());
  reaches_memory(record.function, false);
  virtio_view sending(record.function, 1);
  std::string_view const text(reinterpret_cast<char const *>(buffers), depth * buffer_bytes);
  auto const takes = [&](u32 characters) { same(static_cast<i64>(port->try_write(text).value_or(~0u)), characters); };
  takes(places * place_bytes);
  takes(0);
  u32 next = 0;
  for (u32 const some : {1u, 3u, places}) {
    for (u32 each = 0; each < some; ++each) sending.says(sending.added_head(next++), 0);
    takes(some * place_bytes);
    takes(0);
  }
  sending.says(sending.size(), 0);
  that(!port->try_write(text), "a device that answers what cannot be goes on");
}

void disk_works() {
  u32 const function = the_disk().function;
  bool const nvme = record_of(function).class_revision >> 8 == 0x010802;
  for (u32 round = 0; round < 3; ++round) {
    same(open_disk(), 0);
    reaches_memory(function, false);
    nvme ? hostile_nvme_disk() : hostile_virtio_disk();
    reaches_memory(function, true);
    same(core().disk_close(0), 0);
    same(open_disk(), 0);
    submit(given);
    ledger all;
    for (u64 const end = ticks() + 20 * info().tsc_hz; all.count() < given && ticks() < end;) {
      completion done{};
      if (core().disk_reap(0, 0, &done, 1) != 1) continue;
      all.comes(done.cookie);
      same(done.status, 0);
    }
    same(all.count(), given);
    same(core().disk_close(0), 0);
  }
}

// --- NICs

nic_record const &the_nic() { return info().nics[0]; }

/// Lends buffers, and sends as many frames.
void give() {
  std::array<frame, given> entries{};
  for (u32 at = 0; at < given; ++at) {
    entries[at].address = address(buffers + at * buffer_bytes);
    entries[at].cookie = first_cookie + at;
    entries[at].bytes = buffer_bytes;
  }
  same(core().nic_rx_post(0, 0, entries.data(), given), given);
  for (frame &each : entries) each.bytes = 60;
  same(core().nic_tx(0, 0, entries.data(), given), given);
}

/// Takes what was received now; each has so many bytes.
void receive(ledger &all, u32 count, u32 bytes, where at = where::current()) {
  u32 const before = all.count();
  for (u32 call = 0; call < calls_for_all; ++call) {
    std::array<frame, depth> got{};
    i64 const some = core().nic_rx_reap(0, 0, got.data(), depth);
    for (i64 each = 0; each < some; ++each) {
      frame const &one = got[static_cast<u64>(each)];
      all.comes(one.cookie, at);
      same(static_cast<i64>(one.address), static_cast<i64>(address(buffers + (one.cookie - first_cookie) * buffer_bytes)), at);
      same(one.bytes, bytes, at);
    }
  }
  same(all.count() - before, count, at);
}

void sent(ledger &all, u32 count, where at = where::current()) {
  u32 const before = all.count();
  for (u32 call = 0; call < calls_for_all; ++call) {
    std::array<completion, depth> done{};
    i64 const some = core().nic_tx_reap(0, 0, done.data(), depth);
    for (i64 each = 0; each < some; ++each) all.comes(done[static_cast<u64>(each)].cookie, at);
  }
  same(all.count() - before, count, at);
}

void hostile_virtio_nic() {
  constexpr u32 header = 12;
  virtio_view receiving(the_nic().function, 0), sending(the_nic().function, 1);
  give();
  receiving.takes();
  sending.takes();
  ledger came, went;
  receiving.says_nonsense();
  sending.says_nonsense();
  receive(came, 0, 0);
  sent(went, 0);
  u32 next = 0;
  struct { u32 said, bytes; } const lengths[] = {{header + 60, 60}, {header + buffer_bytes, buffer_bytes}, {header, 0},
    {header + buffer_bytes + 1, buffer_bytes}, {~0u, buffer_bytes}, {0, buffer_bytes}, {header - 1, buffer_bytes}};
  for (auto const &each : lengths) {
    receiving.says(receiving.head(next), each.said);
    receiving.says(receiving.head(next), each.said);  // twice
    sending.says(sending.head(next), each.said);
    sending.says(sending.head(next++), each.said);
    receive(came, 1, each.bytes);
    sent(went, 1);
  }
  receiving.says_nonsense();
  sending.says_nonsense();
  receive(came, 0, 0);
  sent(went, 0);
  for (virtio_view *each : {&receiving, &sending}) each->jumps(0x7FFF);
  std::array<frame, depth> frames{};
  std::array<completion, depth> done{};
  for (u32 call = 0; call < 4; ++call) {
    i64 const some = core().nic_rx_reap(0, 0, frames.data(), depth);
    for (i64 at = 0; at < some; ++at) came.comes(frames[static_cast<u64>(at)].cookie);
    i64 const others = core().nic_tx_reap(0, 0, done.data(), depth);
    for (i64 at = 0; at < others; ++at) went.comes(done[static_cast<u64>(at)].cookie);
  }
}

/// Legacy descriptors, which the device gives back in order (8254x §3.2.3, §3.3.3).
void hostile_e1000() {
  constexpr u32 receive_ring = 0x2800, send_ring = 0x3800, descriptor_bytes = 16;
  constexpr u8 done = 1, last = 2;
  u64 const registers = record_of(the_nic().function).bar[0];
  auto const ring = [=](u32 at) { return u64{reg<u32>(registers + at)} | u64{reg<u32>(registers + at + 4)} << 32; };
  u64 const receiving = ring(receive_ring), sending = ring(send_ring);
  give();
  auto const says = [](u64 at, u16 length, u8 status, u8 errors) {
    store(at, ~u64{0});  // another address
    store(at + 8, length);
    store(at + 12, status);
    store(at + 13, errors);
  };
  ledger came, went;
  for (u64 at = 1; at < 2 * depth; ++at) says(receiving + at * descriptor_bytes, 60, done | last, 0);  // all but the first
  for (u64 at = given; at < 2 * depth; ++at) says(sending + at * descriptor_bytes, 60, done, 0);       // none that has a frame
  receive(came, 0, 0);
  sent(went, 0);
  for (u64 at = 1; at < given; ++at) says(receiving + at * descriptor_bytes, 60, 0, 0);
  struct { u16 length; u8 status, errors; u32 bytes; } const answers[] = {
    {60, done | last, 0, 60}, {1522, done | last, 0, 1522}, {1523, done | last, 0, 0}, {0xFFFF, done | last, 0, 0},
    {60, done, 0, 0}, {60, done | last, 1, 0}, {60, 0xFF, 0xFF, 0}};
  u64 next = 0;
  for (auto const &each : answers) {
    says(receiving + next * descriptor_bytes, each.length, each.status, each.errors);
    receive(came, 1, each.bytes);
    says(sending + next++ * descriptor_bytes, each.length, each.status, each.errors);
    sent(went, 1);
    receive(came, 0, 0);  // not again
    sent(went, 0);
  }
  says(receiving + next * descriptor_bytes, 60, done | last, 0);
  says(sending + next * descriptor_bytes, 60, done, 0);
  receive(came, 1, 60);
  sent(went, 1);
  receive(came, 0, 0);  // those behind are done too, so it says; nobody has given them
  sent(went, 0);
}

void nic_works() {
  u32 const function = the_nic().function;
  u64 const bytes = u64{depth} * the_nic().depth_bytes;
  std::byte *const rings = take_pages(bytes);
  auto const open = [=] { same(core().nic_open(0, 1, depth, rings, bytes), 0); };
  for (u32 round = 0; round < 3; ++round) {
    open();
    reaches_memory(function, false);
    record_of(function).vendor == 0x8086 ? hostile_e1000() : hostile_virtio_nic();
    reaches_memory(function, true);
    same(core().nic_close(0), 0);
    open();
    give();
    ledger all;
    for (u64 const end = ticks() + 20 * info().tsc_hz; all.count() < given && ticks() < end;) {
      completion done{};
      if (core().nic_tx_reap(0, 0, &done, 1) == 1) all.comes(done.cookie);
    }
    same(all.count(), given);
    same(core().nic_close(0), 0);
  }
}

}  // namespace

int main(int argc, char **argv) {
  if (argc != 2) return 2;
  buffers = take_pages(depth * buffer_bytes);
  std::string_view const kind = argv[1];
  if (kind == "disk") disk_works();
  if (kind == "nic") nic_works();
  if (kind == "header-disk") hostile_scsi_disk();
  if (kind == "console") hostile_console();
  return verdict();
}
