// The Mandelbrot set, pixel by pixel.
#pragma once

#include <exo/canvas.hpp>
#include <exo/core.hpp>

#include <algorithm>

namespace mandelbrot {

using exo::u32;

/// How many steps a point of the plane takes to leave the circle of radius 2; steps_max if it stays.
inline u32 steps_of(double real, double imaginary, u32 steps_max) {
  double x = 0;
  double y = 0;
  for (u32 step = 0; step < steps_max; ++step) {
    double const xx = x * x;
    double const yy = y * y;
    if (xx + yy > 4) return step;
    y = 2 * x * y + imaginary;
    x = xx - yy + real;
  }
  return steps_max;
}

/// The whole set in a picture of so many pixels.
class view {
 public:
  view(u32 width, u32 height, u32 steps_max) noexcept
      : step_(std::max(3.0 / width, 2.4 / height)), left_(-0.7 - step_ * width / 2), top_(step_ * height / 2),
        steps_max_(steps_max) {}

  [[nodiscard]] exo::colour operator()(u32 x, u32 y) const {
    u32 const steps = steps_of(left_ + step_ * x, top_ - step_ * y, steps_max_);
    if (steps == steps_max_) return exo::black;
    auto const wave = [](u32 at) {
      u32 const turn = at % 128;
      return static_cast<exo::u8>(turn < 64 ? 4 * turn : 4 * (127 - turn));
    };
    return {wave(3 * steps), wave(5 * steps + 20), wave(2 * steps + 50)};
  }

 private:
  double step_;  // from pixel to pixel
  double left_;
  double top_;
  u32 steps_max_;
};

}  // namespace mandelbrot
