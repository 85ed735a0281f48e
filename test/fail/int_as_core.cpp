// expect: no matching function for call
#include <exo/smp.hpp>

bool start(exo::job<void (*)()> &work) {
#ifndef EXO_WRONG
  return exo::run_on(exo::core_id{1}, work).has_value();
#else
  return exo::run_on(1, work).has_value();
#endif
}
