// NE2000: 10 Mbit/s, a DP8390 with 16 KiB of memory of its own, which the processor fills and empties through one port. As
// an ISA card, and as a PCI function (RTL8029).
//
// No frame is touched by the device's DMA: frames are copied between the card's memory and one buffer in here.
// SPEC  National Semiconductor DP8390D/NS32490D data sheet (DP); Novell NE2000 (ports 16 and 31, address PROM)
#pragma once

#include <array>
#include <optional>

#include "../frame_device.hpp"
#include "../port.hpp"
#include "driver.hpp"

namespace exo {

namespace detail {

/// A ring of pages of 256 bytes in the card's memory.
struct ne2000_ring {
  static constexpr u32 page_bytes = 256;
  static constexpr u8 first = 0x4C, end = 0x80;  // behind the places to send from

  [[nodiscard]] static constexpr u8 before(u8 page) noexcept { return page == first ? u8{end - 1} : static_cast<u8>(page - 1); }
  [[nodiscard]] static constexpr bool has(u8 page) noexcept { return page >= first && page < end; }

  /// Bytes from one page's begin to another's, the ring's end passed over.
  [[nodiscard]] static constexpr u32 bytes_between(u8 from, u8 to) noexcept {
    u32 const pages = to > from ? u32{to} - from : u32{to} + (end - first) - from;
    return pages * page_bytes;
  }
};

/// What the chip writes before each frame (DP §7).
struct ne2000_header {
  u8 status;
  u8 next;    // page of the next header
  u16 bytes;  // of the frame, and four

  static constexpr u8 good = 0x01;
  static constexpr u32 extra = 4;
  static constexpr u32 longest = 14 + 4 + 1500;  // with a VLAN tag

  /// Whether this can stand at a page: what the card says is not believed.
  [[nodiscard]] constexpr bool plausible(u8 page) const noexcept {
    return (status & good) != 0 && ne2000_ring::has(next) && next != page && bytes >= 14 + extra &&
           bytes <= longest + extra && bytes <= ne2000_ring::bytes_between(page, next);
  }
  [[nodiscard]] constexpr u32 frame_bytes() const noexcept { return bytes - extra; }
};

}  // namespace detail

class ne2000 {
 public:
  [[nodiscard]] static bool probe(pci_record const &function) noexcept {
    return function.vendor == 0x10EC && function.device == 0x8029;
  }

  /// Resets and starts a card that is a PCI function.
  ///
  /// @error no_such      it is another device, or it has no I/O ports
  /// @error timeout, io  it does not reset, or does not answer as an NE2000 does
  /// @core  any          @heap none
  [[nodiscard]] static opened<ne2000> open(pci_record const &function) noexcept {
    if (!probe(function)) return not_opened(error::no_such, "This function is no NE2000.");
    result<u16> const ports = pci_function(function).ports(0, port_count);
    if (!ports) return not_opened(ports.error(), "The NE2000 has no I/O ports: the firmware has given it none.");
    return start_at(*ports, &function, 0);
  }

  /// Resets and starts an ISA card, at the ports that its jumpers say.
  ///
  /// @param line         its interrupt, as the jumpers say; 0: it is looked at every millisecond instead
  /// @error no_such      there is nothing at these ports
  /// @error timeout, io  something is, but it does not reset, or does not answer as an NE2000 does
  /// @core  any          @heap none
  [[nodiscard]] static opened<ne2000> open_isa(u16 ports = 0x300, u32 line = 0) noexcept {
    return start_at(ports, nullptr, line);
  }

  ne2000(ne2000 &&) noexcept = default;
  ~ne2000() {
    if (!owned_) return;
    out(interrupt_mask, 0);
    out(command, command_stop | command_no_dma);
  }

  [[nodiscard]] net::mac_address mac() const noexcept { return mac_; }
  [[nodiscard]] std::size_t mtu() const noexcept { return 1500; }
  [[nodiscard]] frame_counters const &counters() const noexcept { return counters_; }

  /// In Mbit/s; 0: the card was removed. It does not tell whether its cable is plugged in.
  [[nodiscard]] u32 link_speed() const noexcept { return gone_ || in(command) == absent ? 0 : 10; }

