// Instructions from the core's first in 64-bit mode to main and to the program's entry; with the name of a way to boot as
// its argument those of the loader too, from where it goes on without firmware. Under UEFI a TSC tick is 1/8 instruction.
#include <exo/exo.hpp>
#include <string_view>

int main(int count, char **words) {
  exo::u64 const now = exo::ticks();
  exo::machine_info const &machine = exo::info();
  if (machine.cores.size() != 1 || machine.nics.size() != 1 || machine.disks.empty()) {
    exo::print("boot: this is not a machine of one core, one NIC and a disk\n");
    return 1;
  }
  if (count > 1) {
    exo::u64 const ticks = words[1] == std::string_view("uefi") ? 8 : 1;
    exo::print("figure boot-to-main-{} {} instructions\n", words[1], (now - machine.loader_tsc) / ticks);
    return 0;
  }
  exo::print("figure boot-to-entry {} instructions\n", machine.entry_tsc - machine.start_tsc);
  exo::print("figure boot-to-main {} instructions\n", now - machine.start_tsc);
}
