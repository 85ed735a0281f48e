// expect: no matching function for call to 'try_post
#include <exo/run.hpp>

#include <string>
#include <string_view>

bool send(std::string text) {
#ifndef EXO_WRONG
  return exo::try_post(exo::core_id{1}, [](std::string) noexcept {}, std::move(text)).has_value();
#else
  return exo::try_post(exo::core_id{1}, [](std::string_view) noexcept {}, std::string_view(text)).has_value();
#endif
}
