// What the README shows is real: its C++ lines stand in examples/attention.cpp, its commands run.
#include <regex>
#include <sstream>

#include "tests/catch.h"
#include "tests/command/process.h"

namespace {

std::vector<std::string> lines_of(const std::string& text) {
  std::vector<std::string> lines;
  std::istringstream stream(text);
  for (std::string line; std::getline(stream, line);) lines.push_back(line);
  return lines;
}

/// Blocks between ``` fences whose opening is exactly `fence`.
std::vector<std::vector<std::string>> blocks(const std::string& text, const std::string& fence) {
  std::vector<std::vector<std::string>> result;
  bool inside = false, wanted = false;
  for (const std::string& line : lines_of(text)) {
    if (line.rfind("```", 0) == 0) {
      inside = !inside;
      wanted = inside && line == fence;
      if (wanted) result.emplace_back();
    } else if (wanted) {
      result.back().push_back(line);
    }
  }
  return result;
}

}  // namespace

TEST_CASE("the C++ of the README is that of the example") {
  const std::string root = QUERN_SOURCE_DIR;
  const std::string example = content_of(root + "/examples/attention.cpp");
  const auto cpp = blocks(content_of(root + "/README.md"), "```cpp");
  REQUIRE(cpp.size() == 1);
  for (const std::string& line : cpp[0]) {
    INFO(line);
    CHECK(example.find(line + "\n") != std::string::npos);
  }
}

TEST_CASE("the commands of the README run") {
  const std::string root = QUERN_SOURCE_DIR;
  const Folder folder;
  int commands = 0;
  for (const auto& block : blocks(content_of(root + "/README.md"), "```")) {
    for (const std::string& line : block) {
      if (line.rfind("build/quern ", 0) != 0) continue;
      ++commands;
      std::istringstream words(line.substr(12));
      std::vector<std::string> arguments;
      for (std::string word; words >> word;) {
        if (word == "examples/*.quern") word = "examples/attention.quern";
        if (word == "build/kernels") word = folder.path("kernels");
        arguments.push_back(word.rfind("examples/", 0) == 0 ? root + "/" + word : word);
      }
      const Output result = run_quern(arguments);
      INFO(line << "\n" << result.err);
      CHECK((result.status == 0 || result.status == 6));
    }
  }
  CHECK(commands == 7);
}

TEST_CASE("the kernel at the top of the README checks") {
  const auto plain = blocks(content_of(std::string(QUERN_SOURCE_DIR) + "/README.md"), "```");
  REQUIRE(!plain.empty());
  std::string text;
  for (const std::string& line : plain[0]) text += line + "\n";
  CHECK(run_quern({"run", "-", "q=random:[3,4]", "k=random:[5,4]", "v=random:[5,4]", "--verify"}, text).status == 0);
}
