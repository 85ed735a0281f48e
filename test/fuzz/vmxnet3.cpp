// A vmxnet3 that answers anything, and writes anything into its rings and what it shares with the driver.
#include <exo/drivers/vmxnet3.hpp>

#include "frames.hpp"

namespace {

using namespace exo;
using namespace fuzzed;
using namespace detail::vmxnet3_layout;

class card : public nic_model {
 public:
  using nic_model::nic_model;

  u64 read(u64 place, u32) override {
    switch (place - registers_at) {
      case control + 0x00: case control + 0x08: return 1;  // revisions
      case control + 0x20: return command_ == 0xF00D0002 ? 10'000 << 16 | 1 : 0;
      case control + 0x28: return 0x12005452;
      case control + 0x30: return 0x5634;
    }
    return 0;
  }

  void write(u64 place, u64 value, u32) override {
    switch (place - registers_at) {
      case 0x000: masked_ = value != 0; break;
      case 0x600: send(static_cast<u32>(value)); break;
      case 0x800: lend(static_cast<u32>(value)); break;
      case control + 0x10: shared_ = value; break;
      case control + 0x18: shared_ |= value << 32; break;
      case control + 0x20: do_command(static_cast<u32>(value)); break;
      case control + 0x40: reinterpret_cast<shared *>(shared_)->events &= ~static_cast<u32>(value); break;
    }
  }

  bool arrive(std::span<std::byte const> frame) override {
    if (stopped_ != 0) reinterpret_cast<shared *>(shared_)->events |= stopped_;  // what it said may have been overwritten
    if (!listens()) return false;
    descriptor const &buffer = lent_[received_];
    bool const lent = received_ != posted_ && (buffer.word2 & receive_generation) == generation_of(received_turn_);
    if (!lent || (buffer.word2 & length_mask) < frame.size()) return false;
    std::span const to(reinterpret_cast<std::byte *>(buffer.address), frame.size());
    demand(here_.owns(to), "a buffer lies outside the driver's memory");
    std::ranges::copy(frame, to.begin());
    at<completed>(receive_.completions, completion_) = {received_ | whole_frame, 0, static_cast<u32>(frame.size()),
                                                        generation_of(completion_turn_)};
    step(received_, received_turn_, receive_.ring_size[0]);
    step(completion_, completion_turn_, receive_.completions_size);
    return true;
  }

  [[nodiscard]] bool listens() const override { return active_ && told_mode_ && stopped_ == 0; }
  [[nodiscard]] bool interrupts() const override { return !masked_; }
  [[nodiscard]] bool full_and_done(u64 under_way) const override {
    return under_way == send_.ring_size - 1 && under_way > outgoing.size();
  }

  /// Frames are sent one after the other.
  void passes(u64 some) override {
    for (sending_for_ += some; is_sending() && sending_for_ >= send_ticks; sending_for_ -= send_ticks) send_next();
  }

  /// It writes anywhere, or stops and says so, or only sends nothing any more.
  void damage() override {
    u8 const what = here_.next();
    if (what % 2 == 0 || !active_) return here_.scribble();
    stopped_ = what / 2 % 4;  // none, event_receive_error, event_send_error, both
    reinterpret_cast<shared *>(shared_)->events = stopped_;
    hangs_ = stopped_ == 0;
  }

 private:
  static constexpr u64 control = 0x10000;
  static constexpr u64 send_ticks = 500;
  static u32 generation_of(u32 turn) { return turn % 2 == 0 ? 1u << 31 : 0; }
  static void step(u32 &index, u32 &turn, u32 size) {
    if (++index != size) return;
    index = 0;
    ++turn;
  }

  template <typename T>
  T &at(u64 ring, u32 index) {
    return reinterpret_cast<T *>(ring)[index];
  }

  void do_command(u32 command) {
    command_ = command;
    if (command == 0xCAFE0002) active_ = told_mode_ = hangs_ = false, stopped_ = 0;
    if (command == 0xCAFE0003) told_mode_ = true;  // what to receive
    if (command != 0xCAFE0000) return;
    auto const &common = *reinterpret_cast<shared const *>(shared_);
    auto const &both = *reinterpret_cast<queues const *>(common.queues);
    send_ = both.send;
    receive_ = both.receive;
    demand(common.magic == magic, "the device is given another struct");
    told_ = sent_ = sent_turn_ = received_ = received_turn_ = posted_ = completion_ = completion_turn_ = 0;
    demand(receive_.ring_size[0] <= lent_.size(), "the ring is longer than the model's");
    active_ = true;
  }

  /// Takes the descriptors as they are: the input may write to their places later.
  void lend(u32 producer) {
    demand(!active_ || producer < receive_.ring_size[0], "the doorbell names no place of the ring");
    for (; active_ && posted_ != producer; posted_ = (posted_ + 1) % receive_.ring_size[0]) {
      lent_[posted_] = at<descriptor>(receive_.ring[0], posted_);
    }
  }

  void send(u32 producer) {
    is_given();
    demand(producer < send_.ring_size, "the doorbell names no place of the ring");
    if (sent_ == told_) sending_for_ = 0;
    told_ = producer;
  }

  [[nodiscard]] bool is_sending() const { return active_ && !hangs_ && stopped_ == 0 && sent_ != told_; }

  void send_next() {
    if (here_.honest) check(at<descriptor>(send_.ring, sent_));
    at<completed>(send_.completions, sent_) = {sent_, 0, 0, generation_of(sent_turn_)};
    step(sent_, sent_turn_, send_.ring_size);
  }

  void check(descriptor const &each) {
    demand(((each.word2 & send_generation) != 0) == (sent_turn_ % 2 == 0), "a frame is sent that is not the device's");
    demand(each.word3 == (send_end | send_completion), "a frame has no end, or is not to be completed");
    std::span const frame(reinterpret_cast<std::byte const *>(each.address), each.word2 & length_mask);
    demand(here_.owns(frame), "a frame to send lies outside the driver's memory");
    sends(frame);
  }

  u64 shared_ = 0;
  u32 command_ = 0;
  bool active_ = false, told_mode_ = false, hangs_ = false, masked_ = true;
  u32 stopped_ = 0;  // for these reasons, which it says
  send_queue send_{};
  receive_queue receive_{};
  u32 told_ = 0;                              // the first place that is not the device's
  u32 sent_ = 0, sent_turn_ = 0;              // the next place to send from, and its completion
  u64 sending_for_ = 0;                       // ticks since it has begun with that
  u32 received_ = 0, received_turn_ = 0;      // the next buffer
  u32 posted_ = 0;                            // the first that is not lent
  std::array<descriptor, 128> lent_{};
  u32 completion_ = 0, completion_turn_ = 0;  // and its completion
};

pci_record const function = [] {
  pci_record made{};
  made.vendor = 0x15AD;
  made.device = 0x07B0;
  made.bar[0] = registers_at;
  made.bar[1] = registers_at + 0x10000;
  made.bar_bytes[0] = made.bar_bytes[1] = 4096;
  return made;
}();

}  // namespace

void fuzz(std::span<std::byte const> input) { fuzz_nic<vmxnet3, card>(input, function); }
