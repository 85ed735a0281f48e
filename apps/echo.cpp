// echo: answers ping, and sends every UDP message that comes to its port back (RFC 862).
//
//   ip=10.0.2.15/24      our address and how many leading bits its network has
//   gateway=10.0.2.2     the router to other networks
//   port=7               the UDP port
//   quit                 end with status 0 when a message says "quit"
//
// One core polls one NIC queue, and halts when nothing comes for a while. The NIC is the first that the core or a header
// has a driver for.
#include <algorithm>
#include <charconv>
#include <exo/drivers/nics.hpp>
#include <exo/exo.hpp>
#include <exo/net/host.hpp>
#include <exo/net/print.hpp>
#include <optional>
#include <string_view>

namespace {

using namespace exo::net;

constexpr int polls_before_halt = 1000;

struct options {
  ipv4_config network;
  exo::u16 port = 7;
  bool quit = false;
};

/// The command line's options; none, and a sentence on the console, if one is wrong.
std::optional<options> read_options(std::span<char *> arguments) {
  std::string_view ip = "10.0.2.15/24", gateway = "10.0.2.2", port = "7";
  options chosen;
  for (std::string_view const argument : arguments) {
    auto const is = [&](std::string_view key) { return argument.starts_with(key); };
    if (is("ip=")) {
      ip = argument.substr(3);
    } else if (is("gateway=")) {
      gateway = argument.substr(8);
    } else if (is("port=")) {
      port = argument.substr(5);
    } else if (argument == "quit") {
      chosen.quit = true;
    } else {
      exo::print("echo: unknown argument {}; known are ip=A.B.C.D/N gateway=A.B.C.D port=N quit\n", argument);
      return std::nullopt;
    }
  }

  auto const router = ipv4_address::from_text(gateway);
  auto const network = router ? ipv4_config::from_text(ip, *router) : std::nullopt;
  if (!network) {
    exo::print("echo: ip={} gateway={} is no host address with a gateway in its network\n", ip, gateway);
    return std::nullopt;
  }
  chosen.network = *network;

  auto const [end, problem] = std::from_chars(port.begin(), port.end(), chosen.port);
  if (problem != std::errc() || end != port.end() || chosen.port == 0) {
    exo::print("echo: port={} is no number of 1 to 65535\n", port);
    return std::nullopt;
  }
  return chosen;
}

bool says_quit(std::span<std::byte const> payload) {
  std::string_view text(reinterpret_cast<char const *>(payload.data()), payload.size());
  if (text.ends_with('\n')) text.remove_suffix(1);
  return text == "quit";
}

/// Answers until it is told to quit.
template <exo::waitable_frame_device Port>
void serve(Port &port, options const &chosen) {
  ipv4_host host(port, chosen.network);
  bool done = false;
  auto const answer = [&](udp_datagram const &datagram) {
    if (datagram.destination_port != chosen.port) return false;
    // Two echo servers that answer each other would never stop.
    if (datagram.source.port == chosen.port) return false;
    done = done || (chosen.quit && says_quit(datagram.payload));
    // A reply that finds no room is lost, as any UDP message may be.
    (void)host.try_reply(datagram, datagram.payload);
    return true;
  };

  for (int quiet = 0; !done;) {
    quiet = host.poll(exo::clock::now().time_since_epoch(), answer) == 0 ? quiet + 1 : 0;
    if (quiet < polls_before_halt) continue;
    port.wait(exo::clock::time_point(host.deadline()));
    quiet = 0;
  }
  port.drain(exo::clock::now() + std::chrono::milliseconds(100));
}

}  // namespace

int main(int argc, char **argv) {
  auto const chosen = read_options(std::span(argv, static_cast<std::size_t>(argc)).subspan(1));
  if (!chosen) return 1;

  auto const served = exo::with_first_nic([&](auto &port) {
    exo::print("echo: {} answers ping and UDP port {}\n", chosen->network.address, chosen->port);
    serve(port, *chosen);
  });
  if (served) return 0;
  exo::print("echo: {}\n", served.error());
  return 1;
}