  /// Hands up to 32 frames to consume(net::received_frame); each lies in this object during that call.
  template <std::invocable<net::received_frame> Consume>
  std::size_t try_receive(Consume &&consume) {
    pump();
    if (gone_) return 0;
    u64 const resets = counters_.resets;
    bool const overflow = (in(interrupt_status) & overflowed) != 0;
    bool const resend = overflow && stop_after_overflow();
    std::size_t count = 0;
    while (count < receive_batch && has_frame()) {
      detail::ne2000_header header;
      std::array<u16, sizeof(header) / 2> words;
      bool const there = read(next_ * ring::page_bytes, words);
      std::memcpy(&header, words.data(), sizeof(header));
      std::span<std::byte const> frame;
      if (there && header.plausible(next_)) frame = read_frame(header.frame_bytes());
      if (frame.empty()) {
        ++counters_.damaged;
        reset();
        return count;
      }
      next_ = header.next;
      out(boundary, ring::before(next_));
      ++count;
      ++counters_.received;
      consume(net::received_frame{frame});
    }
    if (overflow && resets == counters_.resets) go_on_after_overflow(resend);
    return count;
  }

  /// Lets fill(std::span<std::byte>) write a frame of `bytes` and queues it; flush() sends it.
  ///
  /// @return  false, and fill not called, when two frames are on their way, or the frame is longer than MTU and header
  template <std::invocable<std::span<std::byte>> Fill>
  bool try_send(std::size_t bytes, Fill &&fill) {
    if (bytes > mtu() + net::ethernet_header_bytes) return false;
    if (queued_ - done_ == send_places) flush();
    if (gone_ || queued_ - done_ == send_places) return false;
    std::span const buffer = std::as_writable_bytes(std::span(send_buffer_));
    fill(buffer.first(bytes));
    u32 const padded = pad_frame(buffer, bytes);
    if (!write(send_page(queued_) * ring::page_bytes, std::span(send_buffer_).first((padded + 1) / 2))) {
      reset();
      return false;
    }
    send_bytes_[queued_ % send_places] = padded;
    ++queued_;
    return true;
  }

  /// Lets the card send what is queued: one frame at a time, the next when that is sent and this object is used again.
  void flush() noexcept {
    flushed_ = queued_;
    pump();
  }

  /// Flushes, then halts this core until a frame arrives, another event, or the deadline. May return early.
  void wait(clock::time_point deadline) noexcept {
    flush();
    if (gone_) return;
    if (wake_.here()) {
      out(interrupt_status, all_events & ~overflowed);  // that is for try_receive()
      out(interrupt_mask, done_ == queued_ ? receive_events : receive_events | send_events);
    }
    pump();
    if (!has_frame()) wake_.idle(deadline);
    out(interrupt_mask, 0);
  }

  /// Flushes, then polls until the card has sent everything; false if the deadline came first.
  bool drain(clock::time_point deadline) noexcept {
    for (flush(); done_ != queued_ && !gone_ && clock::now() < deadline; pump()) pause();
    return done_ == queued_;
  }

 private:
  using ring = detail::ne2000_ring;

  // Registers and their bits (DP §10); of page 0 where nothing else is said
  static constexpr u32 port_count = 32;
  static constexpr u16 command = 0x00;
  static constexpr u8 command_stop = 0x01, command_start = 0x02, command_send = 0x04, command_read = 0x08,
                      command_write = 0x10, command_no_dma = 0x20, command_page_1 = 0x40;
  static constexpr u16 ring_start = 0x01, ring_stop = 0x02, boundary = 0x03;
  static constexpr u16 send_start = 0x04, send_count_low = 0x05, send_count_high = 0x06;
  static constexpr u16 interrupt_status = 0x07;
  static constexpr u8 sent_good = 0x02, sent_bad = 0x08, overflowed = 0x10, copy_done = 0x40, was_reset = 0x80;
  static constexpr u8 receive_events = 0x15;  // received, received with an error, ring full
  static constexpr u8 send_events = sent_good | sent_bad;
  static constexpr u8 all_events = 0xFF;
  static constexpr u16 copy_address_low = 0x08, copy_address_high = 0x09, copy_count_low = 0x0A, copy_count_high = 0x0B;
  static constexpr u16 receive_config = 0x0C;
  static constexpr u8 receive_wanted = 0x0C;  // broadcast and multicast besides our own; nothing damaged
  static constexpr u8 receive_nothing = 0x20;
  static constexpr u16 send_config = 0x0D;
  static constexpr u8 send_usual = 0x00, send_loopback = 0x02;
  static constexpr u16 data_config = 0x0E;
  static constexpr u8 data_words = 0x49;      // 16 bits at a time, no loopback, FIFO threshold of 8 bytes
  static constexpr u16 interrupt_mask = 0x0F;
  static constexpr u16 page_1_address = 0x01, page_1_current = 0x07, page_1_multicast = 0x08;
  static constexpr u16 data_port = 0x10, reset_port = 0x1F;
  static constexpr u8 absent = 0xFF;          // what ports read as that nothing answers at

