# QEMU as the machine. Sourced by the run script, whose options, files and `work`, the folder of the run, it uses.

DISK_MODELS="virtio nvme ahci ide scsi"
declare -A DISK_COUNT_MAX=([ahci]=5 [ide]=4)
NIC_MODELS="virtio e1000 e1000e ne2k_pci rtl8139 vmxnet3"
TAP_QUEUES_MAX=16
OVMF_CODE=/usr/share/OVMF/OVMF_CODE_4M.fd
OVMF_VARIABLES=/usr/share/OVMF/OVMF_VARS_4M.fd

# qemu_path FILE: as QEMU's options want it, commas doubled.
qemu_path() {
  printf %s "$(realpath "$1")" | sed 's/,/,,/g'
}

# qemu_bus NUMBER: the end of a virtio device's name, with what its bus needs to know. Disks count from 0, then come the NICs.
qemu_bus() {
  case $way in
  # The firmware's table lists the last bus first. Bus 0 is left out: its interrupt goes to a wrong pin in QEMU 7.2.
  microvm) echo "device,bus=virtio-mmio-bus.$((${#disks[@]} + 1 - $1))" ;;
  *) echo "pci,disable-legacy=on,romfile=" ;;
  esac
}

# qemu_disk NUMBER: adds a disk of the chosen model to `command`; its drive is there.
qemu_disk() {
  local drive=drive=disk$1
  case ${disk_model:-virtio} in
  virtio) command+=(-device "virtio-blk-$(qemu_bus "$1"),$drive,num-queues=$cores") ;;
  nvme) command+=(-device "nvme,$drive,serial=exo16-$1,max_ioqpairs=$cores,msix_qsize=$((cores + 1))") ;;
  ahci) command+=(-device "ide-hd,bus=ide.$1,$drive,serial=exo16-$1") ;;
  ide)
    [ "$1" -gt 0 ] || command+=(-device piix4-ide,id=pata)
    command+=(-device "ide-hd,bus=pata.$(($1 / 2)),unit=$(($1 % 2)),$drive,serial=exo16-$1")
    ;;
  scsi)
    [ "$1" -gt 0 ] || command+=(-device "virtio-scsi-$(qemu_bus 0),id=scsi,num_queues=$cores")
    command+=(-device "scsi-hd,bus=scsi.0,lun=$1,$drive,serial=exo16-$1")
    ;;
  esac
}

# qemu_nic NUMBER: adds a NIC of the chosen model to `command`, with its network.
qemu_nic() {
  local id=net$1 nic netdev queues
  case ${nic_model:-virtio} in
  virtio) nic="virtio-net-$(qemu_bus $((${#disks[@]} + $1))),netdev=$id" ;;
  *) nic="$nic_model,romfile=,netdev=$id" ;;
  esac
  case ${nets[$1]} in
  user)
    netdev=user,id=$id
    if [ "$1" -eq 0 ]; then
      [ "$way" != netboot ] || nic+=,bootindex=0
      [ "$way" != netboot ] || netdev+=",tftp=$(qemu_path "$work/tftp"),bootfile=BOOTX64.EFI"
      for forward in "${forwards[@]}"; do
        for protocol in udp tcp; do netdev+=",hostfwd=$protocol:127.0.0.1:${forward%%:*}-:${forward#*:}"; done
      done
    fi
    ;;
  tap:*)
    netdev=tap,id=$id,ifname=${nets[$1]#tap:},script=no,downscript=no,vhost=off
    if [[ ${tap_details[$1]} == *multi_queue* ]] && [ "${nic_model:-virtio}" = virtio ]; then
      queues=$((cores < TAP_QUEUES_MAX ? cores : TAP_QUEUES_MAX))
      queues=$((queues < 2 ? 2 : queues))  # with one, QEMU opens it as a TAP device of one queue, which it is not
      netdev+=,queues=$queues
      nic+=,mq=on
      [ "$way" = microvm ] || nic+=,vectors=$((2 * queues + 2))
    fi
    ;;
  esac
  command+=(-netdev "$netdev" -device "$nic")
}

