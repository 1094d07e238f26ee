// The examples with small random damage: each is refused with messages, or it checks to a program that verifies. Nothing
// crashes, nothing is an internal error. Failures print their seed.
#include <algorithm>
#include <filesystem>
#include <fstream>
#include <random>
#include <sstream>

#include "dsl/syntax/lexer.h"
#include "tests/catch.h"
#include "tests/whole_tensor/translate.h"

using namespace quern::dsl;

namespace {

/// The kernels of the examples, each a text of its own, as tokens with the space before them.
std::vector<std::vector<std::string>> kernels() {
  std::vector<std::filesystem::path> files;
  for (const auto& entry : std::filesystem::directory_iterator(QUERN_SOURCE_DIR "/examples")) {
    if (entry.path().extension() == ".quern") files.push_back(entry.path());
  }
  std::sort(files.begin(), files.end());
  std::vector<std::vector<std::string>> result;
  for (const auto& path : files) {
    std::ifstream in(path);
    std::stringstream text;
    text << in.rdbuf();
    const Source source(path.filename().string(), text.str());
    Diagnostics diagnostics;
    for (const ast::Item& item : parse(source, diagnostics).items) {
      if (!std::holds_alternative<ast::Kernel>(item.node)) continue;
      const Source own("kernel", std::string(source.slice(item.span)));
      Diagnostics none;
      std::vector<std::string> words;
      for (const Token& token : tokenize(own, none).list) {
        words.push_back(fmt::format("{}{}", token.starts_line ? "\n" : " ", own.slice(token.span)));
      }
      result.push_back(std::move(words));
    }
  }
  return result;
}

}  // namespace

TEST_CASE("damaged examples") {
  const auto all = kernels();
  REQUIRE(all.size() > 40);
  int accepted = 0;
  constexpr std::uint32_t kSeeds = 6000;
  for (std::uint32_t seed = 0; seed < kSeeds; ++seed) {
    std::mt19937 random(seed);
    std::vector<std::string> words = all[random() % all.size()];
    for (std::uint32_t n = 1 + random() % 2; n > 0; --n) {
      const std::size_t a = random() % words.size(), b = random() % words.size();
      switch (random() % 4) {
        case 0: words[a] = words[b]; break;
        case 1: words.erase(words.begin() + static_cast<std::ptrdiff_t>(a)); break;
        case 2: words.insert(words.begin() + static_cast<std::ptrdiff_t>(a), words[b]); break;
        default: std::swap(words[a], words[b]);
      }
    }
    std::string text;
    for (const std::string& word : words) text += word;
    INFO("REPRO: seed " << seed << "\n" << text);
    const test::Translated result = test::translate(text);
    CHECK(result.messages.find("internal") == std::string::npos);
    CHECK(result.messages.empty() == !result.text.empty());
    CHECK(result.faults == std::vector<std::string>{});
    accepted += !result.text.empty();
  }
  CHECK(accepted > 100);
  CHECK(accepted < static_cast<int>(kSeeds) * 9 / 10);
}
