# The wire: ping and UDP between the Linux stack and a program.

# echoed FILE ADDRESS PORT: sends FILE as one message and compares what comes back.
echoed() (
  exec 3<>"/dev/udp/$2/$3"
  dd if="$1" bs=65536 count=1 status=none >&3
  timeout --foreground 5 dd bs=65536 count=1 status=none <&3 | cmp - "$1"
)

# messages ADDRESS PORT SEED SIZE...: a message of each of these sizes comes back.
messages() {
  local address=$1 port=$2 file=$work/message.$3 size
  shift 3
  for size in "$@"; do
    head -c "$size" /dev/urandom >"$file"
    echoed "$file" "$address" "$port" || fail "a message of $size bytes does not come back"
  done
}

# pinged OPTIONS...: all pings are answered. Linux sends nothing into a TAP device until it has noticed, up to a second
# late, that its other end is open.
pinged() {
  local left device
  device=$(ip -o route get 10.0.2.15 | sed 's/.* dev \([^ ]*\).*/\1/')
  for ((left = 600; left > 0; left--)); do
    [[ $(ip link show "$device") != *'state UP'* ]] || break
    sleep 0.1
  done
  [ "$left" -gt 0 ] || fail "$device does not come up: $(ip link show "$device")"
  all_pinged "$@"
}

# flooded COUNT UNDER_WAY: so many messages of all lengths come back, whole and in order.
flooded() {
  g++ -std=c++23 -O2 -o "$work/flood" test/tools/flood.cpp || fail "it does not build"
  "$work/flood" 10.0.2.15 7 "$@" || fail "a flood does not come back"
}

# From the Linux side of a TAP device. `nic_model` is another NIC than virtio's.
ping_and_echo() {
  boot echo --net tap:exo0 ${nic_model:+--nic-model "$nic_model"} --args "ip=10.0.2.15/24 port=7 quit"
  answers_everything
}

# Asks the echo that was booted all it can answer, and ends it. `in_flight` is how many long frames the NIC has room for.
answers_everything() {
  local client clients=()
  answers_one_by_one
  pinged -f -c 2000
  pinged -f -l "${in_flight-16}" -c 2000 -s 1472
  flooded 6000 "${in_flight-16}"
  # Several clients at once, while pings come as fast as they can.
  for client in 1 2 3 4; do
    messages 10.0.2.15 7 $client {1..1472..120} &
    clients+=($!)
  done
  pinged -f -c 1000
  for client in "${clients[@]}"; do wait "$client" || fail "a client has lost a message"; done
  quits
}

answers_one_by_one() {
  wait_for "$work/console" "10.0.2.15" 60
  pinged -c 3 -i 0.2
  pinged -c 2 -i 0.2 -s 1472
  messages 10.0.2.15 7 0 1 2 17 18 19 60 100 511 512 1000 1024 1400 1471 1472
}

quits() {
  echo -n quit >/dev/udp/10.0.2.15/7
  ended
  expect_status 0
}

test_tap() {
  in_network ping_and_echo
}

test_tap_with_queues() {
  in_network ping_and_echo multi_queue
}

# Jumbo frames, both ways, as long as the NIC's MTU says.
jumbo() {
  ip link set exo0 mtu 9000
  boot echo --net none --args "ip=10.0.2.15/24 port=7 quit" -- -netdev tap,id=t,ifname=exo0,script=no,downscript=no \
    -device virtio-net-pci,netdev=t,host_mtu=9000,romfile=
  wait_for "$work/console" "10.0.2.15" 60
  pinged -f -l 16 -c 500 -s 8972 -M do
  messages 10.0.2.15 7 0 1472 1473 8000 8971 8972
  quits
}

test_tap_with_jumbo_frames() {
  in_network jumbo
}

