// Every kernel of examples/: accepted, well formed, and its printed index form comes back as itself; kernels over a
// type for every type that suits them.
#include <filesystem>
#include <fstream>
#include <sstream>

#include "tests/catch.h"
#include "tests/check/checked.h"

using namespace quern;
using dsl::test::Checked;

namespace {

std::vector<std::string> kernels() {
  std::vector<std::string> out;
  for (const auto& entry : std::filesystem::directory_iterator(QUERN_SOURCE_DIR "/examples")) {
    if (entry.path().extension() != ".quern") continue;
    std::ifstream in(entry.path());
    std::stringstream text;
    text << in.rdbuf();
    dsl::Source source(entry.path().filename().string(), text.str());
    dsl::Diagnostics diagnostics;
    const dsl::ast::File file = parse(source, diagnostics);
    INFO(render(diagnostics, source));
    REQUIRE_FALSE(diagnostics.has_errors());
    for (const dsl::ast::Item& item : file.items)
      if (std::holds_alternative<dsl::ast::Kernel>(item.node)) out.emplace_back(source.slice(item.span));
  }
  return out;
}

void comes_back(const Checked& checked) {
  INFO(checked.errors);
  REQUIRE(checked.program.has_value());
  CHECK(ir::verify_program(*checked.program).empty());
  const std::string printed = ir::print_program(*checked.program);
  const Checked again(printed);
  INFO(printed << again.errors);
  REQUIRE(again.program.has_value());
  CHECK(ir::print_program(*again.program) == printed);
}

}  // namespace

TEST_CASE("examples are accepted and come back from their index form") {
  const auto all = kernels();
  CHECK(all.size() > 80);
  for (const std::string& text : all) comes_back(Checked(text));
}

TEST_CASE("examples over a type") {
  int met = 0;
  for (const std::string& text : kernels()) {
    const Checked plain(text);
    for (const dsl::ast::Item& item : plain.file.items)
      for (const dsl::ast::CompileTime& ct : std::get<dsl::ast::Kernel>(item.node).compile_time) {
        if (ct.kind != dsl::ast::CompileTimeKind::type) continue;
        for (int t = 0; t < kDTypeCount; ++t) {
          const auto type = static_cast<DType>(t);
          const Checked checked(text, {{}, {{ct.name.text, type}}});
          if (is_float(type))
            comes_back(checked);
          else if (checked.program)
            CHECK(ir::verify_program(*checked.program).empty());
          else
            CHECK_FALSE(checked.errors.empty());
          ++met;
        }
      }
  }
  CHECK(met >= 24);
}
