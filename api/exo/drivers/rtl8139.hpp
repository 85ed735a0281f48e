// Realtek RTL8139: 100 Mbit/s, one receive ring into which the chip writes frames one behind the other, and four places to
// send from.
//
// Frames are handed over where the chip has put them. Its addresses have 32 bits, so its memory lies below 4 GiB.
// SPEC  Realtek RTL8139C(L) data sheet, revision 1.4 (RTL); programming guide, version 0.1
#pragma once

#include "../frame_device.hpp"
#include "../port.hpp"
#include "driver.hpp"

namespace exo {

namespace detail {

/// What the chip writes before a frame in the receive ring (RTL §5.1).
struct rtl8139_header {
  u16 status;
  u16 bytes;  // of the frame, with its FCS

  static constexpr u16 good = 0x0001;
  static constexpr u16 arriving = 0xFFF0;  // in place of the length: the chip is still writing the frame
  static constexpr u32 fcs_bytes = 4;
  static constexpr u32 longest = 14 + 4 + 1500;  // with a VLAN tag, without FCS

  /// Whether this can be: a chip, or what passes as one, that has lost its place in the ring says nonsense.
  [[nodiscard]] constexpr bool plausible() const noexcept {
    return (status & good) != 0 && bytes >= 14 + fcs_bytes && bytes <= longest + fcs_bytes;
  }
  [[nodiscard]] constexpr u32 frame_bytes() const noexcept { return bytes - fcs_bytes; }

  /// Where the next header is: headers lie at multiples of four.
  [[nodiscard]] constexpr u32 next(u32 offset, u32 ring_bytes) const noexcept {
    return (offset + u32{sizeof(rtl8139_header)} + bytes + 3) / 4 * 4 % ring_bytes;
  }
};

}  // namespace detail

class rtl8139 {
 public:
  [[nodiscard]] static bool probe(pci_record const &function) noexcept {
    return function.vendor == 0x10EC && function.device == 0x8139;
  }

  /// Resets and starts the chip.
  ///
  /// @error no_such      it is another device, or it has no I/O ports
  /// @error memory       no RAM below 4 GiB is free
  /// @error timeout, io  it does not reset, or does not answer at all
  /// @core  any          @heap  pages
  [[nodiscard]] static opened<rtl8139> open(pci_record const &function) noexcept {
    if (!probe(function)) return not_opened(error::no_such, "This function is no RTL8139.");
    result<u16> const ports = pci_function(function).ports(0, port_count);
    if (!ports) return not_opened(ports.error(), "The RTL8139 has no I/O ports: the firmware has given it none.");
    result<pages> memory = take_dma(memory_bytes, below_4_gib);
    if (!memory) return not_opened(memory.error(), "The RTL8139 needs 44 KiB of RAM below 4 GiB.");
    rtl8139 device(function, *ports, std::move(*memory));
    if (device.in<u8>(command) == absent) {
      return not_opened(error::io, "The RTL8139 does not answer: it is switched off or was removed.");
    }
    if (!device.start()) return not_opened(error::timeout, "The RTL8139 does not come out of its reset: power it off.");
    return device;
  }

  rtl8139(rtl8139 &&) noexcept = default;
  ~rtl8139() {
    if (function_.held()) out<u8>(command, command_reset);
  }

  [[nodiscard]] net::mac_address mac() const noexcept { return mac_; }
  [[nodiscard]] std::size_t mtu() const noexcept { return 1500; }
  [[nodiscard]] frame_counters const &counters() const noexcept { return counters_; }

  /// In Mbit/s; 0: the link is down, or the chip was removed.
  [[nodiscard]] u32 link_speed() const noexcept {
    u8 const status = in<u8>(media_status);
    if (gone_ || status == absent || (status & media_no_link) != 0) return 0;
    return (status & media_10_mbit) != 0 ? 10 : 100;
  }

