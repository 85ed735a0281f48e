# NICs whose tests need the host: links, removal, and frames through two TAP devices. Monitor and machine: monitor.bash.
# limit: 200
source test/boot/monitor.bash

# changed DEVICE: link and presence of QEMU's device change while it is busy.
changed() {
  compile changes -I test/boot <test/guests/nic_changes.cpp
  shown bios "$elf" -machine pc -netdev hubport,id=a,hubid=0 -netdev hubport,id=b,hubid=0 \
    -device "$1,id=gone,netdev=a" -device "$1,netdev=b"
  says busy
  echo set_link gone off >&$monitor
  says "link down"
  echo set_link gone on >&$monitor
  says "link up"
  echo device_del gone >&$monitor
  ends 100
  expect_status 0
  expect_text "gone, and the other one is there"
}

test_virtio_changed() {
  changed virtio-net-pci,disable-legacy=on,romfile=
}
test_e1000_changed() {
  changed e1000,romfile=
}
test_e1000e_changed() {
  changed e1000e,romfile=
}

# link_changed DEVICE [silent]: the link of QEMU's device, which a header drives, goes down and up while it is busy.
link_changed() {
  compile link -I test/boot <test/guests/link_changes.cpp
  command_line=${2-}
  shown bios "$elf" -netdev hubport,id=a,hubid=0 -netdev hubport,id=b,hubid=0 \
    -device virtio-net-pci,netdev=a,romfile= -device "$1,id=changes,netdev=b,romfile="
  says busy
  echo set_link changes off >&$monitor
  says "link down"
  echo set_link changes on >&$monitor
  ends 100
  expect_status 0
  expect_text "link up"
}

test_rtl8139_link() {
  link_changed rtl8139
}
test_vmxnet3_link() {
  link_changed vmxnet3
}
test_ne2000_link() {
  link_changed ne2k_pci silent
}

# Two TAP devices, exo0 here and exo1 in a namespace behind the program that forwards between them. $1 makes exo1 a kind of
# TAP device, $2 is the network's MTU. The program says what `forward_says` is, and `forward_last` is called at the end.
forwarded() {
  local far tries options mtu=${2-1500}
  ip tuntap add exo1 mode tap ${1-} && ip link set exo1 up || fail "there is no second TAP device to be had"
  boot forward $forward_options --net tap:exo0 --net tap:exo1 --args "seconds=60" -- ${forward_machine-}
  wait_for "$work/console" "forward: ${forward_says-1 cores, long frames}" 60
  unshare --net sleep 100 &
  far=$!
  for ((tries = 100; tries > 0; tries--)); do
    [ "$(readlink /proc/$far/ns/net)" = "$(readlink /proc/self/ns/net)" ] || break
    sleep 0.05
  done
  ip link set exo1 netns $far || fail "exo1 does not go into its namespace"
  nsenter --net=/proc/$far/ns/net ip address add 10.0.2.15/24 dev exo1
  nsenter --net=/proc/$far/ns/net ip link set exo1 mtu $mtu up
  ip link set exo0 mtu $mtu
  for options in "-c 3 -i 0.2" "-f -l 16 -c 2000" "-f -l 16 -c 2000 -s $((mtu - 28)) -M do" "-f -c 500 -s 18"; do
    all_pinged $options
  done
  ${forward_last-:}
  wait_for "$work/console" frames/s 30  # it says so each second
  kill $far
}

# Segments of TCP that Linux leaves joined: a bridge behind exo1 sends back what comes, uncut as it is.
segments_pass() {
  g++ -std=c++20 -O1 -Wall -Wextra -o "$work/long_frames" test/tools/long_frames.cpp || fail "it does not build"
  nsenter --net=/proc/$far/ns/net ip link add back type bridge
  nsenter --net=/proc/$far/ns/net ip link set exo1 master back
  nsenter --net=/proc/$far/ns/net ip link set exo1 type bridge_slave hairpin on
  nsenter --net=/proc/$far/ns/net ip link set back up || fail "there is no bridge to be had"
  "$work/long_frames" exo0 || fail "$(tail -n 3 "$work/console")"
}

# Frames that the NIC at exo1 has to refuse, since they are longer than its MTU, take no others with them.
refused_alone() {
  local refused
  ip link set exo0 mtu 9000
  ping -n -q -f -l 4 -s 8000 10.0.2.15 >"$work/refused" &
  refused=$!
  all_pinged -f -l 16 -c 2000
  kill -INT $refused && wait $refused
  [[ $(cat "$work/refused") == *' 0 received'* ]] || fail "$(cat "$work/refused")"
}

test_forward_virtio() {
  export forward_options="--cores 2" forward_machine="-global virtio-net-device.mrg_rxbuf=off"
  export forward_says="1 cores, short frames"
  in_network forwarded
}
test_forward_queues() {
  export forward_options="--cores 2" forward_says="2 cores, long frames" forward_last=refused_alone
  in_network forwarded multi_queue
}
test_forward_jumbo() {
  export forward_options="--cores 2" forward_machine="-global virtio-net-device.host_mtu=9000"
  export forward_last=segments_pass
  in_network forwarded "" 9000
}
test_forward_e1000() {
  export forward_options="--nic-model e1000"
  in_network forwarded
}
test_forward_e1000e() {
  export forward_options="--nic-model e1000e"
  in_network forwarded "" 9000
}

test_forward_needs_two() {
  run forward --net user
  expect_status 2
  expect_text "forward: needs two NICs, and here is 1. Give --net twice."
  run forward --net user --net user --args "minutes=1"
  expect_status 2
  expect_text "unknown argument minutes=1; known is seconds=N"
  local seconds
  for seconds in "" 0 2x 1000001 18446744073709551615; do
    run forward --net user --net user --args "seconds=1 seconds=$seconds"
    expect_status 2
    expect_text "seconds=$seconds: it is a number from 1 to 1000000."
  done
  run forward --net user --net user --args "seconds=2"
  expect_status 0
  expect_text "0 frames/s"
}