  static constexpr u32 send_places = 2;
  static constexpr u8 send_place_pages = 6;
  static constexpr u32 prom_words = 16;       // the address, and "WW" in the last two: a card in a slot of 16 bits
  static constexpr u8 prom_mark = 'W';
  static constexpr std::chrono::milliseconds reset_patience{50};
  static constexpr std::chrono::milliseconds copy_patience{50};
  static constexpr std::chrono::milliseconds stop_patience{2};  // 1.6 ms are needed (DP §7, ring overflow)
  static constexpr std::chrono::seconds send_patience{1};

  static constexpr u8 send_page(u32 number) noexcept {
    return static_cast<u8>(0x40 + number % send_places * send_place_pages);
  }

  ne2000(u16 ports, pci_record const *function, u32 line) noexcept : ports_(ports) {
    if (function != nullptr) {
      function_.emplace(*function);
      wake_ = wake_up(*function, 0);
    } else if (line != 0) {
      wake_ = wake_up(line);
    }
  }

  static opened<ne2000> start_at(u16 ports, pci_record const *function, u32 line) noexcept {
    ne2000 card(ports, function, line);
    if (card.in(command) == absent) {
      return not_opened(error::no_such, "There is no NE2000 at these ports: it was removed, or has other ones.");
    }
    if (!card.start()) return not_opened(error::timeout, "The NE2000 does not come out of its reset: power it off.");
    if (!card.read_address()) {
      return not_opened(error::io, "What is at these ports is no NE2000 with a data path of 16 bits.");
    }
    card.listen();
    return card;
  }

  [[nodiscard]] u8 in(u16 offset) const noexcept { return port_in<u8>(static_cast<u16>(ports_ + offset)); }
  void out(u16 offset, u32 value) const noexcept {
    port_out<u8>(static_cast<u16>(ports_ + offset), static_cast<u8>(value));
  }

  /// Resets the card and sets it up so that its memory can be read and written, but hears nothing yet (DP §11).
  bool start() noexcept {
    out(reset_port, in(reset_port));
    if (!holds_within(reset_patience, [&] { return (in(interrupt_status) & was_reset) != 0; })) return false;
    out(command, command_stop | command_no_dma);
    out(data_config, data_words);
    out(copy_count_low, 0);
    out(copy_count_high, 0);
    out(receive_config, receive_nothing);
    out(send_config, send_loopback);
    out(ring_start, ring::first);
    out(ring_stop, ring::end);
    out(boundary, ring::before(ring::first + 1));
    out(interrupt_status, all_events);
    out(interrupt_mask, 0);
    return true;
  }

  bool read_address() noexcept {
    std::array<u16, prom_words> words;
    if (!read(0, words)) return false;
    for (std::size_t at = 0; at < mac_.octets.size(); ++at) mac_.octets[at] = static_cast<u8>(words[at]);
    return (words[prom_words - 2] & 0xFF) == prom_mark && (words[prom_words - 1] & 0xFF) == prom_mark;
  }

  /// Begins to receive.
  void listen() noexcept {
    next_ = ring::first + 1;
    done_ = started_ = flushed_ = queued_ = 0;
    out(command, command_stop | command_no_dma | command_page_1);
    for (u16 at = 0; at < mac_.octets.size(); ++at) out(static_cast<u16>(page_1_address + at), mac_.octets[at]);
    for (u16 at = 0; at < 8; ++at) out(static_cast<u16>(page_1_multicast + at), 0xFF);
    out(page_1_current, next_);
    out(command, command_start | command_no_dma);
    out(send_config, send_usual);
    loops_back_ = false;
    out(receive_config, receive_wanted);
  }

  /// After nonsense or a standstill. What was in the card is lost.
  void reset() noexcept {
    counters_.lost += queued_ - done_;
    ++counters_.resets;
    if ((function_ && !function_->present()) || in(command) == absent || !start()) {
      gone_ = true;
    } else {
      listen();
    }
  }

  // --- the card's memory

  void begin_copy(u32 address, std::size_t words, u8 direction) const noexcept {
    out(command, command_start | command_no_dma);
    out(interrupt_status, copy_done);
    out(copy_count_low, static_cast<u32>(words * 2));
    out(copy_count_high, static_cast<u32>(words * 2 >> 8));
    out(copy_address_low, address);
    out(copy_address_high, address >> 8);
    out(command, command_start | direction);
  }
  [[nodiscard]] bool end_copy() const noexcept {
    return holds_within(copy_patience, [&] { return (in(interrupt_status) & copy_done) != 0; });
  }

