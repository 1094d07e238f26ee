// Golden texts of what the checker says (errors.txt: "===", a text, "---", the messages), and the whole table: each row
// that the checker owns is met by at least one case.
#include <fstream>
#include <set>

#include "tests/catch.h"
#include "tests/check/checked.h"

using namespace quern::dsl;
using test::Checked;

namespace {

struct Case {
  std::string text, messages;
};

std::vector<Case> golden() {
  std::ifstream in(QUERN_SOURCE_DIR "/tests/check/errors.txt");
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
      (messages ? cases.back().messages : cases.back().text) += line + "\n";
    }
  }
  return cases;
}

// A sum as long as one expression may be, in a function of which each calls the one before.
std::string too_deep() {
  std::string text = "kernel k(x: f32[N]) -> (y: f32[N]) {\n  let f0(v) = v\n";
  for (int i = 1; i <= 4; ++i) {
    text += "  let f" + std::to_string(i) + "(v) = f" + std::to_string(i - 1) + "(v)";
    for (int k = 0; k < 400; ++k) text += " + v";
    text += "\n";
  }
  return text + "  y[i] = f4(x[i])\n}\n";
}

const char* const kTwoKernels =
    "kernel a(x: f32[N]) -> (y: f32[N]) { y[i] = x[i] }\nkernel b(x: f32[N]) -> (y: f32[N]) { y[i] = x[i] }\n";

}  // namespace

TEST_CASE("golden messages of the checker") {
  const auto cases = golden();
  CHECK(cases.size() > 70);
  for (const Case& c : cases) {
    INFO(c.text);
    CHECK(Checked(c.text).errors == c.messages);
  }
}

TEST_CASE("bindings and names of kernels") {
  const std::string text = "kernel k<W: int>(x: f32[N]) -> (y: f32[N]) { y[i] = x[i] * W }\n";
  CHECK(Checked(text, {{{"W", 3}, {"N", 8}}, {}}).errors.empty());
  CHECK(Checked(text, {{{"V", 3}}, {}}).errors ==
        "t.quern:1:8: error: kernel 'k' has no compile-time value or size 'V'\n"
        "    kernel k<W: int>(x: f32[N]) -> (y: f32[N]) { y[i] = x[i] * W }\n"
        "           ^\n"
        "    fix: bind a compile-time name or a size of an input\n");
  CHECK(Checked(text, {{{"N", -3}}, {}}).errors.find("size 'N' is -3") != std::string::npos);

  Source source("t.quern", kTwoKernels);
  Diagnostics diagnostics;
  const ast::File file = parse(source, diagnostics);
  REQUIRE_FALSE(diagnostics.has_errors());
  const ast::Kernel* b = find_kernel(file, "b", diagnostics);
  REQUIRE(b);
  CHECK(b->name.text == "b");
  CHECK_FALSE(find_kernel(file, "", diagnostics));
  CHECK_FALSE(find_kernel(file, "c", diagnostics));
  REQUIRE(diagnostics.list().size() == 2);
  CHECK(diagnostics.list()[0].code == Code::which_kernel);
  CHECK(diagnostics.list()[0].fix_text == "name one of: a, b");
  CHECK(diagnostics.list()[1].code == Code::no_kernel);
}

TEST_CASE("depth is bounded") {
  const Checked c(too_deep());
  REQUIRE(c.diagnostics.list().size() == 1);
  CHECK(c.diagnostics.list()[0].code == Code::expression_too_deep);
}

TEST_CASE("every row of the checker has a case") {
  // Met above: what no single text can show.
  std::set<Code> seen{Code::unknown_binding, Code::no_kernel, Code::which_kernel, Code::expression_too_deep};
  for (const Case& c : golden()) {
    const Checked checked(c.text);
    for (const Diagnostic& d : checked.diagnostics.list()) seen.insert(d.code);
  }
  // `internal` says that the checker itself is wrong.
  for (auto i = static_cast<std::size_t>(Code::unknown_name); i < static_cast<std::size_t>(Code::internal); ++i) {
    INFO(name(static_cast<Code>(i)));
    CHECK(seen.count(static_cast<Code>(i)) == 1);
  }
}