# Buffers shorter than the frames: long ones, and segments of TCP that Linux leaves joined, come in several, and go back so.
long_frames() {
  ip link set exo0 mtu 9000
  g++ -std=c++20 -O1 -Wall -Wextra -o "$work/long_frames" test/tools/long_frames.cpp || fail "it does not build"
  boot test/guests/long_echo.cpp --net none -- -netdev tap,id=t,ifname=exo0,script=no,downscript=no \
    -device virtio-net-pci,netdev=t,host_mtu=9000,romfile=
  wait_for "$work/console" "echoes" 60
  "$work/long_frames" exo0 || fail "$(tail -n 3 "$work/console")"
  ended
  expect_status 0
  [[ $output =~ ' '([0-9]+)' in several buffers, '([0-9]+)' joined' ]] || fail "$output"
  [ "${BASH_REMATCH[2]}" -eq 120 ] || fail "Linux has cut segments itself: $output"
}

test_tap_with_long_frames() {
  in_network long_frames
}

# NICs that have to be opened for long frames, nic_model: before that they drop those, and take others.
opened_for_long() {
  local bytes
  ip link set exo0 mtu 9000
  ip neighbour replace 10.0.2.15 lladdr 52:54:00:12:34:57 dev exo0 nud permanent
  boot test/guests/long_pings.cpp --net none -- -netdev tap,id=t,ifname=exo0,script=no,downscript=no \
    -device "$nic_model,netdev=t,mac=52:54:00:12:34:57,romfile="
  wait_for "$work/console" "short frames" 60
  pinged -c 2 -i 0.2
  ! ping -n -q -f -c 20 -W 1 -s 8972 10.0.2.15 >"$work/report" || fail "a long frame is answered"
  [[ $(cat "$work/report") == *' 100% packet loss'* ]] || fail "$(cat "$work/report")"
  pinged -f -c 200 -s 1472
  pinged -c 1 -s 72 # which ends it
  wait_for "$work/console" "long frames" 30
  for bytes in 18 100 1472 1473 2005 2006 2007 4053 4054 4055 8149 8150 8151 8971 8972; do
    pinged -f -c 20 -s $bytes
  done
  pinged -f -l 16 -c 2000 -s 8972
  pinged -c 1 -s 72
  ended
  expect_status 0
  expect_text "the longest of 1514 bytes"
  expect_text "the longest of 9014 bytes"
}

test_e1000_with_jumbo_frames() {
  export nic_model=e1000
  in_network opened_for_long
}

test_e1000e_with_jumbo_frames() {
  export nic_model=e1000e
  in_network opened_for_long
}

one_core() {
  boot echo --cores 1 --net tap:exo0 --args quit
  wait_for "$work/console" "10.0.2.15" 60
  messages 10.0.2.15 7 0 100
  echo -n quit >/dev/udp/10.0.2.15/7
  ended
  expect_status 0
}

test_tap_with_queues_and_one_core() {
  in_network one_core multi_queue
}

# Other NICs: Intel's, which the core drives, and those whose drivers are headers.
other_nic() {
  export nic_model=$1
  in_network ping_and_echo
}

test_e1000() {
  other_nic e1000
}

test_e1000e() {
  other_nic e1000e
}

test_ne2000() {
  export in_flight=4 # its memory has 16 KiB
  other_nic ne2k_pci
}

test_rtl8139() {
  other_nic rtl8139
}

test_vmxnet3() {
  other_nic vmxnet3
}

# bochs_answers PROGRAM_FILE LINE CARD: a program answers in Bochs with this NIC, on the TAP device.
bochs_answers() {
  build/image disk "$1" "ip=10.0.2.15/24 port=7 quit" "$work/boot.img" || fail "no image"
  ln -s serial "$work/console"
  bochs_lines="$2
$3, mac=52:54:00:12:34:57, ethmod=tuntap, ethdev=/dev/net/tun:exo0, script="
  bochs_boot "$work/boot.img" 1 &
  machine=$!
  answers_one_by_one
  quits
}

