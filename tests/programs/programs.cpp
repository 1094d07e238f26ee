// Reads examples/*.quern once.
#include "tests/programs/programs.h"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <stdexcept>


namespace quern::test {

const std::vector<ExampleFile>& examples() {
  static const std::vector<ExampleFile> files = [] {
    std::vector<ExampleFile> out;
    for (const auto& entry : std::filesystem::directory_iterator(std::string(QUERN_SOURCE_DIR) + "/examples")) {
      if (entry.path().extension() != ".quern") continue;
      std::ifstream in(entry.path());
      std::stringstream text;
      text << in.rdbuf();
      out.push_back({entry.path().stem().string(), text.str(), fuzz::cases_of(text.str())});
    }
    std::sort(out.begin(), out.end(), [](const ExampleFile& a, const ExampleFile& b) { return a.name < b.name; });
    return out;
  }();
  return files;
}

const ExampleFile& example(const std::string& name) {
  for (const ExampleFile& f : examples())
    if (f.name == name) return f;
  throw std::runtime_error("no example " + name);
}

}  // namespace quern::test
