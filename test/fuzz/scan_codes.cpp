// Bytes of a keyboard in both sets: what is said to be down is down, and after any bytes a whole sequence is understood.
#include "fuzz.hpp"

#include <exo/scan_code.hpp>

void fuzz(std::span<std::byte const> input) {
  for (unsigned const set : {1u, 2u}) {
    exo::scan_decoder decoder(set);
    for (std::byte const each : input) {
      auto const event = decoder.take(std::to_integer<exo::u8>(each));
      if (event) demand(decoder.is_down(event->key) == event->pressed, "a key is not as its event says");
    }
    // An answer that belongs to no sequence ends whatever was begun; then the A key, which is no prefix of anything.
    (void)decoder.take(0xFF);
    auto const event = decoder.take(set == 1 ? 0x1E : 0x1C);
    demand(event && event->pressed && event->key == static_cast<exo::key>(0x1E), "a key is not understood any more");
  }
}