# qemu_machine: sets `command` to a QEMU machine as the options say.
qemu_machine() {
  local q35=(-machine "q35,memory-backend=ram" -vga std) microvm=(-machine "microvm,memory-backend=ram")
  local index options disk port= cpus=$cores
  accel=${accel:-$("$top/tools/accel.sh")}
  # Where a machine can have no second processor, QEMU 7.2 translates memory barriers to nothing, although its devices run in
  # other threads: a virtio doorbell can be missed for good.
  [ "$cores$accel" != 1tcg ] || cpus=1,maxcpus=2
  command=(qemu-system-x86_64 -cpu max -smp "$cpus"
    -object "memory-backend-ram,id=ram,size=$memory_bytes,reserve=off" -m "$((memory_bytes / 1024))K"
    -display none -monitor none -no-user-config -nodefaults)
  case $accel in
  kvm) command+=(-accel kvm) ;;
  tcg) command+=(-accel "tcg,thread=multi") ;;
  icount)
    # UEFI firmware waits by its clock, too long for it to count every instruction: there the TSC counts 8 for each.
    command+=(-accel "tcg,thread=single" -icount "$([ -n "$uefi" ] && echo shift=3 || echo shift=0,sleep=off)"
      -rtc "base=2020-01-01,clock=vm")
    ;;
  esac
  command+=(-chardev "file,id=status,path=$work/status" -device "isa-debugcon,iobase=0xf5,chardev=status"
    -device "isa-debug-exit,iobase=0xf4,iosize=0x01")

  # What the machine boots from has the last port, so that the given disks are the program's first ones.
  [ "$disk_model" != ahci ] || port=bus=ide.${DISK_COUNT_MAX[ahci]},
  case $way in
  disk | usb)
    boot_file disk boot.img
    command+=("${q35[@]}" -drive "if=none,id=boot,format=raw,snapshot=on,file=$(qemu_path "$boot")")
    if [ "$way" = disk ]; then command+=(-device "ide-hd,${port}drive=boot,bootindex=0"); fi
    if [ "$way" = usb ]; then command+=(-device qemu-xhci,id=usb -device "usb-storage,bus=usb.0,drive=boot,bootindex=0"); fi
    ;;
  cdrom)
    boot_file iso boot.iso
    command+=("${q35[@]}" -drive "if=none,id=boot,format=raw,media=cdrom,file=$(qemu_path "$boot")" -device "ide-cd,${port}drive=boot,bootindex=0")
    ;;
  netboot)
    mkdir "$work/tftp"
    boot_file efi tftp/BOOTX64.EFI
    command+=("${q35[@]}")
    ;;
  pvh)
    boot_file pvh boot.pvh
    command+=("${q35[@]}" -kernel "$boot")
    ;;
  microvm)
    boot_file pvh boot.pvh
    command+=("${microvm[@]}" -kernel "$boot" -global "virtio-mmio.force-legacy=false")
    ;;
  esac
  if [ -n "$uefi" ]; then
    cp "$OVMF_VARIABLES" "$work/variables.fd"
    command+=(-drive "if=pflash,unit=0,format=raw,readonly=on,file=$OVMF_CODE"
      -drive "if=pflash,unit=1,format=raw,file=$(qemu_path "$work/variables.fd")")
  fi

  for index in "${!disks[@]}"; do
    disk=${disks[index]}
    options=
    if [ "$disk" = "$text" ] || [ ! -w "$disk" ]; then
      # ATA has no disks that are read-only: what is written to such a one stays in memory.
      case $disk_model in ahci | ide) options=,snapshot=on ;; *) options=,read-only=on ;; esac
    fi
    command+=(-drive "if=none,id=disk$index,format=raw,file=$(qemu_path "$disk")$options")
    qemu_disk "$index"
  done

  for index in "${!nets[@]}"; do qemu_nic "$index"; done

  if [ -n "$gdb" ]; then
    gdb_command=(gdb -q -iex "set pagination off" "$prefix.elf" -ex "set confirm off" -ex "directory $top" -ex "add-symbol-file $EXO_SYMBOLS"
      -ex "target remote $work/gdb" -ex "hbreak main")
    command+=(-S -chardev "socket,id=gdb,path=$work/gdb,server=on,wait=off" -gdb chardev:gdb)
  fi
  # What the console gets is read once more: for what programs say of themselves, and for fault reports.
  if [ -n "$serial" ]; then
    command+=(-chardev "socket,id=console,path=$(realpath "$serial" | sed 's/,/,,/g'),server=on,wait=off" -serial chardev:console)
  elif [ -n "$print$gdb" ]; then
    command+=(-serial stdio)
  else
    command+=(-chardev "stdio,id=console,logfile=$work/console" -serial chardev:console)
  fi
  command+=("${qemu_options[@]}")
}

# qemu_start: starts `command`; sets `machine` to its process id.
qemu_start() {
  if [ -n "$serial$gdb" ]; then
    "${command[@]}" <&0 2>"$work/errors" &
    machine=$!
    return
  fi
  mkfifo "$work/console"
  said_listen <"$work/console" &
  listening=$!
  if [ -n "$trace$profile" ]; then
    exec 5> >(said_show)
    showing=$!
  else
    exec 5>&1
  fi
  "${command[@]}" <&0 >&5 2>"$work/errors" 5>&- &
  machine=$!
  exec 5>&-
}

# qemu_ended: waits until all that the console got has been read.
qemu_ended() {
  [ -n "${listening-}" ] || return 0
  # A QEMU that ended before it began has not opened the pipe: nobody else will.
  : 8<>"$work/console"
  wait "$listening" || true
  [ -z "${showing-}" ] || wait "$showing" || true
}
