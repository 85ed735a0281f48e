// expect: cannot bind non-const lvalue reference
#include <exo/smp.hpp>

bool start() {
#ifndef EXO_WRONG
  exo::job work([] {});
  return exo::run_on(exo::core_id{1}, work).has_value();
#else
  return exo::run_on(exo::core_id{1}, exo::job([] {})).has_value();
#endif
}
