// virtio SCSI: a controller with disks at targets and LUNs, each an operation_queue, and over that a block_device.
//
//   auto controller = exo::virtio_scsi::open(function);
//   exo::scsi_address places[8];
//   for (auto place : controller->find(places)) {
//     auto disk = controller->disk(place);
//     if (disk) exo::scsi_blocks blocks(std::move(*disk));   // read, write, flush, discard, zero
//   }
//
// Controller and disks belong to one core at a time: they share one ring. A command that has not ended in its time makes
// the controller be reset; then all that was in flight comes back with an error, and the disks can be used again.
// SPEC  virtio 1.2 §5.6
#pragma once

#include "../disk.hpp"
#include "scsi.hpp"
#include "virtio.hpp"

namespace exo {

/// Where a disk is.
struct scsi_address {
  u8 target = 0;
  u16 lun = 0;
  friend constexpr bool operator==(scsi_address const &, scsi_address const &) noexcept = default;
};

class scsi_disk;

class virtio_scsi {
 public:
  static constexpr u32 depth = 32;       // operations in flight, over all disks
  static constexpr u32 entry_max = 8;    // of one operation
  static constexpr u32 disks_max = 16;   // open at once
  static constexpr u32 zeros_bytes = 4096;  // no larger blocks can be zeroed

  [[nodiscard]] static bool probe(pci_record const &function) noexcept {
    return virtio_transport::probe(function, virtio_kind::scsi);
  }

  /// Resets and starts the controller.
  ///
  /// @param patience  for a command, before the controller is reset
  /// @return          errors as of virtio_transport::open and virtio_ring::open
  /// @core  any       @heap  pages
  [[nodiscard]] static opened<virtio_scsi> open(pci_record const &function) noexcept {
    return open(function, std::chrono::seconds(8));
  }
  [[nodiscard]] static opened<virtio_scsi> open(pci_record const &function, clock::duration patience) noexcept {
    auto bus = virtio_transport::open(function, virtio_kind::scsi, 0);
    if (!bus) return std::unexpected(bus.error());
    auto memory = take_dma(sizeof(state));
    if (!memory) return not_opened(memory.error());
    virtio_scsi controller(std::move(*memory), std::move(*bus), function, patience);
    if (!controller.all().start_ring()) {
      return not_opened(error::unsupported, "The virtio SCSI controller has no queue for commands, or too small a one.");
    }
    return controller;
  }

  virtio_scsi(virtio_scsi &&) noexcept = default;
  ~virtio_scsi() {
    if (owned_) std::destroy_at(&all());
  }

  /// Looks for disks at all targets; returns the front part of `out` that was filled.
  [[nodiscard]] std::span<scsi_address> find(std::span<scsi_address> out) noexcept { return all().find(out); }

  /// Opens a disk. The controller must outlive it, but may move meanwhile.
  ///
  /// @error no_such      there is nothing at this place, or it is no disk
  /// @error unsupported  its blocks have a size that cannot be used
  /// @error busy         16 disks are open, or commands of another one are in flight
  /// @error io, timeout  it does not answer as a disk does
  [[nodiscard]] opened<scsi_disk> disk(scsi_address place) noexcept;

  /// Resets so far of a controller that was stuck.
  [[nodiscard]] u64 resets() const noexcept { return all().resets; }

 private:
  friend class scsi_disk;

  /// Bytes that the device reads and writes (§5.6.6.1), besides the data.
  struct request {
    u8 lun[8];
    u64 id;
    u8 attribute, priority, reference;
    u8 command[32];
  };
  static constexpr u32 request_bytes = 51;
  struct response {
    u32 sense_bytes;
    u32 residual;
    u16 qualifier;
    u8 status;
    u8 response;
    u8 sense[scsi::sense_bytes];
  };
  static_assert(offsetof(request, command) == 19 && sizeof(response) == 108);
  static constexpr u8 response_good = 0, response_bad_target = 3;  // §5.6.6.1
  static constexpr u8 response_pending = 0xFF;                     // what stands there until the device answers

  /// Fields of the configuration (§5.6.4).
  static constexpr u32 config_parts_max = 4, config_sectors_max = 8, config_target_max = 30;

