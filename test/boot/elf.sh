# Program files: of every size, at every address, and every kind that cannot be run.
source test/boot/machine.bash

# What the core says.
no_elf="no static x86-64 ELF64 program"
cut_off="the program is cut off"
bad_place="segments overlap, unsorted or below 2 MiB"
writable_code="a segment is writable code"
bad_entry="the entry is not in the code"
no_ram="no RAM at the program's addresses"
no_room="no RAM for the program"
little_ram="too little RAM"

# Offsets in an ELF64 file.
class=4 kind=16 target=18 entry=24 headers=32 header_bytes=54 header_count=56
first_header=64                               # the program headers; each has 56 bytes
flags=4 offset=8 address=16 file_bytes=32 bytes=40

# hello FLAGS...: a small program in several segments, with two cores and something in .data and .bss.
hello() {
  compile hello "$@" <<'CPP'
#include <exo/exo.hpp>
static int volatile data = 1234;
static int volatile zeros[5000];
int main() {
  int sum = 0;
  for (int volatile &each : zeros) sum += each;
  exo::print("right: {} {} {}\n", data, sum, exo::core_count());
}
CPP
}

runs() {
  machine "$@"
  expect_status 0
  expect_text "right: 1234 0 2"
}

# header N: sets `at` to the file offset of the N-th PT_LOAD header of the program.
header() {
  at=$(($(LC_ALL=C readelf -lW "$elf" | awk -v n="$1" '/^  [A-Z]/ && $2 ~ /^0x/ { if ($1 == "LOAD" && n-- == 0) print 64 + row * 56; row++ }')))
  [ "$at" -ge 64 ] || fail "there is no segment $1"
}

test_one_kibibyte() {
  cat >"$work/tiny.asm" <<'ASM'
                bits 64
                org 0x200000
                db 0x7f, "ELF", 2, 1, 1
                times 9 db 0
                dw 2, 62
                dd 1
                dq start, program_segment - $$, 0
                dd 0
                dw 64, 56, 1, 0, 0, 0
program_segment: dd 1, 5
                dq 0, $$, $$, 1024, 1024, 4096
start:          mov rax, rdi
                mov edi, text
                mov esi, 5
                call [rax + 32 + 2 * 8]                 ; console_write, behind the header
                mov eax, 42
                ret
text:           db "tiny", 10
                times 1024 - ($ - $$) db 0
ASM
  nasm -f bin "$work/tiny.asm" -o "$work/tiny"
  [ "$(stat -c %s "$work/tiny")" -eq 1024 ] || fail "it has not 1 KiB"
  machine "$work/tiny"
  expect_status 42
  expect_text tiny
  machine "$work/tiny" -m 4M -smp 1
  expect_status 42
}

# A program with BYTES of data, whose checksum it prints as cksum does.
with_data() {
  head -c "$1" /dev/urandom >"$work/data"
  compile data "${@:2}" <<CPP
#include <exo/exo.hpp>
#include <array>
asm(".section .data\n.globl payload, payload_end\npayload: .incbin \"$work/data\"\npayload_end: .byte 0\n.previous");
extern "C" unsigned char payload[], payload_end[];
int main() {
  std::array<exo::u32, 256> table{};
  for (exo::u32 index = 0; index < 256; ++index) {
    exo::u32 value = index << 24;
    for (int bit = 0; bit < 8; ++bit) value = value << 1 ^ (value >> 31 ? 0x04C11DB7 : 0);
    table[index] = value;
  }
  exo::u32 sum = 0;
  auto const add = [&](exo::u32 byte) { sum = sum << 8 ^ table[sum >> 24 ^ byte]; };
  for (unsigned char const *at = payload; at != payload_end; ++at) add(*at);
  for (exo::u64 left = $1; left != 0; left >>= 8) add(left & 255);
  exo::print("cksum {}\n", ~sum);
}
CPP
}

sized() {
  machine "$elf" "${@:2}"
  expect_status 0
  expect_text "cksum $(cksum <"$work/data" | cut -d ' ' -f 1)"
}

