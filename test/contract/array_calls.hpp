// What all calls with a device, a queue and an array refuse alike.
#pragma once

#include "../boot/check.hpp"

namespace check {

/// Asks a call of device 0, which is open with one queue, with each bad argument.
/// @param devices  how many there are
template <typename Entry>
void array_refuses(i64 (*routine)(u32, u32, Entry *, u32), u32 devices, Entry *array) {
  auto const call = calling(routine);
  for (u32 const none : {devices, 16u, 0x80000000u, ~0u}) call.refuses(error::no_such, none, 0, array, 1);
  for (u32 const queue : {1u, 128u, 255u, 0x80000000u, ~0u}) call.refuses(error::no_such, 0, queue, array, 1);
  call.refuses(error::pointer, 0, 0, nullptr, 1);
  call.refuses(error::pointer, 0, 0, nullptr, 0);
  for (u32 const off : {1u, 2u, 4u, 7u}) {
    call.refuses(error::pointer, 0, 0, reinterpret_cast<Entry *>(address(array) + off), 1);
  }
  call.gives(0, 0, 0, array, 0);
}

}  // namespace check
