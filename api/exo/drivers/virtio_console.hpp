// virtio console: characters to and from the host, many at a time. The first port of the device, without the others.
//
//   auto port = exo::virtio_console::open(function);
//   if (port) (void)port->write("hello\n");
//
// SPEC  virtio 1.2 §5.3
#pragma once

#include <string_view>

#include "virtio.hpp"

namespace exo {

class virtio_console {
 public:
  [[nodiscard]] static bool probe(pci_record const &function) noexcept {
    return virtio_transport::probe(function, virtio_kind::console);
  }

  /// Resets and starts the device; the errors are those of virtio_transport::open and virtio_ring::open.
  /// @core  any      @heap  pages
  [[nodiscard]] static opened<virtio_console> open(pci_record const &function) noexcept {
    return with(virtio_transport::open(function, virtio_kind::console, feature_size));
  }
  /// The same for a device over MMIO, at an address that is known.
  [[nodiscard]] static opened<virtio_console> open_mmio(u64 address) noexcept {
    return with(virtio_transport::open_mmio(address, virtio_kind::console, feature_size));
  }

  virtio_console(virtio_console &&) noexcept = default;

  /// Columns and rows of what the host shows it on; 0 if it does not say.
  struct size {
    u16 columns;
    u16 rows;
  };
  [[nodiscard]] size dimensions() const noexcept {
    if ((bus_.features() & feature_size) == 0) return {};
    return {bus_.config<u16>(0), bus_.config<u16>(2)};
  }

  /// Takes the characters that have come, without waiting; returns the front part of buffer that was filled.
  /// @error io  the device answers what cannot be
  [[nodiscard]] result<std::span<char>> try_read(std::span<char> buffer) noexcept {
    std::size_t used = 0;
    while (used < buffer.size()) {
      if (unread_.empty()) {
        std::optional<virtio_done> const done = receive_->try_take();
        if (receive_->broken()) return std::unexpected(error::io);
        if (!done) break;
        unread_ = {receive_place(done->cookie), done->bytes};
        unread_place_ = done->cookie;
      }
      std::size_t const some = std::min(buffer.size() - used, unread_.size());
      std::memcpy(buffer.data() + used, unread_.data(), some);
      used += some;
      unread_ = unread_.subspan(some);
      if (unread_.empty()) lend(unread_place_);
    }
    receive_->kick();
    return buffer.first(used);
  }

  /// Gives characters to the host, as many as there is room for, without waiting; returns how many.
  /// @error io  the device answers what cannot be
  [[nodiscard]] result<std::size_t> try_write(std::string_view text) noexcept {
    while (std::optional<virtio_done> const done = send_->try_take()) free_places_ |= 1u << done->cookie;
    if (send_->broken()) return std::unexpected(error::io);
    std::size_t taken = 0;
    while (taken < text.size() && free_places_ != 0) {
      auto const place = static_cast<u32>(std::countr_zero(free_places_));
      free_places_ &= ~(1u << place);
      std::size_t const some = std::min<std::size_t>(text.size() - taken, place_bytes);
      std::byte *const at = send_place(place);
      std::memcpy(at, text.data() + taken, some);
      virtio_part const part{reinterpret_cast<u64>(at), static_cast<u32>(some), false};
      (void)send_->try_add({&part, 1}, place);  // the ring has a descriptor for each place
      taken += some;
    }
    send_->kick();
    return taken;
  }

  /// Gives all characters to the host; waits until there was room for the last one.
  ///
  /// @error timeout  the host takes none for so long
  /// @error io       the device answers what cannot be, or was removed
  [[nodiscard]] result<void> write(std::string_view text, clock::duration patience = std::chrono::seconds(5)) noexcept {
    clock::time_point deadline = clock::now() + patience;
    for (;;) {
      result<std::size_t> const taken = try_write(text);
      if (!taken) return std::unexpected(taken.error());
      text.remove_prefix(*taken);
      if (text.empty()) return {};
      if (*taken != 0) deadline = clock::now() + patience;
      if (clock::now() >= deadline) return std::unexpected(bus_.present() && bus_.works() ? error::timeout : error::io);
      send_->wait(bus_, wake_, deadline);
    }
  }

  /// Halts this core until characters come, another event, or the deadline. May return early.
  void wait(clock::time_point deadline) noexcept {
    if (unread_.empty()) receive_->wait(bus_, wake_, deadline);
  }

  /// Waits until the host has taken all that was written; false if the deadline came first.
  [[nodiscard]] bool drain(clock::time_point deadline) noexcept {
    for (;;) {
      if (!try_write({})) return false;
      if (send_->in_flight() == 0) return true;
      if (clock::now() >= deadline) return false;
      send_->wait(bus_, wake_, deadline);
    }
  }

 private:
  static constexpr u64 feature_size = 1 << 0;                    // §5.3.3
  static constexpr u16 receive_queue = 0, send_queue = 1;        // §5.3.2
  static constexpr u32 places = 8, place_bytes = 512;            // each way

  virtio_console(virtio_transport bus, virtio_ring receive, virtio_ring send, pages memory) noexcept
      : memory_(std::move(memory)),
        receive_(std::move(receive)),
        send_(std::move(send)),
        wake_(bus.wake()),
        bus_(std::move(bus)) {
    for (u64 place = 0; place < places; ++place) lend(place);
    bus_.go();
    receive_->kick();
  }

  static opened<virtio_console> with(opened<virtio_transport> bus) noexcept {
    if (!bus) return std::unexpected(bus.error());
    auto receive = virtio_ring::open(*bus, receive_queue, places);
    auto send = virtio_ring::open(*bus, send_queue, places);
    if (!receive || !send) return not_opened(receive ? send.error() : receive.error());
    auto memory = take_dma(u64{2} * places * place_bytes);
    if (!memory) return not_opened(memory.error());
    if (receive->size() < places || send->size() < places) {
      return not_opened(error::unsupported, "The virtio console has rings of less than eight entries.");
    }
    return virtio_console(std::move(*bus), std::move(*receive), std::move(*send), std::move(*memory));
  }

  [[nodiscard]] std::byte *receive_place(u64 place) const noexcept { return memory_.data() + place * place_bytes; }
  [[nodiscard]] std::byte *send_place(u64 place) const noexcept { return receive_place(places + place); }

  void lend(u64 place) noexcept {
    virtio_part const part{reinterpret_cast<u64>(receive_place(place)), place_bytes, true};
    (void)receive_->try_add({&part, 1}, place);  // the ring has a descriptor for each place
  }

  pages memory_;  // places to receive into, then to send from; memory stands before the bus, whose end protects it
  std::optional<virtio_ring> receive_, send_;
  wake_up wake_;
  virtio_transport bus_;
  std::span<std::byte const> unread_;    // of the place received last
  u64 unread_place_ = 0;
  u32 free_places_ = (1u << places) - 1; // to send from
};

static_assert(pci_driver<virtio_console>);

}  // namespace exo
