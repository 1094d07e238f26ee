// Reads examples/*.quern once.
#include "tests/programs/programs.h"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <stdexcept>

#include "tools/fuzz/front.h"

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

fuzz::Case with_layout(const std::string& text, fuzz::Case which, const std::string& layout) {
  const fuzz::Checked checked = fuzz::check_case(text, which);
  if (!checked.program) return which;
  for (const ir::TensorId id : checked.program->parameters) {
    std::string& kind = which.settings[checked.program->tensors[id].name];
    bool inout = false;
    for (const ir::Tensor& t : checked.program->tensors) inout |= t.entry && *t.entry == id;
    kind = (kind.empty() ? "normal" : kind) + '/' + (inout && layout == "broadcast" ? "offset" : layout);
  }
  return which;
}

}  // namespace quern::test
