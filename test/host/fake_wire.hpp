// A frame device with a peer on its wire, and frames written down as text.
#pragma once

#include <deque>
#include <exo/net/device.hpp>
#include <string_view>
#include <vector>

using bytes = std::vector<std::byte>;

/// Bytes written as pairs of hexadecimal digits; blanks do not count.
inline bytes hex(std::string_view digits) {
  bytes out;
  int high = -1;
  for (char const digit : digits) {
    if (digit == ' ') continue;
    int const value = digit <= '9' ? digit - '0' : (digit | 32) - 'a' + 10;
    if (high >= 0) out.push_back(static_cast<std::byte>(high * 16 + value));
    high = high >= 0 ? -1 : value;
  }
  return out;
}

inline bytes text(std::string_view letters) {
  auto const *first = reinterpret_cast<std::byte const *>(letters.data());
  return {first, first + letters.size()};
}

inline bytes join(std::initializer_list<bytes> parts) {
  bytes all;
  for (auto const &part : parts) all.insert(all.end(), part.begin(), part.end());
  return all;
}

/// Frames go in at `arriving` and come out at `sent`; `room` frames fit before flush().
struct fake_wire {
  exo::net::mac_address own{{0x52, 0x54, 0, 0x12, 0x34, 0x56}};
  std::size_t longest = 1500;
  std::size_t room = 64;
  std::deque<bytes> arriving;
  bool checksum_good = false;
  std::vector<bytes> queued, sent;

  [[nodiscard]] exo::net::mac_address mac() const noexcept { return own; }
  [[nodiscard]] std::size_t mtu() const noexcept { return longest; }

  template <typename Consume>
  std::size_t try_receive(Consume &&consume) {
    if (arriving.empty()) return 0;
    // An exact copy on the heap, so that the address sanitizer sees every read behind its end.
    bytes const frame(arriving.front());
    arriving.pop_front();
    consume(exo::net::received_frame{frame, checksum_good});
    return 1;
  }

  template <typename Fill>
  bool try_send(std::size_t size, Fill &&fill) {
    if (queued.size() == room) return false;
    bytes frame(size, std::byte{0xDD});
    fill(std::span(frame));
    queued.push_back(frame);
    return true;
  }

  void flush() noexcept {
    sent.insert(sent.end(), queued.begin(), queued.end());
    queued.clear();
  }
};

static_assert(exo::net::frame_device<fake_wire>);
