// Runs a fuzz target over files, without a fuzzer: TARGET FILE-OR-FOLDER...
#include <filesystem>
#include <fstream>
#include <iterator>

#include "fuzz.hpp"

extern "C" int LLVMFuzzerTestOneInput(std::uint8_t const *data, std::size_t bytes);

int main(int count, char **words) {
  std::size_t inputs = 0;
  auto const replay = [&](std::filesystem::path const &path) {
    std::ifstream file(path, std::ios::binary);
    if (!file) {
      std::fprintf(stderr, "fuzz: '%s' cannot be read.\n", path.c_str());
      std::exit(2);
    }
    std::vector<char> const bytes{std::istreambuf_iterator<char>(file), {}};
    std::printf("%s\n", path.c_str());  // the last one is the one that failed
    std::fflush(stdout);
    LLVMFuzzerTestOneInput(reinterpret_cast<std::uint8_t const *>(bytes.data()), bytes.size());
    ++inputs;
  };
  for (int index = 1; index < count; ++index) {
    if (!std::filesystem::is_directory(words[index])) {
      replay(words[index]);
      continue;
    }
    for (auto const &each : std::filesystem::recursive_directory_iterator(words[index])) {
      if (each.is_regular_file()) replay(each.path());
    }
  }
  if (inputs == 0) {
    std::fprintf(stderr, "fuzz: there is no input. Name files or a folder of them.\n");
    return 2;
  }
  std::printf("%zu inputs\n", inputs);
}
