// Everything a program needs: include this and define main.
#pragma once

#include "block.hpp"
#include "console.hpp"
#include "core.hpp"
#include "disk.hpp"
#include "memory.hpp"
#include "pci.hpp"
#include "runtime.hpp"
#include "smp.hpp"
#include "system_heap.hpp"
#include "time.hpp"
