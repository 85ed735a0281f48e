// expect: ignoring return value of
#pragma GCC diagnostic error "-Wunused-result"

#include <exo/channel.hpp>

void send(exo::channel<int, 4> &channel) {
#ifndef EXO_WRONG
  if (!channel.try_send(1)) channel.close();
#else
  channel.try_send(1);
#endif
}
