# limit: 400
# wordcount against wc, tr, sort and uniq on the same bytes. What equals is listed in the order of bytes, where sort -rn
# would turn it round; an empty line, which tr makes of a space at the beginning, is no word; a zero shows as \x00.

# expected FILE: prints the report that wordcount must give.
expected() {
  local lines words bytes
  read -r lines words bytes < <(LC_ALL=C wc <"$1")
  printf 'lines %s\nwords %s\nbytes %s\n' "$lines" "$words" "$bytes"
  LC_ALL=C tr -s '[:space:]' '\n' <"$1" | LC_ALL=C sort | LC_ALL=C uniq -c | LC_ALL=C sort -k1,1nr -k2 |
    LC_ALL=C sed -e '/^ *[0-9]* $/d' -e 's/\x00/\\x00/g' | head -n 10
}

# counts FILE CORES...: boots wordcount with FILE on its disk, with each of these numbers of cores.
counts() {
  local file=$1 cores report
  shift
  report=$(expected "$file")
  for cores in "$@"; do
    run wordcount --disk "$file" --cores "$cores" --net none
    expect_status 0
    expect_text "$report"$'\nwordcount: '"$cores"
  done
}

test_real_text() {
  tools/make-text.sh "$work/text" 60000001
  counts "$work/text" 1 2 4
}

test_default_text() {
  run wordcount --net none
  expect_status 0
  expect_text "$(expected build/text.txt)"
}

test_awkward_texts() {
  local text
  : >"$work/empty"
  printf 'no newline at the end' >"$work/no-newline"
  printf '\n' >"$work/newline"
  printf ' \t\n\v\f\r the   the\n' >"$work/spaces"
  printf 'zeros\0\0 at\0the end\0\0\0' >"$work/zeros"
  head -c 1000000 /dev/zero | tr '\0' x >"$work/one-word"
  for text in empty no-newline newline spaces zeros; do counts "$work/$text" 2; done
  run wordcount --disk "$work/one-word" --net none
  expect_status 0
  expect_text $'lines 0\nwords 1\nbytes 1000000\n      1 xxx'
  expect_text '... (1000000 bytes)'
  head -c 512 /dev/zero >"$work/zero-block"
  run wordcount --disk "$work/zero-block" --net none
  expect_text $'lines 0\nwords 0\nbytes 512\n      1 \\x00\\x00'
  expect_text '... (512 bytes)'
}

# What is not printable comes out as \xNN, so only the counts are compared.
test_binary_data() {
  local lines words bytes
  cp build/bios.bin "$work/binary"
  cat build/apps/wordcount.elf >>"$work/binary" 2>/dev/null
  read -r lines words bytes < <(LC_ALL=C wc <"$work/binary")
  run wordcount --disk "$work/binary" --net none
  expect_status 0
  expect_text "lines $lines"$'\n'"words $words"$'\n'"bytes $bytes"$'\n'
}

# The run script tells how long the file is, unless the arguments do.
test_length() {
  printf 'a b\n' >"$work/text"
  head -c 700 /dev/zero >>"$work/text"
  run wordcount --disk "$work/text" --net none
  expect_text $'lines 1\nwords 2\nbytes 704\n'
  run wordcount --disk "$work/text" --net none --args "once bytes=3"
  expect_text $'lines 0\nwords 2\nbytes 3\n'
  run wordcount --disk "$work/text" --net none --args bytes=1025
  expect_status 1
  expect_text 'bytes=1025 is more than disk 0 has: 1024 bytes'
}

# Without it, zeros that fill up the disk's last block are no text.
test_length_from_the_disk() {
  local command
  printf 'padded with zeros' >"$work/text"
  command=$(./run_x86-64.sh wordcount --accel tcg --net none --disk "$work/text" --print) || fail "$command"
  build/image disk build/apps/wordcount.bin "" "$work"/exo16.*/boot.img
  output=$(eval "timeout -s KILL 60 $command" 2>&1 </dev/null)
  expect_text $'lines 0\nwords 3\nbytes 17\n'
}

