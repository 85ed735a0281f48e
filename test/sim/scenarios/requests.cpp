// A client has requests answered over UDP, several at a time, each asked again until an answer comes. Each is completed
// once, however often its answer arrives.
//
// With EXO_PLANTED an answer completes its request without a look at whether that is still open.
#include <sim/scenario.hpp>

#include <exo/exo.hpp>
#include <exo/frame_port.hpp>
#include <exo/net/host.hpp>

#include <cstring>

namespace {

using namespace exo::net;

constexpr exo::u32 depth = 16, request_count = 24, open_most = 4;
constexpr exo::u16 server_port = 7, client_port = 7000;
constexpr udp_endpoint server_end{ipv4_address(10, 0, 0, 2), server_port};

/// Polls a host with its NIC until step() says that it is over; halts in between.
template <typename Handler, typename Step>
void serve(ipv4_address mine, Handler const &on_datagram, Step const &step) {
  auto const &record = exo::info().nics[0];
  auto rings = exo::pages::take(exo::nic::ring_bytes(record, 1, depth));
  auto frames = exo::pages::take(exo::frame_port::memory_bytes(record, depth));
  auto card = exo::nic::open(0, 1, depth, rings->span());
  auto port = exo::frame_port::open(*card->take_queue(), frames->span());
  ipv4_host host(*port, {mine, 24, {}});
  for (;;) {
    exo::clock::time_point const now = exo::clock::now();
    std::size_t const received =
        host.poll(now.time_since_epoch(), [&](udp_datagram const &datagram) { return on_datagram(host, datagram); });
    exo::clock::time_point next = exo::clock::time_point::max();
    if (!step(host, now, next)) break;
    if (received == 0) port->wait(std::min(next, exo::clock::time_point(host.deadline())));
  }
}

int answer() {
  serve(
      server_end.address,
      [](auto &host, udp_datagram const &datagram) {
        if (datagram.destination_port != server_port) return false;
        (void)host.try_reply(datagram, datagram.payload);
        return true;
      },
      [](auto &, exo::clock::time_point, exo::clock::time_point &) { return true; });
  return 0;
}

int ask() {
  struct request {
    exo::clock::time_point due{};
    bool open = false;
  };
  request all[request_count];
  exo::u32 started = 0, open = 0, completed = 0;
  serve(
      ipv4_address(10, 0, 0, 1),
      [&](auto &, udp_datagram const &datagram) {
        exo::u32 number = request_count;
        if (datagram.source != server_end || datagram.payload.size() != sizeof number) return false;
        std::memcpy(&number, datagram.payload.data(), sizeof number);
        if (number >= started) return false;
#ifndef EXO_PLANTED
        if (!all[number].open) return true;
#endif
        all[number].open = false;
        --open;
        ++completed;
        return true;
      },
      [&](auto &host, exo::clock::time_point now, exo::clock::time_point &next) {
        while (started < request_count && open < open_most) {
          all[started++] = {now, true};
          ++open;
        }
        for (exo::u32 number = 0; number < started; ++number) {
          if (!all[number].open) continue;
          if (now >= all[number].due) {
            (void)host.try_send(server_end, client_port, std::as_bytes(std::span(&number, 1)));
            all[number].due = now + std::chrono::milliseconds(5);
          }
          next = std::min(next, all[number].due);
        }
        return completed < request_count;
      });
  for (request const &each : all) {
    if (each.open) exo::print("a request was never answered\n");
  }
  return completed == request_count && open == 0 && started == request_count ? 0 : 1;
}

}  // namespace

void scenario(sim::setup &world) {
  sim::machine &server = world.add_machine("server", answer);
  server.serves = true;
  sim::machine &client = world.add_machine("client", ask);
  world.connect(client, server, {.lose = 0.05, .duplicate = 0.02, .reorder = 0.05});
}
