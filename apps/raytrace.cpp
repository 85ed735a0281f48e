// A ray tracer: mirrors, shadows and a chequered floor, drawn by all cores: on the screen, if there is one, and as a PPM
// file on a disk.
//
//   ./run_x86-64.sh raytrace --cores 4 -- -display gtk
//   truncate -s 8M disk && ./run_x86-64.sh raytrace --disk disk --args "disk=0 once"
//
// picture.hpp has all arguments, and what happens to the pixels.
#include <emmintrin.h>

#include <algorithm>
#include <array>
#include <optional>

#include "picture.hpp"

namespace {

using exo::u32;

double root(double of) { return _mm_cvtsd_f64(_mm_sqrt_sd(_mm_setzero_pd(), _mm_set_sd(of))); }

/// A point, a direction, or a light's red, green and blue.
struct vector {
  double x = 0, y = 0, z = 0;

  friend vector operator+(vector a, vector b) { return {a.x + b.x, a.y + b.y, a.z + b.z}; }
  friend vector operator-(vector a, vector b) { return {a.x - b.x, a.y - b.y, a.z - b.z}; }
  friend vector operator*(double factor, vector a) { return {factor * a.x, factor * a.y, factor * a.z}; }
  friend vector operator*(vector a, vector b) { return {a.x * b.x, a.y * b.y, a.z * b.z}; }
};
double dot(vector a, vector b) { return a.x * b.x + a.y * b.y + a.z * b.z; }
vector unit(vector a) { return 1 / root(dot(a, a)) * a; }
vector mirrored(vector along, vector normal) { return along - 2 * dot(along, normal) * normal; }

struct ray {
  vector from;
  vector along;  // a unit
};

struct surface {
  vector tint;
  double mirror;  // how much of the light it reflects as a mirror does, 0 to 1
};

struct ball {
  vector centre;
  double radius;
  surface skin;
};

constexpr std::array balls{ball{{0, 1, 0}, 1, {{0.9, 0.9, 0.9}, 0.8}},
                           ball{{-2.2, 0.8, -0.6}, 0.8, {{0.9, 0.2, 0.15}, 0.25}},
                           ball{{2, 0.7, -0.9}, 0.7, {{0.15, 0.35, 0.9}, 0.25}},
                           ball{{0.9, 0.4, -2.1}, 0.4, {{0.95, 0.75, 0.2}, 0.4}},
                           ball{{-0.9, 0.35, -2.3}, 0.35, {{0.25, 0.8, 0.35}, 0.15}},
                           ball{{0.6, 2.6, 2.5}, 1.4, {{0.85, 0.6, 0.9}, 0.5}}};
constexpr vector eye{0, 1.9, -6.5};
constexpr vector look_at{0, 0.9, 0};
constexpr double near_by = 1e-6;  // closer than that a ray meets the surface that it comes from
constexpr double far_away = 1e9;
constexpr int bounces_most = 5;

struct hit {
  double distance;
  vector place;
  vector normal;
  surface skin;
};

/// How far along a ray a ball is met.
std::optional<double> meets(ray const &light, ball const &what) {
  vector const offset = light.from - what.centre;
  double const half = dot(offset, light.along);
  double const square = half * half - dot(offset, offset) + what.radius * what.radius;
  if (square < 0) return std::nullopt;
  for (double const distance : {-half - root(square), -half + root(square)}) {
    if (distance > near_by) return distance;
  }
  return std::nullopt;
}

/// The first thing that a ray meets: a ball, or the floor at y = 0.
std::optional<hit> first_hit(ray const &light) {
  std::optional<hit> found;
  if (light.along.y < 0) {
    double const distance = -light.from.y / light.along.y;
    if (distance > near_by && distance < far_away) {
      vector const place = light.from + distance * light.along;
      auto const square = [](double at) { return static_cast<exo::i64>(at + far_away); };  // rounded down
      bool const dark = (square(place.x) + square(place.z)) % 2 != 0;
      found = {distance, place, {0, 1, 0}, {dark ? vector{0.15, 0.15, 0.18} : vector{0.85, 0.85, 0.8}, 0.15}};
    }
  }
  for (ball const &each : balls) {
    auto const distance = meets(light, each);
    if (!distance || (found && *distance >= found->distance)) continue;
    vector const place = light.from + *distance * light.along;
    found = {*distance, place, 1 / each.radius * (place - each.centre), each.skin};
  }
  return found;
}

/// The light that comes back along a ray.
vector trace(ray light) {
  vector const sun = unit({-0.6, 1, -0.7});
  vector seen;
  vector share{1, 1, 1};  // of what comes from farther on
  for (int bounce = 0; bounce < bounces_most; ++bounce) {
    auto const found = first_hit(light);
    if (!found) {
      double const height = std::max(light.along.y, 0.0);
      return seen + share * (height * vector{0.25, 0.45, 0.85} + (1 - height) * vector{0.75, 0.85, 0.95});
    }
    bool const lit = !first_hit({found->place + near_by * found->normal, sun});
    double const bright = 0.2 + (lit ? 0.8 * std::max(dot(found->normal, sun), 0.0) : 0);
    seen = seen + (1 - found->skin.mirror) * bright * (share * found->skin.tint);
    share = found->skin.mirror * (share * found->skin.tint);
    light = {found->place + near_by * found->normal, mirrored(light.along, found->normal)};
  }
  return seen;
}

/// What the eye sees through each pixel: the mean of four rays.
class camera {
 public:
  camera(u32 width, u32 height)
      : width_(width), height_(height), forward_(unit(look_at - eye)), right_(unit({forward_.z, 0, -forward_.x})),
        up_{forward_.y * right_.z - forward_.z * right_.y, forward_.z * right_.x - forward_.x * right_.z,
            forward_.x * right_.y - forward_.y * right_.x} {}

  [[nodiscard]] exo::colour operator()(u32 x, u32 y) const {
    vector sum;
    for (double const dx : {0.25, 0.75}) {
      for (double const dy : {0.25, 0.75}) {
        double const across = (2 * (x + dx) - width_) / height_, down = (2 * (y + dy) - height_) / height_;
        sum = sum + trace({eye, unit(1.8 * forward_ + across * right_ - down * up_)});
      }
    }
    // Screens show about the square of a number.
    auto const level = [](double light) { return static_cast<exo::u8>(255 * root(std::clamp(light / 4, 0.0, 1.0))); };
    return {level(sum.x), level(sum.y), level(sum.z)};
  }

 private:
  double width_;
  double height_;
  vector forward_;
  vector right_;
  vector up_;
};

}  // namespace

int main(int argc, char **argv) {
  return picture::run("raytrace", argc, argv, [](u32 width, u32 height) { return camera(width, height); });
}
