// Every kernel of examples/ is checked, printed in index form, and checked again: the second program prints the same.
#include <algorithm>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "dsl/check/check.h"
#include "dsl/ir/print_program.h"
#include "dsl/ir/verify_program.h"
#include "dsl/syntax/parse.h"
#include "tests/catch.h"

using namespace quern;

namespace {

std::optional<ir::Program> program_of(const dsl::ast::Kernel& kernel, const dsl::ast::File& file,
                                      const dsl::Source& source, std::string& messages) {
  dsl::Diagnostics diagnostics;
  auto program = dsl::check(kernel, &file, source, {}, diagnostics);
  if (diagnostics.has_errors()) messages = render(diagnostics, source);
  return diagnostics.has_errors() ? std::nullopt : std::move(program);
}

}  // namespace

TEST_CASE("checking the printed form of a program gives the program again") {
  std::vector<std::filesystem::path> paths;
  for (const auto& entry : std::filesystem::directory_iterator(std::string(QUERN_SOURCE_DIR) + "/examples"))
    if (entry.path().extension() == ".quern") paths.push_back(entry.path());
  std::sort(paths.begin(), paths.end());
  REQUIRE(paths.size() >= 5);
  int kernels = 0;
  for (const auto& path : paths) {
    std::ifstream in(path);
    std::stringstream text;
    text << in.rdbuf();
    const dsl::Source source(path.filename().string(), text.str());
    dsl::Diagnostics diagnostics;
    const dsl::ast::File file = dsl::parse(source, diagnostics);
    for (const auto& item : file.items) {
      const auto* kernel = std::get_if<dsl::ast::Kernel>(&item.node);
      if (!kernel) continue;
      ++kernels;
      std::string messages;
      const auto first = program_of(*kernel, file, source, messages);
      INFO(path.filename().string() << " " << kernel->name.text << "\n" << messages);
      CHECK(first);
      if (!first) continue;
      for (const std::string& fault : ir::verify_program(*first)) {
        UNSCOPED_INFO(fault);
        CHECK(fault.empty());
      }
      const std::string printed = ir::print_program(*first);
      const dsl::Source again("printed", printed);
      dsl::Diagnostics second_diagnostics;
      const dsl::ast::File second_file = dsl::parse(again, second_diagnostics);
      const dsl::ast::Kernel* second_kernel = dsl::find_kernel(second_file, "", second_diagnostics);
      INFO(printed);
      CHECK(second_kernel);
      if (!second_kernel) continue;
      const auto second = program_of(*second_kernel, second_file, again, messages);
      INFO(messages);
      CHECK(second);
      if (second) CHECK(ir::print_program(*second) == printed);
    }
  }
  CHECK(kernels >= 60);
}