# bochs_ne2000 PROGRAM_FILE LINE: its NE2000 is a PCI function or an ISA card.
bochs_ne2000() {
  bochs_answers "$1" "$2" "ne2k: enabled=1, ioaddr=0x300, irq=9"
}

ne2000_pci_in_bochs() {
  bochs_ne2000 "$(./build_x86-64.sh echo | sed 's/img$/bin/')" "pci: enabled=1, chipset=i440fx, slot1=ne2k"
}

test_ne2000_pci_in_bochs() {
  in_network ne2000_pci_in_bochs
}

# An ISA card is in no list of functions: who has one says so.
ne2000_isa_in_bochs() {
  mkdir "$work/isa"
  sed -e 's/exo::with_first_nic(/with_isa_card(/' \
    -e 's|^}  // namespace$|template <typename Use>\nexo::opened<void> with_isa_card(Use use) {\n  auto card = exo::ne2000::open_isa(0x300, 9);\n  if (!card) return std::unexpected(card.error());\n  use(*card);\n  return {};\n}\n\n&|' \
    apps/echo.cpp >"$work/isa/echo.cpp"
  bochs_ne2000 "$(./build_x86-64.sh "$work/isa/echo.cpp" | sed 's/img$/bin/')" "pci: enabled=0"
}

test_ne2000_isa_in_bochs() {
  in_network ne2000_isa_in_bochs
}

# Through QEMU's own network, from a port of this machine.
test_user_forward() {
  local port=$((20000 + $$ % 20000))
  boot echo --net user --forward $port:7 --args "port=7 quit"
  wait_for "$work/console" "10.0.2.15" 60
  messages 127.0.0.1 $port 0 1 100 1000 1472
  run hello --net user --forward $port:7
  expect_status 2
  expect_text "is in use"
  echo -n quit >/dev/udp/127.0.0.1/$port
  ended
  expect_status 0
}

