// virtio entropy device: random bytes from the host.
//
//   auto source = exo::virtio_rng::open(function);
//   if (source && source->fill(key)) …
//
// SPEC  virtio 1.2 §5.4
#pragma once

#include "virtio.hpp"

namespace exo {

class virtio_rng {
 public:
  [[nodiscard]] static bool probe(pci_record const &function) noexcept {
    return virtio_transport::probe(function, virtio_kind::entropy);
  }

  /// Resets and starts the device; the errors are those of virtio_transport::open and virtio_ring::open.
  /// @core  any      @heap  pages
  [[nodiscard]] static opened<virtio_rng> open(pci_record const &function) noexcept {
    return with(virtio_transport::open(function, virtio_kind::entropy, 0));
  }
  /// The same for a device over MMIO, at an address that is known.
  [[nodiscard]] static opened<virtio_rng> open_mmio(u64 address) noexcept {
    return with(virtio_transport::open_mmio(address, virtio_kind::entropy, 0));
  }

  virtio_rng(virtio_rng &&) noexcept = default;

  /// Takes what bytes have come, without waiting, and asks for more when there are none left.
  ///
  /// @return     how many were written, from the front
  /// @error io   the device answers what cannot be, or was removed
  [[nodiscard]] result<std::size_t> try_fill(std::span<std::byte> into) noexcept {
    if (first_ == end_) {
      if (std::optional<virtio_done> const done = ring_->try_take()) {
        first_ = 0;
        end_ = done->bytes;
      }
      if (ring_->broken()) return std::unexpected(error::io);
      if (first_ == end_ && ring_->in_flight() == 0) ask();
    }
    std::size_t const some = std::min<std::size_t>(into.size(), end_ - first_);
    std::ranges::copy(buffer_.span().subspan(first_, some), into.begin());
    first_ += static_cast<u32>(some);
    return some;
  }

  /// Fills memory with random bytes; waits until the host has so many.
  ///
  /// @error timeout  it has given none for so long; what is in `into` then is not to be used
  /// @error io       the device answers what cannot be, or was removed
  [[nodiscard]] result<void> fill(std::span<std::byte> into, clock::duration patience = std::chrono::seconds(5)) noexcept {
    clock::time_point deadline = clock::now() + patience;
    while (!into.empty()) {
      result<std::size_t> const some = try_fill(into);
      if (!some) return std::unexpected(some.error());
      if (*some != 0) {
        into = into.subspan(*some);
        deadline = clock::now() + patience;
      } else if (clock::now() >= deadline) {
        return std::unexpected(bus_.present() && bus_.works() ? error::timeout : error::io);
      } else {
        ring_->wait(bus_, wake_, deadline);
      }
    }
    return {};
  }

 private:
  virtio_rng(virtio_transport bus, virtio_ring ring, pages buffer) noexcept
      : buffer_(std::move(buffer)), ring_(std::move(ring)), wake_(bus.wake()), bus_(std::move(bus)) {}

  static opened<virtio_rng> with(opened<virtio_transport> bus) noexcept {
    if (!bus) return std::unexpected(bus.error());
    auto ring = virtio_ring::open(*bus, 0, 4);
    if (!ring) return not_opened(ring.error());
    auto buffer = take_dma(page_bytes);
    if (!buffer) return not_opened(buffer.error());
    bus->go();
    return virtio_rng(std::move(*bus), std::move(*ring), std::move(*buffer));
  }

  /// The bytes come into a page of our own: a caller who does not wait for them gets no late ones.
  void ask() noexcept {
    virtio_part const part{reinterpret_cast<u64>(buffer_.data()), static_cast<u32>(buffer_.size()), true};
    (void)ring_->try_add({&part, 1}, 0);  // there is room: nothing is in flight
    ring_->kick();
  }

  pages buffer_;                     // memory stands before the bus, whose end keeps the device from it
  std::optional<virtio_ring> ring_;
  wake_up wake_;
  virtio_transport bus_;
  u32 first_ = 0, end_ = 0;          // bytes in the buffer that nobody has yet
};

static_assert(pci_driver<virtio_rng>);

}  // namespace exo
