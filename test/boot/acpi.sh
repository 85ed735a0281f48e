# Firmware tables that are torn or lie: each is named on the console or left out, and the machine runs as far as it can.
#
# The tables are made here and given to the firmware in place of the machine's own: QEMU's interface for that is a table
# loader script of allocate, add-pointer and add-checksum commands (QEMU docs/specs, hw/acpi/bios-linker-loader.c).
source test/boot/machine.bash

# The program: what the core found.
found() {
  compile found <<'CPP'
#include <exo/exo.hpp>
int main() {
  exo::u32 ran = 0;
  std::atomic<exo::u32> here = 0;
  ran = exo::run_on_all([&] { ++here; });
  exo::u64 const features = exo::info().features;
  exo::u64 const end = exo::ticks() + exo::info().tsc_hz / 1000;
  while (exo::core().core_idle(end) != 0) {
  }
  exo::print("found: acpi {} ecam {} hpet {} listed {} ran {} {} pci {}\n", (features & exo::machine_acpi) != 0,
             (features & exo::machine_ecam) != 0, (features & exo::machine_hpet) != 0, exo::info().cores.size(), ran,
             here.load(), !exo::info().pci.empty());
}
CPP
}

tables_source() {
  cat <<'ASM'
%macro header 2
                db %1
                dd %2
                db 1, 0, "EXO16 TESTS   "
                dd 1
                db "EXO "
                dd 1
%endmacro
xsdt:           header "XSDT", XSDT_LENGTH
xsdt_list:      XSDT_ENTRIES
xsdt_end:
apic:           header "APIC", APIC_LENGTH
                dd 0xfee00000, 1
                APIC_ENTRIES
apic_end:
mcfg:           header "MCFG", MCFG_LENGTH
                dq 0, MCFG_BASE
                dw 0
                db MCFG_FIRST, MCFG_LAST
                dd 0
mcfg_end:
hpet:           header "HPET", HPET_LENGTH
                dd 0x8086a201
                db 0, 64, 0, 0
                dq HPET_BASE
                db 0
                dw 100
                db 0
hpet_end:
                times 4096 db 0
ASM
}

rsdp_source() {
  cat <<'ASM'
                db "RSD PTR ", RSDP_SUM, "EXO16 ", RSDP_REVISION
                dd RSDP_RSDT, 36
                dq RSDP_XSDT
                dd 0
ASM
}

# command NUMBER: prints a loader command; the rest of its 128 bytes is standard input.
loader_command() {
  {
    le 4 "$1"
    cat
    head -c 128 /dev/zero
  } | head -c 128
}
name56() {
  {
    printf %s "$1"
    head -c 56 /dev/zero
  } | head -c 56
}
allocate() {
  { name56 "$1"; le 4 64; le 1 "$2"; } | loader_command 1
}
add_pointer() { # DESTINATION OFFSET BYTES
  { name56 "$1"; name56 etc/acpi/tables; le 4 "$2"; le 1 "$3"; } | loader_command 2
}
add_checksum() { # FILE OFFSET START LENGTH
  { name56 "$1"; le 4 "$2"; le 4 "$3"; le 4 "$4"; } | loader_command 3
}

