// Golden texts of what the reader says (errors.txt: "===", a text, "---", the messages), limits, and the whole table:
// each row that lexer and parser own is met by at least one case.
#include <fstream>
#include <set>
#include <sstream>

#include "dsl/syntax/limits.h"
#include "tests/catch.h"
#include "tests/syntax/read.h"

using namespace quern::dsl;
using test::Read;

namespace {

struct Case {
  std::string text, messages;
};

std::vector<Case> golden() {
  std::ifstream in(QUERN_SOURCE_DIR "/tests/syntax/errors.txt");
  REQUIRE(in.good());
  std::vector<Case> cases;
  std::string line;
  bool messages = false;
  while (std::getline(in, line)) {
    if (line.rfind("===", 0) == 0) {
      cases.emplace_back();
      messages = false;
    } else if (line == "---") {
      messages = true;
    } else {
      REQUIRE_FALSE(cases.empty());
      (messages ? cases.back().messages : cases.back().text).append(line).append("\n");
    }
  }
  return cases;
}

std::string times(const std::string& unit, std::size_t count) {
  std::string text;
  for (std::size_t i = 0; i < count; ++i) text += unit;
  return text;
}

std::vector<std::string> beyond_limits() {
  const std::string open = "let y = ";
  return {
      std::string(kMaxFileBytes + 1, ' '),
      times("+ ", kMaxTokens + 1),
      open + std::string(kMaxNameLength + 1, 'a'),
      open + times("(", kMaxNesting + 1),
      open + times("-", kMaxNesting + 1),
      fmt::format("{}{}x", open, times("x+", kMaxTreeDepth + 1)),
      fmt::format("{}x[{}i]", open, times("i,", kMaxRank)),
      fmt::format("{}f({}i)", open, times("i,", kMaxItems)),
  };
}

}  // namespace

TEST_CASE("golden messages") {
  const auto cases = golden();
  CHECK(cases.size() > 40);
  for (const Case& c : cases) {
    INFO(c.text);
    CHECK(Read(c.text).errors == c.messages);
  }
}

TEST_CASE("limits have messages of their own") {
  std::set<Code> seen;
  for (const std::string& text : beyond_limits()) {
    Read read(text);
    REQUIRE(read.diagnostics.has_errors());
    seen.insert(read.diagnostics.list().front().code);
  }
  CHECK(seen == std::set<Code>{Code::file_too_large, Code::too_many_tokens, Code::name_too_long, Code::nested_too_deeply,
                               Code::too_many_items});
  // At the limit is still accepted.
  CHECK_FALSE(Read(fmt::format("let y = {}x{}", times("(", kMaxNesting - 1), times(")", kMaxNesting - 1))).diagnostics.has_errors());
  CHECK_FALSE(Read(fmt::format("let y = {}x", times("x+", kMaxTreeDepth - 2))).diagnostics.has_errors());
  CHECK_FALSE(Read(fmt::format("let y = x[{}i]", times("i,", kMaxRank - 1))).diagnostics.has_errors());
}

TEST_CASE("every row of the reader has a case") {
  std::set<Code> seen;
  const auto meet = [&](const std::string& text) {
    const Read read(text);
    for (const Diagnostic& diagnostic : read.diagnostics.list()) seen.insert(diagnostic.code);
  };
  for (const Case& c : golden()) meet(c.text);
  for (const std::string& text : beyond_limits()) meet(text);
  for (std::size_t i = 0; i <= static_cast<std::size_t>(Code::empty_brackets); ++i) {
    INFO(name(static_cast<Code>(i)));
    CHECK(seen.count(static_cast<Code>(i)) == 1);
  }
}

TEST_CASE("rendering") {
  // Long lines are shown in part, control bytes never; the host's place stands in front.
  const std::string text = fmt::format("let y = {}$\x1b[31m * {}w", times("x * ", 60), times("z * ", 60));
  Source source("kernel", text, "main.cpp:12");
  Diagnostics diagnostics;
  parse(source, diagnostics);
  const std::string out = render(diagnostics, source);
  CHECK(out.rfind("main.cpp:12: kernel:1:249: error: unexpected character '$'\n", 0) == 0);
  CHECK(out.find('\x1b') == std::string::npos);
  std::istringstream lines(out);
  for (std::string line; std::getline(lines, line);) CHECK(line.size() < 140);
}

TEST_CASE("suggestions") {
  constexpr std::string_view kWords[] = {"softmax", "sum", "log_softmax", "view"};
  CHECK(nearest("sofmtax", kWords) == "softmax");
  CHECK(nearest("smu", kWords) == "sum");
  CHECK(nearest("veiw", kWords) == "view");
  CHECK(nearest("x", kWords).empty());
  CHECK(nearest("entropy", kWords).empty());
  CHECK(nearest("sum", kWords).empty());
}
