// Sends frames of 64 bytes into one network device and counts those that come out of another: the two ends of a guest that
// forwards. So many are under way at a time that the guest always has work, but the host's queues do not overflow.
//
//   frames DEVICE DEVICE SECONDS
//
// Prints how many frames a second arrived, all of them right and in order. Exit status 1: none, or another frame.
#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

namespace {

using clock = std::chrono::steady_clock;
constexpr std::size_t frame_bytes = 60;  // and four of FCS
constexpr std::uint64_t under_way = 400;
constexpr std::size_t batch_frames = 64;
constexpr auto patience = std::chrono::seconds(110);
constexpr auto lost_after = std::chrono::milliseconds(200);
constexpr std::uint16_t ethertype = 0x88B5;  // for experiments
constexpr std::uint64_t hello = ~0ull;
constexpr std::array<std::uint8_t, 6> left{2, 0, 0, 0, 0, 1}, right{2, 0, 0, 0, 0, 2};

using frame = std::array<std::uint8_t, frame_bytes>;

frame frame_of(std::uint64_t number, auto const &to, auto const &from) {
  frame made{};
  std::memcpy(made.data(), to.data(), 6);
  std::memcpy(made.data() + 6, from.data(), 6);
  made[12] = ethertype >> 8;
  made[13] = ethertype & 0xFF;
  std::memcpy(made.data() + 14, &number, sizeof number);
  return made;
}

/// A network device, for frames of the ethertype.
class end_point {
 public:
  explicit end_point(char const *device) : socket_(socket(AF_PACKET, SOCK_RAW, htons(ethertype))) {
    sockaddr_ll address{};
    address.sll_family = AF_PACKET;
    address.sll_protocol = htons(ethertype);
    address.sll_ifindex = static_cast<int>(if_nametoindex(device));
    int const bytes = 16 << 20, on = 1;
    setsockopt(socket_, SOL_SOCKET, SO_RCVBUFFORCE, &bytes, sizeof bytes);
    setsockopt(socket_, SOL_PACKET, PACKET_IGNORE_OUTGOING, &on, sizeof on);
    if (bind(socket_, reinterpret_cast<sockaddr const *>(&address), sizeof address) != 0) {
      std::perror(device);
      std::exit(1);
    }
    for (std::size_t at = 0; at < batch_frames; ++at) {
      parts_[at] = {frames_[at].data(), frame_bytes};
      messages_[at].msg_hdr.msg_iov = &parts_[at];
      messages_[at].msg_hdr.msg_iovlen = 1;
    }
  }

  /// Sends frames from a number on; returns how many went.
  std::uint64_t send_from(std::uint64_t first, std::uint64_t count, auto const &to, auto const &from) {
    count = std::min<std::uint64_t>(count, batch_frames);
    for (std::uint64_t at = 0; at < count; ++at) frames_[at] = frame_of(first == hello ? hello : first + at, to, from);
    int const sent = sendmmsg(socket_, messages_.data(), static_cast<unsigned>(count), 0);
    return sent < 0 ? 0 : static_cast<std::uint64_t>(sent);
  }

  /// Hands the numbers of the frames that are there to take().
  bool receive(auto &&take) {
    int const got = recvmmsg(socket_, messages_.data(), batch_frames, MSG_DONTWAIT, nullptr);
    for (int at = 0; at < got; ++at) {
      std::uint64_t number;
      std::memcpy(&number, frames_[static_cast<std::size_t>(at)].data() + 14, sizeof number);
      take(number, messages_[static_cast<std::size_t>(at)].msg_len);
    }
    return got > 0;
  }

 private:
  int socket_;
  std::array<frame, batch_frames> frames_{};
  std::array<iovec, batch_frames> parts_{};
  std::array<mmsghdr, batch_frames> messages_{};
};

}  // namespace

int main(int count, char **arguments) {
  if (count != 4) return 2;
  end_point in(arguments[1]), out(arguments[2]);

  // Both sides speak once, so that a bridge knows where they are; the first frames may come too early.
  auto const give_up = clock::now() + patience;
  for (bool there = false, back = false; !there || !back; usleep(50'000)) {
    if (clock::now() > give_up) {
      std::fprintf(stderr, "frames: the guest forwards nothing\n");
      return 1;
    }
    in.send_from(hello, 1, right, left);
    out.send_from(hello, 1, left, right);
    usleep(50'000);
    there = out.receive([](auto...) {}) || there;
    back = in.receive([](auto...) {}) || back;
  }

  std::uint64_t sent = 0, received = 0, expected = 0, given_up = 0;
  bool wrong = false;
  auto const begin = clock::now(), end = begin + std::chrono::seconds(std::atoi(arguments[3]));
  auto progress = begin;
  for (auto now = begin; now < end; now = clock::now()) {
    std::uint64_t const flying = sent - std::max(expected, given_up);
    if (flying < under_way) sent += in.send_from(sent, under_way - flying, right, left);
    bool const some = out.receive([&](std::uint64_t number, unsigned bytes) {
      if (number == hello) return;
      wrong |= number < expected || number >= sent || bytes != frame_bytes;
      expected = number + 1;
      ++received;
    });
    if (some) {
      progress = now;
    } else if (now - progress > lost_after) {  // all that were under way, or they are very late
      given_up = sent;
      progress = now;
    } else {
      usleep(50);
    }
  }
  double const seconds = std::chrono::duration<double>(clock::now() - begin).count();
  std::printf("%.0f\n", static_cast<double>(received) / seconds);
  if (wrong) std::fprintf(stderr, "frames: another frame, or order\n");
  return received == 0 || wrong ? 1 : 0;
}