  struct slot {
    request asked;
    response answered;
    scsi::unmap_list unmap;
    u64 cookie;
    u64 deadline;
    u32 bytes;       // of data
    bool reads;
    bool used;
    u8 disk;
    i32 status;      // when finished
    u16 next;        // in its disk's list of finished ones
  };
  static constexpr u16 none = 0xFFFF;

  struct open_disk {
    bool used;
    scsi_address place;
    disk_record record;
    u16 first, last;  // finished, not reaped
  };

  /// Lies in pages of its own, so that disks find it wherever the controller moves.
  struct state {
    std::optional<virtio_ring> ring;
    slot slots[depth];
    open_disk disks[disks_max];
    alignas(512) std::byte scratch[4096];
    alignas(512) std::byte zeros[zeros_bytes]{};  // the block that is written to blocks that become zeros
    u32 in_flight = 0;
    u64 resets = 0;
    bool gone = false, armed = false;
    clock::duration patience;
    u32 function;
    wake_up wake;
    virtio_transport bus;  // behind the ring, so that its end comes first and keeps the device from it

    state(virtio_transport &&transport, pci_record const &record, clock::duration time) noexcept
        : slots{}, disks{}, patience(time), function(record.function), wake(transport.wake()), bus(std::move(transport)) {}

    bool start_ring() noexcept {
      auto made = virtio_ring::open(bus, 2, depth * 4);  // queue 2: the first for commands (§5.6.2)
      if (!made || made->size() < entry_max + 2) return false;
      ring.reset();
      ring.emplace(std::move(*made));
      bus.go();
      return true;
    }

    [[nodiscard]] slot *free_slot() noexcept {
      slot *const found = std::ranges::find(slots, false, &slot::used);
      return found == std::end(slots) ? nullptr : found;
    }

    /// Adds a command to the ring; false when there is no room. The slot is `used` then.
    bool add(slot &at, scsi_address place, scsi::command const &command, std::span<virtio_part const> data, bool reads) noexcept {
      at.asked = {};
      at.asked.lun[0] = 1;  // §5.6.6.1: a target and a LUN with flat addresses
      at.asked.lun[1] = place.target;
      at.asked.lun[2] = static_cast<u8>(0x40 | place.lun >> 8);
      at.asked.lun[3] = static_cast<u8>(place.lun);
      at.asked.id = static_cast<u64>(&at - slots);
      std::ranges::copy(command, at.asked.command);
      at.answered.response = response_pending;
      std::array<virtio_part, entry_max + 2> parts;
      std::size_t count = 0;
      parts[count++] = {reinterpret_cast<u64>(&at.asked), request_bytes, false};
      if (!reads) count = static_cast<std::size_t>(std::ranges::copy(data, parts.begin() + count).out - parts.begin());
      parts[count++] = {reinterpret_cast<u64>(&at.answered), sizeof(response), true};
      if (reads) count = static_cast<std::size_t>(std::ranges::copy(data, parts.begin() + count).out - parts.begin());
      if (!ring->try_add(std::span(parts).first(count), at.asked.id)) return false;
      at.bytes = 0;
      for (virtio_part const &part : data) at.bytes += part.bytes;
      at.reads = reads;
      at.used = true;
      at.next = none;
      at.deadline = deadline_in(patience);
      ++in_flight;
      return true;
    }

    /// What an answer means: 0 or -error.
    static i32 status_of(slot const &at) noexcept {
      if (at.answered.response == response_bad_target) return -static_cast<i32>(error::no_such);
      if (at.answered.response != response_good) return -static_cast<i32>(error::io);
      u32 const sense = std::min<u32>(at.answered.sense_bytes, scsi::sense_bytes);
      switch (scsi::outcome_of(at.answered.status, std::span(at.answered.sense).first(sense))) {
        case scsi::outcome::good: return 0;
        case scsi::outcome::attention: return -static_cast<i32>(error::busy);
        case scsi::outcome::protected_data: return -static_cast<i32>(error::unsupported);
        default: return -static_cast<i32>(error::io);
      }
    }