  /// Hands up to 32 frames to consume(net::received_frame), where the chip has put them.
  template <std::invocable<net::received_frame> Consume>
  std::size_t try_receive(Consume &&consume) {
    std::size_t count = 0;
    for (; count < receive_batch && has_frame(); ++count) {
      std::byte const *const at = ring() + offset_;
      detail::rtl8139_header header;
      std::memcpy(&header, at, sizeof(header));
      if (header.bytes == detail::rtl8139_header::arriving) break;
      if (!header.plausible()) {
        ++counters_.damaged;
        reset();
        break;
      }
      u64 const resets = counters_.resets;
      ++counters_.received;
      consume(net::received_frame{{at + sizeof(header), header.frame_bytes()}});
      if (resets != counters_.resets) return count + 1;  // consume() has sent, and found the chip stuck
      offset_ = header.next(offset_, ring_bytes);
      out<u16>(read_pointer, static_cast<u16>(offset_ - read_pointer_lag));
    }
    // An overflow ends when it is acknowledged after the read pointer has moved (RTL §5.6, RXOVW).
    if (count != 0) out<u16>(interrupt_status, receive_events);
    return count;
  }

  /// Lets fill(std::span<std::byte>) write a frame of `bytes` and queues it; flush() sends it.
  ///
  /// @return  false, and fill not called, when four frames are on their way, or the frame is longer than MTU and header
  template <std::invocable<std::span<std::byte>> Fill>
  bool try_send(std::size_t bytes, Fill &&fill) {
    if (bytes > mtu() + net::ethernet_header_bytes || gone_) return false;
    if (queued_ - done_ == send_places) {
      flush();
      reap();
      if (queued_ - done_ == send_places) return false;
    }
    std::span const buffer(place(queued_), send_place_bytes);
    fill(buffer.first(bytes));
    send_bytes_[queued_ % send_places] = pad_frame(buffer, bytes);
    ++queued_;
    return true;
  }

  /// Gives the queued frames to the chip.
  void flush() noexcept {
    if (sent_ == queued_ || gone_) return;
    for (; sent_ != queued_; ++sent_) {
      out<u32>(send_status(sent_), send_bytes_[sent_ % send_places]);  // OWN is 0: the chip's
    }
    stuck_at_ = deadline_in(send_patience);
  }

  /// Flushes, then halts this core until a frame arrives, another event, or the deadline. May return early.
  void wait(clock::time_point deadline) noexcept {
    flush();
    if (gone_) return;
    if (wake_.here()) {
      out<u16>(interrupt_status, all_events);
      out<u16>(interrupt_mask, queued_ - done_ == send_places ? receive_events | send_events : receive_events);
    }
    if (!has_frame()) wake_.idle(deadline);
    out<u16>(interrupt_mask, 0);
  }

  /// Flushes, then polls until the chip has sent everything; false if the deadline came first.
  bool drain(clock::time_point deadline) noexcept {
    flush();
    for (reap(); done_ != queued_ && !gone_ && clock::now() < deadline; reap()) pause();
    return done_ == queued_;
  }

 private:
  // Registers (RTL §5) and their bits
  static constexpr u32 port_count = 256;
  static constexpr u16 identity = 0x00;          // IDR0: the MAC address
  static constexpr u16 multicast = 0x08;         // MAR0
  static constexpr u16 ring_address = 0x30;      // RBSTART
  static constexpr u16 command = 0x37;           // CR
  static constexpr u8 command_empty = 0x01, command_send = 0x04, command_receive = 0x08, command_reset = 0x10;
  static constexpr u16 read_pointer = 0x38;      // CAPR
  static constexpr u32 read_pointer_lag = 16;    // it stands so many bytes before the place that was read up to
  static constexpr u16 interrupt_mask = 0x3C;    // IMR
  static constexpr u16 interrupt_status = 0x3E;  // ISR
  static constexpr u16 receive_events = 0x0073;  // ROK, RER, RXOVW, link change, FOVW
  static constexpr u16 send_events = 0x000C;     // TOK, TER
  static constexpr u16 all_events = 0xFFFF;
  static constexpr u16 send_config = 0x40;       // TCR
  static constexpr u32 send_config_value = 0x03000700;     // the usual gap between frames, DMA in bursts of 2 KiB
  static constexpr u16 receive_config = 0x44;    // RCR
  static constexpr u32 receive_config_value = 0x0000F78E;  // no threshold, ring of 32 KiB, unlimited DMA bursts, WRAP:
                                                           // no frame is cut; broadcast, multicast, and our own
  static constexpr u16 media_status = 0x58;      // MSR
  static constexpr u8 media_no_link = 0x04, media_10_mbit = 0x08;
  static constexpr u8 absent = 0xFF;             // what ports read as that nothing answers at

  // Bits of TSD0 to TSD3
  static constexpr u32 send_underrun = 1 << 14, send_good = 1 << 15, send_aborted = 1 << 30;

