// expect: exo_screen_takes_1_to_65535_pixels
#include <exo/screen.hpp>

#ifndef EXO_WRONG
EXO_SCREEN(1024, 768);
#else
EXO_SCREEN(1024, 0);
#endif