    /// Puts a slot into its disk's list.
    void finish(slot &at, i32 status) noexcept {
      at.status = status;
      --in_flight;
      open_disk &its = disks[at.disk];
      auto const number = static_cast<u16>(&at - slots);
      (its.first == none ? its.first : slots[its.last].next) = number;
      its.last = number;
    }

    /// Takes what the device has answered to the disks it belongs to.
    void poll() noexcept {
      while (auto const done = ring->try_take()) {
        slot &at = slots[done->cookie];
        if (!is_in_flight(at)) continue;  // given up meanwhile
        i32 status = status_of(at);
        // A command that succeeds transfers all of its bytes. One that the disk has not begun, because it has something to
        // say first, is not tried again: who has submitted it should know.
        bool const unfinished = status == 0 && at.answered.residual != 0;
        if (unfinished || status == -static_cast<i32>(error::busy)) status = -static_cast<i32>(error::io);
        finish(at, status);
      }
      if (in_flight == 0) return;
      u64 const now = ticks();
      bool const late = std::ranges::any_of(slots, [&](slot const &at) { return is_in_flight(at) && now >= at.deadline; });
      if (late || ring->broken()) reset();
    }

    [[nodiscard]] bool is_in_flight(slot const &at) const noexcept {
      return at.used && at.status == pending;
    }
    static constexpr i32 pending = 1;  // no status

    /// Resets the controller; what was in flight comes back with an error.
    void reset() noexcept {
      ++resets;
      gone = !bus.start_again() || !start_ring();
      for (slot &at : slots) {
        if (is_in_flight(at)) finish(at, -static_cast<i32>(gone ? error::io : error::timeout));
      }
      // A disk's first answer after a reset is that it was reset (SAM-5 §6.3).
      for (open_disk const &each : disks) {
        if (!each.used || gone) continue;
        result<void> const outcome = try_run(each.place, scsi::test_unit_ready(), 0);
        gone = !outcome && outcome.error() == error::timeout;
      }
    }

    /// One command by itself; waits. A controller that is stuck is reset.
    result<void> run(scsi_address place, scsi::command const &command, u32 bytes) noexcept {
      result<void> const outcome = try_run(place, command, bytes);
      if (!outcome && outcome.error() == error::timeout) reset();
      return outcome;
    }

    /// The same, without a reset. The answer comes into scratch.
    result<void> try_run(scsi_address place, scsi::command const &command, u32 bytes) noexcept {
      if (gone) return std::unexpected(error::closed);
      if (in_flight != 0) return std::unexpected(error::busy);
      slot *const at = free_slot();
      if (at == nullptr) return std::unexpected(error::busy);
      std::ranges::fill(std::span(scratch).first(bytes), std::byte{});
      virtio_part const data{reinterpret_cast<u64>(scratch), bytes, true};
      at->status = pending;
      if (!add(*at, place, command, std::span(&data, bytes == 0 ? 0u : 1u), true)) return std::unexpected(error::busy);
      ring->kick();
      while (!ring->pending() && !ring->broken() && ticks() < at->deadline) pause();
      auto const done = ring->try_take();
      at->used = false;
      --in_flight;
      if (!done) return std::unexpected(error::timeout);
      return exo::done(status_of(*at));  // fewer bytes than asked for are usual here
    }

    /// The same, again if the disk first wants to say that it was reset or changed (unit attention).
    result<void> ask(scsi_address place, scsi::command const &command, u32 bytes) noexcept {
      result<void> outcome;
      for (u32 turn = 0; turn < 4; ++turn) {
        outcome = run(place, command, bytes);
        if (outcome || outcome.error() != error::busy || in_flight != 0) break;
      }
      return outcome;
    }

    [[nodiscard]] std::span<u8 const> answer() const noexcept {
      return {reinterpret_cast<u8 const *>(scratch), sizeof(scratch)};
    }

