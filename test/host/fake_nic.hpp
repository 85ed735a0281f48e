// A NIC behind the call table that keeps the books: who has each buffer, what lies on the wire, what was rung.
#pragma once

#include <algorithm>
#include <bit>
#include <cstring>
#include <deque>
#include <exo/core.hpp>
#include <functional>
#include <set>
#include <string>
#include <vector>

using bytes = std::vector<std::byte>;

/// One NIC, number 0, for as long as this object lives; of the fake machine, if there is one. A broken rule of ownership is noted in `violations`.
class fake_nic {
 public:
  struct shape {
    exo::u32 queue_max = 2;
    exo::u32 depth_max = 64;
    exo::u16 mtu = 1500;
    exo::u64 offloads = 0;
    bool interrupts = true;
    bool has_mac = true;
  };

  struct queue_state {
    std::deque<exo::frame> posted;    // empty buffers with the device
    std::deque<exo::frame> received;  // full buffers, to be reaped
    std::deque<std::pair<exo::frame, bytes>> sending;
    std::deque<exo::completion> sent;
    exo::u32 armed = 0;
    int rx_doorbells = 0, tx_doorbells = 0;
  };

  fake_nic() : fake_nic(shape()) {}
  explicit fake_nic(shape const &chosen)
      : record_{.function = 0x18,
                .offloads = static_cast<exo::u32>(chosen.offloads),
                .mac = {0x52, 0x54, 0, 0x12, 0x34, 0x56},
                .mtu = chosen.mtu,
                .queue_max = chosen.queue_max,
                .depth_max = chosen.depth_max,
                .depth_bytes = 64,
                .interrupts = chosen.interrupts} {
    if (!chosen.has_mac) std::ranges::fill(record_.mac, 0);
    info_.size = sizeof info_;
    info_.tsc_hz = 1'000'000'000;
    info_.nics = {&record_, 1, sizeof record_};
    table_.nic_open = [](auto... given) { return now_->open(given...); };
    table_.nic_close = [](exo::u32 nic) { return now_->close(nic); };
    table_.nic_tx = [](auto... given) { return now_->tx(given...); };
    table_.nic_tx_reap = [](auto... given) { return now_->tx_reap(given...); };
    table_.nic_rx_post = [](auto... given) { return now_->rx_post(given...); };
    table_.nic_rx_reap = [](auto... given) { return now_->rx_reap(given...); };
    table_.nic_arm = [](auto... given) { return now_->arm(given...); };
    table_.nic_link = [](exo::u32 nic) { return nic == 0 ? exo::i64{now_->link_up} : failed(exo::error::no_such); };
    table_.core_idle = [](exo::u64 deadline) { return now_->idle(deadline); };
    now_ = this;
    exo::host_table = &table_;
    exo::host_info = &info_;
  }
  fake_nic(fake_nic const &) = delete;
  fake_nic &operator=(fake_nic const &) = delete;
  ~fake_nic() {
    exo::host_table = old_table_;
    exo::host_info = old_info_;
    now_ = nullptr;
  }

  /// A frame comes from the wire; false if it is lost because no buffer was posted.
  bool arrive(bytes const &frame, exo::u32 queue = 0, exo::u64 flags = 0) {
    auto &at = queues.at(queue);
    if (at.posted.empty() || at.posted.front().bytes < frame.size()) return false;
    exo::frame full = at.posted.front();
    at.posted.pop_front();
    std::memset(reinterpret_cast<void *>(full.address), 0xEE, full.bytes);
    std::memcpy(reinterpret_cast<void *>(full.address), frame.data(), frame.size());
    full.bytes = static_cast<exo::u32>(frame.size());
    full.flags = static_cast<exo::u8>(flags);
    at.received.push_back(full);
    return true;
  }

  /// The device sends up to `count` frames, in order; they must be as they were when they were handed over.
  void transmit(std::size_t count = ~std::size_t{0}, exo::u32 queue = 0) {
    auto &at = queues.at(queue);
    for (; count-- > 0 && !at.sending.empty(); at.sending.pop_front()) {
      auto const &[frame, before] = at.sending.front();
      if (content(frame) != before) violations.push_back("a frame changed before its cookie came back");
      wire.push_back(before);
      at.sent.push_back({frame.cookie, 0, 0});
    }
  }

  std::vector<queue_state> queues;
  std::vector<bytes> wire;  // frames sent, oldest first
  std::vector<std::string> violations;
  std::vector<exo::u64> idle_deadlines;
  std::function<void()> while_idle = [] {};
  bool is_open = false;
  bool opened_long = false;
  bool link_up = true;
  bool resets = true;  // false: close answers with a timeout
  int closes = 0;  // calls, good or bad

 private:
  static exo::i64 failed(exo::error why) { return -static_cast<exo::i64>(why); }

  static bytes content(exo::frame const &frame) {
    auto const *first = reinterpret_cast<std::byte const *>(frame.address);
    return {first, first + frame.bytes};
  }

