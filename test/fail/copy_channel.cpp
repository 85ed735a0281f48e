// expect: use of deleted function
#include <exo/channel.hpp>

void send(exo::channel<int, 4> &channel) {
#ifndef EXO_WRONG
  exo::channel<int, 4> &same = channel;
#else
  exo::channel<int, 4> same = channel;
#endif
  static_cast<void>(same.try_send(1));
}