# A NIC that cuts segments: 60,000 bytes of TCP leave in one frame, and arrive at the second NIC, which takes no such
# frames, in frames of 1448 bytes with right headers.
segments() {
  ip tuntap add exo1 mode tap && ip link add bridge0 type bridge && ip link set exo0 master bridge0 &&
    ip link set exo1 master bridge0 && ip link set exo1 up && ip link set bridge0 up || fail "there is no bridge to be had"
  program segments <<'CPP'
#include <exo/exo.hpp>
#include <exo/nic.hpp>
#include <algorithm>
#include <cstring>
using namespace exo;
constexpr u32 depth = 64, payload = 60000, segment = 1448;
constinit u8 headers[80], data[payload];
alignas(64) constinit std::byte buffers[depth][2048];
constinit bool seen[payload];
void put16(u8 *at, u32 value) { at[0] = static_cast<u8>(value >> 8), at[1] = static_cast<u8>(value); }
u32 get16(u8 const *at) { return u32{at[0]} << 8 | at[1]; }
u32 sum(u8 const *at, u32 bytes, u32 start) {
  for (u32 each = 0; each < bytes; ++each) start += each % 2 == 0 ? u32{at[each]} << 8 : at[each];
  while (start >> 16 != 0) start = (start & 0xFFFF) + (start >> 16);
  return start;
}
nic open_nic(u32 number) {
  auto card = nic::open(number, 1, depth, pages::take(nic::ring_bytes(info().nics[number], 1, depth))->release());
  if (!card) panic("NIC {} does not open", number);
  return std::move(*card);
}
u32 run(u32 version) {
  u32 const network = version == 4 ? 20 : 40, tcp = 14 + network, all = tcp + 20;
  u8 *const ip = headers + 14;
  std::memset(headers, 0, sizeof(headers));
  std::fill(std::begin(seen), std::end(seen), false);
  std::memcpy(headers, info().nics[1].mac, 6);
  std::memcpy(headers + 6, info().nics[0].mac, 6);
  put16(headers + 12, version == 4 ? 0x0800 : 0x86DD);
  ip[0] = static_cast<u8>(version == 4 ? 0x45 : 0x60);
  put16(ip + (version == 4 ? 2 : 4), (version == 4 ? 20 : 0) + 20 + payload);
  ip[version == 4 ? 9 : 6] = 6;
  ip[version == 4 ? 8 : 7] = 64;
  u32 const addresses = version == 4 ? 8 : 32;
  std::memset(ip + network - addresses, 0x20 + static_cast<int>(version), addresses);
  if (version == 4) put16(ip + 10, ~sum(ip, 20, 0));
  put16(headers + tcp, 1000), put16(headers + tcp + 2, 2000);
  headers[tcp + 12] = 5 << 4, headers[tcp + 13] = 0x10;  // ACK
  put16(headers + tcp + 16, sum(ip + network - addresses, addresses, 6 + 20 + payload));
  frame entries[2]{};
  entries[0].address = reinterpret_cast<u64>(headers), entries[0].bytes = all;
  entries[0].flags = frame_checksum | frame_more;
  entries[0].segment_kind = version == 4 ? frame_tcp4 : frame_tcp6;
  entries[0].header_bytes = static_cast<u16>(all), entries[0].segment_bytes = segment;
  entries[0].checksum_start = static_cast<u16>(tcp), entries[0].checksum_offset = 16;
  entries[1].address = reinterpret_cast<u64>(data), entries[1].bytes = payload;
  u32 there = 0;
  for (u64 const end = ticks() + 20 * info().tsc_hz; there < payload;) {
    if (ticks() > end) panic("IPv{}: {} of {} bytes came", version, there, payload);
    if (core().nic_tx(0, 0, entries, 2) != 2) panic("the frame is not taken");
    for (u64 const pause = ticks() + info().tsc_hz / 4; ticks() < pause && there < payload;) {
      completion done{};
      core().nic_tx_reap(0, 0, &done, 1);
      frame got{};
      if (core().nic_rx_reap(1, 0, &got, 1) != 1) continue;
      auto const *in = reinterpret_cast<u8 const *>(got.address);
      if (std::memcmp(in, headers, 14) == 0 && in[14 + (version == 4 ? 9 : 6)] == 6) {
        u32 const bytes = got.bytes - all, at = get16(in + tcp + 4) << 16 | get16(in + tcp + 6);
        bool const last = at + bytes == payload;
        if (got.bytes <= all || at % segment != 0 || at + bytes > payload || (bytes != segment && !last)) panic("a cut of {} at {}", bytes, at);
        if (get16(in + 14 + (version == 4 ? 2 : 4)) != got.bytes - (version == 4 ? 14 : 54)) panic("a wrong length");
        if (version == 4 && sum(in + 14, 20, 0) != 0xFFFF) panic("a wrong IP checksum");
        u32 const pseudo = sum(in + tcp - addresses, addresses, 6 + 20 + bytes);
        bool const whole = sum(in + tcp, 20 + bytes, pseudo) == 0xFFFF, partial = get16(in + tcp + 16) == pseudo;
        if (!whole && !(partial && (got.flags & frame_checksum) != 0)) panic("a wrong TCP checksum");
        if (std::memcmp(in + all, data + at, bytes) != 0) panic("other bytes");
        if (!seen[at]) there += bytes;
        seen[at] = true;
      }
      got.flags = 0, got.bytes = 2048;
      if (core().nic_rx_post(1, 0, &got, 1) != 1) panic("no buffer");
    }
  }
  frame bad[2] = {entries[0], entries[1]};
  auto const refuses = [&](error why, char const *what) {
    if (core().nic_tx(0, 0, bad, 2) != -static_cast<i64>(why)) panic("not refused: {}", what);
    bad[0] = entries[0], bad[1] = entries[1];
  };
  bad[0].segment_bytes = 0, refuses(error::range, "segments of 0 bytes");
  bad[0].header_bytes = static_cast<u16>(all + payload), refuses(error::range, "headers only");
  bad[1].bytes = 65536 - all, refuses(error::range, "more than 65,535 bytes");
  bad[0].flags = frame_more, refuses(error::unsupported, "no checksum");
  for (u8 const kind : {u8{2}, u8{3}, u8{5}, u8{255}}) bad[0].segment_kind = kind, refuses(error::unsupported, "another kind");
  return there;
}
int main() {
  for (u32 at = 0; at < payload; ++at) data[at] = static_cast<u8>(at * 7 + (at >> 8));
  if ((info().nics[0].offloads & (nic_tcp4 | nic_tcp6)) != (nic_tcp4 | nic_tcp6)) panic("it cuts no segments");
  nic from = open_nic(0), to = open_nic(1);
  for (auto &each : buffers) {
    frame const one = frame_at(each, sizeof(each), 0);
    if (core().nic_rx_post(1, 0, &one, 1) != 1) panic("no buffer");
  }
  for (u32 const version : {4u, 6u}) print("IPv{}: {} bytes\n", version, run(version));
}
CPP
  run "$program_file" --net tap:exo0 -- -netdev tap,id=net1,ifname=exo1,script=no,downscript=no,vhost=off \
    -device virtio-net-pci,disable-legacy=on,romfile=,netdev=net1
  expect_status 0
  expect_text "IPv4: 60000 bytes"
  expect_text "IPv6: 60000 bytes"
}