  /// What is wrong with a call on a queue; 0 if nothing is.
  exo::i64 refused(exo::u32 nic, exo::u32 queue, void const *list) const {
    if (nic != 0) return failed(exo::error::no_such);
    if (!is_open) return failed(exo::error::closed);
    if (queue >= queues.size()) return failed(exo::error::no_such);
    if (list == nullptr) return failed(exo::error::pointer);
    return 0;
  }

  exo::i64 open(exo::u32 nic, exo::u32 count, exo::u32 depth, void *memory, exo::u64 size) {
    if (nic != 0) return failed(exo::error::no_such);
    if (is_open) return failed(exo::error::busy);
    opened_long = (count & exo::nic_open_long) != 0;
    if (opened_long && (record_.offloads & exo::nic_long) == 0) return failed(exo::error::unsupported);
    count &= ~static_cast<exo::u32>(exo::nic_open_long);
    if (count == 0 || count > record_.queue_max) return failed(exo::error::range);
    if (depth < 16 || depth > record_.depth_max || !std::has_single_bit(depth))
      return failed(exo::error::range);
    if (memory == nullptr || reinterpret_cast<exo::u64>(memory) % exo::page_bytes != 0)
      return failed(exo::error::pointer);
    if (size < exo::u64{count} * depth * record_.depth_bytes) return failed(exo::error::memory);
    queues.assign(count, {});
    depth_ = depth;
    is_open = true;
    return 0;
  }

  exo::i64 close(exo::u32 nic) {
    if (nic != 0) return failed(exo::error::no_such);
    ++closes;
    if (!is_open) return failed(exo::error::closed);
    is_open = false;
    lent_.clear();
    return resets ? 0 : failed(exo::error::timeout);
  }

  exo::i64 tx(exo::u32 nic, exo::u32 queue, exo::frame const *list, exo::u32 count) {
    if (auto const why = refused(nic, queue, list)) return why;
    for (exo::frame const &each : std::span(list, count))
      if (each.bytes < 14 || each.bytes > record_.mtu + 14u) return failed(exo::error::range);
    auto &at = queues[queue];
    exo::u32 taken = 0;
    for (; taken < count && at.sending.size() + at.sent.size() < depth_; ++taken) {
      lend(list[taken]);
      at.sending.emplace_back(list[taken], content(list[taken]));
    }
    ++at.tx_doorbells;
    return taken;
  }

  exo::i64 tx_reap(exo::u32 nic, exo::u32 queue, exo::completion *out, exo::u32 count) {
    if (auto const why = refused(nic, queue, out)) return why;
    auto &from = queues[queue].sent;
    exo::u32 done = 0;
    for (; done < count && !from.empty(); from.pop_front()) {
      lent_.erase(from.front().cookie);
      out[done++] = from.front();
    }
    return done;
  }

  exo::i64 rx_post(exo::u32 nic, exo::u32 queue, exo::frame const *list, exo::u32 count) {
    if (auto const why = refused(nic, queue, list)) return why;
    auto &at = queues[queue];
    exo::u32 taken = 0;
    for (; taken < count && at.posted.size() + at.received.size() < depth_; ++taken) {
      lend(list[taken]);
      at.posted.push_back(list[taken]);
    }
    ++at.rx_doorbells;
    return taken;
  }

  exo::i64 rx_reap(exo::u32 nic, exo::u32 queue, exo::frame *out, exo::u32 count) {
    if (auto const why = refused(nic, queue, out)) return why;
    auto &from = queues[queue].received;
    exo::u32 done = 0;
    for (; done < count && !from.empty(); from.pop_front()) {
      lent_.erase(from.front().cookie);
      out[done++] = from.front();
    }
    return done;
  }

  exo::i64 arm(exo::u32 nic, exo::u32 queue, exo::u32 rings) {
    if (auto const why = refused(nic, queue, this)) return why;
    if (rings == 0 || rings > (exo::ring_rx | exo::ring_tx)) return failed(exo::error::range);
    if (record_.interrupts == 0) return failed(exo::error::unsupported);
    auto &at = queues[queue];
    at.armed = rings;
    return (rings & exo::ring_rx && !at.received.empty()) || (rings & exo::ring_tx && !at.sent.empty());
  }

  exo::i64 idle(exo::u64 deadline) {
    idle_deadlines.push_back(deadline);
    while_idle();
    return 1 << exo::event_queue;
  }

  /// Notes that the device has a buffer until its cookie comes back. Cookies have to be unique in these tests.
  void lend(exo::frame const &frame) {
    if (!lent_.insert(frame.cookie).second) violations.push_back("a buffer was lent twice");
  }

  static inline fake_nic *now_ = nullptr;

  exo::calls const *old_table_ = exo::host_table;
  exo::machine_info const *old_info_ = exo::host_info;
  exo::calls table_ = old_table_ != nullptr ? *old_table_ : exo::calls{};
  exo::machine_info info_ = old_info_ != nullptr ? *old_info_ : exo::machine_info{};
  exo::nic_record record_;
  exo::u32 depth_ = 0;
  std::set<exo::u64> lent_;
};
