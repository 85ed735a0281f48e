// expect: what comes back from another core has to own what it holds
#include <exo/on.hpp>

#include <span>

exo::task<exo::result<void>> ask() {
#ifndef EXO_WRONG
  auto const got = co_await exo::on(exo::core_id{1}, [] { return 1; });
#else
  auto const got = co_await exo::on(exo::core_id{1}, [] { return std::span<int>(); });
#endif
  if (!got) co_return std::unexpected(got.error());
  co_return {};
}
