// The test program's main; one file per header beside it.
#define CATCH_CONFIG_MAIN
#include <catch2/catch.hpp>