  static constexpr u32 send_places = 4;
  static constexpr u32 send_place_bytes = 2048;
  static constexpr u32 ring_bytes = 32 * 1024;
  static constexpr u32 ring_room = ring_bytes + 4096;  // a frame may go on behind the end (WRAP)
  static constexpr u32 memory_bytes = ring_room + send_places * send_place_bytes;
  static constexpr std::chrono::milliseconds reset_patience{100};
  static constexpr std::chrono::seconds send_patience{2};

  static constexpr u16 send_status(u32 number) noexcept { return static_cast<u16>(0x10 + number % send_places * 4); }
  static constexpr u16 send_address(u32 number) noexcept { return static_cast<u16>(0x20 + number % send_places * 4); }

  rtl8139(pci_record const &function, u16 ports, pages memory) noexcept
      : memory_(std::move(memory)), function_(function), wake_(function, 0), ports_(ports) {}

  template <port_value T>
  [[nodiscard]] T in(u16 offset) const noexcept {
    return port_in<T>(static_cast<u16>(ports_ + offset));
  }
  template <port_value T>
  void out(u16 offset, std::type_identity_t<T> value) const noexcept {
    port_out<T>(static_cast<u16>(ports_ + offset), value);
  }

  [[nodiscard]] std::byte *ring() const noexcept { return memory_.data(); }
  [[nodiscard]] std::byte *place(u32 number) const noexcept {
    return memory_.data() + ring_room + number % send_places * send_place_bytes;
  }
  static u32 address_of(std::byte const *memory) noexcept { return static_cast<u32>(reinterpret_cast<u64>(memory)); }

  /// Resets the chip and sets it up from the beginning; false if the reset does not end.
  bool start() noexcept {
    out<u8>(command, command_reset);
    if (!holds_within(reset_patience, [&] { return (in<u8>(command) & command_reset) == 0; })) return false;
    function_.allow_dma();
    for (u16 octet = 0; octet < mac_.octets.size(); ++octet) {
      mac_.octets[octet] = in<u8>(static_cast<u16>(identity + octet));
    }
    offset_ = 0;
    std::ranges::fill(std::span(ring(), ring_bytes), std::byte{});  // frames of before are none, nor do they still arrive
    done_ = sent_ = queued_ = 0;
    out<u32>(ring_address, address_of(ring()));
    for (u32 each = 0; each < send_places; ++each) out<u32>(send_address(each), address_of(place(each)));
    out<u16>(interrupt_mask, 0);
    out<u16>(interrupt_status, all_events);
    out<u8>(command, command_send | command_receive);  // the configurations can be written only then (RTL §5.7, §5.8)
    out<u32>(send_config, send_config_value);
    out<u32>(receive_config, receive_config_value);
    out<u32>(multicast, ~u32{0});
    out<u32>(multicast + 4, ~u32{0});
    return true;
  }

  /// After nonsense or a standstill. What was with the chip is lost.
  void reset() noexcept {
    counters_.lost += queued_ - done_;
    ++counters_.resets;
    if (!function_.present() || !start()) gone_ = true;
  }

  /// (Where nothing answers, that bit is set too.)
  [[nodiscard]] bool has_frame() const noexcept { return !gone_ && (in<u8>(command) & command_empty) == 0; }

  /// Takes back the places whose frames are sent, in order.
  void reap() noexcept {
    while (done_ != sent_ && !gone_) {
      u32 const status = in<u32>(send_status(done_));
      if (status == ~u32{0}) {
        gone_ = true;
      } else if ((status & send_aborted) != 0) {
        reset();
      } else if ((status & (send_good | send_underrun)) != 0) {
        ++done_;
        ++counters_.sent;
      } else {
        if (ticks() >= stuck_at_) reset();
        return;
      }
    }
  }

  pages memory_;  // the ring, then the places to send from; stands before function_, see there
  held_function function_;
  wake_up wake_;
  u16 ports_;
  bool gone_ = false;
  net::mac_address mac_;
  u32 offset_ = 0;                           // of the next header in the ring
  u32 done_ = 0, sent_ = 0, queued_ = 0;     // frames so far: sent and taken back, given to the chip, written
  u32 send_bytes_[send_places]{};
  u64 stuck_at_ = 0;                         // TSC deadline of the frame given last
  frame_counters counters_;
};

static_assert(pci_driver<rtl8139>);
static_assert(waitable_frame_device<rtl8139>);

}  // namespace exo