    /// Asks a disk that lets go of blocks how it can clear them, and notes it. An operation is one command, so all become
    /// as short as those that clear; a way that is for less than what blocks are mostly read by is not worth it.
    void ask_clearing(scsi_address place, disk_record &record) noexcept {
      auto const page = [&]<std::size_t Bytes>(u8 number, std::array<u8, Bytes> &into) {
        if (ask(place, scsi::inquiry(number, Bytes), Bytes)) std::ranges::copy(answer().first(Bytes), into.begin());
      };
      std::array<u8, scsi::provisioning_bytes> provisioning{};
      std::array<u8, scsi::limits_bytes> limits{};
      page(scsi::provisioning_page, provisioning);
      page(scsi::limits_page, limits);
      scsi::clearing const most = scsi::clearing_of(provisioning, limits);
      auto const note = [&](u32 feature, u64 blocks) {
        u64 const bytes = std::min<u64>(blocks, ~u32{0}) * record.block_bytes;
        if (bytes < clear_bytes_min) return;
        record.features |= feature;
        record.bytes_max = static_cast<u32>(std::min<u64>(record.bytes_max, bytes));
      };
      note(disk_can_discard, most.unmap);
      if (record.block_bytes <= zeros_bytes) note(disk_can_zero, most.write_same);
    }
    static constexpr u64 clear_bytes_min = 64 * 1024;

    std::span<scsi_address> find(std::span<scsi_address> out) noexcept {
      std::size_t count = 0;
      u32 const target_max = std::min<u32>(bus.config<u16>(config_target_max), 255);
      for (u32 target = 0; target <= target_max && !gone && in_flight == 0; ++target) {
        if (!ask({static_cast<u8>(target), 0}, scsi::report_luns(sizeof(scratch)), sizeof(scratch))) continue;
        std::size_t const bytes = std::min<std::size_t>(scsi::load(answer().first(4)), sizeof(scratch) - 8);
        // Eight bytes each; addresses of one level, in the first two (SAM-5 §4.7).
        std::array<scsi_address, sizeof(scratch) / 8> luns;
        std::size_t const here = bytes / 8;
        for (std::size_t at = 0; at < here; ++at) {
          luns[at] = {static_cast<u8>(target), static_cast<u16>(scsi::load(answer().subspan(8 + at * 8, 2)) & 0x3FFF)};
        }
        for (std::size_t at = 0; at < here && count < out.size(); ++at) {
          bool const answers = ask(luns[at], scsi::inquiry(), scsi::inquiry_bytes).has_value();
          if (answers && scsi::is_disk(answer().first<scsi::inquiry_bytes>())) out[count++] = luns[at];
        }
      }
      return out.first(count);
    }
  };

  virtio_scsi(pages memory, virtio_transport bus, pci_record const &function, clock::duration patience) noexcept
      : memory_(std::move(memory)) {
    std::construct_at(&all(), std::move(bus), function, patience);
  }
  [[nodiscard]] state &all() const noexcept { return *reinterpret_cast<state *>(memory_.data()); }

  pages memory_;
  ownership owned_;
};

/// A disk of a controller: an operation_queue. When it goes, its operations in flight are waited for, as long as the
/// controller's patience lasts.
class scsi_disk {
 public:
  scsi_disk(scsi_disk &&) noexcept = default;
  ~scsi_disk() {
    if (!owned_) return;
    completion unwanted[8];
    while (in_flight() && try_reap(unwanted)) pause();
    its().used = false;
  }

  [[nodiscard]] disk_record const &record() const noexcept { return its().record; }

  /// Queues operations and rings the doorbell once; the rules are those of disk_submit.
  ///
  /// @return             how many entries were taken, from the front; 0 when there is no room
  /// @error range        an entry is outside the disk, no multiple of its blocks, or of a kind that it does not have
  /// @error pointer      an address is null
  /// @error unsupported  a write to a disk that is read-only, or a flush of one without a cache
  /// @error closed       the controller was removed, or does not come back from its reset
  [[nodiscard]] result<std::size_t> try_submit(std::span<disk_op const> operations) noexcept {
    if (all_->gone) return std::unexpected(error::closed);
    for (std::size_t at = 0; at < operations.size();) {
      result<std::size_t> const entries = checked_operation(operations.subspan(at));
      if (!entries) return entries;
      at += *entries;
    }
    std::size_t taken = 0;
    while (taken < operations.size()) {
      std::size_t const entries = entries_of(operations.subspan(taken));
      if (!add(operations.subspan(taken, entries))) break;
      taken += entries;
    }
    all_->ring->kick();
    return taken;
  }

