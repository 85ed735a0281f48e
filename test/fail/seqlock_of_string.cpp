// expect: template constraint failure
#include <exo/lock.hpp>

#include <string>

#ifndef EXO_WRONG
exo::seqlock<int> shared;
#else
exo::seqlock<std::string> shared;
#endif
