// Floods a UDP port that echoes: messages go there and come back at the same time, so many under way that both directions
// are full, but nothing between has to drop one. Each comes back whole and in order.
//
//   flood ADDRESS PORT COUNT UNDER_WAY
//
// The messages have 18 to 1472 bytes, so that frames have all lengths from 60 to 1514; the kernel checks their checksums.
// Exit status 1: a message is lost, or is another one; 2: wrong use.
#include <arpa/inet.h>
#include <sys/socket.h>
#include <sys/time.h>

#include <array>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace {

constexpr std::size_t least = 18, most = 1472;

std::size_t bytes_of(std::uint64_t number) { return least + number * 7 % (most - least + 1); }

std::array<std::uint8_t, most> message(std::uint64_t number) {
  std::array<std::uint8_t, most> made;
  for (std::size_t at = 0; at < most; ++at) made[at] = static_cast<std::uint8_t>(at * 11 + number * 5);
  std::memcpy(made.data(), &number, sizeof number);
  return made;
}

int wrong(char const *what, std::uint64_t number) {
  std::fprintf(stderr, "flood: message %llu %s\n", static_cast<unsigned long long>(number), what);
  return 1;
}

}  // namespace

int main(int words, char **word) {
  if (words != 5) return 2;
  sockaddr_in to{};
  to.sin_family = AF_INET;
  to.sin_port = htons(static_cast<std::uint16_t>(std::atoi(word[2])));
  std::uint64_t const count = std::strtoull(word[3], nullptr, 10), under_way = std::strtoull(word[4], nullptr, 10);
  int const port = socket(AF_INET, SOCK_DGRAM, 0);
  timeval const patience{20, 0};
  setsockopt(port, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
  if (count == 0 || under_way == 0 || inet_pton(AF_INET, word[1], &to.sin_addr) != 1 ||
      connect(port, reinterpret_cast<sockaddr const *>(&to), sizeof to) != 0) {
    return 2;
  }
  for (std::uint64_t sent = 0, came = 0; came < count; ++came) {
    for (; sent < count && sent - came < under_way; ++sent) {
      if (send(port, message(sent).data(), bytes_of(sent), 0) < 0) return wrong("is not sent", sent);
    }
    std::array<std::uint8_t, most + 1> got;
    ssize_t const bytes = recv(port, got.data(), got.size(), 0);
    if (bytes < 0) return wrong("is lost", came);
    auto const expected = message(came);
    if (static_cast<std::size_t>(bytes) != bytes_of(came) || std::memcmp(got.data(), expected.data(), bytes_of(came)) != 0) {
      return wrong("comes back as another one, or in another order", came);
    }
  }
}
