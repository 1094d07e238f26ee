// See entries.h.
#include "tests/cuda_runtime/driver/entries.h"

#include <regex>

namespace quern_test {

std::vector<std::string> entries_of(const std::string& text) {
  static const std::regex head(R"re((\w+)\s*\(\s*const\s+__grid_constant__)re");
  std::vector<std::string> names;
  for (std::sregex_iterator it(text.begin(), text.end(), head), end; it != end; ++it) names.push_back((*it)[1].str());
  return names;
}

}  // namespace quern_test
