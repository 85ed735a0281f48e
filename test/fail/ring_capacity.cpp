// expect: the capacity must be a power of two
#include <exo/ring.hpp>

#ifndef EXO_WRONG
exo::spsc_ring<int, 64> ring;
#else
exo::spsc_ring<int, 100> ring;
#endif
