# The programs that draw a picture on all cores and keep it on a disk, and the one that sorts a disk's text: what the disk has
# then is the same as from a process of this machine, whatever the cores.
# limit: 240

# keeps PROGRAM CORES...: the picture is right with so many cores.
keeps() {
  local program=$1 cores length
  shift
  truncate -s 1M "$work/native"
  run "$program" --native --disk "$work/native" --args "size=150x100 disk=0 once"
  expect_status 0
  length=$(sed -n "s/^$program: \([0-9]*\) bytes of PPM on disk 0.*/\1/p" <<<"$output")
  [ "$length" -eq $((15 + 3 * 150 * 100)) ] || fail "the length is no PPM's: $output"
  head -c 15 "$work/native" | cmp - <(printf 'P6\n150 100\n255\n') || fail "the header is no PPM's"
  [ "$(tail -c +16 "$work/native" | head -c $((length - 15)) | od -An -v -tx1 -w3 | sort -u | wc -l)" -gt 50 ] ||
    fail "the picture has few colours"
  for cores; do
    head -c 1M /dev/zero | tr '\0' x >"$work/disk"
    run "$program" --net none --cores "$cores" --disk "$work/disk" --args "size=150x100 disk=0 once"
    expect_status 0
    expect_text "$program: 150 x 100, $cores cores, "
    cmp -n "$length" "$work/disk" "$work/native" || fail "$cores cores draw another picture"
    # Zeros up to the block's end, and nothing behind it.
    length=$(((length + 511) / 512 * 512))
    cmp -n $length "$work/disk" "$work/native" || fail "there is something behind the picture in its last block"
    [ "$(tail -c +$((length + 1)) "$work/disk" | tr -d x | wc -c)" -eq 0 ] || fail "a block behind the picture changed"
  done
}

test_mandelbrot() {
  keeps mandelbrot 1 2 4 8
}

test_raytrace() {
  keeps raytrace 1 2
}

# On the screen it is the same picture, and it stays until a key is pressed.
test_on_the_screen() {
  source test/boot/monitor.bash
  truncate -s 1M "$work/native"
  run mandelbrot --native --disk "$work/native" --args "size=640x400 disk=0 once"
  expect_status 0
  EXO_CXXFLAGS= tools/program.sh apps/mandelbrot.cpp "$work/app" || fail "it does not build"
  command_line="size=640x400" shown bios "$work/app.bin"
  says "Press a key, here or on the machine's keyboard, to end."
  local tries
  echo "screendump $work/shot.ppm" >&$monitor
  for ((tries = 200; tries > 0; tries--)); do
    [ "$(stat -c %s "$work/shot.ppm" 2>/dev/null || echo 0)" -ne $((16 + 3 * 1024 * 768)) ] || break
    sleep 0.05
  done
  # Rows of 1,024 pixels, of which the first 640 are the picture.
  tail -c +17 "$work/shot.ppm" | od -An -v -tx1 -w3072 | head -n 400 | cut -c 1-$((3 * 3 * 640)) >"$work/shown"
  cmp "$work/shown" <(tail -c +16 "$work/native" | head -c $((3 * 640 * 400)) | od -An -v -tx1 -w1920) ||
    fail "the screen shows another picture"
  printf x >&$typed
  ends
  expect_status 0
}

# same_refusal PROGRAM STATUS TEXT ARGUMENTS: without a change of the disk.
same_refusal() {
  run "$1" --native --disk "$work/disk" --args "$4"
  expect_status "$2"
  expect_text "$1: "
  expect_text "$3"
  cmp "$work/disk" "$work/before" || fail "it wrote to the disk: $output"
}

test_refuses() {
  local program
  head -c 64K /dev/urandom >"$work/disk"
  printf '\x55\xAA' | dd of="$work/disk" bs=1 seek=510 conv=notrunc status=none
  cp "$work/disk" "$work/before"
  for program in mandelbrot raytrace sort; do
    same_refusal $program 2 "there are " other
    same_refusal $program 2 "disk=" disk=x
    same_refusal $program 1 "there is no disk 1: this machine has 1" disk=1
    same_refusal $program 1 "add the word force" disk=0
  done
  for program in mandelbrot raytrace; do
    for size in size=0x1 size=10 size=10x size=16385x1 size=x; do
      same_refusal $program 2 "as in size=640x480" $size
    done
    same_refusal $program 1 "Give it a larger disk, or a smaller size=WxH" "disk=0 force size=200x200"
  done
  same_refusal sort 2 "which disk?" ""
  same_refusal sort 2 "Say how long its text is" "disk=0 bytes=65537 force"
  same_refusal sort 2 "has no number" "disk=0 bytes=1k"
  run raytrace --net none --mem 8M --args size=4000x4000
  expect_status 1
  expect_text "there is no memory for 4000 x 4000 pixels"
  run mandelbrot --native --disk "$work/disk" --args "size=100x100 disk=0 force"
  expect_status 0
  head -c 15 "$work/disk" | cmp - <(printf 'P6\n100 100\n255\n') || fail "force does not write"
}

# sorted OPTIONS...: sorts $work/text on a machine, and compares with what Linux makes of it.
sorted() {
  local bytes
  cp "$work/text" "$work/disk"
  truncate -s %512 "$work/disk"
  LC_ALL=C sort "$work/text" >"$work/expected"
  bytes=$(stat -c %s "$work/expected")
  run sort --disk "$work/disk" --args disk=0 "$@"
  expect_status 0
  expect_text "sort: $(wc -l <"$work/expected") lines, $bytes bytes in order on disk 0"
  cmp -n "$bytes" "$work/disk" "$work/expected" || fail "the disk has another order"
}

# More text than half of the memory that two cores share.
test_sort() {
  local cores
  tools/make-text.sh "$work/text" 3000000
  for cores in 1 2; do
    sorted --net none --cores $cores --mem 12M
    expect_text "; $cores cores, "
  done
}

test_sort_awkward_texts() {
  local text
  printf 'b\na' >"$work/no-newline"
  printf '\n\n\na\n\n' >"$work/empty-lines"
  printf 'a\x01\na\na\tb\n\xFF\n\x7F\na\x00b\n' >"$work/bytes"
  head -c 200000 /dev/zero | tr '\0' a >"$work/one-line"
  seq 30000 -1 1 >"$work/backwards"
  { head -c 511 /dev/zero | tr '\0' z && echo && echo a; } >"$work/two-blocks"
  for text in no-newline empty-lines bytes one-line backwards two-blocks; do
    cp "$work/$text" "$work/text"
    sorted --native --cores 3
  done
  # What is behind the text stays, and without room for a newline nothing is sorted.
  printf 'b\na\nrest' >"$work/disk"
  truncate -s 1024 "$work/disk"
  run sort --native --disk "$work/disk" --args "disk=0 bytes=4"
  expect_status 0
  [ "$(head -c 8 "$work/disk" | tr '\n' ,)" = "a,b,rest" ] || fail "$(head -c 8 "$work/disk")"
  cp "$work/disk" "$work/before"
  run sort --native --disk "$work/disk" --args "disk=0 bytes=0"
  expect_status 0
  expect_text "0 lines, 0 bytes"
  cmp "$work/disk" "$work/before" || fail "no text, but the disk changed"
  head -c 512 /dev/zero | tr '\0' a >"$work/disk"
  cp "$work/disk" "$work/before"
  same_refusal sort 1 "has no room for one" disk=0
  truncate -s 8M "$work/disk"
  run sort --net none --mem 12M --disk "$work/disk" --args disk=0
  expect_status 1
  expect_text "the text does not fit into the memory twice"
}
