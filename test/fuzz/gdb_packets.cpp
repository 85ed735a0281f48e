// What gdb may send: bytes on the serial line, and the words of a packet.
#include "fuzz.hpp"

#include <exo/gdb/line.hpp>

using namespace exo;

namespace {

/// A serial port on which the input arrives, and then one good packet for each wait, so that waiting ends.
struct input_port {
  std::span<std::byte const> *rest;
  std::string *sent;

  u8 in(u16 port) noexcept {
    if (port == 0x3FD) return 0x21;
    if (rest->empty()) *rest = std::as_bytes(std::span(end));
    u8 const byte = std::to_integer<u8>(rest->front());
    *rest = rest->subspan(1);
    return byte;
  }
  void out(u16, u8 value) noexcept { sent->push_back(static_cast<char>(value)); }

  static constexpr std::string_view end = "#00+$k#6b+";
};

}  // namespace

void fuzz(std::span<std::byte const> input) {
  std::span<std::byte const> rest = input;
  std::string sent;
  gdb::packet_line<input_port> line(input_port{&rest, &sent});
  for (int turn = 0; turn < 4; ++turn) {
    std::string_view const packet = line.receive(turn % 2 != 0);
    demand(packet.size() <= gdb::packet_most, "a packet is longer than its buffer");
    line.send(packet.substr(0, 64));
    if (turn == 2) line.acknowledge(false);
  }

  gdb::packet_reader in(text_of(input));
  while (!in.rest().empty()) {
    std::size_t const before = in.rest().size();
    std::array<u8, 5> some{};
    (void)in.number();
    (void)in.take(",");
    (void)in.bytes(some);
    (void)in.take(":");
    std::string_view const rest_text = in.rest();
    if (!rest_text.empty() && rest_text.size() == before) (void)in.take(rest_text.substr(0, 1));
    demand(in.rest().size() < before, "a reader stands still");
  }
}
