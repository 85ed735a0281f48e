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

# pinged OPTIONS...: all pings are answered.
pinged() {
  local report
  report=$(ping -n -q -W 5 "$@" 10.0.2.15) && [[ $report == *' 0% packet loss'* ]] || fail "$report"
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
  # Several clients at once, while pings come as fast as they can.
  for client in 1 2 3 4; do
    messages 10.0.2.15 7 $client {1..1472..40} &
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

# NICs whose drivers are headers.
header_nic() {
  export nic_model=$1
  in_network ping_and_echo
}

test_ne2000() {
  export in_flight=4 # its memory has 16 KiB
  header_nic ne2k_pci
}

test_rtl8139() {
  header_nic rtl8139
}

test_vmxnet3() {
  header_nic vmxnet3
}

# bochs_ne2000 PROGRAM_FILE LINE: a program answers in Bochs, whose NE2000 is a PCI function or an ISA card.
bochs_ne2000() {
  build/image disk "$1" "ip=10.0.2.15/24 port=7 quit" "$work/boot.img" || fail "no image"
  ln -s serial "$work/console"
  bochs_lines="$2
ne2k: enabled=1, ioaddr=0x300, irq=9, mac=52:54:00:12:34:57, ethmod=tuntap, ethdev=/dev/net/tun:exo0, script="
  bochs_boot "$work/boot.img" 1 &
  machine=$!
  answers_one_by_one
  quits
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