test_sizes_to_4_mebibytes() {
  local size
  for size in 1 5000 100000 1048576 4194305; do
    with_data $size
    sized $size
  done
}

test_64_mebibytes() {
  with_data 67108864
  sized 67108864 -m 96M
}

test_64_mebibytes_moved_up() {
  with_data 67108864 -Wl,-Ttext-segment=0x400000
  sized 67108864 -m 256M
}

test_default_address() {
  hello -Wl,-Ttext-segment=0x400000
  runs "$elf"
}

test_high_address() {
  hello -Wl,-Ttext-segment=0x8000000
  runs "$elf"
}

test_no_elf() {
  local size
  : >"$work/file"
  boot_refuses "holds no program" "$work/file"
  for size in 1 4 10 63 64 5000; do
    head -c $size /dev/zero | tr '\0' x >"$work/file"
    boot_refuses "$no_elf" "$work/file"
  done
  head -c 300000 build/bios.bin >"$work/file"
  boot_refuses "$no_elf" "$work/file"
}

test_another_elf() {
  local change
  hello
  # 32-bit; big endian; version; relocatable; shared; core dump; 386; ARM; other program headers; none; too many
  for change in "$class 1 1" "5 1 2" "6 1 2" "$kind 2 1" "$kind 2 3" "$kind 2 4" "$target 2 3" "$target 2 183" \
    "$header_bytes 2 32" "$header_bytes 2 0" "$header_count 2 0" "$header_count 2 65535"; do
    cp "$elf" "$work/other"
    # shellcheck disable=SC2086  # three arguments
    patch "$work/other" $change
    boot_refuses "$no_elf" "$work/other"
  done
}

test_position_independent() {
  echo 'extern "C" int _start() { return 0; }' >"$work/pie.cpp"
  g++ -nostdlib -static-pie -fPIE -o "$work/pie" "$work/pie.cpp"
  boot_refuses "$no_elf" "$work/pie"
  g++ -nostdlib -shared -fPIC -o "$work/pie" "$work/pie.cpp"
  boot_refuses "$no_elf" "$work/pie"
}

test_truncated() {
  local size whole
  hello
  whole=$(stat -c %s "$elf")
  header 3
  last=$(($(od -An -tu8 -j $((at + offset)) -N 8 "$elf") + $(od -An -tu8 -j $((at + file_bytes)) -N 8 "$elf")))
  for size in 65 100 119 120 300 4096 4097 $((last / 2)) $((last - 1)); do
    head -c "$size" "$elf" >"$work/cut"
    boot_refuses "$cut_off" "$work/cut"
  done
  cp "$elf" "$work/cut"
  patch "$work/cut" $headers 8 "$whole"
  boot_refuses "$cut_off" "$work/cut"
  for where in 0x7fffffffffffffff -1 -64; do
    patch "$work/cut" $headers 8 $where
    boot_refuses "$cut_off" "$work/cut"
  done
}

test_writable_code() {
  local segment
  for segment in 0 1 2 3; do
    hello
    header $segment
    patch "$elf" $((at + flags)) 4 7
    boot_refuses "$writable_code" "$elf"
  done
}

test_over_the_core() {
  hello -Wl,-Ttext-segment=0x100000
  boot_refuses "$bad_place" "$elf"
  hello -Wl,-Ttext-segment=0x1ff000
  boot_refuses "$bad_place" "$elf"
  hello
  header 0
  patch "$elf" $((at + address)) 8 0
  boot_refuses "$bad_place" "$elf"
}

test_segments_over_each_other() {
  local place
  hello
  header 1
  for place in 0x200000 0x1ff000 0x200008; do
    patch "$elf" $((at + address)) 8 $place
    boot_refuses "$bad_place" "$elf"
  done
}

# Two segments in one page cannot have their own access.
test_segments_in_one_page() {
  hello
  header 1
  patch "$elf" $((at + address)) 8 0x200ff8
  boot_refuses "exo16: " "$elf"
}

