# Exo16. `make help` lists what there is to make.

SHELL := /bin/bash
.DELETE_ON_ERROR:
.PHONY: all core symbols text usb test test-host test-fail test-fuzz test-boot test-contract soak sim fuzz bench size check abi-table clean help

apps := $(notdir $(basename $(wildcard apps/*.cpp)) $(patsubst %/,%,$(wildcard apps/*/)))

all: core
	@tools/need.sh run
	@for app in $(apps); do ./build_x86-64.sh $$app || exit; done

# Loader and core in one flat file, for each way to boot, and what makes images of them; for gdb ELF files of the core's
# labels and lines, which lie elsewhere in the core of direct boot.
core: build/bios.bin build/uefi.bin build/pvh.bin build/image
symbols: build/core.elf build/core-pvh.elf

core_sources := $(shell find src bootloader api/abi -name '*.asm' -o -name '*.inc')
build/%.bin: src/x86-64/core.asm $(core_sources) | build
	@tools/need.sh run
	nasm -f bin -I. -DLOADER=$* -l build/$*.lst --before '[map all build/$*.map]' -o $@ $<

build/image: tools/image.cpp $(wildcard tools/image/*.hpp) | build
	@tools/need.sh run
	g++ -std=c++23 -O2 -Wall -Wextra -Wconversion -o $@ $<

build/core.elf: loader := bios
build/core-pvh.elf: loader := pvh
build/core.elf: build/bios.bin
build/core-pvh.elf: build/pvh.bin
build/core.elf build/core-pvh.elf: tools/symbols.sh tools/listing.awk
	tools/symbols.sh build/$(loader).bin build/$(loader).lst build/$(loader).map $@

# PROGRAM=name and ARGS="command line", for other virtual machines and for a USB stick at DEVICE.
image_formats := qcow2 vmdk vdi vhdx iso
.PHONY: $(image_formats:%=image-%)
$(image_formats:%=image-%): image-%:
	@tools/image.sh $* "$$PROGRAM" "$$ARGS"
usb:
	@tools/usb.sh "$$DEVICE" "$$PROGRAM" "$$ARGS"
# As it is, dollars too.
override ARGS := $(value ARGS)
export PROGRAM ARGS DEVICE FORCE

build:
	mkdir -p build

# The text that wordcount counts when it is given no disk.
TEXT_BYTES := 16777216
text: build/text.txt
build/text.txt: tools/make-text.sh | build
	tools/make-text.sh $@.new $(TEXT_BYTES)
	mv $@.new $@

# The tests on this machine: one program for each file, all with the same main; and the fuzz targets, to replay inputs.
host_flags := $(shell top=. && . tools/flags.sh && echo "$${host_compile_flags[@]}")
build/host/%: test/host/%.cpp build/host/main.o tools/flags.sh
	@mkdir -p $(@D)
	g++ $(host_flags) -MMD -MP -MF $@.d -MT $@ -o $@ $< build/host/main.o
host_thread_flags := $(shell top=. && . tools/flags.sh && echo "$${host_thread_flags[@]}")
build/host-thread/%: test/host/%.cpp build/host/main.o tools/flags.sh
	@mkdir -p $(@D)
	g++ $(host_thread_flags) -MMD -MP -MF $@.d -MT $@ -o $@ $< build/host/main.o
build/host/main.o: test/host/main.cpp
	@mkdir -p $(@D)
	g++ -std=c++23 -c -o $@ $<
build/fuzz/%: test/fuzz/%.cpp build/fuzz/replay.o tools/flags.sh
	@mkdir -p $(@D)
	g++ $(host_flags) -MMD -MP -MF $@.d -MT $@ -o $@ $< build/fuzz/replay.o
build/fuzz/replay.o: test/fuzz/replay.cpp test/fuzz/fuzz.hpp
	@mkdir -p $(@D)
	g++ $(host_flags) -c -o $@ $<
-include $(foreach file,$(patsubst test/host/%.cpp,%,$(shell find test/host -name '*.cpp')),\
  build/host/$(file).d build/host-thread/$(file).d) $(patsubst test/%.cpp,build/%.d,$(shell find test/fuzz -name '*.cpp'))

# ONLY=pattern takes the tests whose name matches; the names are what the runner prints.
test:
	@tools/need.sh test
	@test/run.sh check host fail fuzz boot contract
test-host test-fail test-fuzz test-boot test-contract: test-%:
	@tools/need.sh test
	@test/run.sh $*
# A million operations of each device, one device at a time.
soak:
	@tools/need.sh test
	@JOBS=1 test/run.sh soak
check:
	@tools/need.sh test
	@test/run.sh check
export ONLY

# Feeds made-up inputs to the parsers for so long, to all of them or to TARGET; clang's libFuzzer.
SECONDS := 60
fuzz:
	@tools/fuzz.sh '$(SECONDS)' '$(TARGET)'

# A scenario in the simulated machine; SCENARIO, SEED, SEEDS and others as in tools/sim.sh.
sim:
	@tools/sim.sh
sim_runner_flags := $(shell top=. && . tools/flags.sh && echo "$${sim_runner_flags[@]}")
build/sim/sim: test/sim/main.cpp tools/flags.sh
	@mkdir -p $(@D)
	g++ $(sim_runner_flags) -MMD -MP -MF $@.d -MT $@ -o $@ $<
-include build/sim/sim.d
export SCENARIO SEED SEEDS FAULTS TRACE JOBS

bench: core
	@tools/need.sh test bench
	@test/bench/run.sh

size: core
	@tools/size.sh bios uefi

abi-table:
	tools/abi-table.sh doc/abi.md

clean:
	rm -rf build

help:
	@echo 'make              the core and an image of every program under apps/'
	@echo 'make test         every test; ends with the line "N passed, N failed"'
	@echo '                  ONLY=pattern takes some; test-host, -fail, -fuzz, -boot, -contract and check one kind'
	@echo 'make soak         a million operations of each device and two million wakes; half an hour or more; ONLY=pattern takes some'
	@echo 'make fuzz SECONDS=60 [TARGET=name]    looks for inputs that break a parser; see doc/inside.md'
	@echo 'make image-iso PROGRAM=name [ARGS="text"]    a CD that boots by BIOS and by UEFI'
	@echo 'make image-qcow2, image-vmdk, image-vdi, image-vhdx PROGRAM=name    disks of other virtual machines'
	@echo 'make usb DEVICE=/dev/... PROGRAM=name    writes a USB stick, see doc/physical.md'
	@echo 'make bench        the figures, one line each; ONLY=pattern takes some'
	@echo 'make size         bytes of the core by file'
	@echo 'make check        the rules of the house: size, contract, directions of includes, spelling of files'
	@echo 'make sim SCENARIO=name    runs a scenario in the simulated machine; SEED=, SEEDS=, see doc/simulator.md'
	@echo 'make abi-table    writes the table of doc/abi.md anew from api/abi'
	@echo 'make clean        removes build/'
	@echo './run_x86-64.sh --help    runs a program'
