// The Linux guest that forward.sh compares with: loads its modules, makes a bridge of eth0 and eth1, and stays.
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <initializer_list>
#include <linux/sockios.h>
#include <net/if.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "modules.hpp"

namespace {

[[noreturn]] void fail(char const *what) {
  std::perror(what);
  for (;;) pause();
}

void up(int control, char const *name) {
  ifreq request{};
  std::strcpy(request.ifr_name, name);
  request.ifr_flags = IFF_UP;
  if (ioctl(control, SIOCSIFFLAGS, &request) != 0) fail(name);
}

}  // namespace

int main() {
  load_modules([](char const *path) { fail(path); });
  int const control = socket(AF_UNIX, SOCK_DGRAM, 0);
  if (control < 0 || ioctl(control, SIOCBRADDBR, "br0") != 0) fail("br0");
  for (char const *name : {"eth0", "eth1"}) {
    ifreq request{};
    std::strcpy(request.ifr_name, "br0");
    request.ifr_ifindex = static_cast<int>(if_nametoindex(name));
    if (ioctl(control, SIOCBRADDIF, &request) != 0) fail(name);
    up(control, name);
  }
  up(control, "br0");
  std::puts("ready");
  std::fflush(stdout);
  for (;;) pause();
}
