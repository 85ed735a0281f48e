#include <exo/exo.hpp>

int main() {
  exo::print("Hello from {} cores\n", exo::core_count());
}