# Four cores share the one queue of a disk.
test_one_queue() {
  local command report
  tools/make-text.sh "$work/text" 5000000
  report=$(expected "$work/text")
  command=$(./run_x86-64.sh wordcount --accel tcg --cores 4 --net none --disk "$work/text" --print) || fail "$command"
  [[ $command == *num-queues=4* ]] || fail "the disk has no queues to be taken away: $command"
  output=$(eval "timeout -s KILL 60 ${command//num-queues=4/num-queues=1}" 2>&1 </dev/null)
  expect_text "$report"$'\nwordcount: 4'
}

test_bad_block() {
  local command
  tools/make-text.sh "$work/text" 3000000
  printf '[inject-error]\nevent = "read_aio"\nerrno = "5"\nsector = "3000"\nonce = "off"\n' >"$work/blkdebug"
  command=$(./run_x86-64.sh wordcount --accel tcg --net none --disk "$work/text" --print) || fail "$command"
  command=${command//file=$work\/text/file=blkdebug:$work\/blkdebug:$work\/text}
  output=$(eval "timeout -s KILL 60 $command" 2>&1 </dev/null)
  expect_text 'wordcount: disk 0 cannot be read in blocks '
  expect_text 'The device reported an error.'
  [[ $output != *$'\nwords '* ]] || fail "a report of a text that was not read whole: $output"
}

test_out_of_memory() {
  tools/make-text.sh "$work/text" 60000000
  run wordcount --disk "$work/text" --mem 16M --net none
  expect_status 1
  expect_text 'wordcount: out of memory'
  [[ $output != *$'\nwords '* ]] || fail "a report in spite of it: $output"
}

test_no_disk() {
  local command
  command=$(./run_x86-64.sh wordcount --accel tcg --net none --pvh --print) || fail "$command"
  command=$(sed -e "s/'-device' 'virtio-blk-pci,[^']*'//" <<<"$command")
  output=$(eval "timeout -s KILL 60 $command" 2>&1 </dev/null)
  expect_text 'wordcount: there is no text: this machine has no disk that the core has a driver for'
}

test_bad_arguments() {
  run wordcount --net none --args 'bytes=many'
  expect_status 1
  expect_text 'bytes=many is no argument or has a wrong value'
}

# asked ADDRESS TEXT: sends a message to the machine and prints what comes back within a second.
asked() {
  exec 3<>"/dev/udp/$1/7777"
  printf %s "$2" >&3
  timeout --foreground 1 dd bs=65536 count=1 status=none <&3
}

# cpu_time PROCESS: the processor time that it has used, in clock ticks.
cpu_time() {
  awk '{ sub(/.*\) /, ""); print $12 + $13 }' "/proc/$1/stat"
}

# answers: asks the machine that was booted three times, with a pause in which it has to be idle, and tells it to end.
answers() {
  local address=$1 report=$2 reply try qemu before used
  wait_for "$work/console" 'answers on UDP port' 60
  qemu=$(pgrep -P "$machine" qemu) || fail "there is no QEMU"
  for try in 1 2 3; do
    reply=$(asked "$address" "question $try")
    [ "$reply" = "$report" ] || fail "reply $try is: $reply"
    before=$(cpu_time "$qemu")
    sleep 2
    used=$(($(cpu_time "$qemu") - before))
    [ $used -le $((2 * $(getconf CLK_TCK) / 20)) ] || fail "waiting takes $used clock ticks of the processor in 2 s"
  done
  asked "$address" quit >/dev/null
  ended
  expect_status 0
  expect_text "$report"
}

answers_over_tap() {
  tools/make-text.sh "$work/text" 100001
  boot wordcount --disk "$work/text" --net tap:exo0 --args quit
  answers 10.0.2.15 "$(expected "$work/text")"
}

test_udp_over_tap() {
  in_network answers_over_tap
}

user_network() {
  tools/make-text.sh "$work/text" 100001
  boot wordcount --disk "$work/text" --args quit
  answers 127.0.0.1 "$(expected "$work/text")"
}

# In a namespace of its own, so that port 7777 is free.
test_udp_over_the_user_network() {
  in_network user_network
}

test_once() {
  printf 'a b a\n' >"$work/text"
  run wordcount --disk "$work/text" --args once
  expect_status 0
  expect_text $'lines 1\nwords 3\nbytes 6\n      2 a\n      1 b\n'
}