  [[nodiscard]] bool read(u32 address, std::span<u16> words) const noexcept {
    begin_copy(address, words.size(), command_read);
    port_in_words(static_cast<u16>(ports_ + data_port), words);
    return end_copy();
  }
  [[nodiscard]] bool write(u32 address, std::span<u16 const> words) const noexcept {
    begin_copy(address, words.size(), command_write);
    port_out_words(static_cast<u16>(ports_ + data_port), words);
    return end_copy();
  }

  /// Copies the frame behind the header at next_; the ring's end may come between. Empty if the card does not.
  std::span<std::byte const> read_frame(u32 bytes) noexcept {
    u32 const from = next_ * ring::page_bytes + u32{sizeof(detail::ne2000_header)};
    std::span const words = std::span(receive_buffer_).first((bytes + 1) / 2);
    std::size_t const until_end = std::min<std::size_t>(words.size(), (ring::end * ring::page_bytes - from) / 2);
    bool there = read(from, words.first(until_end));
    if (there && until_end != words.size()) there = read(ring::first * ring::page_bytes, words.subspan(until_end));
    return std::as_bytes(words).first(there ? bytes : 0);
  }

  [[nodiscard]] bool has_frame() noexcept {
    if (gone_) return false;
    out(command, command_start | command_no_dma | command_page_1);
    u8 const current = in(page_1_current);
    out(command, command_start | command_no_dma);
    if (ring::has(current)) return current != next_;
    ++counters_.damaged;
    reset();
    return false;
  }

  // --- a full receive ring (DP §7: the procedure that it demands)

  /// Stops the card; true if a frame was being sent and has to be sent again.
  bool stop_after_overflow() noexcept {
    bool const sending = done_ != started_ && (in(command) & command_send) != 0;
    out(command, command_stop | command_no_dma);
    (void)holds_within(stop_patience, [&] { return (in(interrupt_status) & was_reset) != 0; });
    out(copy_count_low, 0);
    out(copy_count_high, 0);
    bool const resend = sending && (in(interrupt_status) & send_events) == 0;
    out(send_config, send_loopback);
    out(command, command_start | command_no_dma);
    loops_back_ = true;
    return resend;
  }

  /// When at least one frame is out of the ring.
  void go_on_after_overflow(bool resend) noexcept {
    out(interrupt_status, overflowed);
    out(send_config, send_usual);
    loops_back_ = false;
    if (resend) out(command, command_start | command_no_dma | command_send);
  }

  // --- sending

  /// Notes what is sent and starts the next of the frames that were flushed, as long as that is done at once. After an
  /// overflow, what is started would come back, and what was cut off would pass for sent: consume() may send then.
  void pump() noexcept {
    while (!gone_ && !loops_back_ && done_ != flushed_) {
      u8 const state = in(command);
      if (state == absent) {
        gone_ = true;
      } else if (done_ == started_) {
        start_sending();
      } else if ((state & command_send) == 0) {
        ++done_;
        ++counters_.sent;
      } else {
        if (ticks() >= stuck_at_) reset();
        return;
      }
    }
  }

  void start_sending() noexcept {
    u32 const bytes = send_bytes_[started_ % send_places];
    out(interrupt_status, send_events);
    out(send_start, send_page(started_));
    out(send_count_low, bytes);
    out(send_count_high, bytes >> 8);
    out(command, command_start | command_no_dma | command_send);
    ++started_;
    stuck_at_ = deadline_in(send_patience);
  }

  ownership owned_;
  std::optional<held_function> function_;  // none: an ISA card
  wake_up wake_;
  u16 ports_;
  bool gone_ = false;
  bool loops_back_ = false;                                   // between stop_after_overflow() and go_on_after_overflow()
  net::mac_address mac_;
  u8 next_ = ring::first;                                     // page of the next header in the ring
  u32 done_ = 0, started_ = 0, flushed_ = 0, queued_ = 0;     // frames so far; at most one is started and not done
  u32 send_bytes_[send_places]{};
  u64 stuck_at_ = 0;                                          // TSC deadline of the frame started last
  std::array<u16, (detail::ne2000_header::longest + 1) / 2> receive_buffer_;
  std::array<u16, send_place_pages * ring::page_bytes / 2> send_buffer_;
  frame_counters counters_;
};

static_assert(pci_driver<ne2000>);
static_assert(waitable_frame_device<ne2000>);

}  // namespace exo