test_tap_with_segments() {
  in_network segments
}

# A NIC that is told which flow goes to which of three queues, and one that sends to it. Linux says nothing of its own: a frame
# that finds no buffer in its queue yet keeps QEMU from all others that come by the same queue of the TAP device.
flows() {
  sysctl -qw net.ipv6.conf.all.disable_ipv6=1 net.ipv6.conf.default.disable_ipv6=1 && ip tuntap add exo1 mode tap &&
    ip link add bridge0 type bridge mcast_snooping 0 && ip link set exo0 master bridge0 && ip link set exo1 master bridge0 &&
    ip link set exo1 up && ip link set bridge0 up || fail "there is no bridge to be had"
  run test/guests/nic_flows.cpp --net none -- \
    -netdev tap,id=net0,ifname=exo0,script=no,downscript=no,vhost=off,queues=3 \
    -device virtio-net-pci,disable-legacy=on,romfile=,netdev=net0,mq=on,rss=on,vectors=8,mac=52:54:00:12:34:01 \
    -netdev tap,id=net1,ifname=exo1,script=no,downscript=no,vhost=off \
    -device virtio-net-pci,disable-legacy=on,romfile=,netdev=net1,mac=52:54:00:12:34:02
  expect_status 0
  expect_text "3 queues keep their flows"
}

test_tap_with_flows() {
  in_network flows multi_queue
}

# Bochs' e1000, which the core drives: its calls, each refusal too, and the wire.
test_e1000_calls_in_bochs() {
  build/image disk "$(./build_x86-64.sh test/contract/nic.cpp | sed 's/img$/bin/')" "" "$work/boot.img" || fail "no image"
  bochs_lines="pci: enabled=1, chipset=i440fx, slot1=e1000
e1000: enabled=1, mac=52:54:00:12:34:57, ethmod=null, ethdev=none, bootrom=none
debug: action=ignore, unmapped=report"
  bochs_boot "$work/boot.img" 1
  grep -q 'write to 00f5 = 00' "$work/bochs.log" || fail "its status is not 0: $output"
}

e1000_in_bochs() {
  bochs_answers "$(./build_x86-64.sh echo | sed 's/img$/bin/')" "pci: enabled=1, chipset=i440fx, slot1=e1000" \
    "e1000: enabled=1, bootrom=none"
}

test_e1000_in_bochs() {
  in_network e1000_in_bochs
}
