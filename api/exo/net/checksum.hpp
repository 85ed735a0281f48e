// The Internet checksum: the ones' complement of the ones' complement sum of 16-bit words (RFC 1071).
//
//   store16(header, 10, checksum().add(header).value());   // to fill; the field itself is 0
//   bool good = checksum().add(header).value() == 0;       // to verify; the field counts in
#pragma once

#include <algorithm>
#include <bit>
#include <cstring>

#include "wire.hpp"

namespace exo::net {

/// A running sum over the parts of a message.
class checksum {
 public:
  /// Adds bytes. Parts may end at odd places; the sum is that of all parts laid end to end.
  checksum &add(std::span<std::byte const> bytes) noexcept {
    // RFC 1071 §2(B): words may be summed in either byte order if the result is swapped, and a part that starts at
    // an odd place counts with its bytes swapped.
    u16 const sum = fold(sum_in_memory_order(bytes));
    sum_ += odd_ ? std::byteswap(sum) : sum;
    odd_ ^= (bytes.size() & 1) != 0;
    return *this;
  }

  /// Adds a 16-bit number as if its two bytes, high one first, were next.
  checksum &add(u16 number) noexcept {
    std::array<std::byte, 2> bytes;
    store16(bytes, 0, number);
    return add(bytes);
  }

  /// The value of the checksum field, for store16. 0 if the sum included a correct checksum field.
  [[nodiscard]] u16 value() const noexcept { return static_cast<u16>(~in_network_order(fold(sum_))); }

 private:
  static constexpr u16 fold(u64 sum) noexcept {
    sum = (sum >> 32) + (sum & 0xFFFFFFFF);
    sum = (sum >> 32) + (sum & 0xFFFFFFFF);
    sum = (sum >> 16) + (sum & 0xFFFF);
    sum = (sum >> 16) + (sum & 0xFFFF);
    return static_cast<u16>(sum);
  }

  static constexpr u16 in_network_order(u16 sum) noexcept {
    return std::endian::native == std::endian::little ? std::byteswap(sum) : sum;
  }

  /// Four bytes at a time: 64 bits cannot overflow below 16 GiB. A last odd byte counts as followed by a zero.
  static u64 sum_in_memory_order(std::span<std::byte const> bytes) noexcept {
    u64 sum = 0;
    while (bytes.size() >= sizeof(u32)) {
      u32 word;
      std::memcpy(&word, bytes.data(), sizeof word);
      sum += word;
      bytes = bytes.subspan(sizeof word);
    }
    std::array<std::byte, sizeof(u32)> tail{};
    std::ranges::copy(bytes, tail.begin());
    return sum + std::bit_cast<u32>(tail);
  }

  u64 sum_ = 0;
  bool odd_ = false;
};

}  // namespace exo::net
