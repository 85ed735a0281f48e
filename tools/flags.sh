# The compiler's and linker's flags, in one place. Sourced by bash scripts that have set `top`, the repository.
# EXO_CXXFLAGS in the environment adds flags to guest programs.

# A result that is not used is an error: see api/exo/task.hpp.
warning_flags=(-Wall -Wextra -Wconversion -Werror=unused-result)

# A guest program has no operating system: no exceptions, no RTTI, a fixed address.
guest_compile_flags=(
  -std=c++23 -O2 -g "${warning_flags[@]}" -fno-exceptions -fno-rtti -fno-pic -mcmodel=small
  -fno-omit-frame-pointer -fstack-protector-strong -fcf-protection=none
  -fno-asynchronous-unwind-tables -U_FORTIFY_SOURCE
  -ffunction-sections -fdata-sections -I "$top/api"
)
# The program begins at 2 MiB, right above the core, so that a machine of 4 MiB has room for it.
guest_link_flags=(
  -nostdlib -static -no-pie -Wl,-Ttext-segment=0x200000 -Wl,-z,max-page-size=4096
  -Wl,--gc-sections -Wl,--build-id=none -Wl,-z,norelro -Wl,-z,noexecstack
)
guest_link_high=-Wl,-Ttext-segment=0x1000000
guest_libraries=(-Wl,--start-group -lstdc++ -lgcc -Wl,--end-group)

# A host test runs the same headers over a call table of its own. Without -O, because most of its time is compiling.
host_compile_flags=(
  -std=c++23 -g -DEXO_HOST "${warning_flags[@]}" -Wno-missing-field-initializers
  -fsanitize=address,undefined -fno-sanitize-recover=undefined -I "$top/api" -I "$top/test/host"
)
# The same where threads meet: with the thread sanitizer, and fast enough for many rounds.
host_thread_flags=(
  "${host_compile_flags[@]/-fsanitize=*/-fsanitize=thread}" -O1
)

# The native backend: the same program as a process, with libstdc++ and libc under it. Its addresses are those of the file,
# so that profiles can be read.
native_compile_flags=(
  -std=c++23 -O2 -g -DEXO_HOST "${warning_flags[@]}" -fno-exceptions -fno-rtti -fno-pie -fno-omit-frame-pointer -I "$top/api"
)
native_link_flags=(-no-pie -Wl,--wrap=main)

# The simulator: it is built once, programs for it are shared objects. The compiler notes atomic operations as for the
# thread sanitizer, whose library test/sim/atomics.cpp replaces; nothing of a program is shared with another copy of it.
sim_compile_flags=(
  -std=c++23 -O2 -g -DEXO_HOST "${warning_flags[@]}" -fno-exceptions -fno-rtti -fno-omit-frame-pointer
  -fPIC -fno-stack-protector -I "$top/api" -I "$top/test"
)
sim_program_flags=(-fsanitize=thread)
sim_gcc_flags=(-fno-gnu-unique -Wno-tsan)
sim_link_flags=(-shared -static-libstdc++ -static-libgcc -Wl,-Bsymbolic -Wl,--exclude-libs,ALL)
sim_runner_flags=(
  -std=c++23 -O2 -g -DEXO_HOST "${warning_flags[@]}" -Wno-missing-field-initializers -I "$top/api" -I "$top" -I "$top/test"
)
