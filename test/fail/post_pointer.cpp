// expect: no matching function for call to 'try_post
#include <exo/run.hpp>

bool send(int &value) {
#ifndef EXO_WRONG
  return exo::try_post(exo::core_id{1}, [](exo::loan<int> it) noexcept { ++*it; }, exo::lend(value)).has_value();
#else
  return exo::try_post(exo::core_id{1}, [](int *it) noexcept { ++*it; }, &value).has_value();
#endif
}