test_wrong_lengths() {
  local value field start
  hello
  cp "$elf" "$work/right"
  header 1
  for value in -1 -4096 0x7fffffffffffffff 0x100000000; do
    for field in $offset $file_bytes $bytes; do
      cp "$work/right" "$elf"
      patch "$elf" $((at + field)) 8 $value
      boot_refuses "exo16: " "$elf"
    done
  done
  cp "$work/right" "$elf"
  patch "$elf" $((at + bytes)) 8 1 # less than in the file
  boot_refuses "exo16: " "$elf"
  # The last segment ends at the end of all addresses, or in the page before.
  cp "$work/right" "$elf"
  header 3
  start=$(($(od -An -tu8 -j $((at + address)) -N 8 "$elf")))
  for value in $((-1 - start)) $((-4095 - start)) $((-4096 - start)) $(((1 << 47) - start)) $(((1 << 47) - start + 1)); do
    patch "$elf" $((at + bytes)) 8 "$value"
    boot_refuses "exo16: " "$elf"
  done
}

test_beyond_ram() {
  hello -Wl,-Ttext-segment=0x40000000
  boot_refuses "$no_ram" "$elf"
  hello
  header 3
  patch "$elf" $((at + address)) 8 0xfec00000
  boot_refuses "$no_ram" "$elf"
  patch "$elf" $((at + address)) 8 0x7ffffffff000
  boot_refuses "exo16: " "$elf"
}

test_too_big_for_the_machine() {
  with_data 8000000
  boot_refuses "$no_room" "$elf" -m 8M
  compile zeros <<'CPP'
#include <exo/exo.hpp>
static char volatile zeros[300 << 20];
int main(int argc, char **) { return zeros[argc]; }
CPP
  boot_refuses "$no_ram" "$elf"
}

test_entry_outside_code() {
  local place
  hello
  for place in 0 0x1fffff 0x200000 0x100000 0x7fffffffffff -1; do
    patch "$elf" $entry 8 $place
    boot_refuses "$bad_entry" "$elf"
  done
  header 3
  patch "$elf" $entry 8 $(($(od -An -tu8 -j $((at + address)) -N 8 "$elf")))
  boot_refuses "$bad_entry" "$elf"
}

test_big_bss_is_zero() {
  compile zeros <<'CPP'
#include <exo/exo.hpp>
static exo::u64 volatile zeros[100 << 17];
int main() {
  exo::u64 sum = 0;
  for (exo::u64 volatile &each : zeros) sum |= each;
  for (exo::u64 at = 0; at < 100 << 17; at += 512) zeros[at] = at;
  for (exo::u64 at = 0; at < 100 << 17; at += 512) sum |= zeros[at] ^ at;
  exo::print("sum {}\n", sum);
}
CPP
  machine "$elf"
  expect_status 0
  expect_text "sum 0"
  machine "$elf" -m 128M
  expect_text "sum 0"
}

test_stack_sizes() {
  local size
  for size in 4096 5000 65536 1048576 33554432; do
    compile stack "-Wl,-z,stack-size=$size" <<'CPP'
#include <exo/exo.hpp>
#include <cstdlib>
using exo::u64;
static u64 down(u64 left) {
  char volatile room[512];
  room[0] = 1;
  return left < 1024 ? room[0] : down(left - 1024) + room[0];
}
int main(int, char **argv) {
  u64 bytes = 0;
  for (char const *at = argv[1]; *at != 0; ++at) bytes = bytes * 10 + static_cast<u64>(*at - '0');
  for (exo::core_record const &core : exo::info().cores) {
    if (core.stack_bytes != (bytes + 4095) / 4096 * 4096) exo::print("a stack of {}\n", core.stack_bytes);
  }
  exo::run_on_all([&] { down(bytes - bytes / 3); });
  exo::print("used {}\n", bytes);
}
CPP
    command_line=$size
    machine "$elf"
    expect_status 0
    expect_text "used $size"
    [[ $output != *"a stack of"* ]] || fail "the cores have another stack size: $output"
  done
  command_line=
}

test_too_much_stack() {
  local size
  for size in 0x10000000 0x40000000 0x40001000 0x100000000 0x7fffffffffffffff; do
    hello "-Wl,-z,stack-size=$size"
    boot_refuses "$little_ram" "$elf"
  done
}