  /// Takes finished operations, in any order; returns how many entries of out were filled. A controller that is stuck is
  /// reset here; a status then is -timeout.
  [[nodiscard]] result<std::size_t> try_reap(std::span<completion> out) noexcept {
    if (std::exchange(all_->armed, false)) all_->ring->interrupts(false);
    all_->poll();
    std::size_t count = 0;
    for (; count < out.size() && its().first != virtio_scsi::none; ++count) {
      virtio_scsi::slot &at = all_->slots[its().first];
      its().first = at.next;
      at.used = false;
      out[count] = {.cookie = at.cookie, .status = at.status, .bytes = at.status == 0 && at.reads ? at.bytes : 0};
    }
    return count;
  }

  /// Makes the next completion wake this core once; true if something is finished already.
  /// @error unsupported  the controller has no interrupt: poll
  [[nodiscard]] result<bool> arm() noexcept {
    if (all_->wake.over_line()) all_->bus.acknowledge();
    if (!all_->wake.here()) return std::unexpected(error::unsupported);
    all_->ring->interrupts(true);
    all_->armed = true;
    return its().first != virtio_scsi::none || all_->ring->pending() || all_->ring->broken();
  }

 private:
  friend class virtio_scsi;

  scsi_disk(virtio_scsi::state &all, u8 number) noexcept : all_(&all), number_(number) {}

  [[nodiscard]] virtio_scsi::open_disk &its() const noexcept { return all_->disks[number_]; }
  [[nodiscard]] bool in_flight() const noexcept {
    return std::ranges::any_of(all_->slots, [&](auto const &at) { return at.used && at.disk == number_; });
  }

  /// Entries of the operation in front.
  static std::size_t entries_of(std::span<disk_op const> operations) noexcept {
    std::size_t count = 1;
    while (count < operations.size() && (operations[count - 1].flags & disk_more) != 0) ++count;
    return count;
  }

  /// The same, if the operation can be done.
  [[nodiscard]] result<std::size_t> checked_operation(std::span<disk_op const> operations) const noexcept {
    disk_op const &first = operations[0];
    std::size_t const count = entries_of(operations);
    disk_record const &disk = record();
    if ((operations[count - 1].flags & disk_more) != 0) return std::unexpected(error::range);
    if (first.kind == disk_flush && count == 1) {
      if ((disk.features & disk_write_cache) == 0) return std::unexpected(error::unsupported);
      return count;
    }
    bool const clears = (first.kind == disk_discard || first.kind == disk_zero) && count == 1;
    if (!clears && first.kind != disk_read && first.kind != disk_write) return std::unexpected(error::range);
    u32 const needed = first.kind == disk_discard ? disk_can_discard : first.kind == disk_zero ? disk_can_zero : 0;
    bool const can = (disk.features & needed) == needed;
    if (!can || (first.kind != disk_read && (disk.features & disk_read_only) != 0)) return std::unexpected(error::unsupported);
    u64 bytes = 0;
    for (disk_op const &each : operations.first(count)) {
      if (each.address == 0 && !clears) return std::unexpected(error::pointer);
      if (each.bytes == 0) return std::unexpected(error::range);
      bytes += each.bytes;
    }
    bool const fits = count <= virtio_scsi::entry_max && bytes % disk.block_bytes == 0 && bytes <= disk.bytes_max &&
                      first.block < disk.blocks && bytes / disk.block_bytes <= disk.blocks - first.block;
    if (!fits) return std::unexpected(error::range);
    return count;
  }

