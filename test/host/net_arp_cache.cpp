#include <catch2/catch.hpp>
#include <exo/net/arp_cache.hpp>
#include <vector>

using namespace exo::net;
using namespace std::chrono_literals;

namespace {

constexpr ipv4_address gateway(10, 0, 2, 2);
constexpr mac_address gateway_mac{{0x52, 0x55, 0, 0, 0, 2}};

std::vector<ipv4_address> asked(arp_cache &cache, arp_cache::time now) {
  std::vector<ipv4_address> all;
  cache.poll(now, [&](ipv4_address address) { all.push_back(address); });
  return all;
}

ipv4_address neighbour(unsigned number) { return ipv4_address(10, 0, 3, static_cast<u8>(number)); }

}  // namespace

TEST_CASE("arp_cache: an unknown neighbour is asked for at once, and known after its answer") {
  arp_cache cache;
  CHECK(cache.find(gateway, 0s).error() == send_error::resolving);
  CHECK(cache.deadline() == 0s);
  CHECK(asked(cache, 0s) == std::vector{gateway});
  CHECK(cache.deadline() == 1s);
  cache.learn(gateway, gateway_mac, false, 500ms);
  CHECK(cache.find(gateway, 500ms) == gateway_mac);
  CHECK(cache.deadline() == arp_cache::time::max());
  CHECK(asked(cache, 2s).empty());
}

TEST_CASE("arp_cache: three questions a second apart, then unreachable for five seconds, then anew") {
  arp_cache cache;
  (void)cache.find(gateway, 0s);
  CHECK(asked(cache, 0s).size() == 1);
  CHECK(cache.find(gateway, 0s).error() == send_error::resolving);
  CHECK(asked(cache, 999ms).empty());
  CHECK(asked(cache, 1s).size() == 1);
  CHECK(asked(cache, 2s).size() == 1);
  CHECK(cache.find(gateway, 2s).error() == send_error::resolving);
  CHECK(asked(cache, 3s).empty());
  CHECK(cache.find(gateway, 3s).error() == send_error::unreachable);
  CHECK(cache.deadline() == arp_cache::time::max());
  CHECK(asked(cache, 7999ms).empty());
  CHECK(cache.find(gateway, 7999ms).error() == send_error::unreachable);
  CHECK(asked(cache, 8s).empty());
  CHECK(cache.find(gateway, 8s).error() == send_error::resolving);
  CHECK(asked(cache, 8s).size() == 1);
}

TEST_CASE("arp_cache: a late answer makes an unreachable neighbour known") {
  arp_cache cache;
  (void)cache.find(gateway, 0s);
  for (int second = 0; second < 4; ++second) (void)asked(cache, std::chrono::seconds(second));
  cache.learn(gateway, gateway_mac, false, 4s);
  CHECK(cache.find(gateway, 4s) == gateway_mac);
}

TEST_CASE("arp_cache: forgets after a minute without a word, not before") {
  arp_cache cache;
  cache.learn(gateway, gateway_mac, true, 0s);
  (void)asked(cache, 59s);
  CHECK(cache.find(gateway, 59s).has_value());
  cache.learn(gateway, gateway_mac, false, 59s);
  (void)asked(cache, 118s);
  CHECK(cache.find(gateway, 118s).has_value());
  (void)asked(cache, 119s);
  CHECK(cache.find(gateway, 119s).error() == send_error::resolving);
}

TEST_CASE("arp_cache: strangers are learned only if they want us; a new MAC address replaces the old") {
  arp_cache cache;
  cache.learn(gateway, gateway_mac, false, 0s);
  CHECK_FALSE(cache.find(gateway, 0s).has_value());
  cache.learn(gateway, gateway_mac, true, 0s);
  mac_address const other{{2, 0, 0, 0, 0, 9}};
  cache.learn(gateway, other, false, 1s);
  CHECK(cache.find(gateway, 1s) == other);
}

TEST_CASE("arp_cache: full, the neighbour that was silent longest goes") {
  arp_cache cache;
  for (unsigned number = 0; number < arp_cache::entry_count; ++number)
    cache.learn(neighbour(number), gateway_mac, true, std::chrono::seconds(number));
  cache.learn(neighbour(0), gateway_mac, false, 20s);
  cache.learn(gateway, gateway_mac, true, 20s);
  CHECK(cache.find(gateway, 20s).has_value());
  CHECK(cache.find(neighbour(0), 20s).has_value());
  CHECK(cache.find(neighbour(2), 20s).has_value());
  CHECK_FALSE(cache.find(neighbour(1), 20s).has_value());
}