# tables NAME=VALUE...: makes the tables and boots the program with them. `no_checksum` names tables whose checksum stays
# wrong; `no_pointer` names those (rsdp, xsdt) whose pointers are given as they are; `sum_lengths` has other lengths for
# checksums.
no_checksum= no_pointer=
declare -A sum_lengths=()
tables() {
  local name at each
  settings=("$@")
  local -A place=() values=(
    [RSDP_SUM]=0 [RSDP_REVISION]=2 [RSDP_RSDT]=0 [RSDP_XSDT]=0
    [XSDT_LENGTH]="xsdt_end - xsdt" [XSDT_ENTRIES]="dq apic, mcfg, hpet"
    [APIC_LENGTH]="apic_end - apic" [APIC_ENTRIES]="db 0, 8, 0, 0, 1, 0, 0, 0, 0, 8, 1, 1, 1, 0, 0, 0"
    [MCFG_LENGTH]="mcfg_end - mcfg" [MCFG_BASE]=0xb0000000 [MCFG_FIRST]=0 [MCFG_LAST]=255
    [HPET_LENGTH]="hpet_end - hpet" [HPET_BASE]=0xfed00000)
  for each in "$@"; do values[${each%%=*}]=${each#*=}; done
  for name in "${!values[@]}"; do echo "%define $name ${values[$name]}"; done >"$work/values.inc"
  { cat "$work/values.inc"; tables_source; } >"$work/tables.asm"
  { cat "$work/values.inc"; rsdp_source; } >"$work/rsdp.asm"
  nasm -f bin --before "[map symbols $work/map]" "$work/tables.asm" -o "$work/tables" || fail "tables"
  nasm -f bin "$work/rsdp.asm" -o "$work/rsdp" || fail "rsdp"
  for name in xsdt xsdt_list xsdt_end apic apic_end mcfg mcfg_end hpet hpet_end; do
    place[$name]=$((16#$(awk -v name="$name" '$3 == name { print $1; exit }' "$work/map")))
  done
  {
    allocate etc/acpi/rsdp 2
    allocate etc/acpi/tables 1
    if [[ ${no_pointer-} != *xsdt* ]]; then
      for ((at = place[xsdt_list]; at < place[xsdt_end]; at += 8)); do add_pointer etc/acpi/tables $at 8; done
    fi
    for name in xsdt apic mcfg hpet; do
      [[ ${no_checksum-} == *$name* ]] || {
        patch "$work/tables" $((place[$name] + 9)) 1 0
        add_checksum etc/acpi/tables $((place[$name] + 9)) "${place[$name]}" \
          "${sum_lengths[$name]-$((place[${name}_end] - place[$name]))}"
      }
    done
    [[ ${no_pointer-} == *rsdp* ]] || add_pointer etc/acpi/rsdp 24 8
    [[ ${no_checksum-} == *rsdp* ]] || {
      add_checksum etc/acpi/rsdp 8 0 20
      add_checksum etc/acpi/rsdp 32 0 36
    }
  } >"$work/loader"
  for name in $no_checksum; do [ "$name" = rsdp ] || patch "$work/tables" $((place[$name] + 9)) 1 0x5a; done
  machine "$elf" -no-acpi -fw_cfg "name=etc/acpi/tables,file=$work/tables" -fw_cfg "name=etc/acpi/rsdp,file=$work/rsdp" \
    -fw_cfg "name=etc/table-loader,file=$work/loader"
  output=$(grep -v 'should be prefixed' <<<"$output")
  [ "$status" -eq 0 ] || fail "exit status $status with ${settings[*]}"$'\n'"$output"
}

# is TEXT: what the program found.
is() {
  [[ $output == *"found: $1"* ]] || fail "it is not: $1, with ${settings[*]}"$'\n'"$output"
}

test_tables_of_this_test() {
  found
  tables
  is "acpi true ecam true hpet true listed 2 ran 2 2 pci true"
  [[ $output != *exo16:* ]] || fail "something is named: $output"
}

# Where a table is left out, what it tells is missing and the rest is there.
test_wrong_checksum() {
  found
  no_checksum=apic tables
  is "acpi true ecam true hpet true listed 1 ran 1 1 pci true"
  expect_text "exo16: ACPI table APIC"
  no_checksum=mcfg tables
  is "acpi true ecam false hpet true listed 2 ran 2 2 pci true"
  expect_text "exo16: ACPI table MCFG"
  no_checksum=hpet tables
  is "acpi true ecam true hpet false listed 2 ran 2 2 pci true"
  expect_text "exo16: ACPI table HPET"
  no_checksum="apic mcfg hpet" tables
  is "acpi true ecam false hpet false listed 1 ran 1 1 pci true"
  no_checksum=xsdt tables
  is "acpi true ecam false hpet false listed 1 ran 1 1 pci true"
  expect_text "exo16: ACPI table XSDT"
}

test_wrong_length() {
  local length
  found
  for length in 0 1 8 35 0x200000 0x7fffffff 0xffffffff; do
    tables APIC_LENGTH=$length
    is "acpi true ecam true hpet true listed 1 ran 1 1 pci true"
    expect_text "exo16: ACPI table APIC"
  done
  for length in 0 35 0xffffffff; do
    tables XSDT_LENGTH=$length
    is "acpi true ecam false hpet false listed 1 ran 1 1 pci true"
    expect_text "exo16: ACPI table XSDT"
  done
}

# short TABLE LENGTH_NAME LENGTH: the checksum is right for the length that the table gives.
short() {
  sum_lengths=([$1]=$3)
  tables "$2=$3"
  sum_lengths=()
}

test_too_short_for_its_contents() {
  local length
  found
  for length in 36 43 44 45 51; do
    short apic APIC_LENGTH $length
    is "acpi true ecam true hpet true listed 1 ran 1 1 pci true"
  done
  for length in 36 44 45 59; do
    short mcfg MCFG_LENGTH $length
    is "acpi true ecam false hpet true listed 2 ran 2 2 pci true"
  done
  short xsdt XSDT_LENGTH 36
  is "acpi true ecam false hpet false listed 1 ran 1 1 pci true"
  short xsdt XSDT_LENGTH 43
  is "acpi true ecam false hpet false listed 1 ran 1 1 pci true"
  short xsdt XSDT_LENGTH 45
  is "acpi true ecam false hpet false listed 2 ran 2 2 pci true"
}

test_torn_core_entries() {
  local entries listed
  found
  while IFS=: read -r listed entries; do
    tables "APIC_ENTRIES=$entries"
    is "acpi true ecam true hpet true listed $listed ran $listed $listed pci true"
  done <<'ENTRIES'
2:db 0,8,0,0,1,0,0,0, 0,8,1,1,1,0,0,0, 0,0,0,0,0,0,0,0
1:db 0,0,0,0,1,0,0,0, 0,8,1,1,1,0,0,0
1:db 0,1,0,0,1,0,0,0, 0,8,1,1,1,0,0,0
2:db 0,8,0,0,1,0,0,0, 0,8,1,1,1,0,0,0, 0,255,2,2,1,0,0,0
2:db 0,8,0,0,1,0,0,0, 0,8,1,1,1,0,0,0, 0,8,2
2:db 0,8,0,0,1,0,0,0, 0,8,1,1,1,0,0,0, 9,16
2:db 0,8,0,0,1,0,0,0, 200,2, 0,8,1,1,1,0,0,0
2:db 0,8,0,0,1,0,0,0, 0,4,1,1, 0,8,1,1,1,0,0,0
1:db 0,8,0,0,1,0,0,0, 0,8,1,1,0,0,0,0
2:db 0,8,0,0,1,0,0,0, 0,8,1,1,1,0,0,0, 0,8,1,1,1,0,0,0, 0,8,0,0,1,0,0,0
2:db 0,8,1,1,1,0,0,0
2:db 9,16,0,0,0,0,0,0,1,0,0,0,0,0,0,0, 9,16,0,0,1,0,0,0,1,0,0,0,1,0,0,0
ENTRIES
}

test_cores_that_do_not_exist() {
  local entries
  found
  tables 'APIC_ENTRIES=db 0,8,0,0,1,0,0,0, 0,8,1,1,1,0,0,0, 0,8,2,77,1,0,0,0'
  is "acpi true ecam true hpet true listed 3 ran 2 2 pci true"
  expect_text "exo16: core 2 does not answer"
  tables 'APIC_ENTRIES=db 0,8,2,77,1,0,0,0, 0,8,1,1,1,0,0,0'
  is "acpi true ecam true hpet true listed 3 ran 2 2 pci true"
  expect_text "exo16: core 1 does not answer"
  # 255 means every core at once; ids of 32 bits that this local APIC cannot name.
  for entries in 'db 0,8,2,255,1,0,0,0, 0,8,1,1,1,0,0,0' 'db 9,16,0,0,1,1,0,0,1,0,0,0,2,0,0,0, 0,8,1,1,1,0,0,0' \
    'db 9,16,0,0,255,255,255,255,1,0,0,0,2,0,0,0, 0,8,1,1,1,0,0,0'; do
    tables "APIC_ENTRIES=$entries"
    expect_text " ran 2 2 pci true"
  done
}

test_pointers_to_nowhere() {
  local pointer
  found
  # To 0, to nothing at all, to registers, above what is mapped at boot, and to no address.
  for pointer in 0 0x7fe00000 0xfec00000 0x100000000 0x7000000000000000 -8; do
    no_pointer=xsdt tables "XSDT_ENTRIES=dq $pointer, $pointer"
    is "acpi true ecam false hpet false listed 1 ran 1 1 pci true"
    no_pointer=rsdp tables RSDP_XSDT="$pointer"
    is "acpi true ecam false hpet false listed 1 ran 1 1 pci true"
  done
}

test_pci_space_that_is_not_there() {
  found
  tables MCFG_BASE=0xd0000000
  is "acpi true ecam true hpet true listed 2 ran 2 2"
  tables MCFG_FIRST=1
  is "acpi true ecam false hpet true listed 2 ran 2 2 pci true"
}

test_clock_that_is_not_there() {
  found
  tables HPET_BASE=0xfed10000
  is "acpi true ecam true hpet true listed 2 ran 2 2 pci true"
  expect_text "exo16: no clock"
}
