// Programs that once failed on some device, judged on the device of `options`: regressions/*.quern, three sets of data each.
#pragma once

#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>

#include "tests/catch.h"
#include "tools/fuzz/apart.h"

namespace quern::test {

inline void regressions_agree(fuzz::JudgeOptions options) {
  int files = 0;
  for (const auto& entry : std::filesystem::directory_iterator(std::string(QUERN_SOURCE_DIR) + "/tests/fuzz/regressions")) {
    if (entry.path().extension() != ".quern") continue;
    ++files;
    std::ifstream in(entry.path());
    const std::string text{std::istreambuf_iterator<char>(in), {}};
    for (std::uint64_t seed = 1; seed <= 3; ++seed) {
      options.data_seed = seed;
      const fuzz::Verdict verdict = fuzz::judge_apart(text, options, 60);
      INFO(entry.path().filename().string() << ": " << fuzz::name(verdict.outcome) << ": " << verdict.message);
      CHECK(verdict.outcome == fuzz::Outcome::agree);
    }
  }
  CHECK(files > 0);
}

}  // namespace quern::test