  bool add(std::span<disk_op const> entries) noexcept {
    virtio_scsi::slot *const at = all_->free_slot();
    if (at == nullptr) return false;
    disk_op const &first = entries[0];
    std::array<virtio_part, virtio_scsi::entry_max> parts;
    std::size_t count = 0;
    bool const reads = first.kind == disk_read;
    u64 bytes = 0;
    for (disk_op const &each : entries) bytes += each.bytes;
    auto const blocks = static_cast<u32>(bytes / record().block_bytes);
    scsi::command command;
    switch (first.kind) {
      case disk_flush: command = scsi::synchronize_cache(); break;
      case disk_discard:
        command = scsi::unmap();
        at->unmap = scsi::unmap_list_of(first.block, blocks);
        parts[count++] = {reinterpret_cast<u64>(&at->unmap), sizeof(at->unmap), false};
        break;
      case disk_zero:
        command = scsi::write_same(first.block, blocks);
        parts[count++] = {reinterpret_cast<u64>(all_->zeros), record().block_bytes, false};
        break;
      default:
        command = scsi::transfer(!reads, first.block, blocks);
        for (disk_op const &each : entries) parts[count++] = {each.address, each.bytes, reads};
    }
    at->cookie = first.cookie;
    at->disk = number_;
    at->status = virtio_scsi::state::pending;
    return all_->add(*at, its().place, command, std::span(parts).first(count), reads);
  }

  virtio_scsi::state *all_;
  u8 number_;
  ownership owned_;
};
static_assert(operation_queue<scsi_disk>);

inline opened<scsi_disk> virtio_scsi::disk(scsi_address place) noexcept {
  state &its = all();
  open_disk *const free = std::ranges::find(its.disks, false, &open_disk::used);
  if (free == std::end(its.disks)) return not_opened(error::busy, "As many disks are open as the driver has room for.");
  if (!its.ask(place, scsi::test_unit_ready(), 0) || !its.ask(place, scsi::inquiry(), scsi::inquiry_bytes) ||
      !scsi::is_disk(its.answer().first<scsi::inquiry_bytes>())) {
    return not_opened(error::no_such, "There is no disk at this target and LUN, or no medium in it.");
  }
  disk_record record{};
  record.function = its.function;
  std::memcpy(record.model, its.scratch + 8, 24);  // vendor and product, filled up with blanks (SPC-4 §6.4.2)
  std::fill(record.model + 24, std::end(record.model), u8{' '});
  if (its.ask(place, scsi::inquiry(scsi::serial_page, scsi::serial_bytes), scsi::serial_bytes)) {
    std::size_t const bytes = std::min<std::size_t>(its.answer()[3], sizeof(record.serial));
    std::fill(record.serial, std::end(record.serial), u8{' '});
    std::memcpy(record.serial, its.scratch + 4, bytes);
  }
  if (result<void> const told = its.ask(place, scsi::read_capacity(), scsi::capacity_bytes); !told) {
    return not_opened(told.error(), "The SCSI disk does not tell its size.");
  }
  auto const size = scsi::capacity_of(its.answer().first<scsi::capacity_bytes>());
  if (!size) return not_opened(error::unsupported, "The SCSI disk has blocks of a size that is no power of two from 512 on.");
  record.blocks = size->blocks;
  record.block_bytes = size->block_bytes;
  // The caching page behind a header of four bytes (SPC-4 §7.5, SBC-3 §6.4.5). A disk without it has no cache to flush.
  constexpr u8 caching_page = 8, write_protected = 0x80, write_cache = 0x04;
  if (its.ask(place, scsi::mode_sense(caching_page, 24), 24)) {
    if ((its.answer()[2] & write_protected) != 0) record.features |= disk_read_only;
    bool const has_page = its.answer()[3] == 0 && (its.answer()[4] & 0x3F) == caching_page;
    if (has_page && (its.answer()[6] & write_cache) != 0) record.features |= disk_write_cache;
  }
  record.entry_max = std::min<u32>(entry_max, std::max<u32>(its.bus.config<u32>(config_parts_max), 3) - 2);
  record.bytes_max = static_cast<u32>(std::min<u64>(std::max<u64>(its.bus.config<u32>(config_sectors_max), 128) * 512, ~u32{0}));
  if (size->provisioned) its.ask_clearing(place, record);
  record.queue_max = 1;
  record.depth_max = depth;
  record.interrupts = its.wake.here() ? 1 : 0;
  *free = {.used = true, .place = place, .record = record, .first = none, .last = none};
  return scsi_disk(its, static_cast<u8>(free - its.disks));
}

using scsi_blocks = queue_blocks<scsi_disk>;

static_assert(pci_driver<virtio_scsi>);
static_assert(clearing_block_device<scsi_blocks>);

}  // namespace exo
