// expect: define EXO_PREEMPTION before the first include
#ifndef EXO_WRONG
#define EXO_PREEMPTION
#endif
#include <exo/fiber_preemption.hpp>

bool start() { return exo::preemption::start(std::chrono::milliseconds(1)).has_value(); }
